//! What `passes::simplify` makes of real models: everything has a fixed shape, little is left, and the results stay.

#[path = "node_cases/golden.rs"]
mod golden;
mod node_cases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use graph::onnx::{Form, ReadOptions, WriteOptions, read_file, write};
use graph::passes::{Budget, simplify};
use graph::{Graph, Op, ValueId};
use oracle::Reference;

fn simplified(name: &str, graph: &Graph) -> Graph {
    let mut once = graph.clone();
    simplify(&mut once, &Reference, &Budget::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    once.check().unwrap_or_else(|e| panic!("{name}: {e}"));
    let names = |g: &Graph| -> Vec<String> {
        let ends = g.inputs.iter().chain(&g.outputs);
        ends.map(|&v| g.value(v).name.clone()).collect()
    };
    assert_eq!(names(&once), names(graph), "{name}");
    let mut twice = once.clone();
    simplify(&mut twice, &Reference, &Budget::default()).unwrap();
    assert_eq!(once, twice, "{name}: not idempotent");
    once
}

fn counts(graph: &Graph) -> BTreeMap<&'static str, usize> {
    let mut out = BTreeMap::new();
    for node in &graph.nodes {
        *out.entry(node.op.name()).or_default() += 1;
    }
    out
}

/// Every value but those behind a `NonMaxSuppression` has a type and a fixed shape.
fn assert_fixed(name: &str, graph: &Graph) {
    let mut data_dependent: Vec<ValueId> = Vec::new();
    for node in &graph.nodes {
        let behind = node.inputs.iter().flatten().any(|v| data_dependent.contains(v));
        for &v in &node.outputs {
            let value = graph.value(v);
            if behind || matches!(node.op, Op::NonMaxSuppression { .. }) {
                data_dependent.push(v);
                continue;
            }
            assert!(
                value.dtype.is_some() && value.fixed_shape().is_some(),
                "{name}: {} {} {value:?}",
                node.op.name(),
                node.name
            );
        }
    }
}

#[test]
fn small_models_keep_their_results() {
    for model in golden::models().iter().filter(|m| !m.name.starts_with("qdq_")) {
        let mut graph = read_file(&model.path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        golden::fix_inputs(&mut graph, &model.golden);
        let simple = simplified(&model.name, &graph);
        println!("{}: {:?}\n  -> {:?}", model.name, counts(&graph), counts(&simple));
        assert_fixed(&model.name, &simple);
        assert!(
            !counts(&simple).contains_key("BatchNormalization"),
            "{}",
            model.name
        );
        let outputs = golden::run(&simple, &model.golden.inputs());
        golden::assert_close(&model.name, &outputs, &model.golden.outputs, 100.0);
    }
}

/// Operators whose work is done before a model runs.
const GONE: [&str; 10] = [
    "BatchNormalization",
    "Identity",
    "Dropout",
    "Cast",
    "Shape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "ConstantOfShape",
    "Range",
];

#[test]
fn shared_models_have_fixed_shapes_and_equal_outputs() {
    let test = "shared_models_have_fixed_shapes_and_equal_outputs";
    let Some(paths) = testing::models(test) else {
        return;
    };
    assert!(paths.len() >= 12);
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simplified");
    std::fs::create_dir_all(&scratch).unwrap();
    let mut pairs = Vec::new();
    for path in &paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let mut graph = read_file(path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        for v in graph.inputs.clone() {
            let shape = graph.value_mut(v).shape.as_mut().unwrap();
            for d in shape.iter_mut().filter(|d| d.is_none()) {
                *d = Some(1);
            }
        }
        let simple = simplified(name, &graph);
        println!("{name}: {:?}", counts(&simple));
        assert_fixed(name, &simple);
        let left: Vec<&str> = GONE
            .into_iter()
            .filter(|&op| counts(&simple).contains_key(op))
            .collect();
        // A classifier's own Flatten before its last Gemm is the only one that does something.
        assert!(left.is_empty() || left == ["Flatten"], "{name}: {left:?}");
        let options = WriteOptions {
            form: Form::Float,
            producer_version: "test".into(),
        };
        let copy = scratch.join(path.file_name().unwrap());
        std::fs::write(&copy, write(&simple, &options).unwrap()).unwrap();
        // A float16 model becomes float32: another program.
        if !name.contains("f16") {
            pairs.extend([path.clone(), copy]);
        }
    }
    let Some(python) = testing::python(test) else {
        return;
    };
    // Folded BatchNorm rounds weights once; what remains is the order of float sums.
    let mut arguments = vec![PathBuf::from("2e-5")];
    arguments.extend(pairs);
    let script = "crates/graph/tests/python/same_outputs.py";
    println!("{}", testing::run_script(&python, script, &arguments));
}
