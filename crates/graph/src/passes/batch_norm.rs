//! BatchNormalization folded into the convolution, transposed convolution or Gemm before.

use super::affine;
use super::view::{View, input};
use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// Folds them and gives their number. One that follows no such operator stays.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = View::new(graph);
    let found: Vec<(NodeId, NodeId)> = (0..graph.nodes.len())
        .filter(|&n| matches!(graph.nodes[n].op, Op::BatchNormalization { .. }))
        .filter_map(|n| {
            let x = input(&graph.nodes[n], 0)?;
            let before = view.may_vanish(x).then(|| view.producer_id(x)).flatten()?;
            affine::channels(graph, &graph.nodes[before])?;
            Some((n, before))
        })
        .collect();
    let mut gone = vec![false; graph.nodes.len()];
    for (n, before) in found {
        let Some((gain, offset)) = parameters(graph, n) else {
            continue;
        };
        if affine::fold(graph, before, &gain, &offset) {
            graph.nodes[before].outputs = graph.nodes[n].outputs.clone();
            gone[n] = true;
        }
    }
    super::remove(graph, &gone)
}

/// γ / √(variance + ε) and β − mean · that, of each channel.
fn parameters(graph: &Graph, n: NodeId) -> Option<(Vec<f64>, Vec<f64>)> {
    let node = &graph.nodes[n];
    let Op::BatchNormalization { epsilon } = node.op else {
        return None;
    };
    let list = |i: usize| graph.constant_input(node, i)?.as_f32();
    let (scale, bias, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
    let gain: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&s, &v)| f64::from(s) / (f64::from(v) + f64::from(epsilon)).sqrt())
        .collect();
    let offset = gain
        .iter()
        .zip(bias)
        .zip(mean)
        .map(|((g, &b), &m)| f64::from(b) - f64::from(m) * g)
        .collect();
    Some((gain, offset))
}
