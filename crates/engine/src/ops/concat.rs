//! Concat (`FORMAT.md` 1.8): parts are copied into ranges of one buffer, unless their producers wrote there.

use graph::{NodeId, ValueId};
use kernels::int;
use kernels::{Out, Pixels};

use super::{No, axis_of, edge_in, edge_of};
use crate::compile::{Compiler, Repr, Want, kind};
use crate::error::Fault;
use crate::view::{View, channels_last, onnx_order};

/// The output's quantizer is its own, or the one that all inputs share.
pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId, axis: i64) -> Result<(), No> {
    let node = cx.node(n);
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for i in 0..node.inputs.len() {
        inputs.push(edge_in(cx, n, i)?);
    }
    let output = node.outputs[0];
    let first = inputs.first().ok_or("it has no input")?.1;
    let to = match cx.graph.edges.get(&output) {
        Some(q) => edge_of(q),
        None if inputs.iter().all(|(_, e)| *e == first) => first,
        None => return Err("its inputs carry different quantizers and its output none".into()),
    };
    let parts: Vec<(ValueId, Option<[u8; 256]>)> = inputs
        .iter()
        .map(|&(v, from)| (v, (from != to).then(|| int::rescale_table(from, to))))
        .collect();
    let view = concat(cx, n, axis, &parts, Repr::Codes).map_err(|f| f.0)?;
    cx.edges.insert(output, to);
    cx.hold(output, Repr::Codes, view);
    Ok(())
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId, axis: i64) -> Result<(), Fault> {
    let inputs = cx.node(n).inputs.iter().flatten();
    let parts: Vec<(ValueId, Option<[u8; 256]>)> = inputs.map(|&v| (v, None)).collect();
    let view = concat(cx, n, axis, &parts, Repr::Real)?;
    cx.hold_float(cx.node(n).outputs[0], view);
    Ok(())
}

fn concat(
    cx: &mut Compiler<'_>,
    n: NodeId,
    axis: i64,
    parts: &[(ValueId, Option<[u8; 256]>)],
    repr: Repr,
) -> Result<View, Fault> {
    let shape = cx.shape(cx.node(n).outputs[0])?;
    let axis = axis_of(axis, shape.len())?;
    let views = parts
        .iter()
        .map(|&(v, _)| cx.need(v, repr, &Want::View))
        .collect::<Result<Vec<View>, Fault>>()?;
    let out = match cx.started_concat(n) {
        Some(buffer) => View::dense(buffer, &shape, &channels_last(shape.len())),
        None => {
            let largest = views.iter().max_by_key(|v| v.len());
            let order = match (3..=5).contains(&shape.len()) && cx.feeds_convolutions(cx.node(n).outputs[0]) {
                true => channels_last(shape.len()),
                false => largest.map_or_else(|| onnx_order(shape.len()), View::order),
            };
            let buffer = cx.buffer(kind(repr), shape.iter().product());
            View::dense(buffer, &shape, &order)
        }
    };
    let mut at = 0;
    for (view, (_, table)) in views.iter().zip(parts) {
        let to = out.sliced(axis, at, 1, view.shape[axis]);
        at += view.shape[axis];
        if to.shape != view.shape {
            return Err("its inputs' shapes do not fit together".into());
        }
        if *view == to {
            continue;
        }
        // A part that lies elsewhere in the same buffer leaves it first.
        let apart = (view.buffer == to.buffer).then(|| cx.rearranged(view, &view.order(), repr));
        let view = apart.as_ref().unwrap_or(view);
        match table {
            None => cx.copy(view, &to, repr),
            Some(table) => copy_through(cx, view, &to, *table),
        }
    }
    if at != shape[axis] {
        return Err("its inputs do not add up to its output".into());
    }
    Ok(out)
}

/// Codes into another view, through a table.
fn copy_through(cx: &mut Compiler<'_>, from: &View, to: &View, table: [u8; 256]) {
    let channels = from.shape.get(1).copied().unwrap_or(1);
    match (from.pixels(), to.pixels()) {
        (Some((stride, offset, start)), Some((to_stride, to_offset, to_start))) => {
            let pixels = from.len() / channels.max(1);
            let len = (pixels - 1) * to_stride + to_offset + channels;
            cx.emit("copy_u8_table", &[from.buffer], &[to.buffer], {
                Box::new(move |mut io| {
                    let data = &io.codes(0)[start..];
                    let x = Pixels { data, stride, offset };
                    let pool = io.pool;
                    let y = Out {
                        data: &mut io.out_codes()[to_start..to_start + len],
                        stride: to_stride,
                        offset: to_offset,
                    };
                    int::copy_channels(pool, x, channels, Some(&table), y);
                    Ok(())
                })
            });
        }
        _ => {
            let dense = match from.is_dense() {
                true => from.clone(),
                false => cx.rearranged(from, &from.order(), Repr::Codes),
            };
            let mapped = super::unary::table(cx, &dense, table);
            cx.copy(&mapped, to, Repr::Codes);
        }
    }
}
