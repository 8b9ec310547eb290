//! Folders of results: new, empty or allowed, with one writer.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::{boundary, check, file, remove_stale, sync_folder};
use crate::{Error, Result};

/// A folder of results, locked while it is written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The lock goes with the handle. Without one nothing is written.
    lock: Option<File>,
}

impl Folder {
    /// Creates a folder, or takes an empty one; one with files in it only when `exist_ok`.
    ///
    /// # Errors
    /// A folder that holds files, a symbolic link, another process writing there, the system's refusal.
    pub fn create(path: &Path, exist_ok: bool) -> Result<Folder> {
        let io = |e: io::Error| Error::io(path, &e);
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_symlink() => {
                return Err(Error::usage("the output folder is a symbolic link")
                    .at(path.display())
                    .help("give the path it points to"));
            }
            Ok(meta) if !meta.is_dir() => {
                return Err(Error::usage("the output is a file, a folder is needed")
                    .at(path.display())
                    .help("give a new folder"));
            }
            Ok(_) => {
                if holds_files(path).map_err(io)? && !exist_ok {
                    return Err(Error::usage("the output folder is not empty")
                        .at(path.display())
                        .help("give a new folder, or --exist-ok to replace files of the same names"));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                boundary().and_then(|()| fs::create_dir_all(path)).map_err(io)?;
            }
            Err(e) => return Err(io(e)),
        }
        let lock = File::open(path).map_err(io)?;
        lock.try_lock().map_err(|_| {
            Error::new(
                crate::ErrorKind::Io,
                "another lowbit process writes to this folder",
            )
            .at(path.display())
            .help("wait for it, or give another folder")
        })?;
        Ok(Folder {
            path: path.to_path_buf(),
            lock: Some(lock),
        })
    }

    /// A folder that another process writes: what is written to it here is dropped.
    pub fn of_another(path: &Path) -> Folder {
        Folder {
            path: path.to_path_buf(),
            lock: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the folder, or of a folder below it (`"Annotations/a.xml"`), whole or not at all.
    ///
    /// # Errors
    /// As [`file()`]; names that leave the folder are refused.
    pub fn write(&self, name: &str, bytes: &[u8], inputs: &[&Path]) -> Result<PathBuf> {
        let inside = Path::new(name);
        let normal = inside.components().all(|c| matches!(c, Component::Normal(_)));
        if !normal || name.is_empty() {
            return Err(
                Error::bad(format!("\"{name}\" is no name of a file below the folder"))
                    .at(self.path.display()),
            );
        }
        let path = self.path.join(inside);
        if self.lock.is_none() {
            return Ok(path);
        }
        if let Some(parent) = path.parent().filter(|p| *p != self.path) {
            self.refuse_links(parent)?;
            if !parent.is_dir() {
                boundary()
                    .and_then(|()| fs::create_dir_all(parent))
                    .map_err(|e| Error::io(parent, &e))?;
            }
        }
        file(&path, bytes, inputs)?;
        Ok(path)
    }

    /// Replaces a file of the folder, and keeps what was there as `previous`: at any time one of both is whole.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn replace(&self, name: &str, previous: &str, bytes: &[u8]) -> Result<()> {
        let (path, previous) = (self.path.join(name), self.path.join(previous));
        if self.lock.is_none() {
            return Ok(());
        }
        check(&path, &[])?;
        check(&previous, &[])?;
        super::write(&path, bytes, Some(&previous))
    }

    /// Puts `previous` back in the place of a file that turned out to be damaged.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn put_back(&self, name: &str, previous: &str) -> Result<()> {
        let path = self.path.join(name);
        if self.lock.is_none() {
            return Ok(());
        }
        boundary()
            .and_then(|()| fs::rename(self.path.join(previous), &path))
            .and_then(|()| sync_folder(&self.path))
            .map_err(|e| Error::io(&path, &e))
    }

    /// No folder on the way down is a link, which would lead out of the folder of results.
    fn refuse_links(&self, inside: &Path) -> Result<()> {
        for folder in inside.ancestors().take_while(|f| *f != self.path) {
            if fs::symlink_metadata(folder).is_ok_and(|meta| meta.file_type().is_symlink()) {
                return Err(Error::usage("the output folder is a symbolic link")
                    .at(folder.display())
                    .help("give a new folder, or remove the link"));
            }
        }
        Ok(())
    }
}

/// Whether a folder holds anything but what a dead process of ours left, which is removed.
pub(crate) fn holds_files(folder: &Path) -> io::Result<bool> {
    remove_stale(folder);
    Ok(fs::read_dir(folder)?.next().is_some())
}
