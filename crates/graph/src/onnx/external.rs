//! Weights in a side file: opened relative to the model's folder, component by component, never through a link.
//!
//! A path from a file is hostile until proved harmless (CVE-2024-27318, CVE-2025-51480, CVE-2026-27489): `..`, absolute
//! paths, symbolic links at any component, hard links, devices and FIFOs are refused. On Unix each component is opened
//! relative to the handle of the one before it with no-follow, so a race that swaps links cannot escape the folder.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::Source;
use super::error::{Load, LoadError, quoted};

/// Reads the `want` bytes that a tensor's `external_data` entries name.
pub(crate) fn read(entries: &[(&str, &str)], want: usize, source: &Source<'_>) -> Load<Vec<u8>> {
    let Some(base) = source.base_dir else {
        return Err(
            LoadError::bad("the weights are in an external file, and no folder to look in is known")
                .help("load the model from its path rather than from bytes"),
        );
    };
    let (mut location, mut offset, mut length) = (None, 0u64, None);
    let number = |key: &str, value: &str| {
        value.parse::<u64>().map_err(|_| {
            LoadError::bad(format!(
                "external data: {key} is {}, not a byte count",
                quoted(value)
            ))
        })
    };
    for &(key, value) in entries {
        match key {
            "location" => location = Some(value),
            "offset" => offset = number(key, value)?,
            "length" => length = Some(number(key, value)?),
            // The checksum is of the whole file, optional, and SHA-1: lengths and the model's own digest guard us.
            "checksum" => {}
            _ => {
                return Err(LoadError::bad(format!(
                    "external data: the key {} is not known",
                    quoted(key)
                )));
            }
        }
    }
    let location = location.ok_or_else(|| LoadError::bad("external data: no location is given"))?;
    if let Some(length) = length.filter(|&l| l != want as u64) {
        return Err(LoadError::bad(format!(
            "external data: length is {length}, the shape takes {want} bytes"
        )));
    }
    let names = components(location)?;
    let mut file = open(base, &names, location)?;
    if let Some(seen) = source.seen {
        seen.borrow_mut().insert(base.join(location));
    }
    let size = file.metadata().map_err(|e| io_error(location, &e))?.len();
    if offset.checked_add(want as u64).is_none_or(|end| end > size) {
        return Err(LoadError::bad(format!(
            "external data: bytes {offset} to {offset} + {want} are wanted of {}, which has {size}",
            quoted(location)
        )));
    }
    file.seek(SeekFrom::Start(offset))
        .map_err(|e| io_error(location, &e))?;
    let mut out = Vec::new();
    out.try_reserve_exact(want)
        .map_err(|_| LoadError::limit(format!("no memory for {want} bytes of external data")))?;
    file.take(want as u64)
        .read_to_end(&mut out)
        .map_err(|e| io_error(location, &e))?;
    // A file that shrinks meanwhile gives fewer bytes; the caller's exact length check refuses them.
    Ok(out)
}

fn io_error(location: &str, e: &std::io::Error) -> LoadError {
    LoadError::io(format!("external file {}: {e}", quoted(location)))
}

fn refused(location: &str, why: &str) -> LoadError {
    LoadError::bad(format!("external file {} {why}", quoted(location)))
        .help("external data must be an ordinary file inside the model's folder")
}

/// The plain names that make up a location; `/` separates on every system, `\` and `:` never appear.
fn components(location: &str) -> Load<Vec<&str>> {
    if location.contains(['\\', ':', '\0']) {
        return Err(refused(
            location,
            "has a character that is a path separator or drive mark elsewhere",
        ));
    }
    let mut out = Vec::new();
    for part in Path::new(location).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => {
                out.push(name.to_str().ok_or_else(|| refused(location, "is not UTF-8"))?);
            }
            Component::ParentDir => return Err(refused(location, "leaves the model's folder")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(refused(location, "is an absolute path"));
            }
        }
    }
    if out.is_empty() {
        return Err(refused(location, "names no file"));
    }
    Ok(out)
}

#[cfg(unix)]
fn open(base: &Path, names: &[&str], location: &str) -> Load<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::os::unix::fs::MetadataExt;

    let refuse = |e: rustix::io::Errno| match e {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => refused(
            location,
            "goes through a symbolic link or a file that is not a folder",
        ),
        e => io_error(location, &e.into()),
    };
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = if base.as_os_str().is_empty() {
        Path::new(".")
    } else {
        base
    };
    let mut dir = openat(CWD, base, folder, Mode::empty()).map_err(|e| io_error(location, &e.into()))?;
    let (last, folders) = names
        .split_last()
        .ok_or_else(|| refused(location, "names no file"))?;
    for name in folders {
        dir = openat(&dir, *name, folder | OFlags::NOFOLLOW, Mode::empty()).map_err(refuse)?;
    }
    // NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&dir, *last, flags, Mode::empty()).map_err(refuse)?);
    let meta = file.metadata().map_err(|e| io_error(location, &e))?;
    if !meta.is_file() {
        return Err(refused(location, "is not a regular file"));
    }
    if meta.nlink() != 1 {
        return Err(refused(location, "has more than one hard link"));
    }
    Ok(file)
}

#[cfg(not(unix))]
fn open(base: &Path, names: &[&str], location: &str) -> Load<File> {
    let mut path = base.to_path_buf();
    for name in names {
        path.push(name);
        let meta = std::fs::symlink_metadata(&path).map_err(|e| io_error(location, &e))?;
        if meta.is_symlink() {
            return Err(refused(location, "goes through a symbolic link"));
        }
    }
    let file = File::open(&path).map_err(|e| io_error(location, &e))?;
    if !file.metadata().map_err(|e| io_error(location, &e))?.is_file() {
        return Err(refused(location, "is not a regular file"));
    }
    Ok(file)
}
