//! Data sets on disk: VOC, COCO and YOLO.
//!
//! | format | list | boxes |
//! |---|---|---|
//! | COCO | `DIR/annotations/instances_SPLIT.json`, a name that contains SPLIT, or the file itself | in the same file |
//! | YOLO | `train`, `val`, `test` of `DIR/data.yaml`, or the file itself | `labels/NAME.txt` for `images/NAME.jpg` |
//! | VOC | `DIR/SPLIT.txt` or `DIR/ImageSets/Main/SPLIT.txt` | `DIR/Annotations/NAME.xml`, pictures in `JPEGImages` or `images` |
//!
//! Boxes are continuous pixel coordinates, as `data/check/evaluate.py` takes them. What a file holds that is odd is
//! either an error with file and line, or has a rule that is counted in [`Dataset::notes`]: see [`Rule`].

mod classes;
mod coco;
mod error;
mod notes;
mod place;
mod text;
mod voc;
mod yaml;
mod yolo;
pub(crate) mod zip;

use std::path::{Path, PathBuf};

use tasks::detect::Object;

pub use classes::{CIFAR10, ClassSet, Item, Kept, open_classes};
pub use error::{ReadError, ReadFault, way_out};
pub use notes::{Note, Notes, Rule};

/// How pictures and boxes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One XML file for each picture.
    Voc,
    /// One JSON file for all.
    Coco,
    /// One text file for each picture, a YAML file with the class names.
    Yolo,
}

/// What a data set may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of one annotation file in bytes.
    pub file_bytes: u64,
    /// Objects of all pictures together; one takes about 100 bytes.
    pub objects: usize,
    /// Pictures.
    pub pictures: usize,
}

impl Default for Limits {
    /// 1 GiB, 10 million, 10 million.
    fn default() -> Self {
        Limits {
            file_bytes: 1 << 30,
            objects: 10_000_000,
            pictures: 10_000_000,
        }
    }
}

/// What names a picture in results: COCO's number, else the file name without ending.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum PictureId {
    /// `image_id` of a COCO file.
    Number(i64),
    /// Name of the file without ending.
    Name(String),
}

impl PictureId {
    /// The id of a picture that has none: its file name without ending, a number where it consists of digits alone
    /// (so that results for `000000006818.jpg` fit COCO's own annotation file).
    pub fn of_name(stem: &str) -> Self {
        if !stem.is_empty()
            && stem.bytes().all(|b| b.is_ascii_digit())
            && let Ok(n) = stem.parse()
        {
            return PictureId::Number(n);
        }
        PictureId::Name(stem.to_owned())
    }
}

impl std::fmt::Display for PictureId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PictureId::Number(n) => n.fmt(f),
            PictureId::Name(s) => s.fmt(f),
        }
    }
}

/// One picture with its objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The picture file; it existed when the data set was read.
    pub path: PathBuf,
    /// Its name in results.
    pub id: PictureId,
    /// Ground truth; classes index [`Dataset::names`].
    pub objects: Vec<Object>,
    /// Width that the annotations state, if any. The picture itself decides.
    pub width: Option<usize>,
    /// Height that the annotations state.
    pub height: Option<usize>,
}

/// Pictures with ground truth, in the order of the list (VOC, YOLO) or of the file (COCO).
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// How it was stored.
    pub format: Format,
    /// Class names. VOC files have no list of them: the names found, sorted.
    pub names: Vec<String>,
    /// COCO's `category_id` of each name; 1, 2, … elsewhere.
    pub category_ids: Vec<i64>,
    /// The pictures.
    pub pictures: Vec<Entry>,
    /// What was odd, and what was done about it.
    pub notes: Notes,
}

impl Dataset {
    /// Adds the pictures of another list behind these; classes are the same where they have the same name.
    pub fn extend(&mut self, other: Dataset) {
        let classes: Vec<usize> = (other.names.into_iter().zip(other.category_ids))
            .map(|(name, id)| match self.names.iter().position(|n| *n == name) {
                Some(class) => class,
                None => {
                    self.names.push(name);
                    self.category_ids.push(id);
                    self.names.len() - 1
                }
            })
            .collect();
        self.pictures.extend(other.pictures.into_iter().map(|mut entry| {
            for object in &mut entry.objects {
                object.class = classes[object.class];
            }
            entry
        }));
    }
}

