//! The shared detectors, and onnxruntime's outputs for them.
#![allow(unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::Command;

use graph::Graph;
use graph::onnx::{ReadOptions, read_file};
use tensor::Tensor;

use crate::node_cases::{Named, Reader};

/// A shared detector with a picture-like input and what onnxruntime makes of it.
pub struct Detector {
    pub graph: Graph,
    pub input: Tensor,
    pub outputs: Vec<Named>,
}

impl Detector {
    /// The detector `name`; `None` where data or Python are missing.
    pub fn open(test: &str, name: &str) -> Option<Detector> {
        let path = testing::data(test)?
            .join("models")
            .join(name)
            .with_extension("onnx");
        let python = testing::python(test)?;
        let mut graph = read_file(&path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let x = graph.inputs[0];
        let shape: Vec<usize> = graph
            .value(x)
            .shape
            .clone()
            .unwrap()
            .iter()
            .map(|d| d.unwrap_or(1))
            .collect();
        graph.value_mut(x).shape = Some(shape.iter().map(|&d| Some(d)).collect());
        // YOLOX takes 0 … 255.
        let input = picture(&shape, if name.starts_with("yolox") { 255.0 } else { 1.0 });
        let outputs = onnxruntime(&python, &path, &input);
        Some(Detector {
            graph,
            input,
            outputs,
        })
    }
}

/// Soft shapes with fine texture in 0 … full, seeded.
fn picture(shape: &[usize], full: f32) -> Tensor {
    let n = shape.iter().product();
    let width = *shape.last().unwrap();
    let mut state = 7u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let value = |i: usize| {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        full * (0.5 + 0.35 * (x * 0.07).sin() * (y * 0.05).cos() + 0.15 * (noise() - 0.5))
    };
    Tensor::new(shape.to_vec(), (0..n).map(value).collect::<Vec<f32>>()).unwrap()
}

/// Outputs of `tools/goldens/run_onnx.py`.
fn onnxruntime(python: &Path, model: &Path, input: &Tensor) -> Vec<Named> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/goldens/run_onnx.py");
    let name = model.file_stem().unwrap().to_str().unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let [source, target] = ["f32", "bin"].map(|e| folder.join(format!("{name}.{}.{e}", std::process::id())));
    let bytes: Vec<u8> = input
        .as_f32()
        .unwrap()
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    std::fs::write(&source, bytes).unwrap();
    let status = Command::new(python)
        .args([&script, model, &source, &target])
        .status()
        .unwrap();
    assert!(status.success(), "{} failed", script.display());
    let bytes = std::fs::read(&target).unwrap();
    for file in [source, target] {
        std::fs::remove_file(file).unwrap();
    }
    let mut r = Reader(&bytes);
    assert_eq!(r.take(8), b"golden01");
    assert_eq!(r.u32(), 0);
    (0..r.u32()).map(|_| r.tensor()).collect()
}
