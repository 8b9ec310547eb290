//! The ONNX project's operator tests on compiled plans: whatever passes on the oracle passes here, with the same bytes.

#[path = "../../oracle/tests/node_cases/mod.rs"]
mod node_cases;

use std::path::Path;

use engine::{Options, compile};
use graph::onnx::{ReadOptions, read};
use graph::{Graph, passes};
use kernels::{Isa, Pool};
use node_cases::{DataSet, Lists, compare, load};
use tensor::Tensor;

#[test]
fn node_tests() {
    let Some(cases) = load("engine node_tests") else {
        return;
    };
    let lists = Lists::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../oracle/tests"));
    let pool = Pool::new(2);
    let mut faults = Vec::new();
    let mut passed = 0;
    for case in cases.iter().filter(|c| lists.passed.contains(&c.name)) {
        let graph =
            read(&case.model, &ReadOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for set in &case.sets {
            match run(&case.name, &graph, set, &pool) {
                Ok(()) => passed += 1,
                Err(e) => faults.push(format!("{}: {e}", case.name)),
            }
        }
    }
    println!("{passed} pass");
    assert!(
        faults.is_empty(),
        "{} cases:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

fn run(case: &str, graph: &Graph, set: &DataSet, pool: &Pool) -> Result<(), String> {
    let mut graph = graph.clone();
    let mut inputs: Vec<(&str, &Tensor)> = Vec::new();
    for input in &set.inputs {
        let id = graph.find(&input.name).ok_or("a recorded input is missing")?;
        let t = input.tensor.as_ref().ok_or("an input is of another type")?;
        // A plan has fixed shapes: what may decide one (axes, sizes, ratios) is known when it is made.
        if t.len() <= 8 || t.as_f32().is_none() {
            graph.inputs.retain(|&v| v != id);
            graph.constants.insert(id, t.clone());
        } else {
            graph.value_mut(id).shape = Some(t.shape().iter().map(|&d| Some(d)).collect());
            inputs.push((&input.name, t));
        }
    }
    graph::shape::infer(&mut graph).map_err(|e| e.to_string())?;
    let options = Options {
        isa: Isa::best(),
        ..Options::default()
    };
    // As it is, so that every operator runs in the plan; simplified only where a size must be computed first.
    let plan = match compile(&graph, &options) {
        Ok(plan) => plan,
        Err(_) => {
            passes::simplify(&mut graph, &oracle::Reference, &passes::Budget::default())
                .map_err(|e| e.to_string())?;
            compile(&graph, &options).map_err(|e| e.to_string())?
        }
    };
    let outputs = plan.run(pool, &inputs).map_err(|e| e.to_string())?;
    if outputs.len() != set.outputs.len() {
        return Err(format!("{} outputs", outputs.len()));
    }
    for ((_, have), want) in outputs.iter().zip(&set.outputs) {
        compare(case, have, want)?;
    }
    Ok(())
}
