//! PASCAL VOC: one XML file for each picture.
//!
//! VOC counts pixels from 1 and names the first and the last pixel that belongs to an object: the box 1…1 is one
//! pixel. In continuous coordinates that is `xmin − 1 … xmax`, as `data/check/evaluate.py` reads it.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, ParsingOptions};
use tasks::detect::{BBox, Object, Status};

use super::{Dataset, Entry, Format, Limits, Notes, PictureId, ReadError, ReadFault, Rule, place, text};

/// Folders in which pictures are looked for.
const PICTURES: [&str; 2] = ["JPEGImages", "images"];

/// The lists of a folder: names of splits and their files, sorted.
pub(super) fn splits(root: &Path) -> Vec<(String, PathBuf)> {
    let mut out = Vec::new();
    for folder in [root.to_owned(), root.join("ImageSets").join("Main")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "txt")
                && let Some(name) = path.file_stem().and_then(|s| s.to_str())
                && !out.iter().any(|(known, _)| known == name)
            {
                out.push((name.to_owned(), path));
            }
        }
    }
    out.sort();
    out
}

/// Reads the pictures of a list and their boxes.
pub(super) fn read(root: &Path, split: Option<&str>, limits: &Limits) -> Result<Dataset, ReadError> {
    let list = place::choose_split(root, split, splits(root))?;
    let mut notes = Notes::default();
    let mut files: Vec<Parsed> = Vec::new();
    let mut seen = HashSet::new();
    let mut objects = 0;
    let listed = text::read(&list, limits)?;
    for (number, name) in text::lines(&listed) {
        let here = || format!("{}:{number}", list.display());
        if !text::stays_inside(Path::new(name)) {
            notes.add(Rule::PictureOutside, here);
            continue;
        }
        if !seen.insert(name) {
            notes.add(Rule::DuplicatePicture, here);
            continue;
        }
        let Some(picture) = place::find_picture(PICTURES.iter().map(|p| root.join(p)), name) else {
            notes.add(Rule::MissingPicture, here);
            continue;
        };
        let stem = place::without_picture_ending(name);
        let annotation = root.join("Annotations").join(format!("{stem}.xml"));
        if !annotation.is_file() {
            notes.add(Rule::MissingAnnotation, here);
            continue;
        }
        let xml = text::read(&annotation, limits)?;
        let mut parsed = parse(&annotation, &xml, &mut notes)?;
        parsed.picture = picture;
        parsed.id = PictureId::of_name(stem);
        objects += parsed.objects.len();
        place::check_counts(root, files.len() + 1, objects, limits)?;
        files.push(parsed);
    }
    let names: BTreeSet<&str> = files
        .iter()
        .flat_map(|f| f.objects.iter().map(|(name, _)| name.as_str()))
        .collect();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let pictures = files
        .into_iter()
        .map(|f| Entry {
            path: f.picture,
            id: f.id,
            objects: f
                .objects
                .into_iter()
                .map(|(name, object)| with_class(&names, &name, object))
                .collect(),
            width: f.width,
            height: f.height,
        })
        .collect();
    Ok(Dataset {
        format: Format::Voc,
        category_ids: (1..=names.len() as i64).collect(),
        names,
        pictures,
        notes,
    })
}

fn with_class(names: &[String], name: &String, object: Object) -> Object {
    let class = names
        .binary_search(name)
        .expect("names were collected from these objects");
    Object { class, ..object }
}

/// One file: objects with the names of their classes, whose index is not known yet.
struct Parsed {
    picture: PathBuf,
    id: PictureId,
    objects: Vec<(String, Object)>,
    width: Option<usize>,
    height: Option<usize>,
}

fn parse(path: &Path, xml: &str, notes: &mut Notes) -> Result<Parsed, ReadError> {
    if xml.trim().is_empty() {
        return Err(ReadError::new(
            path,
            ReadFault::Syntax("the file is empty".into()),
        ));
    }
    let options = ParsingOptions {
        // Some tools write a document type; entities are still limited in depth and number.
        allow_dtd: true,
        nodes_limit: 20_000_000,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(xml, options).map_err(|e| {
        let what = format!("not well-formed XML: {}", text::one_line(&e.to_string()));
        ReadError::syntax(path, e.pos().row as usize, what)
    })?;
    let size = child(document.root_element(), "size");
    let side = |key| {
        size.and_then(|s| child(s, key))
            .and_then(|n| n.text()?.trim().parse::<usize>().ok())
    };
    let (width, height) = (side("width"), side("height"));
    let mut objects = Vec::new();
    for node in document.descendants().filter(|n| n.has_tag_name("object")) {
        // Counting lines walks the file from its start: only for messages.
        let line = || document.text_pos_at(node.range().start).row as usize;
        let here = || format!("{}:{}", path.display(), line());
        let Some(bounds) = child(node, "bndbox") else {
            notes.add(Rule::NoBox, here);
            continue;
        };
        let name = child(node, "name").and_then(|n| n.text()).map_or("", str::trim);
        if name.is_empty() {
            return Err(ReadError::syntax(path, line(), "an <object> without <name>"));
        }
        let number = |key: &str| -> Result<f64, ReadError> {
            let text = child(bounds, key).and_then(|n| n.text()).map_or("", str::trim);
            text.parse().map_err(|_| {
                ReadError::syntax(
                    path,
                    line(),
                    format!(
                        "<{key}> of {} is {}, not a number",
                        text::quoted(name),
                        text::quoted(text)
                    ),
                )
            })
        };
        let bbox = BBox::new(
            number("xmin")? - 1.0,
            number("ymin")? - 1.0,
            number("xmax")?,
            number("ymax")?,
        );
        if !place::check_box(&bbox, width, height, notes, here) {
            continue;
        }
        let mut object = Object::new(0, bbox);
        if flag(node, "difficult") {
            notes.add(Rule::Difficult, here);
            object.status = Status::Difficult;
        }
        objects.push((name.to_owned(), object));
    }
    if objects.is_empty() {
        notes.add(Rule::Empty, || path.display().to_string());
    }
    Ok(Parsed {
        picture: PathBuf::new(),
        id: PictureId::Number(0),
        objects,
        width,
        height,
    })
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    node.children().find(|c| c.has_tag_name(name))
}

/// A number other than 0; a missing or unreadable flag is not set.
fn flag(node: Node, name: &str) -> bool {
    child(node, name)
        .and_then(|n| n.text()?.trim().parse::<f64>().ok())
        .is_some_and(|v| v != 0.0)
}
