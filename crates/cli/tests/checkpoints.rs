//! `lowbit train --resume` where the newest checkpoint is damaged, gone, or of another version, and after signals.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::Ran;
use common::training::{CHECKPOINT, PREVIOUS, finish, same, start};
use sha2::{Digest, Sha256};

/// On a busy machine a run may end before it is stopped.
const ATTEMPTS: usize = 20;

/// The bytes of a file, `None` is no file.
type Bytes<'a> = Option<&'a [u8]>;

/// Waits for a file of a run, or for its end.
#[track_caller]
fn until(file: &Path, child: &mut Child) {
    let begin = Instant::now();
    while !file.exists() && child.try_wait().unwrap().is_none() {
        let patient = begin.elapsed() < Duration::from_secs(120);
        assert!(patient, "no {}", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A run that was killed when it had two checkpoints.
fn killed(folder: &Path) -> PathBuf {
    let run = folder.join("killed");
    for _ in 0..ATTEMPTS {
        let _ = fs::remove_dir_all(&run);
        let mut child = start(&run, &[]);
        until(&run.join(PREVIOUS), &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        if !run.join("model.onnx").exists() {
            break;
        }
    }
    assert!(!run.join("model.onnx").exists(), "each run ended first");
    // Between the two renames there is no newest one.
    if !run.join(CHECKPOINT).exists() {
        fs::copy(run.join(PREVIOUS), run.join(CHECKPOINT)).unwrap();
    }
    run
}

/// A copy of a run with other checkpoints.
fn copy(run: &Path, to: &Path, newest: Bytes<'_>, previous: Bytes<'_>) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for name in ["results.csv", "events.out.tfevents.0.lowbit"] {
        if run.join(name).exists() {
            fs::copy(run.join(name), to.join(name)).unwrap();
        }
    }
    for (name, bytes) in [(CHECKPOINT, newest), (PREVIOUS, previous)] {
        if let Some(bytes) = bytes {
            fs::write(to.join(name), bytes).unwrap();
        }
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at] ^= 4;
    out
}

/// A checkpoint of version 2.
fn tomorrow(bytes: &[u8]) -> Vec<u8> {
    let key = br#""lowbit.checkpoint":"1""#;
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
    let mut out = bytes[..bytes.len() - 32].to_vec();
    out[at + key.len() - 2] = b'2';
    let sum = Sha256::digest(&out);
    out.extend(sum);
    out
}

#[test]
fn where_the_newest_checkpoint_is_damaged_the_one_before_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, run) = (folder.path().join("whole"), killed(folder.path()));
    finish(start(&whole, &[])).code(0);
    let [newest, previous] = [CHECKPOINT, PREVIOUS].map(|name| fs::read(run.join(name)).unwrap());
    let length = newest.len();
    let cases: [(&str, Option<Vec<u8>>); 8] = [
        ("gone", None),
        ("empty", Some(Vec::new())),
        ("half of it", Some(newest[..length / 2].to_vec())),
        ("a byte too long", Some([&newest[..], b"x"].concat())),
        ("a bit of the header's length", Some(flipped(&newest, 1))),
        ("a bit of the header", Some(flipped(&newest, 60))),
        ("a bit of the data", Some(flipped(&newest, length - 500))),
        ("a bit of the checksum", Some(flipped(&newest, length - 1))),
    ];
    for (what, damaged) in cases {
        let broken = folder.path().join("broken");
        copy(&run, &broken, damaged.as_deref(), Some(&previous));
        let ran = finish(start(&broken, &["--resume"])).code(0);
        let note = ran.stderr.lines().next().unwrap_or_default();
        assert!(
            note.contains(CHECKPOINT) && note.contains("goes on from the checkpoint before it, of step "),
            "{what}: {}",
            ran.stderr
        );
        same(&whole, &broken, what);
    }
}

#[test]
fn without_a_whole_checkpoint_nothing_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let run = killed(folder.path());
    let [newest, previous] = [CHECKPOINT, PREVIOUS].map(|name| fs::read(run.join(name)).unwrap());
    let bad = flipped(&newest, newest.len() - 500);
    let (later, junk) = (tomorrow(&newest), b"what is this?".to_vec());
    let cases: [(&str, Bytes<'_>, Bytes<'_>, &str); 6] = [
        ("both damaged", Some(&bad), Some(&bad), "SHA-256"),
        ("no one before", Some(&bad), None, "no whole one beside it"),
        ("empty, no one before", Some(b""), None, "cut off after 0 bytes"),
        ("gone, and junk before", None, Some(&junk), "first 8 bytes"),
        ("both of tomorrow", Some(&later), Some(&later), "version \"2\""),
        // What a later lowbit has trained is not thrown away.
        (
            "of tomorrow",
            Some(&later),
            Some(&previous),
            "the lowbit that wrote it",
        ),
    ];
    for (what, newest, previous, sentence) in cases {
        let broken = folder.path().join("broken");
        copy(&run, &broken, newest, previous);
        let ran = finish(start(&broken, &["--resume"])).code(3);
        assert!(
            ran.stderr.contains(sentence) && ran.stderr.contains("--set output=DIR"),
            "{what}: {}",
            ran.stderr
        );
        for (name, bytes) in [(CHECKPOINT, newest), (PREVIOUS, previous)] {
            assert_eq!(fs::read(broken.join(name)).ok().as_deref(), bytes, "{what}");
        }
        assert!(!broken.join("model.onnx").exists(), "{what}");
    }
}

/// A run that gets signals behind its first checkpoint, if they still find it.
#[cfg(unix)]
fn signalled(run: &Path, signals: &[&str]) -> Ran {
    let mut child = start(run, &[]);
    until(&run.join(CHECKPOINT), &mut child);
    for signal in signals {
        let sent = Command::new("kill")
            .arg(signal)
            .arg(child.id().to_string())
            .status();
        sent.unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    finish(child)
}

/// SIGINT and SIGTERM write a checkpoint first; a run that is suspended goes on by itself.
#[cfg(unix)]
#[test]
fn a_run_that_a_signal_stopped_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    finish(start(&whole, &[])).code(0);
    for (signals, code) in [(&["-INT"][..], 130), (&["-TERM"], 143), (&["-STOP", "-CONT"], 0)] {
        let run = folder.path().join(format!("run{code}"));
        let mut ran = signalled(&run, signals);
        for _ in 0..ATTEMPTS {
            if ran.code == Some(code) {
                break;
            }
            fs::remove_dir_all(&run).unwrap();
            ran = signalled(&run, signals);
        }
        let ran = ran.code(code);
        if code != 0 {
            assert!(ran.stderr.contains("a checkpoint was written"), "{}", ran.stderr);
            finish(start(&run, &["--resume"])).code(0);
        }
        same(&whole, &run, &format!("{signals:?}"));
    }
}
