//! The shared detectors in float: the plan's outputs against onnxruntime's.

#[path = "../../oracle/tests/node_cases/mod.rs"]
mod node_cases;

use std::path::{Path, PathBuf};
use std::process::Command;

use engine::{Options, compile};
use graph::Graph;
use graph::onnx::{ReadOptions, read_file};
use kernels::Pool;
use node_cases::Reader;
use tensor::Tensor;
use testing::SplitMix64;

/// Reads a model for batch 1, simplified or not.
fn load(path: &Path, simplified: bool) -> Graph {
    let mut g = read_file(path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    for v in g.inputs.clone() {
        if let Some(shape) = &mut g.value_mut(v).shape {
            shape.iter_mut().for_each(|d| *d = Some(d.unwrap_or(1)));
        }
    }
    match simplified {
        true => graph::passes::simplify(&mut g, &oracle::Reference, &Default::default())
            .unwrap_or_else(|e| panic!("{}: {e}", path.display())),
        false => graph::shape::infer(&mut g).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    }
    g
}

/// A picture of random blocks in the range that the model was trained on.
fn picture(path: &Path, shape: &[usize]) -> Tensor {
    let head = std::fs::read_to_string(path.with_extension("json")).unwrap_or_default();
    let (low, high) = match () {
        _ if head.contains("57.375") => (-1.8, 2.6),
        _ if head.contains("0.0078125") => (-1.0, 1.0),
        _ if head.contains("0.485") => (-2.1, 2.6),
        _ if head.contains("\"scale\": 1.0") => (0.0, 255.0),
        _ => (0.0, 1.0),
    };
    let mut rng = SplitMix64(7);
    let (h, w) = (shape[2], shape[3]);
    let blocks: Vec<f32> = (0..shape[1] * h.div_ceil(16) * w.div_ceil(16))
        .map(|_| rng.unit_f32())
        .collect();
    let values = (0..shape.iter().product())
        .map(|i: usize| {
            let (c, y, x) = (i / (h * w) % shape[1], i / w % h, i % w);
            let block = blocks[(c * h.div_ceil(16) + y / 16) * w.div_ceil(16) + x / 16];
            low + (high - low) * (0.8 * block + 0.2 * rng.unit_f32())
        })
        .collect::<Vec<f32>>();
    Tensor::new(shape.to_vec(), values).unwrap()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn onnxruntime(python: &Path, model: &Path, input: &Tensor) -> Vec<f32> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let name = model.file_stem().unwrap().to_str().unwrap();
    let (source, target) = (
        folder.join(format!("{name}.in")),
        folder.join(format!("{name}.out")),
    );
    std::fs::write(&source, bytes(input.as_f32().unwrap())).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/goldens/run_onnx.py");
    let status = Command::new(python)
        .arg(script)
        .args([model, &source, &target])
        .status()
        .unwrap();
    assert!(status.success(), "run_onnx.py {}", model.display());
    let out = std::fs::read(&target).unwrap();
    let mut r = Reader(&out);
    assert_eq!((r.take(8), r.u32()), (&b"golden01"[..], 0));
    let tensors = (0..r.u32()).map(|_| r.tensor().tensor.unwrap());
    tensors.flat_map(|t| t.as_f32().unwrap().to_vec()).collect()
}

/// Signal to noise in decibels.
fn decibels(have: &[f32], want: &[f32]) -> f64 {
    let (mut signal, mut noise) = (0f64, 0f64);
    for (&x, &y) in have.iter().zip(want) {
        signal += f64::from(y).powi(2);
        noise += (f64::from(x) - f64::from(y)).powi(2);
    }
    10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
}

#[test]
fn every_detector_equals_onnxruntime_to_100_decibels() {
    let test = "every_detector_equals_onnxruntime_to_100_decibels";
    let (Some(models), Some(python)) = (testing::models(test), testing::python(test)) else {
        return;
    };
    assert!(models.len() >= 12);
    let pool = Pool::new(2);
    let mut worst = Vec::new();
    for path in models {
        let g = load(&path, true);
        let name = g.value(g.inputs[0]).name.clone();
        let input = picture(&path, &g.value(g.inputs[0]).fixed_shape().unwrap());
        let plan = compile(&g, &Options::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let fallback: Vec<&str> = plan
            .layers()
            .iter()
            .filter(|l| l.kernel.contains("reference"))
            .map(|l| l.op)
            .collect();
        let outputs = plan
            .run(&pool, &[(&name, &input)])
            .unwrap_or_else(|e| panic!("{e}"));
        let want = onnxruntime(&python, &path, &input);
        let mut at = 0;
        for (output, t) in &outputs {
            let db = decibels(t.as_f32().unwrap(), &want[at..at + t.len()]);
            at += t.len();
            println!(
                "{}: {output} {:?} {db:.1} dB, without kernel: {fallback:?}",
                path.file_stem().unwrap().display(),
                t.shape()
            );
            worst.push((db, path.clone(), output.clone()));
        }
        assert_eq!(at, want.len(), "{}", path.display());
    }
    let low: Vec<_> = worst.iter().filter(|(db, ..)| *db < 100.0).collect();
    assert!(low.is_empty(), "{low:?}");
}
