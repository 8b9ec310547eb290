//! What moves whole ranges, or nothing.

use graph::NodeId;

use super::super::build::{Builder, Order, axis_in, in_order};
use super::super::error::Fault;
use super::super::instr::Instr;
use super::{around, axis_of, common_order};

pub(super) fn concat(b: &mut Builder<'_>, n: NodeId, axis: i64) -> Result<(), Fault> {
    let output = b.graph.nodes[n].outputs[0];
    let shape = b.shape(output)?;
    let rank = shape.len();
    let order = common_order(b, n);
    let at = axis_in(axis_of(axis, rank)?, rank, order);
    let (outer, _, inner) = around(&in_order(&shape, order), at);
    let inputs: Vec<_> = b.graph.nodes[n].inputs.iter().flatten().copied().collect();
    let mut parts = Vec::with_capacity(inputs.len());
    for v in inputs {
        let len = in_order(&b.shape(v)?, order)[at] * inner;
        parts.push((b.form(v, order)?, len));
    }
    let y = b.slot(b.name(output), shape.iter().product());
    b.emit(Instr::Concat { outer, parts, y });
    b.define(output, order, y)
}

pub(super) fn split(b: &mut Builder<'_>, n: NodeId, axis: i64) -> Result<(), Fault> {
    let v = b.input(n, 0)?;
    let shape = b.shape(v)?;
    let order = b.order(v);
    let at = axis_in(axis_of(axis, shape.len())?, shape.len(), order);
    let (outer, len, inner) = around(&in_order(&shape, order), at);
    let x = b.form(v, order)?;
    let mut start = 0;
    for &output in &b.graph.nodes[n].outputs {
        let count = in_order(&b.shape(output)?, order)[at] * inner;
        let y = b.slot(b.name(output), outer * count);
        b.emit(Instr::Slice {
            outer,
            len: len * inner,
            start,
            count,
            x,
            y,
        });
        start += count;
        b.define(output, order, y)?;
    }
    Ok(())
}

/// Another shape over the same elements in ONNX's order: no instruction.
pub(super) fn reshape(b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
    let v = b.input(n, 0)?;
    let x = b.form(v, Order::Onnx)?;
    b.define(b.graph.nodes[n].outputs[0], Order::Onnx, x)
}

pub(super) fn identity(b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
    let v = b.input(n, 0)?;
    let order = b.order(v);
    let x = b.form(v, order)?;
    b.define(b.graph.nodes[n].outputs[0], order, x)
}

pub(super) fn transpose(b: &mut Builder<'_>, n: NodeId, perm: Option<&[usize]>) -> Result<(), Fault> {
    let v = b.input(n, 0)?;
    let shape = b.shape(v)?;
    let rank = shape.len();
    let order = b.order(v);
    let reversed: Vec<usize> = (0..rank).rev().collect();
    let axes: Vec<usize> = perm
        .unwrap_or(&reversed)
        .iter()
        .map(|&a| axis_in(a, rank, order))
        .collect();
    let x = b.form(v, order)?;
    let y = b.permute(x, &in_order(&shape, order), &axes);
    b.define(b.graph.nodes[n].outputs[0], Order::Onnx, y)
}

/// [N, C, H, W] to [N, C/b², H·b, W·b]: of the channel axis b² parts go into a block's pixels, the outer ones, or with `crd` the inner ones.
pub(super) fn depth_to_space(b: &mut Builder<'_>, n: NodeId, block: usize, crd: bool) -> Result<(), Fault> {
    let &[batch, c, h, w] = &b.shape(b.input(n, 0)?)?[..] else {
        return Err("its input has not four axes".into());
    };
    let rest = c / (block * block).max(1);
    match crd {
        true => regrouped(b, n, &[batch, rest, block, block, h, w], &[0, 1, 4, 2, 5, 3]),
        false => regrouped(b, n, &[batch, block, block, rest, h, w], &[0, 3, 4, 1, 5, 2]),
    }
}

/// The way back, blocks' pixels outermost in the channel axis.
pub(super) fn space_to_depth(b: &mut Builder<'_>, n: NodeId, block: usize) -> Result<(), Fault> {
    let &[batch, c, h, w] = &b.shape(b.input(n, 0)?)?[..] else {
        return Err("its input has not four axes".into());
    };
    let blocks = |len: usize| len / block.max(1);
    regrouped(
        b,
        n,
        &[batch, c, blocks(h), block, blocks(w), block],
        &[0, 3, 5, 1, 2, 4],
    )
}

/// Axes that are split, then moved, then merged again.
fn regrouped(b: &mut Builder<'_>, n: NodeId, shape: &[usize], axes: &[usize]) -> Result<(), Fault> {
    let v = b.input(n, 0)?;
    let x = b.form(v, Order::Onnx)?;
    let y = b.permute(x, shape, axes);
    b.define(b.graph.nodes[n].outputs[0], Order::Onnx, y)
}
