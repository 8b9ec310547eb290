//! Why a data set could not be read.

use std::path::{Path, PathBuf};

use crate::plain::plain;

/// What went wrong; the variant tells whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// The operating system refused.
    #[error("{0}")]
    Io(String),
    /// A file or list that should be there is not.
    #[error("{0}")]
    Missing(String),
    /// The text is not what the format says.
    #[error("{0}")]
    Syntax(String),
    /// A limit was hit.
    #[error("{0}; raise the limit, or use a smaller data set")]
    Limit(String),
}

/// What a user can do about a refusal of the system, where it is one of the usual ones.
pub fn way_out(refusal: std::io::ErrorKind) -> Option<&'static str> {
    use std::io::ErrorKind as K;
    match refusal {
        K::NotFound => Some("check the path: a relative one begins in the current folder"),
        K::PermissionDenied => Some("change the permissions, or take another path"),
        K::IsADirectory => Some("give a file, not a folder"),
        K::NotADirectory => Some("a part of the path is a file: check it"),
        _ => None,
    }
}

/// A [`ReadFault`] with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// The file or folder.
    pub path: PathBuf,
    /// Line, counted from 1, where one is to blame.
    pub line: Option<usize>,
    /// What went wrong.
    pub fault: ReadFault,
}

impl ReadError {
    pub(super) fn new(path: &Path, fault: ReadFault) -> Self {
        ReadError {
            path: path.to_owned(),
            line: None,
            fault,
        }
    }

    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        let way_out = way_out(error.kind()).map_or(String::new(), |w| format!("; {w}"));
        ReadError::new(path, ReadFault::Io(format!("{error}{way_out}")))
    }

    pub(super) fn syntax(path: &Path, line: usize, what: impl Into<String>) -> Self {
        ReadError {
            line: Some(line),
            ..ReadError::new(path, ReadFault::Syntax(what.into()))
        }
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&plain(self.path.display(), 4096))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", plain(&self.fault, 1000))
    }
}

impl std::error::Error for ReadError {}
