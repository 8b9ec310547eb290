//! The real binary, run in a folder of its own.
#![allow(dead_code, unreachable_pub)]

pub mod training;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a run gave.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: &Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code; a panic of the program is never right.
    #[track_caller]
    pub fn code(self, code: i32) -> Ran {
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// The binary, without settings of the environment that runs the tests and without the user's cache.
pub fn lowbit() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lowbit"));
    command
        .env_remove("LOWBIT_ISA")
        .env_remove("LOWBIT_TEST_FAULT")
        .env("LOWBIT_CACHE", "");
    command
}

/// Runs it with arguments separated by spaces, then paths.
#[track_caller]
pub fn run(words: &str, paths: &[&Path]) -> Ran {
    let output = lowbit()
        .args(words.split_whitespace())
        .args(paths)
        .output()
        .unwrap();
    Ran::of(&output)
}

/// A small model of the repository.
pub fn small_model(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../graph/tests/models/{name}.onnx"));
    assert!(path.is_file(), "{}", path.display());
    path
}

/// A detector of 64×64 pixels with its head description in `folder`: `model.onnx`, `model.json`.
pub fn detector(folder: &Path) -> PathBuf {
    let path = folder.join("model.onnx");
    std::fs::copy(small_model("torchscript_yolov8"), &path).unwrap();
    // The shapes fit a known head, which someone has to confirm: the template as it is.
    let template = run("inspect --template", &[&path]).code(0).stdout;
    std::fs::write(folder.join("model.json"), template).unwrap();
    path
}

/// Pictures of noise over stripes, as BMP, which needs no encoder.
pub fn pictures(folder: &Path, count: usize) -> PathBuf {
    let out = folder.join("pictures");
    std::fs::create_dir_all(&out).unwrap();
    for k in 0..count {
        std::fs::write(out.join(format!("p{k:02}.bmp")), bmp(48 + 4 * k, 40, k as u32)).unwrap();
    }
    out
}

/// A picture of noise over stripes.
pub fn bmp(width: usize, height: usize, seed: u32) -> Vec<u8> {
    let row = (3 * width).div_ceil(4) * 4;
    let size = 54 + row * height;
    let mut out = Vec::with_capacity(size);
    out.extend(b"BM");
    out.extend((size as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend(54u32.to_le_bytes());
    out.extend(40u32.to_le_bytes());
    out.extend((width as i32).to_le_bytes());
    out.extend((height as i32).to_le_bytes());
    out.extend([1, 0, 24, 0]);
    out.extend([0; 24]);
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
    for y in 0..height {
        for x in 0..row {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            out.push(((state >> 26) as usize + (x + y) * 3 % 192) as u8);
        }
    }
    out
}

/// A YOLO data set over [`pictures`] with the detector's classes and one box per picture: its yaml.
pub fn yolo_data(folder: &Path, count: usize) -> PathBuf {
    let root = folder.join("data");
    pictures(&root, count);
    let images = root.join("images");
    let _ = std::fs::remove_dir_all(&images);
    std::fs::rename(root.join("pictures"), images).unwrap();
    std::fs::create_dir_all(root.join("labels")).unwrap();
    for k in 0..count {
        std::fs::write(root.join(format!("labels/p{k:02}.txt")), "0 0.5 0.5 0.4 0.3\n").unwrap();
    }
    let yaml = root.join("data.yaml");
    let names: Vec<String> = (0..3).map(|k| format!("class {k}")).collect();
    std::fs::write(
        &yaml,
        format!("path: .\nval: images\nnames: [{}]\n", names.join(", ")),
    )
    .unwrap();
    yaml
}

/// Temporary files of the program that were left in a folder or below it.
pub fn left_over(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(".lowbit-") {
                found.push(entry.path());
            }
        }
    }
    found
}
