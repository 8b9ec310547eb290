//! The small models of `tests/models` (made by tools/models) load and come back from the writer as they were.

mod common;

use std::path::{Path, PathBuf};

use graph::onnx::{Form, ReadOptions, WriteOptions, read, read_file, write};

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let mut out: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    out.sort();
    out
}

fn load(path: &Path) -> graph::Graph {
    read_file(path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_small_model_loads() {
    let models = models();
    assert!(models.len() >= 21, "{}", models.len());
    for path in models {
        let g = load(&path);
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(g.inputs.len(), 1, "{name}: initializers are no inputs");
        assert!(!g.nodes.is_empty() && !g.outputs.is_empty(), "{name}");
        assert!(std::fs::metadata(&path).unwrap().len() < 100_000, "{name}");
    }
}

#[test]
fn qdq_models_load_as_quantized_graphs() {
    for path in models().iter().filter(|p| p.to_string_lossy().contains("qdq_")) {
        let g = load(path);
        let name = path.file_stem().unwrap().to_str().unwrap();
        let convs = g.nodes.iter().filter(|n| n.op.name() == "Conv").count();
        println!(
            "{name}: {convs} convolutions, {} weights, {} edges",
            g.weights.len(),
            g.edges.len()
        );
        assert_eq!(g.weights.len(), convs, "{name}");
        assert!(g.edges.len() > convs, "{name}");
        let left = g.nodes.iter().filter(|n| n.op.name().ends_with("uantizeLinear"));
        let left: Vec<&str> = left.map(|n| n.name.as_str()).collect();
        assert!(left.is_empty(), "{name}: {left:?} stayed nodes");
    }
}

#[test]
fn every_small_model_comes_back() {
    let options = WriteOptions {
        form: Form::Packed,
        producer_version: "test".into(),
    };
    for path in &models() {
        let first = load(path);
        let bytes = write(&first, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let second = read(&bytes, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            common::canonical(&first),
            common::canonical(&second),
            "{}",
            path.display()
        );
        assert_eq!(write(&second, &options).unwrap(), bytes, "{}", path.display());
    }
}
