//! Multiplications counted.

use crate::graph::{Graph, Node};
use crate::op::Op;

/// Multiply-accumulates of a convolution, Gemm or MatMul, by the inferred shapes: one per weight and output position, padding included, as
/// is usual. 0 for other operators and where shapes are unknown; saturates.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    count(graph, node).unwrap_or(0)
}

fn count(graph: &Graph, node: &Node) -> Option<u64> {
    let shape = |v: Option<crate::ValueId>| graph.value(v?).fixed_shape();
    let input = |i: usize| shape(node.inputs.get(i).copied().flatten());
    let output = shape(node.outputs.first().copied());
    let product = |dims: &[usize]| dims.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
    Some(match &node.op {
        Op::Conv(_) => product(&output?).saturating_mul(product(input(1)?.get(1..)?)),
        // Every input element meets the weights of its channel.
        Op::ConvTranspose(_) => product(&input(0)?).saturating_mul(product(input(1)?.get(1..)?)),
        Op::Gemm { trans_a, .. } => {
            let a = input(0)?;
            let k = a.get(usize::from(!trans_a)).copied()?;
            product(&output?).saturating_mul(k as u64)
        }
        Op::MatMul => product(&output?).saturating_mul(*input(0)?.last()? as u64),
        _ => 0,
    })
}
