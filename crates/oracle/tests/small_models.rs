//! The small models of crates/graph/tests/models: what the oracle computes is what onnxruntime computed.

#[path = "node_cases/golden.rs"]
mod golden;
mod node_cases;

use graph::Graph;
use graph::onnx::{ReadOptions, read_file};
use oracle::Program;

fn load(model: &golden::Model) -> Graph {
    read_file(&model.path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn float_models_give_the_golden_outputs() {
    for model in golden::models().iter().filter(|m| !m.name.starts_with("qdq_")) {
        let mut graph = load(model);
        golden::fix_inputs(&mut graph, &model.golden);
        let outputs = golden::run(&graph, &model.golden.inputs());
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
