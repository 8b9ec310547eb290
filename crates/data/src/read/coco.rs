//! COCO: one JSON file with `images`, `annotations` and `categories`.
//!
//! The file is streamed: what is not needed (segments, licences) is never held, so memory follows the number of
//! objects and not the length of the file.

mod json;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use tasks::detect::{BBox, Object, Status};

use super::{Dataset, Entry, Format, Limits, Notes, PictureId, ReadError, ReadFault, Rule, place, text};
use json::{Annotation, Category, File, Image};

/// What the file of a split may be called, beside the split's own name.
const PREFIX: &str = "instances_";

/// The annotation files of a folder: names of splits and their files, sorted.
pub(super) fn splits(root: &Path) -> Vec<(String, PathBuf)> {
    let mut out = Vec::new();
    for folder in [root.join("annotations"), root.to_owned()] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "json")
                && let Some(stem) = path.file_stem().and_then(|s| s.to_str())
            {
                out.push((stem.strip_prefix(PREFIX).unwrap_or(stem).to_owned(), path));
            }
        }
    }
    // Roboflow keeps one file in the folder of each split.
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path().join("_annotations.coco.json");
        if let (true, Some(name)) = (path.is_file(), entry.file_name().to_str()) {
            out.push((name.to_owned(), path));
        }
    }
    out.sort();
    out
}

/// The file of a split: named so, else the only one whose name contains the split's, `instances_…` before others.
pub(super) fn choose(root: &Path, split: Option<&str>) -> Result<PathBuf, ReadError> {
    let found = splits(root);
    if let Some(split) = split
        && !found.iter().any(|(name, _)| name == split)
    {
        let alike: Vec<_> = found.iter().filter(|(name, _)| name.contains(split)).collect();
        let is_instances = |p: &PathBuf| {
            p.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with(PREFIX))
        };
        let instances: Vec<_> = alike.iter().filter(|(_, p)| is_instances(p)).collect();
        match (&instances[..], &alike[..]) {
            ([only], _) => return Ok(only.1.clone()),
            (_, [only]) => return Ok(only.1.clone()),
            _ => {}
        }
    }
    place::choose_split(
        root,
        split,
        found,
        "annotation file (annotations/instances_NAME.json)",
    )
}

/// Reads one annotation file.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<Dataset, ReadError> {
    let file = json::read(path, limits)?;
    let mut notes = Notes::default();
    let (names, category_ids, class_of) = categories(path, file.categories, &mut notes);
    let (mut pictures, index_of) = images(path, file.images, &mut notes)?;
    annotations(
        path,
        file.annotations,
        &mut pictures,
        &index_of,
        &class_of,
        &mut notes,
    );
    let mut pictures: Vec<Entry> = pictures
        .into_iter()
        .filter(|p| !p.path.as_os_str().is_empty())
        .collect();
    for entry in pictures.iter().filter(|p| p.objects.is_empty()) {
        notes.add(Rule::Empty, || format!("{}: image {}", path.display(), entry.id));
    }
    // pycocotools evaluates in the order of the ids; equal scores are ranked in this order.
    pictures.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Dataset {
        format: Format::Coco,
        names,
        category_ids,
        pictures,
        notes,
    })
}

/// Names and ids in the order of the ids, and the class index of each id.
fn categories(
    path: &Path,
    list: Vec<Category>,
    notes: &mut Notes,
) -> (Vec<String>, Vec<i64>, HashMap<i64, usize>) {
    use std::collections::btree_map::Entry;
    let mut by_id = BTreeMap::new();
    for category in list {
        match by_id.entry(category.id) {
            Entry::Vacant(slot) => {
                slot.insert(category.name);
            }
            Entry::Occupied(slot) => {
                notes.add(Rule::DuplicateCategory, || {
                    format!("{}: category {}", path.display(), slot.key())
                });
            }
        }
    }
    let class_of = by_id.keys().enumerate().map(|(class, id)| (*id, class)).collect();
    let (ids, names) = by_id.into_iter().unzip();
    (names, ids, class_of)
}

