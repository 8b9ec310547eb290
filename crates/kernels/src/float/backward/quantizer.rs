//! Fake quantizers of activations: `y = step · clamp(R(x / step), low, high)`, R half to even or up, low and high the end codes less
//! the zero point.

use super::reduce::{PARTS, combine};
use super::vector::vectorized;
use super::weight::part_of;
use crate::split::{self, Parts};
use crate::{Isa, Pool};

/// A quantizer; its step is a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FakeQuantizer {
    /// Lowest and highest code, less the zero point.
    pub low: f32,
    /// See `low`.
    pub high: f32,
    /// ⌈x / step⌉ instead of the nearest, half to even.
    pub up: bool,
}

/// What the derivative by the step is inside of the range; below it is `low`, above `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepGradient {
    /// 0 everywhere: the step is not trained.
    Fixed,
    /// code − x / step (LSQ).
    Lsq,
    /// The code (BCGD, almost everywhere).
    Code,
    /// The mean code of the side of x (BCGD, 3-valued).
    Mean,
    /// 0 (BCGD, 2-valued).
    Zero,
}

impl FakeQuantizer {
    /// Code less zero point; NaN becomes 0.
    #[inline(always)]
    fn level(self, step: f32, x: f32) -> f32 {
        let u = x / step;
        let r = if self.up { u.ceil() } else { u.round_ties_even() };
        let r = if r > self.low { r } else { self.low };
        let r = if r < self.high { r } else { self.high };
        if x.is_nan() { 0.0 } else { r }
    }
}

vectorized! {
    fn forward_row(q: FakeQuantizer, step: f32, x: &[f32], y: &mut [f32]) {
        // Two loops, each of one rounding.
        if q.up {
            let q = FakeQuantizer { up: true, ..q };
            for (y, &x) in y.iter_mut().zip(x) {
                *y = step * q.level(step, x);
            }
        } else {
            let q = FakeQuantizer { up: false, ..q };
            for (y, &x) in y.iter_mut().zip(x) {
                *y = step * q.level(step, x);
            }
        }
    }
}

/// `y = step · level(x)`.
pub fn fake_quantize(pool: &Pool, isa: Isa, q: FakeQuantizer, step: f32, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "fake quantizer: length");
    split::chunks(pool, y, 1, 1 << 13, |at, part| {
        forward_row(isa, q, step, &x[at..at + part.len()], part)
    });
}

vectorized! {
    fn backward_row(q: FakeQuantizer, step: f32, gradient: StepGradient, x: &[f32], dy: &mut [f32], sum: &mut f64) {
        let (low, high) = (q.low * step, q.high * step);
        // With z = 0 the lower end itself is outside: the quantized ReLU is flat there.
        let low = if q.low == 0.0 { 0.0 } else { low.next_down() };
        const LANES: usize = 16;
        let mut sums = [0f32; LANES];
        for (x, dy) in x.chunks(LANES).zip(dy.chunks_mut(LANES)) {
            for ((&x, dy), sum) in x.iter().zip(dy.iter_mut()).zip(&mut sums) {
                let inside = match gradient {
                    StepGradient::Fixed | StepGradient::Zero => 0.0,
                    StepGradient::Lsq => q.level(step, x) - x / step,
                    StepGradient::Code => q.level(step, x),
                    StepGradient::Mean if x > 0.0 => 0.5 * (q.high + 1.0),
                    StepGradient::Mean if x < 0.0 => 0.5 * (q.low - 1.0),
                    StepGradient::Mean => 0.0,
                };
                let outside = if x > high { q.high } else { q.low };
                let is_inside = (x > low) & (x <= high);
                let by_step = if is_inside { inside } else { outside };
                let by_step = if gradient == StepGradient::Fixed || x.is_nan() { 0.0 } else { by_step };
                *sum = dy.mul_add(by_step, *sum);
                *dy = if is_inside { *dy } else { 0.0 };
            }
        }
        for s in sums {
            *sum += f64::from(s);
        }
    }
}

/// `dy` becomes dx, the gradient where x lies in the range and 0 elsewhere; gives the gradient of the step. `wide` is scratch memory of
/// [`sums_scratch`](super::sums_scratch)`(1)`.
#[allow(clippy::too_many_arguments)]
pub fn fake_quantize_backward(
    pool: &Pool,
    isa: Isa,
    q: FakeQuantizer,
    step: f32,
    gradient: StepGradient,
    x: &[f32],
    dy: &mut [f32],
    wide: &mut [f64],
) -> f32 {
    assert_eq!(x.len(), dy.len(), "fake quantizer backward: length");
    let len = x.len();
    {
        let (wide, dy) = (Parts::new(&mut wide[..PARTS]), Parts::new(dy));
        pool.run(PARTS, &|part| {
            let at = part_of(part, PARTS, len);
            // SAFETY: a task owns its range and the sum of its part.
            let (sum, dy) = unsafe { (wide.part(part, 1), dy.part(at.start, at.len())) };
            sum[0] = 0.0;
            for (x, dy) in x[at].chunks(1 << 12).zip(dy.chunks_mut(1 << 12)) {
                backward_row(isa, q, step, gradient, x, dy, &mut sum[0]);
            }
        });
    }
    combine(wide, 1);
    wide[0] as f32
}
