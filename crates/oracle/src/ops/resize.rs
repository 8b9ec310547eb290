//! Resize, nearest and linear.

use graph::{CoordinateTransform, NearestMode, Resize, ResizeMode};
use tensor::{Data, strides};

use super::number::{Number, Real};
use super::support::{Answer, Inputs, axes, count, product, rearrange, size, tensor, typed};

/// One axis of a Resize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// As given; `None` where the output's size was.
    scale: Option<f32>,
}

impl Axis {
    /// Whether elements between input elements are asked for.
    pub(crate) fn interpolated(&self) -> bool {
        match self.scale {
            Some(s) => s != 1.0,
            None => self.input != self.output,
        }
    }

    /// Input coordinate of an output coordinate (`FORMAT.md` 1.15).
    fn coordinate(&self, o: usize, rule: CoordinateTransform) -> f64 {
        let (n, out, o) = (self.input as f64, self.output as f64, o as f64);
        let step = |x: f64| match self.scale {
            Some(s) => x / f64::from(s),
            None => x * n / out,
        };
        match rule {
            CoordinateTransform::HalfPixel => step(o + 0.5) - 0.5,
            CoordinateTransform::PytorchHalfPixel if self.output == 1 => 0.0,
            CoordinateTransform::PytorchHalfPixel => step(o + 0.5) - 0.5,
            CoordinateTransform::Asymmetric => step(o),
            CoordinateTransform::AlignCorners if self.output == 1 => 0.0,
            CoordinateTransform::AlignCorners => o * (n - 1.0) / (out - 1.0),
            CoordinateTransform::HalfPixelSymmetric => {
                let adjustment = self.scale.map_or(1.0, |s| out / (n * f64::from(s)));
                n / 2.0 * (1.0 - adjustment) + step(o + 0.5) - 0.5
            }
        }
    }

    /// A coordinate within the picture.
    fn clamped(&self, c: f64) -> usize {
        c.clamp(0.0, (self.input - 1) as f64) as usize
    }

    /// The element that nearest mode takes.
    fn nearest(&self, o: usize, op: &Resize) -> usize {
        let c = self.coordinate(o, op.coordinates);
        self.clamped(match op.nearest {
            NearestMode::Floor => c.floor(),
            NearestMode::Ceil => c.ceil(),
            NearestMode::RoundPreferFloor => (c - 0.5).ceil(),
            NearestMode::RoundPreferCeil => (c + 0.5).floor(),
        })
    }

    /// Left and right neighbour in linear mode, and the right one's share.
    pub(crate) fn linear(&self, o: usize, op: &Resize) -> ([usize; 2], f64) {
        let c = self.coordinate(o, op.coordinates);
        let left = c.floor();
        ([self.clamped(left), self.clamped(left + 1.0)], c - left)
    }
}

/// The axes of a Resize of a tensor of some shape; inputs x, roi?, scales?, sizes?, of which x is not looked at.
pub(crate) fn plan(shape: &[usize], i: Inputs<'_>, op: &Resize) -> Answer<Vec<Axis>> {
    let along = match op.axes.is_empty() {
        true => (0..shape.len()).collect(),
        false => axes(&op.axes, shape.len())?,
    };
    let mut plan: Vec<Axis> = shape
        .iter()
        .map(|&n| Axis {
            input: n,
            output: n,
            scale: Some(1.0),
        })
        .collect();
    let present = |at: usize| i.get(at).filter(|t| !t.is_empty());
    match (present(2), present(3)) {
        (Some(_), None) => {
            let scales = i.f32s(2)?;
            if scales.len() != along.len() {
                return Err(format!(
                    "{} scales are given for {} axes",
                    scales.len(),
                    along.len()
                ));
            }
            for (&a, &s) in along.iter().zip(scales) {
                let length = (shape[a] as f32 * s).floor();
                if !(s > 0.0 && length < 1e12) {
                    return Err(format!(
                        "a scale of {s} for an axis of {} has no result",
                        shape[a]
                    ));
                }
                (plan[a].output, plan[a].scale) = (length as usize, Some(s));
            }
        }
        (None, Some(_)) => {
            let sizes = i.need_ints(3)?;
            if sizes.len() != along.len() {
                return Err(format!(
                    "{} sizes are given for {} axes",
                    sizes.len(),
                    along.len()
                ));
            }
            for (&a, &s) in along.iter().zip(&sizes) {
                (plan[a].output, plan[a].scale) = (size(s)?, None);
            }
        }
        _ => return Err("either scales or sizes must be given".into()),
    }
    if let Some(a) = plan.iter().position(|a| a.input == 0 && a.output > 0) {
        return Err(format!("axis {a} has no elements to enlarge"));
    }
    Ok(plan)
}

