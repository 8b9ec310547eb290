//! Classification data: class folders, a zip of them, CIFAR-10's binary files.
//!
//! | what | how it is told |
//! |---|---|
//! | `DIR/[SPLIT/]CLASS/*.jpg` | a folder of folders |
//! | `SPLIT.zip` or a zip file, entries `[SPLIT/]CLASS/NAME.jpg` stored | |
//! | `data_batch_1.bin` … `test_batch.bin` | CIFAR-10's binary version: 1 byte of class, 3072 of planar RGB |
//!
//! Class names are the folders' names, sorted; CIFAR-10's own order is the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Limits, ReadError, ReadFault, pictures_in, zip};
use crate::Picture;
use crate::picture::{self, PictureError, decode, has_picture_name};

/// Names of CIFAR-10's classes.
pub const CIFAR10: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

/// Where a picture is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In a file.
    File(PathBuf),
    /// The bytes of a picture file, with the name to call it.
    Bytes(String, Arc<[u8]>),
    /// 32 by 32 pixels, red, green and blue plane.
    Cifar(Arc<[u8]>),
}

impl Kept {
    /// Its pixels.
    ///
    /// # Errors
    /// When it cannot be read or decoded.
    pub fn load(&self, limits: &picture::Limits) -> Result<Picture, PictureError> {
        match self {
            Kept::File(path) => picture::load(path, limits),
            Kept::Bytes(name, bytes) => decode(bytes, limits).map_err(|e| e.at(Path::new(name))),
            Kept::Cifar(planes) => {
                let rgb = (0..1024).flat_map(|i| [planes[i], planes[1024 + i], planes[2048 + i]]);
                Picture::new(32, 32, rgb.collect())
            }
        }
    }
}

/// A picture with its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The picture.
    pub picture: Kept,
    /// Index into [`ClassSet::names`].
    pub class: usize,
}

/// Pictures with classes, sorted by class and name (CIFAR's binary files: in their order).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassSet {
    /// Class names.
    pub names: Vec<String>,
    /// The pictures.
    pub items: Vec<Item>,
}

/// Reads classification data. `split` is the name of a zip file or folder below `path`, or `train` and `test` of CIFAR's binary files.
///
/// # Errors
/// When nothing is found or a file is malformed; the error names it.
pub fn open_classes(path: &Path, split: Option<&str>, limits: &Limits) -> Result<ClassSet, ReadError> {
    let meta = std::fs::metadata(path).map_err(|e| ReadError::io(path, &e))?;
    if meta.is_file() {
        return archive(path, limits);
    }
    if let Some(split) = split {
        let zipped = path.join(format!("{split}.zip"));
        if zipped.is_file() {
            return archive(&zipped, limits);
        }
    }
    let batches = cifar_batches(path, split);
    if !batches.is_empty() {
        return cifar(&batches, limits);
    }
    let folder = split.map(|s| path.join(s)).filter(|p| p.is_dir());
    folders(&folder.unwrap_or_else(|| path.to_owned()), limits)
}

fn cifar_batches(path: &Path, split: Option<&str>) -> Vec<PathBuf> {
    let names: Vec<String> = match split {
        Some("test") => vec!["test_batch.bin".into()],
        _ => (1..=5).map(|i| format!("data_batch_{i}.bin")).collect(),
    };
    names
        .iter()
        .map(|n| path.join(n))
        .filter(|p| p.is_file())
        .collect()
}

fn cifar(files: &[PathBuf], limits: &Limits) -> Result<ClassSet, ReadError> {
    const RECORD: usize = 1 + 3072;
    let mut items = Vec::new();
    for path in files {
        let length = std::fs::metadata(path)
            .map_err(|e| ReadError::io(path, &e))?
            .len();
        let fault = |what: String| Err(ReadError::new(path, ReadFault::Syntax(what)));
        if length > limits.file_bytes || items.len() as u64 + length / RECORD as u64 > limits.pictures as u64
        {
            let what = "the file is larger than the limit".to_string();
            return Err(ReadError::new(path, ReadFault::Limit(what)));
        }
        let bytes = std::fs::read(path).map_err(|e| ReadError::io(path, &e))?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
            let length = bytes.len();
            return fault(format!(
                "{length} bytes are not a whole number of records of {RECORD}"
            ));
        }
        for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
            let class = usize::from(record[0]);
            if class >= CIFAR10.len() {
                return fault(format!("record {i} has class {class}; there are 10"));
            }
            let picture = Kept::Cifar(record[1..].into());
            items.push(Item { picture, class });
        }
    }
    let names = CIFAR10.map(String::from).to_vec();
    Ok(ClassSet { names, items })
}

/// Sorts pictures with class names into a set.
fn sorted(path: &Path, mut all: Vec<(String, String, Kept)>, limits: &Limits) -> Result<ClassSet, ReadError> {
    if all.is_empty() {
        let what =
            "no pictures in class folders here (DIR/CLASS/NAME.jpg, a zip of them, or data_batch_*.bin)";
        return Err(ReadError::new(path, ReadFault::Missing(what.into())));
    }
    if all.len() > limits.pictures {
        let what = format!("there are more than {} pictures", limits.pictures);
        return Err(ReadError::new(path, ReadFault::Limit(what)));
    }
    all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut set = ClassSet {
        names: Vec::new(),
        items: Vec::with_capacity(all.len()),
    };
    for (class, _, picture) in all {
        if set.names.last() != Some(&class) {
            set.names.push(class);
        }
        let class = set.names.len() - 1;
        set.items.push(Item { picture, class });
    }
    Ok(set)
}

fn archive(path: &Path, limits: &Limits) -> Result<ClassSet, ReadError> {
    let files = zip::stored(path, limits.file_bytes)?.into_iter();
    let mut all = Vec::new();
    for (name, bytes) in files.filter(|f| has_picture_name(Path::new(&f.0))) {
        let Some((folder, _)) = name.rsplit_once('/') else {
            let what = format!("{name:?} lies in no class folder");
            return Err(ReadError::new(path, ReadFault::Syntax(what)));
        };
        let class = folder.rsplit('/').next().unwrap_or(folder).to_string();
        let shown = format!("{}: {name}", path.display());
        all.push((class, name, Kept::Bytes(shown, bytes.into())));
    }
    sorted(path, all, limits)
}

fn folders(path: &Path, limits: &Limits) -> Result<ClassSet, ReadError> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| ReadError::io(path, &e))? {
        let folder = entry.map_err(|e| ReadError::io(path, &e))?.path();
        let (true, Some(class)) = (folder.is_dir(), folder.file_name()) else {
            continue;
        };
        let class = class.to_string_lossy().into_owned();
        // A folder without pictures is no class.
        for file in pictures_in(&folder).unwrap_or_default() {
            all.push((
                class.clone(),
                file.to_string_lossy().into_owned(),
                Kept::File(file),
            ));
        }
    }
    sorted(path, all, limits)
}