/// Reads a data set.
///
/// `path` is a folder, a COCO annotation file or a YOLO data file. Without `split` the only list there is taken
/// (YOLO: `val`). Without `format` the folder is looked at; a folder that is several is read as the first of VOC,
/// COCO, YOLO that has the split, and the notes say so.
///
/// # Errors
/// When nothing is found, a file cannot be read or is malformed, or a limit is exceeded; the error names file and line.
pub fn open(
    path: &Path,
    split: Option<&str>,
    format: Option<Format>,
    limits: &Limits,
) -> Result<Dataset, ReadError> {
    let meta = std::fs::metadata(path).map_err(|e| ReadError::io(path, &e))?;
    if meta.is_file() {
        return open_file(path, split, format, limits);
    }
    let found = formats(path, split);
    let chosen = match (format, &found[..]) {
        (Some(format), _) => format,
        (None, [first, ..]) => *first,
        (None, []) => {
            let what = "no data set here (VOC: Annotations/*.xml with NAME.txt; COCO: annotations/instances_NAME.json; \
                        YOLO: data.yaml): without boxes to compare with, nothing can be judged";
            return Err(ReadError::new(path, ReadFault::Missing(what.into())));
        }
    };
    let mut set = match chosen {
        Format::Voc => voc::read(path, split, limits)?,
        Format::Coco => coco::read(&coco::choose(path, split)?, limits)?,
        Format::Yolo => yolo::read(&yolo::choose(path)?, split, limits)?,
    };
    for other in found.iter().filter(|f| format.is_none() && **f != chosen) {
        set.notes
            .add(Rule::SeveralFormats, || format!("{}: {other:?}", path.display()));
    }
    Ok(set)
}

fn open_file(
    path: &Path,
    split: Option<&str>,
    format: Option<Format>,
    limits: &Limits,
) -> Result<Dataset, ReadError> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match (format, ending) {
        (Some(Format::Coco), _) | (None, "json") => coco::read(path, limits),
        (Some(Format::Yolo), _) | (None, "yaml" | "yml") => yolo::read(path, split, limits),
        _ => {
            let what = "a data set is a folder, a COCO annotation file (.json) or a YOLO data file (.yaml)";
            Err(ReadError::new(path, ReadFault::Missing(what.into())))
        }
    }
}

/// What a folder looks like; those that have the split come alone, unless none has it.
fn formats(path: &Path, split: Option<&str>) -> Vec<Format> {
    let mut all = Vec::new();
    if path.join("Annotations").is_dir() {
        let there = voc::splits(path);
        all.push((
            Format::Voc,
            split.is_none_or(|s| there.iter().any(|(n, _)| n == s)),
        ));
    }
    if !coco::splits(path).is_empty() {
        all.push((Format::Coco, coco::choose(path, split).is_ok()));
    }
    if !yolo::configs(path).is_empty() {
        all.push((Format::Yolo, true));
    }
    let fit = all.iter().any(|(_, fits)| *fits);
    all.into_iter()
        .filter(|(_, fits)| *fits || !fit)
        .map(|(f, _)| f)
        .collect()
}

/// All pictures below a folder, sorted by path; a file is returned alone. Folders are entered to a depth of 8, links
/// to folders are not followed.
///
/// # Errors
/// When the folder cannot be listed or holds no picture.
pub fn pictures_in(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let meta = std::fs::metadata(path).map_err(|e| ReadError::io(path, &e))?;
    if meta.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut out = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| ReadError::io(&folder, &e))? {
            let entry = entry.map_err(|e| ReadError::io(&folder, &e))?;
            let kind = entry.file_type().map_err(|e| ReadError::io(&entry.path(), &e))?;
            let path = entry.path();
            if kind.is_dir() {
                if depth < 8 {
                    folders.push((path, depth + 1));
                }
            } else if crate::picture::has_picture_name(&path) && path.is_file() {
                out.push(path);
            }
        }
    }
    if out.is_empty() {
        return Err(ReadError::new(
            path,
            ReadFault::Missing(format!(
                "no picture in this folder (looked for {})",
                crate::picture::EXTENSIONS.map(|e| format!(".{e}")).join(" ")
            )),
        ));
    }
    out.sort();
    Ok(out)
}
