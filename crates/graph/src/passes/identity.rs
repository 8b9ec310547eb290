//! Nodes that change nothing: identities, Dropout, casts to the same type, reshapes to the same shape, additions of zero.

use tensor::DType;

use super::bypass::Bypass;
use super::view::{View, input};
use crate::graph::{Graph, Node, ValueId};
use crate::op::{Binary, Op, Pool};
use crate::shape::explicit_pads;

/// Takes them out and gives their number.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = View::new(graph);
    let mut bypass = Bypass::new(graph);
    for (n, node) in graph.nodes.iter().enumerate() {
        if let ([y], Some(x)) = (&node.outputs[..], same_as(&view, node)) {
            bypass.take_out(graph, n, x, *y);
        }
    }
    bypass.finish(graph)
}

/// The input that a node passes on unchanged.
fn same_as(view: &View<'_>, node: &Node) -> Option<ValueId> {
    let (graph, x) = (view.graph, input(node, 0)?);
    let y = *node.outputs.first()?;
    let same_shape = || {
        let shape = graph.value(x).fixed_shape();
        shape.is_some() && shape == graph.value(y).fixed_shape()
    };
    let ints = |i: usize| graph.constant_input(node, i)?.to_i64();
    let nothing = match &node.op {
        Op::Identity | Op::Dropout => true,
        Op::Cast { to } => return uncast(view, x, *to),
        Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Expand
        | Op::Tile
        | Op::Split { .. } => same_shape(),
        Op::Transpose { perm: Some(perm) } => perm.iter().copied().eq(0..perm.len()),
        Op::Slice => same_shape() && (input(node, 4).is_none() || ints(4)?.iter().all(|&s| s > 0)),
        Op::Pad { .. } => ints(1)?.iter().all(|&p| p == 0),
        Op::Concat { .. } | Op::Max | Op::Min | Op::Sum | Op::Mean => node.inputs.len() == 1,
        Op::Resize(_) => same_shape() && unscaled(view, node),
        Op::MaxPool(p) | Op::AveragePool(p) => single_point(p),
        Op::Clip => input(node, 1).is_none() && input(node, 2).is_none(),
        Op::Binary(op) => return neutral(view, node, *op),
        _ => false,
    };
    nothing.then_some(x)
}

/// The value behind a cast that changes nothing, or a pair that widens and narrows again.
fn uncast(view: &View<'_>, x: ValueId, to: DType) -> Option<ValueId> {
    if view.graph.value(x).dtype == Some(to) {
        return Some(x);
    }
    let before = view.producer(x).filter(|n| matches!(n.op, Op::Cast { .. }))?;
    let origin = input(before, 0)?;
    let exact = match (to, view.graph.value(x).dtype?) {
        (DType::F32, DType::F64) | (DType::I32, DType::I64) => true,
        (DType::U8 | DType::I8 | DType::Bool, wide) => wide.size() >= 4,
        _ => false,
    };
    (exact && view.graph.value(origin).dtype == Some(to)).then_some(origin)
}

fn unscaled(view: &View<'_>, node: &Node) -> bool {
    match input(node, 2) {
        None => true,
        Some(scales) => view
            .constant(scales)
            .and_then(|t| t.as_f32())
            .is_some_and(|s| s.iter().all(|&s| s == 1.0)),
    }
}

fn single_point(pool: &Pool) -> bool {
    let ones = |list: &[usize]| list.iter().all(|&n| n == 1);
    // With kernel and stride 1, padding by SAME and VALID is none.
    let pads = explicit_pads(
        &pool.padding,
        &vec![1; pool.kernel.len()],
        &pool.kernel,
        &pool.strides,
        &pool.dilations,
    );
    ones(&pool.kernel) && ones(&pool.strides) && pads.is_ok_and(|p| p.iter().all(|&p| p == 0))
}

/// x + 0, x − 0, x · 1, x / 1, x ^ 1.
fn neutral(view: &View<'_>, node: &Node, op: Binary) -> Option<ValueId> {
    let neutral = match op {
        Binary::Add | Binary::Sub => 0.0,
        Binary::Mul | Binary::Div | Binary::Pow => 1.0,
        _ => return None,
    };
    let (x, c) = match op {
        Binary::Add | Binary::Mul => view.with_uniform(node)?,
        _ => {
            let (x, c) = (input(node, 0)?, input(node, 1)?);
            (x, view.uniform(c, x)?)
        }
    };
    (c == neutral).then_some(x)
}
