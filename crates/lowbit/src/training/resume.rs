//! What a run goes on from: its newest checkpoint, or the one before where that is damaged or gone.

use std::fs::File;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};

use train::checkpoint::{Checkpoint, CheckpointError};

use super::{CHECKPOINT, PREVIOUS};
use crate::output::Folder;
use crate::{Control, Error, Result};

/// A checkpoint that is whole.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) checkpoint: Checkpoint,
    /// Why it is the one before the newest, where it is.
    pub(super) fallback: Option<String>,
}

/// The newest checkpoint of a folder that is whole; `None` where there is none at all.
///
/// # Errors
/// A checkpoint of another version; none that is whole; a file that may not be read.
pub(super) fn newest(folder: &Folder, control: &Control) -> Result<Option<Found>> {
    let [newest, previous] = [CHECKPOINT, PREVIOUS].map(|name| folder.path().join(name));
    let fault = match read(&newest, control)? {
        Some(Ok(checkpoint)) => {
            return Ok(Some(Found {
                path: newest,
                checkpoint,
                fallback: None,
            }));
        }
        Some(Err(e @ CheckpointError::Damaged(_))) => Some(e),
        Some(Err(e)) => return Err(refused(&e, &newest)),
        None => None,
    };
    let why = fault
        .as_ref()
        .map_or("there is no such file".into(), |e| e.to_string());
    match (read(&previous, control)?, fault) {
        (Some(Ok(checkpoint)), _) => Ok(Some(Found {
            fallback: Some(format!(
                "{}: {why}; the run goes on from the checkpoint before it, of step {}",
                newest.display(),
                checkpoint.number("step").unwrap_or_default()
            )),
            path: previous,
            checkpoint,
        })),
        (_, Some(e)) => Err(refused(&e, &newest)),
        (Some(Err(e)), None) => Err(refused(&e, &previous)),
        (None, None) => Ok(None),
    }
}

/// A file as a checkpoint, `None` where there is no file.
fn read(path: &Path, control: &Control) -> Result<Option<std::result::Result<Checkpoint, CheckpointError>>> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let mut file = match File::open(path) {
        Err(e) if e.kind() == NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let length = file.metadata().map_err(io)?.len();
    control.admit(usize::try_from(length).unwrap_or(usize::MAX), "the checkpoint")?;
    Ok(Some(Checkpoint::read_from(&mut file, length)))
}

/// The sentence of a checkpoint that cannot be used.
pub(super) fn refused(e: &CheckpointError, path: &Path) -> Error {
    let way_out = match e {
        CheckpointError::Damaged(_) => {
            "there is no whole one beside it; take both from a copy, or begin anew in another folder with --set output=DIR"
        }
        CheckpointError::Version(_) | CheckpointError::Unversioned => {
            "end the run with the lowbit that wrote it, or begin anew in another folder with --set output=DIR"
        }
        _ => "go on with the recipe it was begun with, or begin anew in another folder with --set output=DIR",
    };
    Error::bad(e.to_string()).at(path.display()).help(way_out)
}
