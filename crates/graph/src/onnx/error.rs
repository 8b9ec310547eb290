//! Why a file could not be loaded: what, where, why, and the way out.

use std::fmt;
use std::path::{Path, PathBuf};

/// Class of a [`LoadError`]; the command line turns it into its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes are not a valid model (exit code 3).
    BadInput,
    /// A valid model that uses something lowbit does not have (exit code 4).
    Unsupported,
    /// The operating system refused (exit code 5).
    Io,
    /// A limit of [`ReadOptions`](super::ReadOptions) was reached (exit code 6).
    Limit,
}

/// A model that does not load. `Display` prints one sentence with file, node, operator and opset, then the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    file: Option<PathBuf>,
    byte: Option<usize>,
    node: Option<NodePlace>,
    message: String,
    help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NodePlace {
    name: String,
    operator: String,
    opset: i64,
}

impl LoadError {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        LoadError(Box::new(Inner {
            kind,
            file: None,
            byte: None,
            node: None,
            message: message.into(),
            help: None,
        }))
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    pub(crate) fn io(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Io, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.get_or_insert(help.into());
        self
    }

    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.0.message = message;
        self
    }

    pub(crate) fn at_byte(mut self, byte: usize) -> Self {
        self.0.byte.get_or_insert(byte);
        self
    }

    pub(crate) fn at_node(mut self, name: &str, operator: &str, opset: i64) -> Self {
        self.0.node.get_or_insert_with(|| NodePlace {
            name: name.into(),
            operator: operator.into(),
            opset,
        });
        self
    }

    pub(crate) fn in_file(mut self, file: &Path) -> Self {
        self.0.file.get_or_insert_with(|| file.into());
        self
    }

    /// Class of the fault.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file, when reading from one.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Offset in the file of the byte that could not be understood.
    pub fn byte(&self) -> Option<usize> {
        self.0.byte
    }

    /// Name of the node at fault, as in the file.
    pub fn node(&self) -> Option<&str> {
        Some(&self.0.node.as_ref()?.name)
    }

    /// Operator of the node at fault.
    pub fn operator(&self) -> Option<&str> {
        Some(&self.0.node.as_ref()?.operator)
    }

    /// Opset that governs the node at fault.
    pub fn opset(&self) -> Option<i64> {
        Some(self.0.node.as_ref()?.opset)
    }

    /// What is wrong, without place and way out.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &*self.0;
        if let Some(file) = &e.file {
            write!(f, "{}: ", file.display().to_string().escape_debug())?;
        }
        if let Some(n) = &e.node {
            let (name, operator) = (n.name.escape_debug(), n.operator.escape_debug());
            write!(f, "node \"{name}\" ({operator}, opset {}): ", n.opset)?;
        }
        f.write_str(&e.message)?;
        if let Some(byte) = e.byte {
            write!(f, " (at byte {byte})")?;
        }
        match &e.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}

/// Result of the reader.
pub(crate) type Load<T> = Result<T, LoadError>;

/// A name from a file, quoted and shortened for a message: no control characters reach a terminal.
pub(crate) fn quoted(name: &str) -> String {
    const LONGEST: usize = 120;
    if name.chars().count() <= LONGEST {
        format!("\"{}\"", name.escape_debug())
    } else {
        let head: String = name.chars().take(LONGEST).collect();
        format!("\"{}…\"", head.escape_debug())
    }
}
