//! The quantizer between an operator and the clamp after it (FORMAT.md 1.5): files leave it out, readers put it in.

use std::collections::{BTreeMap, BTreeSet};

use crate::annotation::{EdgeQuantizer, WeightAnnotation};
use crate::graph::{Graph, Node, ValueId};
use crate::op::{Binary, Op, ReduceKind, Unary};

/// Every edge that takes the quantizer of the Relu or Clip that alone reads it, whether it has that already or not.
/// `stays` tells which weights are quantized in the file that is read or written.
pub(in super::super) fn before_clamps(
    graph: &Graph,
    stays: &dyn Fn(&WeightAnnotation) -> bool,
) -> BTreeMap<ValueId, EdgeQuantizer> {
    let consumers = graph.consumers();
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut lent = BTreeMap::new();
    for node in &graph.nodes {
        let &[y] = &node.outputs[..] else { continue };
        let Some(&[reader]) = consumers.get(&y).map(Vec::as_slice) else {
            continue;
        };
        let clamp = &graph.nodes[reader];
        if outputs.contains(&y) || !is_clamp(graph, clamp) || !integer(graph, node, stays) {
            continue;
        }
        if let Some(q) = clamp.outputs.first().and_then(|v| graph.edges.get(v)) {
            lent.insert(y, *q);
        }
    }
    lent
}

fn is_clamp(graph: &Graph, node: &Node) -> bool {
    match node.op {
        Op::Unary(Unary::Relu) => true,
        Op::Clip => node
            .inputs
            .iter()
            .skip(1)
            .flatten()
            .all(|v| graph.constants.contains_key(v)),
        _ => false,
    }
}

/// Whether a rule of 1.3, 1.6, 1.7 or 1.9 covers the node.
fn integer(graph: &Graph, node: &Node, stays: &dyn Fn(&WeightAnnotation) -> bool) -> bool {
    let input = |i: usize| node.inputs.get(i).copied().flatten();
    let quantized = |i: usize| input(i).is_some_and(|v| graph.edges.contains_key(&v));
    let weight = || {
        input(1)
            .and_then(|v| graph.weights.get(&v))
            .is_some_and(|w| w.merges() && stays(w))
    };
    match node.op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::MatMul => quantized(0) && weight(),
        Op::Gemm {
            alpha, beta, trans_a, ..
        } => alpha == 1.0 && beta == 1.0 && !trans_a && quantized(0) && weight(),
        Op::Binary(Binary::Add | Binary::Sub | Binary::Mul) => quantized(0) && quantized(1),
        Op::AveragePool(_)
        | Op::GlobalAveragePool
        | Op::Reduce {
            kind: ReduceKind::Mean,
            ..
        } => quantized(0),
        _ => false,
    }
}
