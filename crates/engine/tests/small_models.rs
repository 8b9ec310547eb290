//! The small models of crates/graph/tests/models on compiled plans: onnxruntime's outputs, and the oracle's to the byte.

#[path = "../../oracle/tests/node_cases/golden.rs"]
mod golden;
#[path = "../../oracle/tests/node_cases/mod.rs"]
mod node_cases;

use engine::{Options, compile};
use graph::Graph;
use graph::onnx::{ReadOptions, read_file};
use kernels::{Isa, Pool};
use oracle::Program;

fn ready(model: &golden::Model) -> Graph {
    let mut graph = read_file(&model.path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    golden::simplify(&mut graph, &model.golden);
    graph
}

#[test]
fn small_models_give_the_golden_outputs_and_the_oracles_bytes() {
    let pool = Pool::new(2);
    for model in golden::models() {
        let graph = ready(&model);
        let inputs = model.golden.inputs();
        let program = Program::new(&graph).unwrap_or_else(|e| panic!("{}: {e}", model.name));
        let expected = program
            .run(&inputs, &mut |_, _, _| {})
            .unwrap_or_else(|e| panic!("{}: {e}", model.name));
        for isa in Isa::usable() {
            let options = Options {
                isa,
                ..Options::default()
            };
            let plan = compile(&graph, &options).unwrap_or_else(|e| panic!("{}: {e}", model.name));
            let outputs = plan
                .run(&pool, &inputs)
                .unwrap_or_else(|e| panic!("{}: {e}", model.name));
            assert!(
                outputs == expected,
                "{} on {}: not the oracle's bytes",
                model.name,
                isa.name()
            );
        }
        let least = if model.name.starts_with("qdq_") {
            60.0
        } else {
            100.0
        };
        golden::assert_close(&model.name, &expected, &model.golden.outputs, least);
    }
}
