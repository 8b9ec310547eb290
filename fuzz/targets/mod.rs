//! What is fuzzed: each target takes any bytes and must neither panic, nor run long, nor take more memory than its budget.
//!
//! The same files serve `cargo fuzz` (fuzz/fuzz_targets) and the seeded mutator on stable Rust (crates/lowbit/examples/mutate).
#![allow(unreachable_pub)]

pub mod array;
pub mod checkpoint;
pub mod coco_json;
pub mod config;
pub mod head_json;
pub mod onnx;
pub mod packed;
pub mod picture;
pub mod qdq;
pub mod spill;
pub mod voc_xml;
pub mod yolo_txt;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A target by name.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Words that its format knows.
    pub dictionary: &'static [&'static str],
}

impl Target {
    /// Whether its bytes are an ONNX file.
    pub fn is_model(&self) -> bool {
        ["onnx", "packed", "qdq"].contains(&self.name)
    }

    /// Words that its format knows: the operators of models.
    pub fn words(&self) -> &[&'static str] {
        if self.is_model() {
            &OPERATORS
        } else {
            self.dictionary
        }
    }
}

static OPERATORS: LazyLock<Vec<&'static str>> = LazyLock::new(graph::onnx::operators);

macro_rules! targets {
    ($($name:ident)*) => {
        /// All targets.
        pub static TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name::target, dictionary: $name::WORDS }),*];
    };
}
targets!(onnx packed voc_xml coco_json yolo_txt picture head_json config checkpoint array qdq spill);

/// Where targets that read folders put their one file.
static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

/// Budgets of the readers of data sets.
const LIMITS: data::read::Limits = data::read::Limits {
    file_bytes: 1 << 20,
    objects: 10_000,
    pictures: 1_000,
};

/// A small data set's folder, made from files.
fn folder(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let root = FOLDER.path().join(name);
    for (file, bytes) in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("a temporary folder");
        std::fs::write(path, bytes).expect("a temporary file");
    }
    root
}

/// What every data set promises.
fn check(set: &data::read::Dataset) {
    assert_eq!(set.names.len(), set.category_ids.len());
    for object in set.pictures.iter().flat_map(|p| &p.objects) {
        assert!(object.class < set.names.len(), "a class without a name");
        assert!(object.bbox.is_finite(), "a box that is not finite");
    }
}
