//! Runs of `lowbit train` that take a second or two.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Ran, lowbit};

pub const CHECKPOINT: &str = "checkpoint.safetensors";
pub const PREVIOUS: &str = "checkpoint.previous.safetensors";

/// Small enough for many runs: 24 steps of 2 pictures.
const SHORT: [&str; 8] = [
    "steps=24",
    "batch=2",
    "zoo.size=64",
    "zoo.width=4",
    "data.count=30",
    "eval.count=4",
    "checkpoint.every=3",
    "activation.calibration=4",
];

pub fn recipe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/smoke-synth.toml")
}

/// Settings of `more` come last, and hold.
pub fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = lowbit();
    command.arg("train").arg(recipe()).args(["-t", "1", "--json"]);
    let output = format!("output={}", folder.display());
    for setting in SHORT.into_iter().chain([output.as_str()]) {
        command.args(["--set", setting]);
    }
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn start(folder: &Path, more: &[&str]) -> Child {
    command(folder, more).spawn().unwrap()
}

#[track_caller]
pub fn finish(child: Child) -> Ran {
    Ran::of(&child.wait_with_output().unwrap())
}

/// Two runs have ended with the same bytes.
#[track_caller]
pub fn same(whole: &Path, broken: &Path, what: &str) {
    for name in [
        "model.onnx",
        CHECKPOINT,
        "results.csv",
        "events.out.tfevents.0.lowbit",
    ] {
        let read = |f: &Path| std::fs::read(f.join(name)).unwrap();
        assert!(read(whole) == read(broken), "{name}: {what}");
    }
}
