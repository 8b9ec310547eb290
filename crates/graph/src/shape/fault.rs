//! What is wrong with an operator's inputs.

use std::fmt;

use crate::onnx::ErrorKind;

/// Why an operator cannot have these inputs: a sentence, and the way out where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeFault {
    kind: ErrorKind,
    message: String,
    help: Option<String>,
}

impl ShapeFault {
    /// The model contradicts the ONNX specification.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        ShapeFault {
            kind: ErrorKind::BadInput,
            message: message.into(),
            help: None,
        }
    }

    /// The specification allows it, lowbit does not have it.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        ShapeFault {
            kind: ErrorKind::Unsupported,
            ..Self::bad(message)
        }
    }

    /// What is asked for is more than a limit.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        ShapeFault {
            kind: ErrorKind::Limit,
            ..Self::bad(message)
        }
    }

    /// Adds the way out.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.get_or_insert(help.into());
        self
    }

    /// Class of the fault, for exit codes.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, without the way out.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ShapeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ShapeFault {}

/// A [`ShapeFault`] with its place in the graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node \"{}\" ({operator}): {fault}", .node.escape_debug())]
pub struct ShapeError {
    /// Name of the node.
    pub node: String,
    /// Its operator.
    pub operator: &'static str,
    /// What is wrong.
    pub fault: ShapeFault,
}

impl ShapeError {
    /// Class of the fault, for exit codes.
    pub fn kind(&self) -> ErrorKind {
        self.fault.kind()
    }
}
