//! Text files of a data set: bounded, with or without byte order mark, with any line ends.

use std::io::Read;
use std::path::{Component, Path};

use super::{Limits, ReadError, ReadFault};

/// Contents of a text file without its byte order mark.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    open(path, limits)?
        .take(limits.file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| ReadError::io(path, &e))?;
    if bytes.len() as u64 > limits.file_bytes {
        return Err(too_large(path, limits));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(ReadError::syntax(path, 1, "the file is UTF-16; save it as UTF-8"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count();
        ReadError::syntax(
            path,
            line,
            format!("byte {good} is not UTF-8; save the file as UTF-8"),
        )
    })
}

/// A regular file within the limit, opened.
pub(super) fn open(path: &Path, limits: &Limits) -> Result<std::fs::File, ReadError> {
    let io = |e: std::io::Error| ReadError::io(path, &e);
    let file = std::fs::File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(ReadError::new(path, ReadFault::Io("not a regular file".into())));
    }
    if meta.len() > limits.file_bytes {
        return Err(too_large(path, limits));
    }
    Ok(file)
}

fn too_large(path: &Path, limits: &Limits) -> ReadError {
    let what = format!("the file is larger than {} bytes", limits.file_bytes);
    ReadError::new(path, ReadFault::Limit(what))
}

/// Lines that hold something, trimmed, with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(k, line)| (k + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

/// Whether a relative path stays below the folder it starts from, as far as its words tell.
pub(super) fn stays_inside(path: &Path) -> bool {
    path.components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        && !path.as_os_str().is_empty()
}

/// Text of a file made fit for a message: one line, no control characters, not too long.
pub(super) fn quoted(text: &str) -> String {
    let mut out: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    format!("\"{out}\"")
}
