//! Resize, nearest and linear.

use graph::{NodeId, Resize, ResizeAxis, ResizeMode, resize_axes};
use kernels::float::{Linear, LinearAxis};
use kernels::{picture, three};

use super::super::build::{Builder, Order};
use super::super::error::Fault;
use super::super::instr::Instr;
use super::index::Walk;

pub(super) fn resize(b: &mut Builder<'_>, n: NodeId, op: &Resize) -> Result<(), Fault> {
    let (v, output) = (b.input(n, 0)?, b.graph.nodes[n].outputs[0]);
    let (x, y) = (b.shape(v)?, b.shape(output)?);
    let axes = resize_axes(b.graph, &b.graph.nodes[n], &x, &y)?;
    if op.mode == ResizeMode::Nearest {
        let mut walk = Walk::new(b, n)?;
        // Rows last: they are copied whole then.
        for (i, axis) in axes.iter().enumerate().rev() {
            let indices = (0..axis.output).map(|o| Some(axis.nearest(op, o))).collect();
            walk.pick(b, i, indices, 0.0);
        }
        return walk.finish(b, n);
    }
    if axes.iter().take(2).any(ResizeAxis::changes) {
        return Err("it interpolates over pictures or channels".into());
    }
    let (batch, channels, input) = picture(&x)?;
    let axes: Vec<Option<LinearAxis>> = axes[2..]
        .iter()
        .map(|axis| {
            let taps = (0..axis.output).map(|o| axis.linear(op, o)).collect();
            axis.changes().then_some(LinearAxis { taps })
        })
        .collect();
    let lead = 3usize.checked_sub(axes.len()).ok_or("more than 3 spatial axes")?;
    let mut all = vec![None; lead];
    all.extend(axes);
    let linear = Linear {
        axes: all.try_into().map_err(|_| "more than 3 spatial axes")?,
        input: three(input, 1)?,
    };
    let x = b.form(v, Order::Last)?;
    let y = b.slot(b.name(output), y.iter().product());
    b.emit(Instr::ResizeLinear {
        op: linear,
        batch,
        channels,
        x,
        y,
    });
    b.define(output, Order::Last, y)
}
