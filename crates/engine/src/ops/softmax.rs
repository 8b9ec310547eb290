//! Softmax (`FORMAT.md` 1.15): rows lie along the axis, wherever it stands.

use graph::NodeId;
use kernels::float::softmax;

use super::{axis_of, first_input, unary};
use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId, axis: i64) -> Result<(), Fault> {
    let v = first_input(cx, n).ok_or("its input is missing")?;
    let shape = cx.shape(v)?;
    let axis = axis_of(axis, shape.len())?;
    let order = cx.need(v, Repr::Real, &Want::View)?.order();
    let order = order.into_iter().filter(|&a| a != axis).chain([axis]).collect();
    let x = cx.need(v, Repr::Real, &Want::Order(order))?;
    let (isa, len) = (cx.isa(), shape[axis]);
    let y = unary::in_place(cx, &x, "softmax_f32", move |pool, y| softmax(pool, isa, len, y));
    cx.hold_float(cx.node(n).outputs[0], y);
    Ok(())
}