/// Entries in the order of the file and the index of each image id. The path of a picture without file stays empty:
/// its annotations are known to belong to a declared image, and go away with it.
fn images(
    path: &Path,
    list: Vec<Image>,
    notes: &mut Notes,
) -> Result<(Vec<Entry>, HashMap<i64, usize>), ReadError> {
    let mut roots = picture_folders(path);
    let mut entries = Vec::with_capacity(list.len());
    let mut index_of = HashMap::with_capacity(list.len());
    for image in list {
        let here = || {
            format!(
                "{}: image {} ({})",
                path.display(),
                image.id,
                text::quoted(&image.file_name)
            )
        };
        if index_of.contains_key(&image.id) {
            notes.add(Rule::DuplicatePicture, here);
            continue;
        }
        let name = Path::new(&image.file_name);
        let mut found = PathBuf::new();
        if !text::stays_inside(name) {
            notes.add(Rule::PictureOutside, here);
        } else if let Some(k) = roots.iter().position(|r| r.join(name).is_file()) {
            // The next picture most likely lies in the same folder.
            roots[..=k].rotate_right(1);
            found = roots[0].join(name);
        } else {
            notes.add(Rule::MissingPicture, here);
        }
        index_of.insert(image.id, entries.len());
        let side = |v: Option<f64>| v.filter(|v| *v >= 1.0 && *v < 1e9).map(|v| v as usize);
        entries.push(Entry {
            path: found,
            id: PictureId::Number(image.id),
            objects: Vec::new(),
            width: side(image.width),
            height: side(image.height),
        });
    }
    if !entries.is_empty() && entries.iter().all(|e| e.path.as_os_str().is_empty()) {
        let folders: Vec<String> = picture_folders(path)
            .iter()
            .map(|r| r.display().to_string())
            .collect();
        let what = format!(
            "none of its {} pictures was found in {}",
            entries.len(),
            folders.join(", ")
        );
        return Err(ReadError::new(path, ReadFault::Missing(what)));
    }
    Ok((entries, index_of))
}

/// Folders in which the pictures of an annotation file may lie.
fn picture_folders(path: &Path) -> Vec<PathBuf> {
    let here = path.parent().unwrap_or(Path::new("")).to_owned();
    let base = match here.file_name() {
        Some(name) if name == "annotations" => here.parent().unwrap_or(Path::new("")).to_owned(),
        _ => here.clone(),
    };
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let split = stem.rsplit_once('_').map_or(stem, |(_, split)| split);
    let mut out = vec![base.clone()];
    for name in [split, stem, "images", "JPEGImages"] {
        out.push(base.join(name));
    }
    out.push(base.join("images").join(split));
    out.push(here);
    out.dedup();
    out
}

fn annotations(
    path: &Path,
    list: Vec<Annotation>,
    pictures: &mut [Entry],
    index_of: &HashMap<i64, usize>,
    class_of: &HashMap<i64, usize>,
    notes: &mut Notes,
) {
    let mut seen = HashSet::with_capacity(list.len());
    for (k, a) in list.into_iter().enumerate() {
        let here = || match a.id {
            Some(id) => format!("{}: annotation {id}", path.display()),
            None => format!("{}: annotation number {}", path.display(), k + 1),
        };
        let Some(&index) = index_of.get(&a.image_id) else {
            notes.add(Rule::UnknownPicture, here);
            continue;
        };
        let Some(&class) = class_of.get(&a.category_id) else {
            notes.add(Rule::UnknownClass, here);
            continue;
        };
        let Some([x, y, w, h]) = a.bbox else {
            notes.add(Rule::NoBox, here);
            continue;
        };
        let entry = &mut pictures[index];
        let bbox = BBox::from_xywh(x, y, w, h);
        if !place::check_box(&bbox, entry.width, entry.height, notes, here) {
            continue;
        }
        if let Some(id) = a.id {
            if id == 0 {
                notes.add(Rule::IdZero, here);
            }
            if !seen.insert(id) {
                notes.add(Rule::DuplicateId, here);
            }
        }
        let (status, rule) = match (a.crowd, a.difficult, a.ignore) {
            (true, ..) => (Status::Crowd, Some(Rule::Crowd)),
            (_, true, _) => (Status::Difficult, Some(Rule::Difficult)),
            (.., true) => (Status::Ignored, Some(Rule::Ignored)),
            _ => (Status::Counted, None),
        };
        if let Some(rule) = rule {
            notes.add(rule, here);
        }
        entry.objects.push(Object {
            class,
            bbox,
            status,
            area: a.area.filter(|a| a.is_finite()),
            id: a.id,
        });
    }
}

/// What the parser hands over.
impl File {
    fn check(&self, path: &Path) -> Result<(), ReadError> {
        if self.images.is_empty() {
            return Err(ReadError::new(
                path,
                ReadFault::Syntax(
                    "the file declares no images (\"images\": [{\"id\": …, \"file_name\": …}, …])".into(),
                ),
            ));
        }
        Ok(())
    }
}
