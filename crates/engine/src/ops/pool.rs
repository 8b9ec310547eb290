//! Pools over windows and global ones (`FORMAT.md` 1.8, 1.9, 1.15).

use graph::{NodeId, Op, ReduceKind};
use kernels::int::{self, Average, Divisor, Edge};
use kernels::{PoolShape, float, picture, three};

use super::{No, edge_in, first_input, geometry, within};
use crate::compile::{Compiler, Repr, Want};
use crate::error::Fault;
use crate::memory::Kind;
use crate::view::{View, channels_last};

pub(super) fn covers(op: &Op) -> bool {
    matches!(
        op,
        Op::MaxPool(_)
            | Op::AveragePool(_)
            | Op::GlobalMaxPool
            | Op::GlobalAveragePool
            | Op::Reduce {
                kind: ReduceKind::Mean,
                ..
            }
    )
}

/// What a node takes of each window.
enum Taken {
    Max,
    Mean(Divisor),
}

fn window(cx: &Compiler<'_>, n: NodeId) -> Result<(PoolShape, Taken), Fault> {
    let node = cx.node(n);
    let x = cx.shape(first_input(cx, n).ok_or("its input is missing")?)?;
    let y = cx.shape(node.outputs[0])?;
    let whole = || -> Result<PoolShape, Fault> {
        let (batch, channels, spatial) = picture(&x)?;
        three(spatial, 1)?;
        let pixels = spatial.iter().product();
        Ok(PoolShape::whole(batch, pixels, channels))
    };
    Ok(match &node.op {
        Op::MaxPool(_) if node.outputs.len() > 1 => {
            return Err("the indices of a MaxPool have no kernel".into());
        }
        Op::MaxPool(op) => (geometry::pool(op, &x, &y)?.0, Taken::Max),
        Op::AveragePool(op) => {
            let (shape, padded) = geometry::pool(op, &x, &y)?;
            let divisor = match op.count_include_pad {
                true => Divisor::Padded(padded),
                false => Divisor::Inside,
            };
            (shape, Taken::Mean(divisor))
        }
        Op::GlobalMaxPool => (whole()?, Taken::Max),
        Op::GlobalAveragePool => (whole()?, Taken::Mean(Divisor::Inside)),
        _ => {
            let axes = match node.inputs.get(1).copied().flatten() {
                None => None,
                Some(v) => cx.graph.constants.get(&v).and_then(|t| t.to_i64()),
            };
            let mut axes: Vec<i64> = axes
                .ok_or("its axes are not constant")?
                .iter()
                .map(|&a| if a < 0 { a + x.len() as i64 } else { a })
                .collect();
            axes.sort_unstable();
            if x.len() < 3 || !axes.iter().copied().eq(2..x.len() as i64) {
                return Err("it is no mean over all spatial axes".into());
            }
            (whole()?, Taken::Mean(Divisor::Inside))
        }
    })
}

/// Whether the kernels compute the node.
pub(super) fn is_window(cx: &Compiler<'_>, n: NodeId) -> bool {
    window(cx, n).is_ok()
}

pub(super) fn integer(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), No> {
    let (v, from) = edge_in(cx, n, 0)?;
    let output = cx.node(n).outputs[0];
    let (shape, taken) = window(cx, n).map_err(|f| f.0)?;
    let divisor = match taken {
        Taken::Max => return maximum(cx, n, from, shape),
        Taken::Mean(divisor) => divisor,
    };
    let to = cx.edges.get(&output).copied();
    let to = to.ok_or_else(|| format!("output \"{}\" carries no quantizer", cx.name(output)))?;
    let taps: usize = shape.kernel.iter().product();
    let m = (f64::from(from.scale) / f64::from(to.scale)) as f32;
    within(f64::from(from.hi) * taps as f64, m)?;
    let x = cx.need(v, Repr::Codes, &Want::ChannelsLast).map_err(|f| f.0)?;
    let y = out(cx, n, Kind::Codes).map_err(|f| f.0)?;
    let (average, isa) = (Average { divisor, from, to }, cx.isa());
    cx.emit("average_u8u8", &[x.buffer], &[y.buffer], {
        let x = x.offset..x.offset + x.len();
        Box::new(move |mut io| {
            let (pool, x) = (io.pool, &io.codes(0)[x.clone()]);
            int::average_pool(pool, isa, &shape, &average, x, io.out_codes()).map_err(|e| e.to_string())
        })
    });
    cx.hold(output, Repr::Codes, y);
    Ok(())
}

fn maximum(cx: &mut Compiler<'_>, n: NodeId, from: Edge, shape: PoolShape) -> Result<(), No> {
    let v = first_input(cx, n).ok_or("its input is missing")?;
    let output = cx.node(n).outputs[0];
    let x = cx.need(v, Repr::Codes, &Want::ChannelsLast).map_err(|f| f.0)?;
    let mut y = out(cx, n, Kind::Codes).map_err(|f| f.0)?;
    let isa = cx.isa();
    let (mut from_buffer, mut at) = (x.buffer, x.offset..x.offset + x.len());
    let mut axes = shape.by_axes().into_iter().peekable();
    while let Some(shape) = axes.next() {
        let len = shape.batch * shape.output.iter().product::<usize>() * shape.channels;
        let to = match axes.peek() {
            Some(_) => cx.buffer(Kind::Codes, len),
            None => y.buffer,
        };
        cx.emit("max_u8u8", &[from_buffer], &[to], {
            Box::new(move |mut io| {
                let (pool, x) = (io.pool, &io.codes(0)[at.clone()]);
                int::max_pool(pool, isa, &shape, x, io.out_codes());
                Ok(())
            })
        });
        (from_buffer, at) = (to, 0..len);
    }
    let to = *cx.edges.entry(output).or_insert(from);
    if to != from {
        y = super::unary::table(cx, &y, int::rescale_table(from, to));
    }
    cx.hold(output, Repr::Codes, y);
    Ok(())
}

pub(super) fn float(cx: &mut Compiler<'_>, n: NodeId) -> Result<(), Fault> {
    let v = first_input(cx, n).ok_or("its input is missing")?;
    let (shape, taken) = window(cx, n)?;
    let x = cx.need(v, Repr::Real, &Want::ChannelsLast)?;
    let y = out(cx, n, Kind::Reals)?;
    let isa = cx.isa();
    let at = x.offset..x.offset + x.len();
    match taken {
        Taken::Max => cx.emit("max_f32", &[x.buffer], &[y.buffer], {
            Box::new(move |mut io| {
                let (pool, x) = (io.pool, &io.reals(0)[at.clone()]);
                float::max_pool(pool, isa, &shape, x, io.out_reals());
                Ok(())
            })
        }),
        Taken::Mean(divisor) => cx.emit("average_f32", &[x.buffer], &[y.buffer], {
            Box::new(move |mut io| {
                let (pool, x) = (io.pool, &io.reals(0)[at.clone()]);
                float::average_pool(pool, isa, &shape, divisor, x, io.out_reals());
                Ok(())
            })
        }),
    }
    cx.hold_float(cx.node(n).outputs[0], y);
    Ok(())
}

/// The output, its channels last; `[N, C]` where the reduced axes are dropped.
fn out(cx: &mut Compiler<'_>, n: NodeId, kind: Kind) -> Result<View, Fault> {
    let shape = cx.shape(cx.node(n).outputs[0])?;
    let buffer = cx.buffer(kind, shape.iter().product());
    Ok(View::dense(buffer, &shape, &channels_last(shape.len())))
}
