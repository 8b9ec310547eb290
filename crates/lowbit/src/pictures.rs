//! Streams of pictures: read, hashed and decoded one at a time.

use std::path::{Path, PathBuf};

use data::Picture;
use tensor::Tensor;

use crate::provenance::{DataHash, read_capped};
use crate::runtime::cast_input;
use crate::{Control, Error, ErrorKind, Model, Result};

/// All pictures of a folder (sorted by path, folders below included), or the one file; with `split`, those that the list
/// `SPLIT.txt` of the folder names.
///
/// # Errors
/// A folder that cannot be read or holds no picture.
pub fn find(path: &Path, split: Option<&str>) -> Result<Vec<PathBuf>> {
    match split {
        None => Ok(data::read::pictures_in(path)?),
        Some(split) => {
            let set = data::read::open(path, Some(split), None, &data::read::Limits::default());
            let set = set.map_err(|e| {
                Error::from(e).help("without the name of a split all pictures below the folder are taken")
            })?;
            Ok(set.pictures.into_iter().map(|p| p.path).collect())
        }
    }
}

/// `count` of `all` spread evenly from the first on: a folder sorted by class still gives every class.
///
/// ```
/// assert_eq!(lowbit::pictures::spread(&[0, 1, 2, 3, 4, 5], 3), [0, 2, 4]);
/// assert_eq!(lowbit::pictures::spread(&[0, 1], 3), [0, 1]);
/// ```
pub fn spread<T: Clone>(all: &[T], count: usize) -> Vec<T> {
    if count >= all.len() {
        return all.to_vec();
    }
    (0..count).map(|i| all[i * all.len() / count].clone()).collect()
}

/// The pictures that can be read, whole, and a line for each of the others.
///
/// # Errors
/// Cancellation and limits; where none can be read, the fault of the first.
pub(crate) fn readable(pictures: &[PathBuf], control: &Control) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let mut reader = Reader::new(control);
    let (mut good, mut notes, mut first) = (Vec::new(), Vec::new(), None);
    for path in pictures {
        match reader.read(path) {
            Ok(_) => good.push(path.clone()),
            Err(e) if !is_of_the_picture(&e) => return Err(e),
            Err(e) => {
                notes.push(format!("skipped: {e}"));
                first.get_or_insert(e);
            }
        }
    }
    match first {
        Some(e) if good.is_empty() => Err(e.help("no picture can be read")),
        _ => Ok((good, notes)),
    }
}

/// Whether all pictures can be read, before long work begins with them.
///
/// # Errors
/// The fault of the first that cannot, with the names of the others.
pub(crate) fn check(pictures: &[PathBuf], control: &Control) -> Result<()> {
    const NAMED: usize = 5;
    let reader = Reader::new(control);
    let (mut first, mut others) = (None, Vec::new());
    for path in pictures {
        match reader.check(path) {
            Ok(()) => {}
            Err(e) if !is_of_the_picture(&e) => return Err(e),
            Err(e) if first.is_none() => first = Some(e),
            Err(_) => others.push(path.file_name().unwrap_or_default().to_string_lossy()),
        }
    }
    let Some(first) = first else { return Ok(()) };
    if pictures.len() == 1 {
        return Err(first);
    }
    let more = if others.len() > NAMED { ", …" } else { "" };
    let named = others[..others.len().min(NAMED)].join(", ");
    Err(first.help(match others.len() {
        0 => "remove the file, or skip it with --allow-skips; the other pictures can be read".into(),
        n => format!("remove the file, and {n} more that cannot be read: {named}{more}; or skip them with --allow-skips"),
    }))
}

/// Reads pictures one after the other, and hashes what it reads.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    hash: DataHash,
    control: Control,
}

impl Reader {
    pub(crate) fn new(control: &Control) -> Self {
        Reader {
            hash: DataHash::default(),
            control: control.clone(),
        }
    }

    /// The picture of a file.
    pub(crate) fn read(&mut self, path: &Path) -> Result<Picture> {
        let bytes = self.bytes(path)?;
        self.picture(path, &bytes)
    }

    fn bytes(&self, path: &Path) -> Result<Vec<u8>> {
        self.control.check()?;
        read_capped(path, self.limits().file_bytes, &self.control)
    }

    fn picture(&mut self, path: &Path, bytes: &[u8]) -> Result<Picture> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.decode(&name, bytes).map_err(|e| e.at(path.display()))
    }

    /// Whether a file is a picture that can be decoded, as far as its structure tells: nothing is decoded or hashed.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let bytes = self.bytes(path)?;
        match data::picture::size(&bytes, &self.limits()) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::from(e).at(path.display())),
        }
    }

    /// The picture that bytes hold.
    pub(crate) fn decode(&mut self, name: &str, bytes: &[u8]) -> Result<Picture> {
        self.hash.add(name, bytes);
        Ok(data::picture::decode(bytes, &self.limits())?)
    }

    fn limits(&self) -> data::picture::Limits {
        let mut limits = data::picture::Limits::default();
        if let Some(memory) = self.control.memory() {
            limits.memory = limits.memory.min(memory as u64);
        }
        limits
    }

    /// Adds something else that results depend on.
    pub(crate) fn add(&mut self, name: &str, text: &str) {
        self.hash.add(name, text.as_bytes());
    }

    /// SHA-256 of everything read.
    pub(crate) fn finish(self) -> String {
        self.hash.finish()
    }
}

/// Whether another picture may fare better: cancellation and the time limit, which name no file, end the whole work.
pub(crate) fn is_of_the_picture(e: &Error) -> bool {
    e.kind() != ErrorKind::Interrupted && !e.place().is_empty()
}

/// Pixels from which pictures are decoded one after the other, whatever the number of threads.
const LARGE: usize = 1 << 20;

/// The network's input made from a picture.
pub(crate) fn input_of(model: &Model, reader: &mut Reader, path: &Path) -> Result<(String, Tensor)> {
    let (control, bytes) = (reader.control.clone(), reader.bytes(path)?);
    let size = data::picture::size(&bytes, &reader.limits());
    let large = size.is_ok_and(|(width, height)| width.saturating_mul(height) > LARGE);
    let _turn = large.then(|| control.turn());
    input_of_picture(model, &reader.picture(path, &bytes)?)
}

/// The same of a picture that is at hand.
pub(crate) fn input_of_picture(model: &Model, picture: &Picture) -> Result<(String, Tensor)> {
    let head = model.head()?;
    let (tensor, _) = data::prepare(picture, &head.input)?;
    let dtype = model
        .inputs()?
        .into_iter()
        .find(|i| i.0 == head.input.name)
        .map_or(tensor::DType::F32, |i| i.1);
    Ok((head.input.name.clone(), cast_input(tensor, dtype)?))
}
