//! One error type: a class that decides the exit code, one sentence with the place, and the way out.

use std::fmt;
use std::path::Path;

/// Class of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A gate that was asked for said no.
    Gate,
    /// A setting that does not exist or does not fit.
    Usage,
    /// A model, picture, annotation or head that is wrong.
    BadInput,
    /// Valid, but not supported.
    Unsupported,
    /// The operating system refused.
    Io,
    /// A limit of memory, time or size was reached.
    Limit,
    /// Cancelled from outside.
    Interrupted,
}

impl ErrorKind {
    /// Exit code of the command line.
    ///
    /// ```
    /// assert_eq!(lowbit::ErrorKind::Unsupported.exit_code(), 4);
    /// ```
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Gate => 1,
            ErrorKind::Usage => 2,
            ErrorKind::BadInput => 3,
            ErrorKind::Unsupported => 4,
            ErrorKind::Io => 5,
            ErrorKind::Limit => 6,
            ErrorKind::Interrupted => 130,
        }
    }
}

/// What went wrong: `Display` prints one sentence with file or node, then the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    place: Vec<String>,
    message: String,
    help: Option<String>,
}

/// Result of the façade.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of a class with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            place: Vec::new(),
            message: message.into(),
            help: None,
        }))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Usage, message)
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::BadInput, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unsupported, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Limit, message)
    }

    /// A fault of the operating system at a path.
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        let e = Error::new(ErrorKind::Io, error.to_string()).at(path.display());
        match data::read::way_out(error.kind()) {
            Some(help) => e.help(help),
            None => e,
        }
    }

    /// Puts a place before the sentence; the outermost comes first.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.place.insert(0, place.to_string());
        self
    }

    /// Adds the way out, unless there is one already.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.get_or_insert(help.into());
        self
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence without place and way out.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// File, node or picture, outermost first.
    pub fn place(&self) -> &[String] {
        &self.0.place
    }

    /// What to do next.
    pub fn way_out(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.0.place {
            write!(f, "{}: ", crate::text::printable(place))?;
        }
        f.write_str(&crate::text::printable(&self.0.message))?;
        match &self.0.help {
            Some(help) => write!(f, "; {}", crate::text::printable(help)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<graph::onnx::LoadError> for Error {
    fn from(e: graph::onnx::LoadError) -> Self {
        // The reader's sentence holds node and way out already.
        Error::new(of_reader(e.kind()), e.to_string())
    }
}

fn of_reader(kind: graph::onnx::ErrorKind) -> ErrorKind {
    use graph::onnx::ErrorKind as K;
    match kind {
        K::BadInput => ErrorKind::BadInput,
        K::Unsupported => ErrorKind::Unsupported,
        K::Io => ErrorKind::Io,
        K::Limit => ErrorKind::Limit,
    }
}

impl From<tasks::detect::HeadError> for Error {
    fn from(e: tasks::detect::HeadError) -> Self {
        Error::bad(e.to_string())
    }
}

impl From<tasks::detect::DecodeError> for Error {
    fn from(e: tasks::detect::DecodeError) -> Self {
        Error::bad(e.to_string())
    }
}

impl From<quant::annotate::AnnotateError> for Error {
    fn from(e: quant::annotate::AnnotateError) -> Self {
        use quant::annotate::AnnotateError as E;
        match e {
            E::ActBits(_) | E::NoLayer { .. } => Error::usage(e.to_string()),
            E::NonFinite { .. } => Error::bad(e.to_string()),
        }
    }
}

impl From<quant::grid::UnknownGrid> for Error {
    fn from(e: quant::grid::UnknownGrid) -> Self {
        Error::usage(e.to_string())
    }
}

impl From<graph::passes::PassError> for Error {
    fn from(e: graph::passes::PassError) -> Self {
        Error::new(of_reader(e.kind()), e.to_string())
    }
}

impl From<graph::onnx::WriteError> for Error {
    fn from(e: graph::onnx::WriteError) -> Self {
        use graph::onnx::WriteError as E;
        let kind = match e {
            E::TooLarge(_) => ErrorKind::Limit,
            _ => ErrorKind::Unsupported,
        };
        Error::new(kind, e.to_string())
    }
}

impl From<data::picture::PictureError> for Error {
    fn from(e: data::picture::PictureError) -> Self {
        use data::picture::Fault as F;
        let kind = match e.fault {
            F::Io(_) => ErrorKind::Io,
            F::Limit(_) => ErrorKind::Limit,
            F::Unsupported(_) => ErrorKind::Unsupported,
            _ => ErrorKind::BadInput,
        };
        Error::new(kind, e.to_string())
    }
}

impl From<data::read::ReadError> for Error {
    fn from(e: data::read::ReadError) -> Self {
        use data::read::ReadFault as F;
        let kind = match e.fault {
            F::Io(_) => ErrorKind::Io,
            F::Limit(_) => ErrorKind::Limit,
            _ => ErrorKind::BadInput,
        };
        Error::new(kind, e.to_string())
    }
}

impl From<data::PrepareError> for Error {
    fn from(e: data::PrepareError) -> Self {
        Error::bad(e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_sentence_way_out_and_no_control_characters() {
        let e = Error::bad("bell \x07")
            .at("node \"a\x1b[31m\"")
            .at("m.onnx")
            .help("do this");
        assert_eq!(
            e.to_string(),
            "m.onnx: node \"a\\u{1b}[31m\": bell \\u{7}; do this"
        );
        assert_eq!(e.kind().exit_code(), 3);
    }
}
