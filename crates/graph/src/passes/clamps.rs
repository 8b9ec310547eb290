//! Max and Min with a number become Clip, and a clamp of a clamp becomes one: `Minimum(Relu(x), 6)` is how TensorFlow spells Relu6.

use tensor::Tensor;

use super::view::{View, input};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::{Op, Unary};

/// Merges them and gives their number.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = View::new(graph);
    let found: Vec<(NodeId, Clamp)> = (0..graph.nodes.len())
        .filter_map(|n| Some((n, merged(&view, &graph.nodes[n])?)))
        .collect();
    for (n, clamp) in &found {
        let name = graph.value(graph.nodes[*n].outputs[0]).name.clone();
        let mut bound = |what: &str, x: f32| {
            x.is_finite()
                .then(|| graph.add_constant(&format!("{name}/{what}"), Tensor::scalar(x)))
        };
        let inputs = vec![Some(clamp.x), bound("min", clamp.low), bound("max", clamp.high)];
        graph.nodes[*n].op = Op::Clip;
        graph.nodes[*n].inputs = inputs;
    }
    found.len()
}

/// A clamp of `x`; a bound that is not there is infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clamp {
    pub x: ValueId,
    pub low: f32,
    pub high: f32,
}

/// A node as a clamp: Relu, Clip with constant bounds, Max or Min with a number.
pub(super) fn clamp(view: &View<'_>, node: &Node) -> Option<Clamp> {
    let number = |i: usize, absent: f32| match input(node, i) {
        None => Some(absent),
        Some(v) => match view.constant(v)?.as_f32()? {
            [x] => Some(*x),
            _ => None,
        },
    };
    let (x, low, high) = match node.op {
        Op::Unary(Unary::Relu) => (input(node, 0)?, 0.0, f32::INFINITY),
        Op::Clip => (
            input(node, 0)?,
            number(1, f32::NEG_INFINITY)?,
            number(2, f32::INFINITY)?,
        ),
        Op::Max if node.inputs.len() == 2 => {
            let (x, low) = view.with_uniform(node)?;
            (x, low, f32::INFINITY)
        }
        Op::Min if node.inputs.len() == 2 => {
            let (x, high) = view.with_uniform(node)?;
            (x, f32::NEG_INFINITY, high)
        }
        _ => return None,
    };
    (!low.is_nan() && !high.is_nan()).then_some(Clamp { x, low, high })
}

fn merged(view: &View<'_>, node: &Node) -> Option<Clamp> {
    let own = clamp(view, node)?;
    let Some(inner) = view.inner(own.x).and_then(|n| clamp(view, n)) else {
        // Integers have no rule of their own as a Clip, and Max(x, 0) is a Relu.
        let plain = matches!(node.op, Op::Max | Op::Min) && (own.low.is_finite() || own.high.is_finite());
        return plain.then_some(own);
    };
    let both = Clamp {
        x: inner.x,
        low: own.low.max(inner.low),
        high: own.high.min(inner.high),
    };
    // Ranges that do not meet, or that are empty, give the outer bound: rare, and left as they are.
    (both.low <= both.high && own.low <= own.high && inner.low <= inner.high).then_some(both)
}
