//! Resize, nearest and linear.

use graph::{CoordinateTransform, NearestMode, NodeId, Resize, ResizeMode};
use kernels::float::{Linear, LinearAxis};

use super::super::build::{Builder, Order};
use super::super::error::Fault;
use super::super::instr::Instr;
use super::axis_of;
use super::index::Walk;
use super::product::{picture, three};

pub(super) fn resize(b: &mut Builder<'_>, n: NodeId, op: &Resize) -> Result<(), Fault> {
    let (v, output) = (b.input(n, 0)?, b.graph.nodes[n].outputs[0]);
    let (x, y) = (b.shape(v)?, b.shape(output)?);
    let scales = scales(b, n, op, x.len())?;
    let axis = |i: usize| Axis {
        input: x[i],
        output: y[i],
        scale: scales.as_ref().map(|s| s[i]),
    };
    if op.mode == ResizeMode::Nearest {
        let mut walk = Walk::new(b, n)?;
        // Rows last: they are copied whole then.
        for i in (0..x.len()).rev() {
            let axis = axis(i);
            let indices = (0..axis.output).map(|o| Some(axis.nearest(op, o))).collect();
            walk.pick(b, i, indices, 0.0);
        }
        return walk.finish(b, n);
    }
    if (0..2.min(x.len())).any(|i| axis(i).changes()) {
        return Err("it interpolates over pictures or channels".into());
    }
    let (batch, channels, input) = picture(&x)?;
    let axes: Vec<Option<LinearAxis>> = (2..x.len())
        .map(|i| {
            let axis = axis(i);
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

/// Scale of each axis where scales are given; sizes give none.
fn scales(b: &Builder<'_>, n: NodeId, op: &Resize, rank: usize) -> Result<Option<Vec<f64>>, Fault> {
    let given = |i: usize| b.graph.nodes[n].inputs.get(i).copied().flatten();
    let Some(v) = given(2).filter(|v| b.graph.constants.get(v).is_none_or(|t| !t.is_empty())) else {
        return Ok(None);
    };
    let list = b
        .graph
        .constants
        .get(&v)
        .and_then(|t| t.as_f32())
        .ok_or("its scales are computed")?;
    let axes: Vec<i64> = if op.axes.is_empty() {
        (0..rank as i64).collect()
    } else {
        op.axes.clone()
    };
    if list.len() != axes.len() {
        return Err("its scales and axes differ in length".into());
    }
    let mut out = vec![1.0; rank];
    for (&axis, &scale) in axes.iter().zip(list) {
        out[axis_of(axis, rank)?] = f64::from(scale);
    }
    Ok(Some(out))
}

/// One axis of a Resize, by ONNX's rules.
struct Axis {
    input: usize,
    output: usize,
    scale: Option<f64>,
}

impl Axis {
    fn changes(&self) -> bool {
        self.input != self.output || self.scale.is_some_and(|s| s != 1.0)
    }

    fn step(&self, x: f64) -> f64 {
        match self.scale {
            Some(scale) => x / scale,
            None => x * self.input as f64 / self.output as f64,
        }
    }

    fn coordinate(&self, op: &Resize, o: usize) -> f64 {
        let (input, output, at) = (self.input as f64, self.output as f64, o as f64);
        match op.coordinates {
            CoordinateTransform::HalfPixel => self.step(at + 0.5) - 0.5,
            CoordinateTransform::PytorchHalfPixel | CoordinateTransform::AlignCorners if self.output == 1 => {
                0.0
            }
            CoordinateTransform::PytorchHalfPixel => self.step(at + 0.5) - 0.5,
            CoordinateTransform::Asymmetric => self.step(at),
            CoordinateTransform::AlignCorners => at * (input - 1.0) / (output - 1.0),
            CoordinateTransform::HalfPixelSymmetric => {
                let adjust = self.scale.map_or(1.0, |s| output / (input * s));
                (input / 2.0) * (1.0 - adjust) + self.step(at + 0.5) - 0.5
            }
        }
    }

    fn clamped(&self, x: f64) -> usize {
        x.clamp(0.0, self.input.max(1) as f64 - 1.0) as usize
    }

    fn nearest(&self, op: &Resize, o: usize) -> usize {
        if !self.changes() {
            return o;
        }
        let c = self.coordinate(op, o);
        self.clamped(match op.nearest {
            NearestMode::Floor => c.floor(),
            NearestMode::Ceil => c.ceil(),
            NearestMode::RoundPreferFloor => (c - 0.5).ceil(),
            NearestMode::RoundPreferCeil => (c + 0.5).floor(),
        })
    }

    fn linear(&self, op: &Resize, o: usize) -> (usize, usize, f64) {
        let c = self.coordinate(op, o);
        let left = c.floor();
        (self.clamped(left), self.clamped(left + 1.0), c - left)
    }
}
