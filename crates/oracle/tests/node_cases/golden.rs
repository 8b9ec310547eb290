//! The small models of crates/graph/tests/models with the outputs that onnxruntime computed.
#![allow(dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use graph::{Graph, ValueId};
use tensor::{Data, Tensor};

use super::node_cases::{Named, Reader};

/// A model of tools/models.
pub struct Model {
    pub name: String,
    pub path: PathBuf,
    pub golden: Golden,
}

/// Recorded inputs and outputs.
pub struct Golden {
    pub inputs: Vec<Named>,
    pub outputs: Vec<Named>,
}

impl Golden {
    /// Inputs by name.
    pub fn inputs(&self) -> Vec<(&str, &Tensor)> {
        self.inputs
            .iter()
            .map(|n| (n.name.as_str(), n.tensor.as_ref().unwrap()))
            .collect()
    }
}

/// All small models, sorted.
pub fn models() -> Vec<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/models");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 21);
    paths.into_iter().map(open).collect()
}

fn open(path: PathBuf) -> Model {
    let bytes = std::fs::read(path.with_extension("golden")).unwrap();
    let mut r = Reader(&bytes);
    assert_eq!(r.take(8), b"golden01");
    let golden = Golden {
        inputs: (0..r.u32()).map(|_| r.tensor()).collect(),
        outputs: (0..r.u32()).map(|_| r.tensor()).collect(),
    };
    assert!(r.0.is_empty());
    Model {
        name: path.file_stem().unwrap().to_str().unwrap().into(),
        path,
        golden,
    }
}

/// Gives a dynamic input the recorded shape, and every value what follows from it.
pub fn fix_inputs(graph: &mut Graph, golden: &Golden) {
    for input in &golden.inputs {
        let id = graph.find(&input.name).unwrap();
        let shape = input.tensor.as_ref().unwrap().shape();
        graph.value_mut(id).shape = Some(shape.iter().map(|&d| Some(d)).collect());
    }
    graph::shape::infer(graph).unwrap_or_else(|e| panic!("{e}"));
}

/// The same, then simplified.
pub fn simplify(graph: &mut Graph, golden: &Golden) {
    fix_inputs(graph, golden);
    graph::passes::simplify(graph, &oracle::Reference, &graph::passes::Budget::default())
        .unwrap_or_else(|e| panic!("{e}"));
}

/// The outputs of a float graph, by the oracle's meaning of each node.
pub fn run(graph: &Graph, inputs: &[(&str, &Tensor)]) -> Vec<(String, Tensor)> {
    let mut values: HashMap<ValueId, Tensor> = graph.constants.iter().map(|(&v, t)| (v, t.clone())).collect();
    for (name, t) in inputs {
        values.insert(graph.find(name).unwrap(), (*t).clone());
    }
    for node in &graph.nodes {
        let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|v| v.map(|v| &values[&v])).collect();
        let outputs = oracle::evaluate(&node.op, &inputs, node.outputs.len())
            .unwrap_or_else(|e| panic!("{} \"{}\": {e}", node.op.name(), node.name));
        values.extend(node.outputs.iter().copied().zip(outputs));
    }
    let output = |&v: &ValueId| (graph.value(v).name.clone(), values[&v].clone());
    graph.outputs.iter().map(output).collect()
}

/// Signal to noise in decibels; infinite when equal.
pub fn decibels(have: &[f32], want: &[f32]) -> f64 {
    let (mut signal, mut noise) = (0f64, 0f64);
    for (&x, &y) in have.iter().zip(want) {
        signal += f64::from(y).powi(2);
        noise += (f64::from(x) - f64::from(y)).powi(2);
    }
    if noise == 0.0 {
        f64::INFINITY
    } else {
        10.0 * (signal / noise).log10()
    }
}

/// Outputs in order: names, types and shapes equal, floats within `least` decibels of the recorded ones, integers equal.
pub fn assert_close(model: &str, have: &[(String, Tensor)], want: &[Named], least: f64) {
    assert_eq!(have.len(), want.len(), "{model}");
    for ((name, x), y) in have.iter().zip(want) {
        let expected = y.tensor.as_ref().unwrap();
        assert_eq!(name, &y.name, "{model}");
        assert_eq!(x.shape(), expected.shape(), "{model}: {name}");
        match (x.data(), expected.data()) {
            (Data::F32(a), Data::F32(b)) => {
                let db = decibels(a, b);
                println!("{model}: {name} {db:.1} dB");
                assert!(db >= least, "{model}: {name} {db:.1} dB");
            }
            (a, b) => assert_eq!(a, b, "{model}: {name}"),
        }
    }
}
