//! Inferred types and shapes are those of `onnx.shape_inference`.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use graph::Graph;
use graph::onnx::{ReadOptions, read_file};
use graph::shape::infer;
use tensor::DType;

fn load(path: &Path) -> Graph {
    let mut g = read_file(path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    for v in g.inputs.clone() {
        for d in g.value_mut(v).shape.iter_mut().flatten() {
            *d = d.or(Some(1));
        }
    }
    // What the file declares must not be taken for what follows.
    for v in g.outputs.clone() {
        g.value_mut(v).shape = None;
        g.value_mut(v).dtype = None;
    }
    infer(&mut g).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    g
}

fn dtype(name: &str) -> DType {
    match name {
        "float32" => DType::F32,
        "float64" => DType::F64,
        "int64" => DType::I64,
        "int32" => DType::I32,
        "uint8" => DType::U8,
        "int8" => DType::I8,
        "bool" => DType::Bool,
        other => panic!("type {other}"),
    }
}

#[test]
fn all_models_agree_with_onnx() {
    let test = "all_models_agree_with_onnx";
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(small)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    paths.sort();
    let shared = testing::models(test).unwrap_or_default();
    let count = shared.len();
    paths.extend(shared);
    let arguments: Vec<_> = paths.iter().map(|p| p.as_os_str()).collect();
    let Some(report) = common::python(test, "tests/python/inferred_shapes.py", &arguments) else {
        return;
    };
    let graphs: HashMap<&str, Graph> = paths.iter().map(|p| (p.to_str().unwrap(), load(p))).collect();
    let (mut values, mut faults) = (0, Vec::new());
    for line in report.lines() {
        let [path, name, kind, dims] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        // Values inside functions, those that the reader computes at once, and those between a quantizer's two nodes are
        // not in the graph.
        let g = &graphs[path];
        let written = |v: &graph::ValueId| {
            g.inputs.contains(v) || g.is_constant(*v) || g.nodes.iter().any(|n| n.outputs.contains(v))
        };
        let Some(v) = g.find(name).filter(written).map(|v| g.value(v)) else {
            continue;
        };
        let want: Vec<usize> = dims
            .split(',')
            .filter(|d| !d.is_empty())
            .map(|d| d.parse().unwrap())
            .collect();
        values += 1;
        if v.dtype != Some(dtype(kind)) || v.fixed_shape() != Some(want) {
            faults.push(format!("{line}: {:?} {:?}", v.dtype, v.shape));
        }
    }
    println!("{values} values of {} models", paths.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(
        values > if count > 0 { 2000 } else { 500 },
        "only {values} values compared"
    );
}
