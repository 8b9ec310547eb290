//! Sums and products with constants per channel, folded into the convolution, transposed convolution or Gemm before.

use tensor::Tensor;

use super::affine;
use super::view::{View, input};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::{Binary, Op};

/// Folds them and gives their number.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = View::new(graph);
    let found: Vec<Fold> = (0..graph.nodes.len()).filter_map(|n| find(&view, n)).collect();
    let mut gone = vec![false; graph.nodes.len()];
    for f in found {
        if affine::fold(graph, f.before, &f.gain, &f.offset) {
            graph.nodes[f.before].outputs = graph.nodes[f.node].outputs.clone();
            gone[f.node] = true;
        }
    }
    super::remove(graph, &gone)
}

struct Fold {
    node: NodeId,
    before: NodeId,
    gain: Vec<f64>,
    offset: Vec<f64>,
}

fn find(view: &View<'_>, n: NodeId) -> Option<Fold> {
    let node = &view.graph.nodes[n];
    let Op::Binary(op) = node.op else { return None };
    let (a, b) = (input(node, 0)?, input(node, 1)?);
    let (x, constant, swapped) = match (view.constant(a), view.constant(b)) {
        (None, Some(c)) => (a, c, false),
        (Some(c), None) => (b, c, true),
        _ => return None,
    };
    let before = view.may_vanish(x).then(|| view.producer_id(x)).flatten()?;
    let channels = affine::channels(view.graph, &view.graph.nodes[before])?;
    let c = per_channel(view.graph, node, x, constant, channels)?;
    let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
    let negated = |v: &[f64]| v.iter().map(|x| -x).collect::<Vec<f64>>();
    let (gain, offset) = match (op, swapped) {
        (Binary::Add, _) => (ones, c),
        (Binary::Sub, false) => (ones, negated(&c)),
        (Binary::Sub, true) => (negated(&ones), c),
        (Binary::Mul, _) => (c, zeros),
        (Binary::Div, false) => (c.iter().map(|x| 1.0 / x).collect(), zeros),
        _ => return None,
    };
    Some(Fold {
        node: n,
        before,
        gain,
        offset,
    })
}

/// A constant's number for each channel, where it varies along axis 1 alone and does not widen the result.
fn per_channel(
    graph: &Graph,
    node: &Node,
    x: ValueId,
    constant: &Tensor,
    channels: usize,
) -> Option<Vec<f64>> {
    let values = constant.as_f32()?;
    let rank = graph.value(x).shape.as_ref()?.len();
    if graph.value(*node.outputs.first()?).shape.as_ref()?.len() != rank {
        return None;
    }
    if let [v] = values {
        return Some(vec![f64::from(*v); channels]);
    }
    // Position of the constant's only long axis, counted in the result.
    let offset = rank.checked_sub(constant.rank())?;
    let long: Vec<usize> = (0..constant.rank())
        .filter(|&i| constant.shape()[i] != 1)
        .map(|i| i + offset)
        .collect();
    (long == [1] && values.len() == channels).then(|| values.iter().map(|&v| f64::from(v)).collect())
}
