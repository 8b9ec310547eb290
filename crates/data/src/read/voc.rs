//! PASCAL VOC: one XML file for each picture.
//!
//! VOC counts pixels from 1 and names the first and the last pixel that belongs to an object: the box 1…1 is one
//! pixel. In continuous coordinates that is `xmin − 1 … xmax`, as `data/check/evaluate.py` reads it.

use std::collections::{HashMap, HashSet};
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

/// Reads the pictures of a list and their boxes. A folder without any list is read whole.
pub(super) fn read(root: &Path, split: Option<&str>, limits: &Limits) -> Result<Dataset, ReadError> {
    let found = splits(root);
    let mut notes = Notes::default();
    let mut classes = Classes::default();
    let mut pictures: Vec<Entry> = Vec::new();
    let mut seen = HashSet::new();
    let mut objects = 0;
    let (list, names) = if split.is_none() && found.is_empty() {
        (root.join("Annotations"), all_names(root)?)
    } else {
        let what = "list of pictures (NAME.txt or ImageSets/Main/NAME.txt)";
        let list = place::choose_split(root, split, found, what)?;
        let names = text::read(&list, limits)?;
        (list, names)
    };
    for (number, name) in text::lines(&names) {
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
        let mut entry = parse(
            &annotation,
            &text::read(&annotation, limits)?,
            &mut classes,
            &mut notes,
        )?;
        entry.path = picture;
        entry.id = PictureId::of_name(stem);
        objects += entry.objects.len();
        place::check_counts(root, pictures.len() + 1, objects, limits)?;
        pictures.push(entry);
    }
    let (names, sorted) = classes.sort();
    for object in pictures.iter_mut().flat_map(|p| &mut p.objects) {
        object.class = sorted[object.class];
    }
    Ok(Dataset {
        format: Format::Voc,
        category_ids: (1..=names.len() as i64).collect(),
        names,
        pictures,
        notes,
    })
}

/// One name a line for each XML file, sorted.
fn all_names(root: &Path) -> Result<String, ReadError> {
    let folder = root.join("Annotations");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|e| ReadError::io(&folder, &e))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "xml"))
        .filter_map(|p| Some(p.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names.join("\n"))
}

/// Class names in the order of their appearance.
#[derive(Default)]
struct Classes(HashMap<String, usize>);

impl Classes {
    fn index(&mut self, name: &str) -> usize {
        let next = self.0.len();
        match self.0.get(name) {
            Some(&known) => known,
            None => *self.0.entry(name.to_owned()).or_insert(next),
        }
    }

    /// The names sorted, and the new index of each old one.
    fn sort(self) -> (Vec<String>, Vec<usize>) {
        let mut pairs: Vec<(String, usize)> = self.0.into_iter().collect();
        pairs.sort();
        let mut sorted = vec![0; pairs.len()];
        for (new, (_, old)) in pairs.iter().enumerate() {
            sorted[*old] = new;
        }
        (pairs.into_iter().map(|(name, _)| name).collect(), sorted)
    }
}

/// One file. Path and id are the caller's to fill.
fn parse(path: &Path, xml: &str, classes: &mut Classes, notes: &mut Notes) -> Result<Entry, ReadError> {
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
        let what = format!("not well-formed XML: {e}");
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
        let mut object = Object::new(classes.index(name), bbox);
        if flag(node, "difficult") {
            notes.add(Rule::Difficult, here);
            object.status = Status::Difficult;
        }
        objects.push(object);
    }
    if objects.is_empty() {
        notes.add(Rule::Empty, || path.display().to_string());
    }
    Ok(Entry {
        path: PathBuf::new(),
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
