//! Operators that move elements (`FORMAT.md` 1.8): new strides where they say it, copies where they cannot.

use graph::{NodeId, Op, ValueId};
use kernels::int::{self, Edge};

use super::{No, axis_of, edge_in, first_input};
use crate::compile::{Compiler, Repr, Want, kind};
use crate::copy::Copies;
use crate::error::Fault;
use crate::view::{View, onnx_order};

pub(super) fn covers(op: &Op) -> bool {
    op.only_moves() || matches!(op, Op::Dropout)
}

/// Whether everything that says where elements go is known: the output's shape, or constants.
pub(super) fn is_static(cx: &Compiler<'_>, n: NodeId) -> bool {
    let node = cx.node(n);
    match node.op {
        Op::Slice | Op::Pad { .. } | Op::Gather { .. } | Op::Tile => {
            let parameters = node.inputs.iter().skip(1).flatten();
            parameters.into_iter().all(|v| cx.graph.constants.contains_key(v))
        }
        _ => true,
    }
}

/// Codes move; then a table where the output's quantizer is another.
pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let node = cx.node(n);
    let (_, from) = edge_in(cx, n, 0)?;
    if matches!(node.op, Op::Pad { .. }) && pad_value(cx, n).map_err(|f| f.0)? != 0.0 {
        return Err("pads with another value than 0".into());
    }
    let views = moved(cx, n, Repr::Codes, Some(from)).map_err(|f| f.0)?;
    for (&v, view) in node.outputs.iter().zip(views) {
        let to = *cx.edges.entry(v).or_insert(from);
        let view = if to == from {
            view
        } else {
            rescaled(cx, view, from, to)
        };
        cx.hold(v, Repr::Codes, view);
    }
    Ok(())
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let node = cx.node(n);
    let views = moved(cx, n, Repr::Real, None)?;
    for (&v, view) in node.outputs.iter().zip(views) {
        let quantized = cx.edges.contains_key(&v);
        let view = match quantized && !view.is_dense() {
            true => cx.rearranged(&view, &view.order(), Repr::Real),
            false => view,
        };
        cx.hold_float(v, view);
    }
    Ok(())
}

/// 1.8: the same view through a table.
pub(super) fn rescaled(cx: &mut Compiler<'_>, view: View, from: Edge, to: Edge) -> View {
    let dense = match view.is_dense() {
        true => view,
        false => cx.rearranged(&view, &view.order(), Repr::Codes),
    };
    super::unary::table(cx, &dense, int::rescale_table(from, to))
}

/// Constant integers of input `i`, if it is there.
fn integers(cx: &Compiler<'_>, n: NodeId, i: usize) -> Result<Option<Vec<i64>>, Fault> {
    let node = cx.node(n);
    match node.inputs.get(i).copied().flatten() {
        None => Ok(None),
        Some(v) => {
            let tensor = cx.graph.constants.get(&v).and_then(|t| t.to_i64());
            let name = cx.name(v);
            tensor.map(Some).ok_or_else(|| {
                Fault(format!(
                    "\"{name}\" is no constant; simplify the graph with fixed input shapes"
                ))
            })
        }
    }
}

/// One view per output.
fn moved(cx: &mut Compiler<'_>, n: NodeId, repr: Repr, edge: Option<Edge>) -> Result<Vec<View>, Fault> {
    let node = cx.node(n);
    let v = first_input(cx, n).ok_or("its first input is missing")?;
    let out = cx.shape(node.outputs[0])?;
    if out.contains(&0) {
        let buffer = cx.buffer(kind(repr), 0);
        let shapes = node
            .outputs
            .iter()
            .map(|&v| cx.shape(v))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(shapes
            .iter()
            .map(|s| View::dense(buffer, s, &onnx_order(s.len())))
            .collect());
    }
    let x = cx.need(v, repr, &Want::View)?;
    let rank = x.shape.len();
    Ok(vec![match &node.op {
        Op::Transpose { perm } => match perm {
            Some(perm) => x.transposed(perm),
            None => x.transposed(&(0..rank).rev().collect::<Vec<_>>()),
        },
        Op::Slice => sliced(cx, n, x, repr)?,
        Op::Split { axis } => return split(cx, n, &x, axis_of(*axis, rank)?),
        Op::Gather { axis } => gathered(cx, n, &x, axis_of(*axis, rank)?, &out, repr)?,
        Op::Expand => x.expanded(&out).ok_or("its shapes do not broadcast")?,
        Op::Tile => {
            let repeats = integers(cx, n, 1)?.ok_or("repeats are missing")?;
            let mut tiled = x.clone();
            (tiled.shape, tiled.strides) = (Vec::new(), Vec::new());
            for (axis, repeat) in repeats.iter().enumerate() {
                tiled.shape.extend([*repeat as usize, x.shape[axis]]);
                tiled.strides.extend([0, x.strides[axis]]);
            }
            reshaped(cx, &tiled, &out, repr)?
        }
        Op::DepthToSpace { block, crd } => {
            let (b, [n, c, h, w]) = (*block, picture(&x)?);
            let (split, perm) = match crd {
                true => ([n, c / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3]),
                false => ([n, b, b, c / (b * b), h, w], [0, 3, 4, 1, 5, 2]),
            };
            let x = reshaped(cx, &x, &split, repr)?.transposed(&perm);
            reshaped(cx, &x, &out, repr)?
        }
        Op::SpaceToDepth { block } => {
            let (b, [n, c, h, w]) = (*block, picture(&x)?);
            let x = reshaped(cx, &x, &[n, c, h / b, b, w / b, b], repr)?;
            reshaped(cx, &x.transposed(&[0, 3, 5, 1, 2, 4]), &out, repr)?
        }
        Op::Pad { .. } => padded(cx, n, x, repr, edge)?,
        _ => reshape_value(cx, v, &out, repr)?,
    }])
}

