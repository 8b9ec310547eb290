//! The ONNX project's own tests of every operator that lowbit reads: shapes as declared rules give them, values as `evaluate` gives them.
//!
//! `node_tests_passed.txt` lists what passes and must go on passing; `node_tests_unsupported.txt` what does not, with the reason. Cases of
//! operators that lowbit does not read at all are in neither.

mod node_cases;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use graph::onnx::{ReadOptions, operators, read};
use graph::shape::{TensorType, rule};
use graph::{Graph, ValueId};
use node_cases::{Case, DataSet, Lists, compare, load};
use tensor::Tensor;

#[test]
fn node_tests() {
    let Some(cases) = load("node_tests") else {
        return;
    };
    let known: BTreeSet<&str> = operators().into_iter().collect();
    let results: BTreeMap<String, Result<(), String>> = cases
        .iter()
        .filter(|c| c.operators.iter().all(|op| known.contains(op.as_str())))
        .map(|c| (c.name.clone(), judge(c)))
        .collect();
    let passed = results.values().filter(|r| r.is_ok()).count();
    println!(
        "{passed} of {} cases pass; {} more are of other operators",
        results.len(),
        cases.len() - results.len()
    );
    let lists = Lists::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    lists.check(&results);
}

fn judge(case: &Case) -> Result<(), String> {
    let graph = read(&case.model, &ReadOptions::default()).map_err(|e| e.message().to_string())?;
    for set in &case.sets {
        run(&case.name, &graph, set)?;
        infer(&graph, set)?;
    }
    Ok(())
}

/// Node by node, with each operator's shape rule held to what was computed.
fn run(case: &str, graph: &Graph, set: &DataSet) -> Result<(), String> {
    let mut values: HashMap<ValueId, Tensor> = graph.constants.iter().map(|(&v, t)| (v, t.clone())).collect();
    for input in &set.inputs {
        let id = graph.find(&input.name).ok_or("a recorded input is missing")?;
        values.insert(id, input.tensor.clone().ok_or("an input is of another type")?);
    }
    for node in &graph.nodes {
        let fault = |e: String| format!("{} \"{}\": {e}", node.op.name(), node.name);
        let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|v| v.map(|v| &values[&v])).collect();
        let types: Vec<Option<TensorType>> = inputs.iter().map(|t| t.map(TensorType::from)).collect();
        let types: Vec<Option<&TensorType>> = types.iter().map(Option::as_ref).collect();
        let outputs =
            oracle::evaluate(&node.op, &inputs, node.outputs.len()).map_err(|e| fault(e.to_string()))?;
        let known = rule(&node.op, &types, &inputs, node.outputs.len()).map_err(|e| fault(e.to_string()))?;
        for (t, ty) in outputs.iter().zip(&known) {
            agree(ty, t).map_err(fault)?;
        }
        // Without elements, the rule says less, never something else.
        let less = rule(&node.op, &types, &[], node.outputs.len()).map_err(|e| fault(e.to_string()))?;
        for (t, ty) in outputs.iter().zip(&less) {
            contradict(ty, t).map_err(fault)?;
        }
        values.extend(node.outputs.iter().copied().zip(outputs));
    }
    for (&id, want) in graph.outputs.iter().zip(&set.outputs) {
        compare(case, values.get(&id).ok_or("an output is missing")?, want)?;
    }
    Ok(())
}

/// The whole graph's shapes, from the inputs' types alone: nothing may contradict the recorded outputs.
fn infer(graph: &Graph, set: &DataSet) -> Result<(), String> {
    let mut graph = graph.clone();
    for input in &set.inputs {
        let id = graph.find(&input.name).ok_or("a recorded input is missing")?;
        let t = input.tensor.as_ref().ok_or("an input is of another type")?;
        graph.value_mut(id).shape = Some(t.shape().iter().map(|&d| Some(d)).collect());
    }
    graph::shape::infer(&mut graph).map_err(|e| e.to_string())?;
    for (&id, want) in graph.outputs.iter().zip(&set.outputs) {
        let v = graph.value(id);
        let ty = TensorType {
            dtype: v.dtype,
            shape: v.shape.clone(),
        };
        contradict(&ty, want.tensor.as_ref().ok_or("an output is of another type")?)?;
    }
    Ok(())
}

/// Type and shape are the tensor's, but for sizes that depend on data.
fn agree(ty: &TensorType, t: &Tensor) -> Result<(), String> {
    contradict(ty, t)?;
    let sizes = ty.shape.as_ref().map_or(0, |s| s.iter().flatten().count());
    if ty.dtype.is_none() || ty.shape.is_none() || (sizes + 1 < t.rank()) {
        return Err(format!(
            "the shape rule says only {ty:?} of {:?} {:?}",
            t.dtype(),
            t.shape()
        ));
    }
    Ok(())
}

fn contradict(ty: &TensorType, t: &Tensor) -> Result<(), String> {
    let dtype = ty.dtype.is_none_or(|d| d == t.dtype());
    let shape = ty.shape.as_ref().is_none_or(|s| {
        s.len() == t.rank() && s.iter().zip(t.shape()).all(|(d, n)| d.is_none_or(|d| d == *n))
    });
    if dtype && shape {
        return Ok(());
    }
    Err(format!(
        "the shape rule says {ty:?}, the result is {:?} {:?}",
        t.dtype(),
        t.shape()
    ))
}