pub(super) fn resize(i: Inputs<'_>, op: &Resize) -> Answer {
    let x = i.need(0)?;
    let plan = plan(x.shape(), i, op)?;
    let shape: Vec<usize> = plan.iter().map(|a| a.output).collect();
    count(&shape, 8)?;
    let steps = strides(x.shape());
    if op.mode == ResizeMode::Nearest {
        return rearrange(x, shape, |a, o| plan[a].nearest(o, op) * steps[a]);
    }
    let n = neighbours(&plan, op);
    let data: Data = typed!(x, [F32, F64], v => linear(v, &n).into())?;
    tensor(shape, data)
}

/// The neighbours of every output element in linear mode, all of the same number: in row-major order, with their shares per axis.
pub(crate) struct Neighbours {
    axes: Vec<Vec<[(usize, f64); 2]>>,
    steps: Vec<usize>,
    outputs: Vec<usize>,
    interpolated: Vec<bool>,
}

pub(crate) fn neighbours(plan: &[Axis], op: &Resize) -> Neighbours {
    let outputs: Vec<usize> = plan.iter().map(|a| a.output).collect();
    let empty = product(&outputs) == 0;
    let table = |a: &Axis| {
        let one = |o: usize| {
            if !a.interpolated() {
                return [(o, 1.0), (o, 0.0)];
            }
            let ([left, right], t) = a.linear(o, op);
            [(left, 1.0 - t), (right, t)]
        };
        (0..if empty { 0 } else { a.output }).map(one).collect()
    };
    Neighbours {
        axes: plan.iter().map(table).collect(),
        steps: strides(&plan.iter().map(|a| a.input).collect::<Vec<_>>()),
        outputs,
        interpolated: plan.iter().map(Axis::interpolated).collect(),
    }
}

impl Neighbours {
    /// Calls `visit(index, shares)` for each of the 2^d neighbours of each output element, and `done` after an element's last.
    /// `shares` holds the interpolated axes' share, outermost first, as `weigh` made it of the neighbour's number and fraction.
    pub(crate) fn for_each<W: Copy>(
        &self,
        one: W,
        weigh: impl Fn([f64; 2]) -> [W; 2],
        join: impl Fn(W, W) -> W,
        mut visit: impl FnMut(usize, W),
        mut done: impl FnMut(),
    ) {
        let count = product(&self.outputs);
        let mut at = vec![0; self.outputs.len()];
        let (mut list, mut next) = (Vec::new(), Vec::new());
        for _ in 0..count {
            list.clear();
            list.push((0, None));
            for (a, &o) in at.iter().enumerate() {
                let [left, right] = self.axes[a][o];
                next.clear();
                for &(base, w) in &list {
                    if self.interpolated[a] {
                        for (near, share) in [left, right].iter().zip(weigh([left.1, right.1])) {
                            let w = w.map_or(share, |w| join(w, share));
                            next.push((base + near.0 * self.steps[a], Some(w)));
                        }
                    } else {
                        next.push((base + left.0 * self.steps[a], w));
                    }
                }
                std::mem::swap(&mut list, &mut next);
            }
            for &(i, w) in &list {
                visit(i, w.unwrap_or(one));
            }
            done();
            for (i, &n) in at.iter_mut().zip(&self.outputs).rev() {
                *i += 1;
                if *i < n {
                    break;
                }
                *i = 0;
            }
        }
    }
}

fn linear<T: Real>(x: &[T], n: &Neighbours) -> Vec<T> {
    let mut y = Vec::new();
    let acc = std::cell::Cell::new(<T as Number>::ZERO);
    n.for_each(
        1.0,
        |shares| shares,
        |a, b| a * b,
        |i, w| {
            let w = T::of_f64(w);
            if w != <T as Number>::ZERO {
                acc.set(T::fma(w, x[i], acc.get()));
            }
        },
        || y.push(acc.replace(<T as Number>::ZERO)),
    );
    y
}
