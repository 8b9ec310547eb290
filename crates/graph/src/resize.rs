//! Where an output pixel of a Resize comes from: the coordinates of `FORMAT.md` 1.15, in f64.

use crate::graph::{Graph, Node};
use crate::op::{CoordinateTransform, NearestMode, Op, Resize};

/// One axis of a Resize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResizeAxis {
    /// Length before.
    pub input: usize,
    /// Length after.
    pub output: usize,
    /// The scale as given; `None` where sizes are given.
    pub scale: Option<f64>,
}

/// The axes of a Resize from shape `x` to shape `y`.
///
/// # Errors
/// The end of a sentence that begins with the node's name: scales that are computed, or do not fit the axes.
pub fn resize_axes(graph: &Graph, node: &Node, x: &[usize], y: &[usize]) -> Result<Vec<ResizeAxis>, String> {
    let Op::Resize(op) = &node.op else {
        return Err(format!("{} is no Resize", node.op.name()));
    };
    if x.len() != y.len() {
        return Err("its output has another rank than its input".into());
    }
    let scales = scales(graph, node, op, x.len())?;
    let axis = |i: usize| ResizeAxis {
        input: x[i],
        output: y[i],
        scale: scales.as_ref().map(|s| s[i]),
    };
    Ok((0..x.len()).map(axis).collect())
}

/// Scale of each axis where scales are given; sizes give none.
fn scales(graph: &Graph, node: &Node, op: &Resize, rank: usize) -> Result<Option<Vec<f64>>, String> {
    let given = node.inputs.get(2).copied().flatten();
    let Some(v) = given.filter(|v| graph.constants.get(v).is_none_or(|t| !t.is_empty())) else {
        return Ok(None);
    };
    let tensor = graph.constants.get(&v).and_then(|t| t.as_f32());
    let given = tensor.ok_or("its scales are computed")?;
    let axes: Vec<i64> = match op.axes.is_empty() {
        true => (0..rank as i64).collect(),
        false => op.axes.clone(),
    };
    if given.len() != axes.len() {
        return Err("its scales and axes differ in length".into());
    }
    let mut out = vec![1.0; rank];
    for (&axis, &scale) in axes.iter().zip(given) {
        let at = if axis < 0 { axis + rank as i64 } else { axis };
        let slot = usize::try_from(at).ok().and_then(|at| out.get_mut(at));
        *slot.ok_or_else(|| format!("axis {axis} of {rank} axes"))? = f64::from(scale);
    }
    Ok(Some(out))
}

impl ResizeAxis {
    /// Whether pixels are anything but copied.
    pub fn changes(&self) -> bool {
        self.input != self.output || self.scale.is_some_and(|s| s != 1.0)
    }

    /// The input pixel that output pixel `o` takes.
    pub fn nearest(&self, op: &Resize, o: usize) -> usize {
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

    /// Both neighbours of output pixel `o`, and the fraction on the way from the first to the second.
    pub fn linear(&self, op: &Resize, o: usize) -> (usize, usize, f64) {
        let c = self.coordinate(op, o);
        let left = c.floor();
        (self.clamped(left), self.clamped(left + 1.0), c - left)
    }

    /// From an output coordinate to an input coordinate, by the step of the axis.
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
}
