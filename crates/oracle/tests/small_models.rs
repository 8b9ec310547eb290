//! The small models of crates/graph/tests/models: what the oracle computes is what onnxruntime computed.

#[path = "node_cases/golden.rs"]
mod golden;
mod node_cases;

use std::collections::HashMap;

use graph::onnx::{ReadOptions, read_file};
use graph::{Graph, ValueId};
use oracle::Program;
use tensor::Tensor;

/// Node by node.
fn run(graph: &Graph, inputs: &[(&str, &Tensor)]) -> Vec<(String, Tensor)> {
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

fn load(model: &golden::Model) -> Graph {
    read_file(&model.path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn float_models_give_the_golden_outputs() {
    for model in golden::models().iter().filter(|m| !m.name.starts_with("qdq_")) {
        let mut graph = load(model);
        golden::fix_inputs(&mut graph, &model.golden);
        let outputs = run(&graph, &model.golden.inputs());
        golden::assert_close(&model.name, &outputs, &model.golden.outputs, 100.0);
    }
}

#[test]
fn simplified_models_give_the_golden_outputs() {
    for model in golden::models() {
        let mut graph = load(&model);
        golden::simplify(&mut graph, &model.golden);
        let program = Program::new(&graph).unwrap_or_else(|e| panic!("{}: {e}", model.name));
        let outputs = program
            .run(&model.golden.inputs(), &mut |_, _, _| {})
            .unwrap_or_else(|e| panic!("{}: {e}", model.name));
        // A quantized model's steps are larger than the difference between integer and simulated arithmetic.
        let least = if model.name.starts_with("qdq_") {
            60.0
        } else {
            100.0
        };
        golden::assert_close(&model.name, &outputs, &model.golden.outputs, least);
    }
}
