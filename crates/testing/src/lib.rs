//! What tests of several crates share. Never part of a release.
//!
//! Shared detectors and pictures are found by `LOWBIT_DATA` alone, independent programs by `LOWBIT_PYTHON`. Without
//! them a test prints SKIPPED and returns; where `LOWBIT_REQUIRE` lists `data` or `python` it fails instead, so that
//! a skip can never pass for a success.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Spiking neurons: numbers of an independent program.
pub const SNN_VECTORS: &str = include_str!("../vectors/snn.json");

/// Whether `LOWBIT_REQUIRE`, a comma list, names this.
pub fn required(what: &str) -> bool {
    std::env::var("LOWBIT_REQUIRE").is_ok_and(|list| list.split(',').any(|w| w.trim() == what))
}

/// Prints SKIPPED, or fails where `LOWBIT_REQUIRE` lists `what`.
pub fn skip(test: &str, what: &str, why: &str) {
    assert!(!required(what), "{test}: LOWBIT_REQUIRE lists {what}, but {why}");
    println!("SKIPPED {test}: {why}");
}

fn variable(test: &str, what: &str, name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(name)
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    if found.is_none() {
        skip(test, what, &format!("{name} is not set"));
    }
    found
}

/// The folder of shared detectors (`models/`), pictures (`pictures/`) and independent checks (`check/`).
pub fn data(test: &str) -> Option<PathBuf> {
    variable(test, "data", "LOWBIT_DATA")
}

/// All shared models, sorted.
pub fn models(test: &str) -> Option<Vec<PathBuf>> {
    let folder = data(test)?.join("models");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut models: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    models.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    models.sort();
    Some(models)
}

/// The Python with the packages of `.ci/requirements.txt`.
pub fn python(test: &str) -> Option<PathBuf> {
    variable(test, "python", "LOWBIT_PYTHON")
}

/// Root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a script of the repository (path from its root) to its end; panics with what it printed when it fails.
pub fn run_script<S: AsRef<std::ffi::OsStr>>(python: &Path, script: &str, arguments: &[S]) -> String {
    let output = Command::new(python)
        .arg(root().join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", python.display()));
    assert!(
        output.status.success(),
        "{script} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder of a test's own under cargo's target folder, emptied.
pub fn scratch(test: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("tests").join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    folder
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// In 0…1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * 2f64.powi(-53)
    }

    /// In 0…1, of single precision.
    pub fn unit_f32(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// In `low..=high`.
    pub fn range(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Between two numbers.
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.range(1, 100) <= percent
    }
}
