//! From a trained run to a model.

use std::collections::BTreeMap;

use graph::passes::{Budget, simplify};
use graph::{EdgeQuantizer, Op, Unary, ValueId};
use tensor::Tensor;
use train::export::export;
use train::program::FakeQuantizer;
use train::trainer::Deployed;

use crate::{Error, Model, Result};

/// The trained model: `source` with the numbers of the run. `edges` are the planned ones; those that had no fake quantizer of their own lie before a
/// clamp and take the clamp's.
pub(super) fn model(
    source: &Model,
    deployed: &[Deployed],
    quantizers: &[FakeQuantizer],
    edges: &BTreeMap<ValueId, EdgeQuantizer>,
) -> Result<Model> {
    let exported = export(source.graph(), quantizers, deployed);
    let mut graph = exported.map_err(|e| Error::unsupported(e.to_string()))?;
    let consumers = graph.consumers();
    // From the end of the graph on, so that a clamp behind a clamp has its quantizer already.
    for node in graph.nodes.iter().rev() {
        let v = node.outputs[0];
        if !edges.contains_key(&v) || graph.edges.contains_key(&v) {
            continue;
        }
        let reader = consumers
            .get(&v)
            .and_then(|r| r.first())
            .map(|&n| &graph.nodes[n]);
        let clamp = reader.filter(|n| matches!(n.op, Op::Unary(Unary::Relu) | Op::Clip));
        if let Some(q) = clamp.and_then(|n| graph.edges.get(&n.outputs[0]).copied()) {
            graph.edges.insert(v, q);
        }
    }
    // Codes that only move carry the map of those that they were.
    for node in &graph.nodes {
        let v = node.outputs[0];
        let count = if matches!(node.op, Op::Concat { .. }) {
            node.inputs.len()
        } else {
            1
        };
        let mut before = node
            .inputs
            .iter()
            .take(count)
            .flatten()
            .map(|x| graph.edges.get(x).copied());
        let first = before.next().flatten();
        let missing = edges.contains_key(&v) && !graph.edges.contains_key(&v);
        if let Some(q) = first.filter(|q| missing && before.all(|other| other == Some(*q))) {
            graph.edges.extend(node.outputs.iter().map(|&y| (y, q)));
        }
    }
    simplify(&mut graph, &oracle::Reference, &Budget::default())?;
    // What simplifying has taken out carries nothing.
    let left: std::collections::BTreeSet<ValueId> = (graph.nodes.iter())
        .flat_map(|n| n.inputs.iter().flatten().chain(&n.outputs).copied())
        .collect();
    graph.edges.retain(|v, _| left.contains(v));
    Ok(source.with_graph(graph))
}

/// The float model with the numbers of the run, its layers as they were trained.
pub(super) fn unfolded(source: &Model, deployed: &[Deployed]) -> Result<Model> {
    let mut graph = source.graph().clone();
    for d in deployed {
        let name = &d.parameter.name;
        let v = graph.find(name).filter(|v| graph.is_constant(*v));
        let tensor = Tensor::new(d.parameter.shape.clone(), d.values.clone());
        let (Some(v), Ok(tensor)) = (v, tensor) else {
            return Err(Error::bad(format!(
                "the graph has no constant \"{name}\" of that size"
            )));
        };
        graph.constants.insert(v, tensor);
    }
    Ok(source.with_graph(graph))
}
