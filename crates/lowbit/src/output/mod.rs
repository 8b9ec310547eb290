//! The only code that writes files. A file appears whole or not at all: temporary file in the same folder, write, sync, rename, sync of
//! the folder. Nothing is written over an input, through a symbolic link, or onto something that is no regular file.

mod folder;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::{Error, Result};

pub use folder::Folder;
pub(crate) use folder::holds_files;

const PREFIX: &str = ".lowbit-";
const SUFFIX: &str = ".tmp";

/// Bytes handed to the system at a time.
const CHUNK: usize = 1 << 20;

/// Writes a file whole or not at all. `inputs` are the files that the bytes were made from.
///
/// # Errors
/// [`Usage`](crate::ErrorKind::Usage) when the path is an input, a folder, a symbolic link or a device;
/// [`Io`](crate::ErrorKind::Io) when the system refuses: then the old file, if any, is untouched.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("out.txt");
/// lowbit::output::file(&path, b"whole", &[]).unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"whole");
/// assert!(lowbit::output::file(&path, b"over itself", &[&path]).is_err());
/// ```
pub fn file(path: &Path, bytes: &[u8], inputs: &[&Path]) -> Result<()> {
    check(path, inputs)?;
    write(path, bytes, None)
}

fn write(path: &Path, bytes: &[u8], previous: Option<&Path>) -> Result<()> {
    let folder = folder_of(path);
    remove_stale(folder);
    write_whole(path, folder, bytes, previous).map_err(|e| {
        let needed = format!("writing {} bytes: {e}", bytes.len());
        let before = match previous {
            None => "nothing was changed".to_string(),
            Some(previous) => format!("what was there is there, or is {}", previous.display()),
        };
        Error::new(crate::ErrorKind::Io, needed)
            .at(path.display())
            .help(format!("{before}; give another path, or make room"))
    })
}

/// Whether [`file()`] would accept the path: asked before long work, so that it is not lost in the end.
///
/// # Errors
/// As [`file()`], without writing.
pub fn check(path: &Path, inputs: &[&Path]) -> Result<()> {
    let refuse = |why: &str| Error::usage(format!("the output {why}")).at(path.display());
    if path.file_name().is_none() {
        return Err(refuse("is no file name").help("give the path of a file"));
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_symlink() => {
            return Err(refuse("is a symbolic link").help("give the path it points to, or remove it"));
        }
        Ok(meta) if meta.is_dir() => return Err(refuse("is a folder").help("give the path of a file in it")),
        Ok(meta) if !meta.is_file() => {
            return Err(refuse("is not a regular file").help("give the path of another"));
        }
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let folder = folder_of(path);
            let meta = fs::metadata(folder).map_err(|e| {
                Error::new(crate::ErrorKind::Io, e.to_string())
                    .at(folder.display())
                    .help("the folder of the output must exist: create it first")
            })?;
            if !meta.is_dir() {
                return Err(refuse("lies in something that is no folder"));
            }
        }
        Err(e) => return Err(Error::io(path, &e)),
    }
    for input in inputs {
        if same_file(path, input) {
            return Err(refuse("is the input itself, which is never overwritten").help("give another path"));
        }
    }
    Ok(())
}

/// Whether two outputs would be one file.
pub fn same_target(a: &Path, b: &Path) -> bool {
    let place = |p: &Path| {
        (
            fs::canonicalize(folder_of(p)).ok(),
            p.file_name().map(ToOwned::to_owned),
        )
    };
    same_file(a, b) || place(a) == place(b)
}

/// Whether results may be written to `path` when a data set is read from `data`: next to the pictures and annotations only a new
/// file, or an earlier list of results, is.
///
/// # Errors
/// [`Usage`](crate::ErrorKind::Usage) when the path is a file of the data set.
pub fn check_beside(path: &Path, data: &Path) -> Result<()> {
    let root = if data.is_dir() { data } else { folder_of(data) };
    let inside = match (fs::canonicalize(path), fs::canonicalize(root)) {
        (Ok(path), Ok(root)) => path.starts_with(root),
        _ => false,
    };
    let mut first = [0; 1];
    let results = File::open(path)
        .and_then(|mut f| f.read_exact(&mut first))
        .is_ok()
        && first == *b"[";
    if !inside || results {
        return Ok(());
    }
    Err(
        Error::usage("the output is a file of the data set, which is never overwritten")
            .at(path.display())
            .help("give another path"),
    )
}

/// A file name made from any text: letters, digits, `.`, `-`, `_` stay, all else becomes `_`; never empty, hidden or longer than 100 bytes.
///
/// ```
/// assert_eq!(lowbit::output::safe_name("../../etc/passwd\n"), "_.._etc_passwd_");
/// assert_eq!(lowbit::output::safe_name("2007_000027"), "2007_000027");
/// ```
pub fn safe_name(text: &str) -> String {
    let keep = |c: char| {
        if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') {
            c
        } else {
            '_'
        }
    };
    let mut name: String = text.trim_start_matches('.').chars().map(keep).collect();
    while name.len() > 100 {
        name.pop();
    }
    if name.is_empty() { "_".into() } else { name }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// What is there first becomes `previous`, where one is named, once the new bytes are safe: one of both is whole at any time.