fn picture(x: &View) -> Result<[usize; 4], Fault> {
    let shape = <[usize; 4]>::try_from(x.shape.as_slice());
    shape.map_err(|_| Fault("its input is no [N, C, H, W]".into()))
}

/// A value under another shape: by new strides where one of its forms allows it.
fn reshape_value(cx: &mut Compiler<'_>, v: ValueId, shape: &[usize], repr: Repr) -> Result<View, Fault> {
    let x = cx.need(v, repr, &Want::View)?;
    match x.reshaped(shape) {
        Ok(view) => Ok(view),
        Err(order) => {
            let copy = cx.need(v, repr, &Want::Order(order))?;
            reshaped(cx, &copy, shape, repr)
        }
    }
}

/// A view under another shape, copied where strides cannot say it.
fn reshaped(cx: &mut Compiler<'_>, x: &View, shape: &[usize], repr: Repr) -> Result<View, Fault> {
    let order = match x.reshaped(shape) {
        Ok(view) => return Ok(view),
        Err(order) => order,
    };
    let copy = cx.rearranged(x, &order, repr);
    copy.reshaped(shape)
        .map_err(|_| Fault(format!("{:?} cannot become {shape:?}", x.shape)))
}

fn sliced(cx: &mut Compiler<'_>, n: NodeId, mut x: View, repr: Repr) -> Result<View, Fault> {
    let starts = integers(cx, n, 1)?.ok_or("starts are missing")?;
    let ends = integers(cx, n, 2)?.ok_or("ends are missing")?;
    let axes = integers(cx, n, 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = integers(cx, n, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps differ in length".into());
    }
    for i in 0..starts.len() {
        let axis = axis_of(axes[i], x.shape.len())?;
        let len = x.shape[axis] as i64;
        let step = steps[i];
        let at =
            |v: i64, low: i64, high: i64| (if v < 0 { v.saturating_add(len) } else { v }).clamp(low, high);
        if step > 0 {
            let (start, end) = (at(starts[i], 0, len), at(ends[i], 0, len));
            let count = (end - start).max(0) as usize;
            let step = usize::try_from(step)
                .unwrap_or(usize::MAX)
                .min(x.shape[axis].max(1));
            x = x.sliced(axis, start as usize, step, count.div_ceil(step));
        } else if step < 0 {
            let (start, end) = (at(starts[i], 0, len - 1), at(ends[i], -1, len - 1));
            let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            let picks: Vec<usize> = (end + 1..=start)
                .rev()
                .step_by(stride)
                .map(|i| i as usize)
                .collect();
            x = taken(cx, &x, axis, &picks, repr);
        } else {
            return Err("a step is 0".into());
        }
    }
    Ok(x)
}

fn split(cx: &Compiler<'_>, n: NodeId, x: &View, axis: usize) -> Result<Vec<View>, Fault> {
    let mut start = 0;
    let outputs = &cx.node(n).outputs;
    let mut views = Vec::with_capacity(outputs.len());
    for &v in outputs {
        let len = *cx.shape(v)?.get(axis).ok_or("an output has too few axes")?;
        views.push(x.sliced(axis, start, 1, len));
        start += len;
    }
    if start != x.shape[axis] {
        return Err("its parts do not add up to the axis".into());
    }
    Ok(views)
}

fn gathered(
    cx: &mut Compiler<'_>,
    n: NodeId,
    x: &View,
    axis: usize,
    out: &[usize],
    repr: Repr,
) -> Result<View, Fault> {
    let indices = integers(cx, n, 1)?.ok_or("indices are missing")?;
    let len = x.shape[axis] as i64;
    let mut picks = Vec::with_capacity(indices.len());
    for i in indices {
        let at = if i < 0 { i + len } else { i };
        match usize::try_from(at) {
            Ok(at) if at < x.shape[axis] => picks.push(at),
            _ => return Err(Fault(format!("index {i} of an axis of {len}"))),
        }
    }
    let taken = taken(cx, x, axis, &picks, repr);
    reshaped(cx, &taken, out, repr)
}

/// Elements of an axis in any order.
pub(super) fn taken(cx: &mut Compiler<'_>, x: &View, axis: usize, picks: &[usize], repr: Repr) -> View {
    let step = match picks {
        [first, second, ..] => second.wrapping_sub(*first),
        _ => 1,
    };
    let forward = (1..=x.shape[axis]).contains(&step);
    if forward && picks.windows(2).all(|p| p[1].wrapping_sub(p[0]) == step) {
        return x.sliced(axis, picks.first().copied().unwrap_or(0), step, picks.len());
    }
    let mut shape = x.shape.clone();
    shape[axis] = picks.len();
    let buffer = cx.buffer(kind(repr), shape.iter().product());
    let out = View::dense(buffer, &shape, &x.order());
    for (i, &pick) in picks.iter().enumerate() {
        cx.copy(&x.sliced(axis, pick, 1, 1), &out.sliced(axis, i, 1, 1), repr);
    }
    out
}

/// The value that a Pad fills with.
fn pad_value(cx: &Compiler<'_>, n: NodeId) -> Result<f32, Fault> {
    match cx.node(n).inputs.get(2).copied().flatten() {
        None => Ok(0.0),
        Some(v) => match cx.weight(v)?.as_slice() {
            [value] => Ok(*value),
            _ => Err("the value to pad with is no single number".into()),
        },
    }
}

fn padded(
    cx: &mut Compiler<'_>,
    n: NodeId,
    mut x: View,
    repr: Repr,
    edge: Option<Edge>,
) -> Result<View, Fault> {
    let pads = integers(cx, n, 1)?.ok_or("pads are missing")?;
    let axes = integers(cx, n, 3)?.unwrap_or_else(|| (0..x.shape.len() as i64).collect());
    if pads.len() != 2 * axes.len() {
        return Err("pads and axes differ in length".into());
    }
    let value = pad_value(cx, n)?;
    let mut shape = x.shape.clone();
    let mut starts = vec![0; shape.len()];
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, shape.len())?;
        let (begin, end) = (pads[i], pads[axes.len() + i]);
        let crop = |p: i64| usize::try_from(p.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let grow = |p: i64| usize::try_from(p.max(0)).unwrap_or(usize::MAX);
        let inner = x.shape[axis]
            .checked_sub(crop(begin))
            .and_then(|l| l.checked_sub(crop(end)))
            .ok_or("it crops more than there is")?;
        x = x.sliced(axis, crop(begin), 1, inner);
        starts[axis] = grow(begin);
        shape[axis] = inner.saturating_add(grow(begin)).saturating_add(grow(end));
    }
    if shape != cx.shape(cx.node(n).outputs[0])? {
        return Err("its pads do not give its output's shape".into());
    }
    let buffer = cx.buffer(kind(repr), shape.iter().product());
    let out = View::dense(buffer, &shape, &x.order());
    let mut inside = out.clone();
    for (axis, &start) in starts.iter().enumerate() {
        inside = inside.sliced(axis, start, 1, x.shape[axis]);
    }
    let copy = Copies::new(&x, &inside);
    let zero = edge.map_or(0, |e| e.zero);
    let empty = x.len() == 0;
    cx.emit(
        "pad",
        &[x.buffer],
        &[buffer],
        match repr {
            Repr::Codes => Box::new(move |mut io| {
                let x = io.codes(0);
                io.out_codes().fill(zero);
                if !empty {
                    copy.run(io.pool, x, io.out_codes());
                }
                Ok(())
            }),
            _ => Box::new(move |mut io| {
                let x = io.reals(0);
                io.out_reals().fill(value);
                if !empty {
                    copy.run(io.pool, x, io.out_reals());
                }
                Ok(())
            }),
        },
    );
    Ok(out)
}
