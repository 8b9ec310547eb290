//! ONNX in and out.
//!
//! [`read`] accepts models of opset 7 to 28, plain, in QDQ form or packed by lowbit (FORMAT.md, part 2), and gives a
//! [`Graph`] in the newest form. No byte sequence makes it panic, recurse without bound, or allocate what the file
//! does not hold. [`write()`] gives the same bytes for the same graph, always.

mod attributes;
mod error;
mod external;
mod functions;
mod io;
mod lift;
mod ops;
mod packed;
mod proto;
mod read;
mod wire;
mod write;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::graph::Graph;
use error::{Load, quoted};

pub use error::{ErrorKind, LoadError};
pub use write::{Form, WriteError, WriteOptions, write};

/// Oldest opset of the default domain that is read.
pub const MIN_OPSET: i64 = 7;
/// Newest opset of the default domain that is read.
pub const MAX_OPSET: i64 = 28;

/// What a model may ask for before it is refused with [`ErrorKind::Limit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the model file.
    pub model_bytes: u64,
    /// Bytes of one tensor, decoded.
    pub tensor_bytes: usize,
    /// Bytes of all constants together, decoded.
    pub constant_bytes: usize,
    /// Nodes, counted after functions are inlined.
    pub nodes: usize,
    /// Bytes of one name.
    pub string_bytes: usize,
    /// Depth of functions that call functions.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            model_bytes: 2 << 30,
            tensor_bytes: 1 << 30,
            constant_bytes: 4 << 30,
            nodes: 100_000,
            string_bytes: 64 << 10,
            nesting: 32,
        }
    }
}

impl Limits {
    /// Passes a name of the file on when it is short enough.
    fn string<'a>(&self, s: &'a str) -> Load<&'a str> {
        if s.len() <= self.string_bytes {
            return Ok(s);
        }
        let (have, most) = (s.len(), self.string_bytes);
        Err(LoadError::limit(format!(
            "the name {} has {have} bytes, at most {most} are allowed",
            quoted(s)
        )))
    }
}

/// How to read a model.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions<'a> {
    /// Folder of external weights; [`read_file`] sets it to the model's own.
    pub base_dir: Option<&'a Path>,
    /// Sizes for dynamic dimensions: by their name in the file (`"N"`), or by input and position (`"images:0"`).
    pub dimensions: BTreeMap<String, usize>,
    /// Budgets.
    pub limits: Limits,
    /// Takes the paths of the side files that are read.
    pub side_files: Option<&'a RefCell<BTreeSet<PathBuf>>>,
}

/// Names of all standard operators that are read, sorted.
pub fn operators() -> Vec<&'static str> {
    ops::names()
}

/// Where side files are looked for.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    base_dir: Option<&'a Path>,
    seen: Option<&'a RefCell<BTreeSet<PathBuf>>>,
}

/// Reads a model from bytes.
///
/// # Errors
/// [`LoadError`] with its kind, the node or byte at fault, and the way out.
pub fn read(bytes: &[u8], options: &ReadOptions<'_>) -> Result<Graph, LoadError> {
    read::read(bytes, options)
}

/// Reads a model from a file; external weights are looked for in its folder.
///
/// # Errors
/// As [`read`], with the file's name; [`ErrorKind::Io`] when the file cannot be read.
pub fn read_file(path: &Path, options: &ReadOptions<'_>) -> Result<Graph, LoadError> {
    let io = |e: std::io::Error| LoadError::io(e.to_string()).in_file(path);
    let meta = std::fs::metadata(path).map_err(io)?;
    if meta.is_dir() {
        return Err(LoadError::io("this is a folder, not a model").in_file(path));
    }
    let most = options.limits.model_bytes;
    if meta.len() > most {
        let size = meta.len();
        return Err(
            LoadError::limit(format!("the file has {size} bytes, the limit is {most}")).in_file(path),
        );
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    // A device or a growing file may hold more than its metadata says.
    std::io::Read::read_to_end(&mut std::io::Read::take(file, most.saturating_add(1)), &mut bytes)
        .map_err(io)?;
    let options = ReadOptions {
        base_dir: options.base_dir.or(Some(path.parent().unwrap_or(Path::new(".")))),
        ..options.clone()
    };
    read(&bytes, &options).map_err(|e| e.in_file(path))
}