fn write_whole(path: &Path, folder: &Path, bytes: &[u8], previous: Option<&Path>) -> io::Result<()> {
    let mut temp = locked_temp(folder)?;
    for chunk in bytes.chunks(CHUNK) {
        boundary()?;
        temp.write_all(chunk)?;
    }
    boundary()?;
    temp.as_file().sync_all()?;
    if let Some(previous) = previous {
        boundary()?;
        match fs::rename(path, previous) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    boundary()?;
    // The rename replaces a name, never what a link points to.
    temp.persist(path).map_err(|e| e.error)?;
    boundary_after_rename();
    sync_folder(folder)
}

/// A temporary file that holds its own lock: one without a lock was left behind by a process that died.
fn locked_temp(folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        boundary()?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        let permissions = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(permissions);
        let temp = builder.tempfile_in(folder)?;
        temp.as_file().lock()?;
        // Between creation and lock another process may have taken it for stale.
        if temp.path().exists() {
            return Ok(temp);
        }
    }
}

/// Removes temporary files of processes that died. Failing to do so harms nobody.
fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX));
        let regular = entry.file_type().is_ok_and(|t| t.is_file());
        if ours && regular {
            let path = entry.path();
            if File::open(&path).is_ok_and(|f| f.try_lock().is_ok()) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        match File::open(folder)?.sync_all() {
            // Some file systems cannot sync a folder; the rename stands all the same.
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            other => other,
        }
    } else {
        Ok(())
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        match (fs::metadata(a), fs::metadata(b)) {
            (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
            _ => false,
        }
    }
    #[cfg(not(unix))]
    {
        matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
    }
}

/// Stands before every call of the system that changes a file. Debug builds read `LOWBIT_TEST_FAULT` = `fail:K` or `kill:K`: the K-th
/// boundary of the process fails as a full disk does, or the process dies there as if killed; `panic:K` panics there.
fn boundary() -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(kind) = fault::due() {
        return Err(kind.into());
    }
    Ok(())
}

/// The new file is in place: a fault here can only be a kill.
fn boundary_after_rename() {
    #[cfg(debug_assertions)]
    let _ = fault::due();
}

#[cfg(debug_assertions)]
mod fault {
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static PASSED: AtomicUsize = AtomicUsize::new(0);

    pub(super) fn due() -> Option<ErrorKind> {
        let setting = std::env::var("LOWBIT_TEST_FAULT").ok()?;
        let (what, k) = setting.split_once(':')?;
        let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if passed != k.parse::<usize>().ok()? {
            return None;
        }
        if what == "kill" {
            std::process::abort();
        }
        assert!(what != "panic", "planted");
        Some(ErrorKind::StorageFull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn left_over(folder: &Path) -> usize {
        fs::read_dir(folder)
            .unwrap()
            .filter(|e| {
                e.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with(PREFIX)
            })
            .count()
    }

    #[test]
    fn replaces_whole_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("日本 ü.onnx");
        file(&path, b"one", &[]).unwrap();
        file(&path, b"two", &[]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(left_over(dir.path()), 0);
    }

    #[cfg(unix)]
    #[test]
    fn refuses_links_folders_devices_and_the_input_under_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in");
        fs::write(&input, "in").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&input, &link).unwrap();
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &dangling).unwrap();
        let hard = dir.path().join("hard");
        fs::hard_link(&input, &hard).unwrap();
        let dotted = dir.path().join("./in");
        for bad in [
            &input,
            &link,
            &dangling,
            &hard,
            &dotted,
            &dir.path().to_path_buf(),
        ] {
            let e = file(bad, b"x", &[&input]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage, "{e}");
        }
        assert_eq!(
            file(Path::new("/dev/full"), b"x", &[]).unwrap_err().kind(),
            ErrorKind::Usage
        );
        assert_eq!(fs::read(&input).unwrap(), b"in");
        assert_eq!(left_over(dir.path()), 0);
    }

    #[test]
    fn a_missing_folder_is_an_io_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let e = file(&dir.path().join("no/out"), b"x", &[]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io);
        assert!(e.to_string().contains("no"), "{e}");
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_a_live_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(".lowbit-dead.tmp");
        fs::write(&dead, "half").unwrap();
        let live = locked_temp(dir.path()).unwrap();
        file(&dir.path().join("out"), b"x", &[]).unwrap();
        assert!(!dead.exists());
        assert!(live.path().exists());
    }

    #[cfg(unix)]
    #[test]
    fn no_link_inside_a_folder_leads_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (out, outside) = (dir.path().join("out"), dir.path().join("outside"));
        fs::create_dir_all(outside.join("deep")).unwrap();
        let folder = Folder::create(&out, false).unwrap();
        std::os::unix::fs::symlink(&outside, out.join("link")).unwrap();
        for name in ["link/x", "link/deep/x", "link/new/x"] {
            let e = folder.write(name, b"1", &[]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage, "{name}: {e}");
        }
        assert!(!outside.join("x").exists() && !outside.join("deep/x").exists());
        assert!(!outside.join("new").exists());
    }

    #[test]
    fn a_folder_is_new_or_empty_or_allowed_and_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs/a");
        let folder = Folder::create(&path, false).unwrap();
        folder.write("x/y.txt", b"1", &[]).unwrap();
        for bad in ["../z", "/z", "", "x/../../z"] {
            assert!(folder.write(bad, b"1", &[]).is_err(), "{bad}");
        }
        let e = Folder::create(&path, true).unwrap_err();
        assert!(e.to_string().contains("another lowbit process"), "{e}");
        Folder::of_another(&path).write("z", b"1", &[]).unwrap();
        assert!(!path.join("z").exists());
        drop(folder);
        assert_eq!(Folder::create(&path, false).unwrap_err().kind(), ErrorKind::Usage);
        Folder::create(&path, true).unwrap();
    }
}
