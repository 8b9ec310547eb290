//! Pools and reductions.

use graph::shape::pool_window;
use graph::{NodeId, Pool, ReduceKind};
use kernels::float::Divisor;
use kernels::float::backward::Reduce;
use kernels::{PoolShape, picture, three};

use super::super::build::{Builder, Order, axis_in, in_order};
use super::super::error::Fault;
use super::super::instr::Instr;
use super::{axis_of, integers};

/// The window, and the length of each padded axis.
fn shape_of(b: &Builder<'_>, n: NodeId, op: &Pool) -> Result<(PoolShape, [usize; 3]), Fault> {
    let (x, y) = (b.shape(b.input(n, 0)?)?, b.shape(b.graph.nodes[n].outputs[0])?);
    let (window, padded) = pool_window(op, &x)?;
    Ok((PoolShape::new(&x, &y, &window)?, three(&padded, 1)?))
}

pub(super) fn max_pool(b: &mut Builder<'_>, n: NodeId, op: &Pool) -> Result<(), Fault> {
    if b.graph.nodes[n].outputs.len() > 1 {
        return Err("its indices are read".into());
    }
    let (shape, _) = shape_of(b, n, op)?;
    emit(b, n, shape, None)
}

pub(super) fn average_pool(b: &mut Builder<'_>, n: NodeId, op: &Pool) -> Result<(), Fault> {
    let (shape, padded) = shape_of(b, n, op)?;
    let divisor = if op.count_include_pad {
        Divisor::Padded(padded)
    } else {
        Divisor::Inside
    };
    emit(b, n, shape, Some(divisor))
}

/// One window over each picture.
pub(super) fn global(b: &mut Builder<'_>, n: NodeId, max: bool) -> Result<(), Fault> {
    let x = b.shape(b.input(n, 0)?)?;
    let (batch, channels, input) = picture(&x)?;
    let input = three(input, 1)?;
    let shape = PoolShape {
        batch,
        channels,
        input,
        output: [1; 3],
        kernel: input,
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    emit(b, n, shape, (!max).then_some(Divisor::Inside))
}

/// An average where there is a divisor, a maximum where there is none.
fn emit(b: &mut Builder<'_>, n: NodeId, shape: PoolShape, divisor: Option<Divisor>) -> Result<(), Fault> {
    let output = b.graph.nodes[n].outputs[0];
    let x = b.form(b.input(n, 0)?, Order::Last)?;
    let y = b.slot(
        b.name(output),
        shape.batch * shape.output.iter().product::<usize>() * shape.channels,
    );
    b.emit(match divisor {
        Some(divisor) => Instr::AveragePool { shape, divisor, x, y },
        None => Instr::MaxPool { shape, x, y },
    });
    b.define(output, Order::Last, y)
}

pub(super) fn reduce(b: &mut Builder<'_>, n: NodeId, kind: ReduceKind, keep_dims: bool) -> Result<(), Fault> {
    let (v, output) = (b.input(n, 0)?, b.graph.nodes[n].outputs[0]);
    let shape = b.shape(v)?;
    let rank = shape.len();
    let axes: Vec<usize> = match integers(b, n, 1)? {
        Some(list) if !list.is_empty() => list.iter().map(|&a| axis_of(a, rank)).collect::<Result<_, _>>()?,
        _ if b.shape(output)? == shape => Vec::new(),
        _ => (0..rank).collect(),
    };
    // Without the axes, channels-last is ONNX's order only where all spatial ones are gone.
    let spatial = (2..rank).all(|a| axes.contains(&a));
    let order = if keep_dims || spatial {
        b.order(v)
    } else {
        Order::Onnx
    };
    let from = in_order(&shape, order);
    let mut to = from.clone();
    for &a in &axes {
        to[axis_in(a, rank, order)] = 1;
    }
    let terms: usize = axes.iter().map(|&a| shape[a]).product();
    let gain = match kind {
        ReduceKind::Sum => 1.0,
        ReduceKind::Mean => 1.0 / terms.max(1) as f32,
        _ => return Err("only sums and means have a backward".into()),
    };
    let op = Reduce::new(&from, &to, gain).ok_or("its axes do not fit")?;
    let x = b.form(v, order)?;
    let y = b.slot(b.name(output), op.to_len());
    b.emit(Instr::Reduce { op, x, y });
    b.define(output, if keep_dims { order } else { Order::Onnx }, y)
}
