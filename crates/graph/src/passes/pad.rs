//! An explicit Pad becomes the padding of the convolution or pool behind it.

use super::view::{View, input};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::{Op, PadMode, Padding, Pool, Unary};

/// Folds them and gives their number; the Pad itself is dead once nothing else reads it.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = View::new(graph);
    let found: Vec<(NodeId, ValueId, Op)> = (0..graph.nodes.len())
        .filter_map(|n| {
            let (x, op) = find(&view, &graph.nodes[n])?;
            Some((n, x, op))
        })
        .collect();
    for (n, x, op) in &found {
        graph.nodes[*n].op = op.clone();
        if let Some(slot) = graph.nodes[*n].inputs.first_mut() {
            *slot = Some(*x);
        }
    }
    found.len()
}

/// What is before the Pad, and the operator with more padding.
fn find(view: &View<'_>, node: &Node) -> Option<(ValueId, Op)> {
    let padded = input(node, 0)?;
    let pad = view.producer(padded)?;
    let Op::Pad {
        mode: PadMode::Constant,
    } = pad.op
    else {
        return None;
    };
    if view.graph.edges.contains_key(&padded) {
        return None;
    }
    let x = input(pad, 0)?;
    let spatial = spatial_pads(view, pad)?;
    let value = match input(pad, 2) {
        None => 0.0,
        Some(v) => *view.constant(v)?.as_f32()?.first()?,
    };
    let op = match &node.op {
        Op::Conv(conv) if value == 0.0 => {
            let mut conv = conv.clone();
            conv.padding = Padding::Explicit(added(&conv.padding, &spatial)?);
            Op::Conv(conv)
        }
        Op::AveragePool(pool) if value == 0.0 && !pool.ceil_mode => {
            // The zeros count in the divisor, so what the pool pads itself must count too.
            let own = added(&pool.padding, &vec![0; spatial.len()])?;
            if !pool.count_include_pad && own.iter().any(|&p| p != 0) {
                return None;
            }
            Op::AveragePool(Pool {
                padding: Padding::Explicit(added(&pool.padding, &spatial)?),
                count_include_pad: true,
                ..pool.clone()
            })
        }
        Op::MaxPool(pool) if !pool.ceil_mode && never_wins(view, x, value) => {
            let pads = added(&pool.padding, &spatial)?;
            // Every window must hold an element of the picture.
            let axes = pool.kernel.len();
            let inside = pads.iter().enumerate().all(|(i, &p)| p < pool.kernel[i % axes]);
            if !inside || pool.dilations.iter().any(|&d| d != 1) {
                return None;
            }
            Op::MaxPool(Pool {
                padding: Padding::Explicit(pads),
                ..pool.clone()
            })
        }
        _ => return None,
    };
    Some((x, op))
}

/// Whether a padded number is at most every element of `x`.
fn never_wins(view: &View<'_>, x: ValueId, value: f32) -> bool {
    if value <= f32::MIN {
        return true;
    }
    let Some(before) = view.producer(x) else {
        return false;
    };
    let not_negative = match &before.op {
        Op::Unary(Unary::Relu | Unary::Sigmoid | Unary::HardSigmoid { .. } | Unary::Exp | Unary::Abs) => true,
        Op::Clip => input(before, 1)
            .and_then(|v| view.constant(v)?.as_f32()?.first().copied())
            .is_some_and(|low| low >= 0.0),
        _ => false,
    };
    value == 0.0 && not_negative
}

/// Paddings of the axes from the third on, all begins, then all ends; `None` where others are padded or something is cut.
fn spatial_pads(view: &View<'_>, pad: &Node) -> Option<Vec<usize>> {
    let pads = view.graph.constant_input(pad, 1)?.to_i64()?;
    let rank = view.graph.value(input(pad, 0)?).shape.as_ref()?.len();
    let axes: Vec<usize> = match input(pad, 3) {
        None => (0..rank).collect(),
        Some(axes) => view
            .constant(axes)?
            .to_i64()?
            .iter()
            .map(|&a| crate::shape::normalize_axis(a, rank).ok())
            .collect::<Option<_>>()?,
    };
    if pads.len() != 2 * axes.len() {
        return None;
    }
    let spatial = rank.checked_sub(2)?;
    let mut out = vec![0usize; 2 * spatial];
    for (i, &p) in pads.iter().enumerate() {
        let p = usize::try_from(p).ok()?;
        let (axis, end) = (axes[i % axes.len()], i / axes.len());
        match axis.checked_sub(2) {
            Some(axis) => out[end * spatial + axis] = p,
            None if p == 0 => {}
            None => return None,
        }
    }
    Some(out)
}

/// Sum of two paddings; `None` where the first depends on the input's size.
fn added(own: &Padding, more: &[usize]) -> Option<Vec<usize>> {
    match own {
        Padding::Valid => Some(more.to_vec()),
        Padding::Explicit(pads) if pads.len() == more.len() => {
            pads.iter().zip(more).map(|(a, b)| a.checked_add(*b)).collect()
        }
        _ => None,
    }
}
