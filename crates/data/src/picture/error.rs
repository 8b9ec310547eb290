//! Why a picture could not be had.

use std::path::{Path, PathBuf};

use crate::plain::plain;

/// What went wrong; the variant tells whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The operating system refused.
    #[error("{0}")]
    Io(String),
    /// The first bytes are of no known picture format.
    #[error("not a picture ({0}); JPEG, PNG, BMP and WebP can be read")]
    Unknown(String),
    /// The file ends too early.
    #[error("the picture is cut off: {0}; fetch the file again")]
    Truncated(String),
    /// The bytes contradict the format.
    #[error("the picture is damaged: {0}")]
    Broken(String),
    /// A form of the format that is not read.
    #[error("{0}; save it as 8-bit JPEG or PNG")]
    Unsupported(String),
    /// A limit was hit before decoding.
    #[error("{0}")]
    Limit(String),
}

/// A [`Fault`] and, where known, the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureError {
    /// The file, when it was read from one.
    pub path: Option<PathBuf>,
    /// What went wrong.
    pub fault: Fault,
}

impl PictureError {
    /// The same error, naming a file.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        PictureError {
            path: Some(path.to_owned()),
            ..self
        }
    }
}

impl From<Fault> for PictureError {
    fn from(fault: Fault) -> Self {
        PictureError { path: None, fault }
    }
}

impl std::fmt::Display for PictureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", plain(path.display(), 4096), plain(&self.fault, 500)),
            None => f.write_str(&plain(&self.fault, 500)),
        }
    }
}

impl std::error::Error for PictureError {}
