//! How each operator becomes calls of kernels; one file per family, named as in `graph`.
//!
//! `integer` of a family emits the integer form, or says in half a sentence why there is none and emits nothing; `float` emits
//! the f32 form.

mod binary;
mod concat;
mod conv;
mod fallback;
mod geometry;
mod layout;
mod linear;
mod pool;
mod resize;
mod softmax;
mod spiking;
mod unary;
mod weights;

use graph::shape::{TensorType, rule};
use graph::{Binary, EdgeQuantizer, IntegerRule, NodeId, Op, Unary, ValueId};
use kernels::int::Edge;
use tensor::Tensor;

use crate::compile::Compiler;
use crate::error::Fault;
use crate::plan::Numbers;
use crate::run::{Io, SliceMut};
pub(crate) use spiking::Sums;

/// Why a node has no integer form.
#[derive(Debug)]
pub(crate) enum No {
    /// No rule covers it as it stands.
    Uncovered(String),
    /// A rule does, but a bound of 1.13 fails.
    Unbounded(String),
}

impl No {
    fn bound(fault: impl std::fmt::Display) -> No {
        No::Unbounded(fault.to_string())
    }
}

impl From<String> for No {
    fn from(reason: String) -> No {
        No::Uncovered(reason)
    }
}

impl From<&str> for No {
    fn from(reason: &str) -> No {
        No::Uncovered(reason.to_string())
    }
}

/// Emits the instructions of one node.
pub(crate) fn lower(cx: &mut Compiler<'_>, n: NodeId) -> Result<Numbers, Fault> {
    if !follows(cx, n) {
        fallback::float(cx, n)?;
        let reason = "the shape of its output depends on data".into();
        return Ok(Numbers::Float { reason });
    }
    let lent = lent(cx, n);
    cx.edges.extend(lent);
    let reason = match integer(cx, n) {
        Ok(()) => return Ok(Numbers::Integer),
        Err(No::Unbounded(reason)) => reason,
        Err(No::Uncovered(reason)) => {
            if let Some((v, _)) = lent {
                cx.edges.remove(&v);
            }
            reason
        }
    };
    float(cx, n)?;
    Ok(Numbers::Float { reason })
}

/// Whether the shapes of a node's outputs follow from its inputs' shapes and constants. Where they do not, they are what the file
/// declares of its outputs, which may be wrong: the oracle's result is compared with them when it is there.
fn follows(cx: &Compiler<'_>, n: NodeId) -> bool {
    let node = cx.node(n);
    let sized = matches!(
        node.op,
        Op::Reshape { .. }
            | Op::Expand
            | Op::Squeeze
            | Op::Unsqueeze
            | Op::Slice
            | Op::Pad { .. }
            | Op::Split { .. }
            | Op::Tile
            | Op::Resize(_)
    );
    let known = |v: &ValueId| cx.graph.constants.contains_key(v);
    if sized && !node.inputs.iter().skip(1).flatten().all(known) {
        return false;
    }
    let of = |v: ValueId| {
        let value = cx.graph.value(v);
        TensorType {
            dtype: value.dtype,
            shape: value.shape.clone(),
        }
    };
    let types: Vec<Option<TensorType>> = node.inputs.iter().map(|v| v.map(of)).collect();
    let types: Vec<Option<&TensorType>> = types.iter().map(Option::as_ref).collect();
    let constants: Vec<Option<&Tensor>> = (0..node.inputs.len())
        .map(|i| cx.graph.constant_input(node, i))
        .collect();
    rule(&node.op, &types, &constants, node.outputs.len()).is_ok_and(|outputs| {
        let mut pairs = node.outputs.iter().zip(&outputs);
        pairs.all(|(&v, t)| t.fixed_shape().is_some() && *t == of(v))
    })
}

/// The quantizer that the edge behind a node takes from the clamp that alone reads it (1.5).
fn lent(cx: &Compiler<'_>, n: NodeId) -> Option<(ValueId, Edge)> {
    let node = cx.node(n);
    let lends = matches!(
        node.op.integer_rule(),
        Some(IntegerRule::Product | IntegerRule::Sum | IntegerRule::Times | IntegerRule::Average)
    );
    let &[v] = node.outputs.as_slice() else {
        return None;
    };
    let clamp = cx.node(cx.sole_reader(v)?);
    let clamps =
        matches!(clamp.op, Op::Unary(Unary::Relu) | Op::Clip) && clamp.inputs.first() == Some(&Some(v));
    if !lends || !clamps || cx.edges.contains_key(&v) {
        return None;
    }
    Some((v, *cx.edges.get(clamp.outputs.first()?)?))
}

fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let node = cx.node(n);
    let values = node
        .outputs
        .iter()
        .chain(node.inputs.first().into_iter().flatten());
    for &v in values {
        if !cx.is_plain(v) || cx.shape(v).is_ok_and(|s| s.contains(&0)) {
            return Err(format!("\"{}\" is no f32 value of a fixed shape", cx.name(v)).into());
        }
    }
    if let Some(v) = computed_parameter(cx, n) {
        return Err(format!("its parameter \"{}\" is computed", cx.name(v)).into());
    }
    match &node.op {
        op if conv::covers(op) => conv::integer(cx, n),
        op if linear::covers(op) => linear::integer(cx, n),
        Op::Concat { axis } => concat::integer(cx, n, *axis),
        op if layout::covers(op) => layout::integer(cx, n),
        op if unary::covers(op) => unary::integer(cx, n),
        op if pool::covers(op) => pool::integer(cx, n),
        Op::Resize(_) => resize::integer(cx, n),
        Op::Binary(_) => binary::integer(cx, n),
        Op::IntegrateFire(neurons) => spiking::integer(cx, n, neurons),
        op => Err(format!("{} has no integer rule", op.name()).into()),
    }
}

fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let node = cx.node(n);
    let constant = |v: &ValueId| cx.graph.is_constant(*v);
    let plain = |v: &ValueId| cx.is_plain(*v) && cx.shape(*v).is_ok_and(|s| !s.contains(&0));
    let data = |count: usize| node.inputs.iter().take(count).flatten().all(plain);
    if !node.outputs.iter().all(plain) || !data(1) || node.inputs.iter().flatten().all(constant) {
        return fallback::float(cx, n);
    }
    match &node.op {
        op if conv::covers(op) => conv::float(cx, n),
        op if linear::covers(op) => linear::float(cx, n),
        Op::Concat { axis } if data(node.inputs.len()) => concat::float(cx, n, *axis),
        op if layout::covers(op) && layout::is_static(cx, n) => layout::float(cx, n),
        op if unary::activation(cx.graph, node).is_some() && unary::covers(op) => unary::float(cx, n),
        op if binary::kernel(op, node.inputs.len()).is_some() && data(2) => binary::float(cx, n),
        Op::Binary(Binary::Pow) if binary::is_square(cx, n) => binary::square(cx, n),
        op if pool::covers(op) && pool::is_window(cx, n) => pool::float(cx, n),
        Op::Resize(_) if resize::is_covered(cx, n) => resize::float(cx, n),
        Op::Softmax { axis } => softmax::float(cx, n, *axis),
        _ => fallback::float(cx, n),
    }
}

/// An input from the second on that is no constant, of an operator whose rule takes one tensor.
fn computed_parameter(cx: &Compiler<'_>, n: NodeId) -> Option<ValueId> {
    let node = cx.node(n);
    let parameters = match &node.op {
        op if layout::covers(op) || pool::covers(op) || matches!(op, Op::Resize(_) | Op::Clip) => {
            node.inputs.iter().skip(1)
        }
        _ => return None,
    };
    parameters
        .flatten()
        .copied()
        .find(|v| !cx.graph.constants.contains_key(v))
}

/// 1.13: `largest · m` stays within i32.
fn within(largest: f64, m: f32) -> Result<(), No> {
    let reach = largest * f64::from(m);
    match m.is_finite() && m >= 0.0 && reach <= 2_147_482_624.0 {
        true => Ok(()),
        false => Err(No::Unbounded(format!(
            "scaled sums reach {reach:.3e}, integer rules allow 2^31"
        ))),
    }
}

/// The first input.
pub(crate) fn first_input(cx: &Compiler<'_>, n: NodeId) -> Option<ValueId> {
    cx.node(n).inputs.first().copied().flatten()
}

/// The quantizer of an input that an integer rule reads.
pub(crate) fn edge_in(cx: &Compiler<'_>, n: NodeId, i: usize) -> Result<(ValueId, Edge), String> {
    let input = cx.node(n).inputs.get(i).copied().flatten();
    let v = input.ok_or_else(|| format!("input {i} is missing"))?;
    if cx.graph.is_constant(v) {
        return Err(format!("input \"{}\" is a constant", cx.name(v)));
    }
    match cx.edges.get(&v) {
        Some(&edge) => Ok((v, edge)),
        None => Err(format!("input \"{}\" carries no quantizer", cx.name(v))),
    }
}

/// The kernels' form of a quantizer.
pub(crate) fn edge_of(q: &EdgeQuantizer) -> Edge {
    Edge {
        scale: q.scale,
        zero: q.zero_point,
        hi: q.max_code(),
    }
}

/// An axis that may count from the end.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Result<usize, Fault> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    match usize::try_from(at) {
        Ok(at) if at < rank => Ok(at),
        _ => Err(Fault(format!("axis {axis} of {rank} axes"))),
    }
}

/// Puts a tensor where an instruction writes.
pub(crate) fn store(io: &mut Io<'_>, i: usize, tensor: Tensor) {
    if let Some(SliceMut::Tensor(slot)) = io.writes.get_mut(i) {
        **slot = Some(tensor);
    }
}
