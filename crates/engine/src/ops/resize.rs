//! Resize, nearest and linear (`FORMAT.md` 1.8, 1.10, 1.15).

use graph::{NodeId, Op, Resize, ResizeAxis, ResizeMode, ValueId, resize_axes};
use kernels::float::resize_linear;
use kernels::int::{Edge, Linear, LinearAxis};
use kernels::{Picks, pick, picture, three};

use super::{No, edge_in, first_input, layout, within};
use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;
use crate::memory::Kind;
use crate::view::{View, channels_last};

/// What is done along the axes.
enum Plan {
    /// Nearest along up to three spatial axes.
    Nearest(Picks),
    /// Nearest along any axes.
    Axes(Vec<(usize, Vec<usize>)>),
    Linear(Linear),
}

fn attributes<'c>(cx: &Compiler<'c>, n: NodeId) -> Result<&'c Resize, Fault> {
    match &cx.node(n).op {
        Op::Resize(resize) => Ok(resize),
        op => Err(Fault(format!("{} is no Resize", op.name()))),
    }
}

/// Whether scales are left out and the sizes are no constant.
fn sizes_are_computed(cx: &Compiler<'_>, n: NodeId) -> bool {
    let given = |i: usize| cx.node(n).inputs.get(i).copied().flatten();
    let scales = given(2).filter(|v| cx.graph.constants.get(v).is_none_or(|t| !t.is_empty()));
    scales.is_none() && given(3).is_some_and(|v| !cx.graph.is_constant(v))
}

fn plan(cx: &Compiler<'_>, n: NodeId) -> Result<Plan, Fault> {
    let op = attributes(cx, n)?;
    let x = cx.shape(first_input(cx, n).ok_or("its input is missing")?)?;
    let y = cx.shape(cx.node(n).outputs[0])?;
    if sizes_are_computed(cx, n) {
        return Err("its sizes are computed".into());
    }
    let all = resize_axes(cx.graph, cx.node(n), &x, &y)?;
    let spatial = (3..=5).contains(&x.len()) && !all[..2].iter().any(ResizeAxis::changes);
    if !spatial && op.mode == ResizeMode::Nearest {
        let picks = |i: usize| (i, (0..y[i]).map(|o| all[i].nearest(op, o)).collect());
        let changed = (0..x.len()).filter(|&i| all[i].changes());
        return Ok(Plan::Axes(changed.map(picks).collect()));
    }
    if !spatial {
        return Err("it interpolates over other axes than up to three spatial ones".into());
    }
    let (_, _, input) = picture(&x)?;
    let axes = &all[2..];
    Ok(match op.mode {
        ResizeMode::Nearest => {
            let picks = |a: &ResizeAxis| -> Vec<Option<usize>> {
                (0..a.output).map(|o| Some(a.nearest(op, o))).collect()
            };
            let picks: Vec<_> = axes.iter().map(picks).collect();
            let lead = 3usize
                .checked_sub(picks.len())
                .ok_or("more than 3 spatial axes")?;
            let mut all = vec![Picks::all(1); lead];
            all.extend(picks);
            Plan::Nearest(Picks(all.try_into().map_err(|_| "more than 3 spatial axes")?))
        }
        ResizeMode::Linear => {
            let taps = |a: &ResizeAxis| {
                let taps = (0..a.output).map(|o| a.linear(op, o)).collect();
                a.changes().then_some(LinearAxis { taps })
            };
            let taps: Vec<_> = axes.iter().map(taps).collect();
            let lead = 3usize.checked_sub(taps.len()).ok_or("more than 3 spatial axes")?;
            let mut all = vec![None; lead];
            all.extend(taps);
            Plan::Linear(Linear {
                axes: all.try_into().map_err(|_| "more than 3 spatial axes")?,
                input: three(input, 1)?,
            })
        }
    })
}

/// Whether the kernels compute the node.
pub(super) fn is_covered(cx: &Compiler<'_>, n: NodeId) -> bool {
    plan(cx, n).is_ok()
}

pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let (v, from) = edge_in(cx, n, 0)?;
    let output = cx.node(n).outputs[0];
    let to = cx.edges.get(&output).copied();
    let moved = match plan(cx, n).map_err(|f| f.0)? {
        Plan::Nearest(picks) => picked(cx, n, picks, Repr::Codes),
        Plan::Axes(picks) => taken(cx, v, &picks, Repr::Codes),
        Plan::Linear(linear) => {
            let to = to.ok_or_else(|| format!("output \"{}\" carries no quantizer", cx.name(output)))?;
            within_linear(&linear, from, to)?;
            let x = cx.need(v, Repr::Codes, &Want::ChannelsLast).map_err(|f| f.0)?;
            let (sizes, y) = out(cx, n, Kind::Codes).map_err(|f| f.0)?;
            cx.emit("linear_u8u8", &[x.buffer], &[y.buffer], {
                let x = x.offset..x.offset + x.len();
                Box::new(move |mut io| {
                    let (pool, x) = (io.pool, &io.codes(0)[x.clone()]);
                    let run = linear.run(pool, sizes, from, to, x, io.out_codes());
                    run.map_err(|e| e.to_string())
                })
            });
            cx.hold(output, Repr::Codes, y);
            return Ok(());
        }
    };
    let y = moved.map_err(|f| f.0)?;
    let to = *cx.edges.entry(output).or_insert(from);
    let y = if to == from {
        y
    } else {
        layout::rescaled(cx, y, from, to)
    };
    cx.hold(output, Repr::Codes, y);
    Ok(())
}

/// Nearest along any axes, one after the other.
fn taken(
    cx: &mut Compiler<'_>,
    v: ValueId,
    picks: &[(usize, Vec<usize>)],
    repr: Repr,
) -> Result<View, Fault> {
    let mut view = cx.need(v, repr, &Want::View)?;
    for (axis, picks) in picks {
        view = layout::taken(cx, &view, *axis, picks, repr);
    }
    match view.is_dense() {
        true => Ok(view),
        false => Ok(cx.rearranged(&view, &view.order(), repr)),
    }
}

/// 1.13 for 1.10.
fn within_linear(linear: &Linear, from: Edge, to: Edge) -> Result<(), No> {
    let axes = linear.axes.iter().flatten().count() as u32;
    let unit = (1u64 << (axes * if axes == 3 { 7 } else { 11 })) as f64;
    let m = (f64::from(from.scale) / (f64::from(to.scale) * unit)) as f32;
    within(f64::from(from.hi) * unit, m)
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let v = first_input(cx, n).ok_or("its input is missing")?;
    let y = match plan(cx, n)? {
        Plan::Nearest(picks) => picked(cx, n, picks, Repr::Real)?,
        Plan::Axes(picks) => taken(cx, v, &picks, Repr::Real)?,
        Plan::Linear(linear) => {
            let x = cx.need(v, Repr::Real, &Want::ChannelsLast)?;
            let (sizes, y) = out(cx, n, Kind::Reals)?;
            let isa = cx.isa();
            cx.emit("linear_f32", &[x.buffer], &[y.buffer], {
                let x = x.offset..x.offset + x.len();
                Box::new(move |mut io| {
                    let (pool, x) = (io.pool, &io.reals(0)[x.clone()]);
                    resize_linear(pool, isa, &linear, sizes, x, io.out_reals());
                    Ok(())
                })
            });
            y
        }
    };
    cx.hold_float(cx.node(n).outputs[0], y);
    Ok(())
}

/// Nearest: whole pixels are copied.
fn picked(cx: &mut Compiler<'_>, n: NodeId, picks: Picks, repr: Repr) -> Result<View, Fault> {
    let v = first_input(cx, n).ok_or("its input is missing")?;
    let x = cx.need(v, repr, &Want::ChannelsLast)?;
    let input = three(&x.shape[2..], 1)?;
    let at = x.offset..x.offset + x.len();
    let (sizes, y) = out(cx, n, crate::compile::kind(repr))?;
    cx.emit(
        "nearest",
        &[x.buffer],
        &[y.buffer],
        match repr {
            Repr::Codes => Box::new(move |mut io| {
                let (pool, x) = (io.pool, &io.codes(0)[at.clone()]);
                pick(pool, &picks, sizes, input, 0, x, io.out_codes());
                Ok(())
            }),
            _ => Box::new(move |mut io| {
                let (pool, x) = (io.pool, &io.reals(0)[at.clone()]);
                pick(pool, &picks, sizes, input, 0.0, x, io.out_reals());
                Ok(())
            }),
        },
    );
    Ok(y)
}

/// Batch and channels, and the output with its channels last.
fn out(cx: &mut Compiler<'_>, n: NodeId, kind: Kind) -> Result<([usize; 2], View), Fault> {
    let shape = cx.shape(cx.node(n).outputs[0])?;
    let buffer = cx.buffer(kind, shape.iter().product());
    let (batch, channels, _) = picture(&shape)?;
    Ok((
        [batch, channels],
        View::dense(buffer, &shape, &channels_last(shape.len())),
    ))
}
