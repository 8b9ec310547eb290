//! A MatMul of a matrix with a constant matrix is a Gemm, which can take the sum behind it as its bias.

use super::view::input;
use crate::graph::{Graph, Node};
use crate::op::Op;

/// Rewrites them and gives their number.
pub(super) fn run(graph: &mut Graph) -> usize {
    let found: Vec<usize> = (0..graph.nodes.len())
        .filter(|&n| is_gemm(graph, &graph.nodes[n]))
        .collect();
    for &n in &found {
        graph.nodes[n].op = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: false,
        };
    }
    found.len()
}

fn is_gemm(graph: &Graph, node: &Node) -> bool {
    let rank = input(node, 0).and_then(|x| Some(graph.value(x).shape.as_ref()?.len()));
    let weight = graph.constant_input(node, 1);
    node.op == Op::MatMul && rank == Some(2) && weight.is_some_and(|w| w.rank() == 2 && w.as_f32().is_some())
}
