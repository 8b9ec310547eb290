//! Neurons that integrate currents and fire, over steps of time, and back-propagation through time.
//!
//! ```text
//! ũ_t = leak·u_{t−1} + x_t    o_t = 1 where ũ_t > threshold, else 0    u_t = ũ_t − threshold·o_t        u_0 = 0
//! ```
//! One product, one sum, one comparison, one difference, each an IEEE operation (`FORMAT.md` 1.15). Backward, with z = ũ/threshold − 1,
//! the surrogate ∂o/∂z = γ·max(0, 1 − |z|), γ = 0.3, c_t the gradient of u_t and e_t that of o_t (DIET-SNN, N. Rathi, K. Roy, arXiv 2008.03658;
//! the reset's own indicator is not derived, the threshold in it is):
//!
//! ```text
//! d_t = c_t + e_t·γ·max(0, 1 − |z_t|)/threshold       c_{t−1} = leak·d_t       ∂x_t = d_t       ∂leak = Σ d_t·u_{t−1}
//! ∂threshold = −Σ ( c_t·o_t + e_t·γ·max(0, 1 − |z_t|)·ũ_t/threshold² )
//! ```

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::backward::{PARTS, combine, part_of};
use crate::Pool;
use crate::split::Parts;

/// Most steps of time.
pub const MOST_STEPS: usize = 255;

/// Neurons that advance together.
const LANES: usize = 16;

/// What the equations are computed in: f32 in programs, f64 where they are held to their source.
pub trait Real:
    Copy
    + PartialOrd
    + From<f32>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
}

impl Real for f32 {}
impl Real for f64 {}

/// A layer's neurons: all have one threshold and one leak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neuron<F> {
    /// Above 0.
    pub threshold: F,
    /// 0 … 1.
    pub leak: F,
}

/// Gradients of a layer's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeuronGradient<F> {
    /// ∂/∂threshold.
    pub threshold: F,
    /// ∂/∂leak.
    pub leak: F,
}

impl<F: Real> Neuron<F> {
    /// The membrane before the reset.
    #[inline(always)]
    pub fn integrate(self, u: F, current: F) -> F {
        self.leak * u + current
    }

    /// Whether a membrane before the reset fires, and what the reset leaves.
    #[inline(always)]
    pub fn fire(self, before: F) -> (bool, F) {
        let fires = before > self.threshold;
        (fires, if fires { before - self.threshold } else { before })
    }

    /// γ·max(0, 1 − |z|) of a membrane before the reset.
    #[inline(always)]
    pub fn surrogate(self, before: F) -> F {
        let (zero, one) = (F::from(0.0), F::from(1.0));
        let z = before / self.threshold - one;
        let height = one - if z < zero { -z } else { z };
        // γ, the nearest number to 0.3.
        F::from(3.0) / F::from(10.0) * if height > zero { height } else { zero }
    }

    /// One neuron backwards: `before` are its membranes before the resets, `spikes` the gradients of its spikes; gives ∂x_t into `spikes` and adds to `sums`.
    #[inline(always)]
    pub fn backward(self, before: &[F], spikes: &mut [F], sums: &mut NeuronGradient<F>) {
        let zero = F::from(0.0);
        let mut c = zero;
        for t in (0..before.len()).rev() {
            let slope = self.surrogate(before[t]);
            let (fires, _) = self.fire(before[t]);
            let last = if t == 0 { zero } else { self.fire(before[t - 1]).1 };
            let by_spike = spikes[t] * slope / self.threshold;
            let d = c + by_spike;
            let reset = if fires { c } else { zero };
            sums.threshold = sums.threshold - reset - by_spike * before[t] / self.threshold;
            sums.leak = sums.leak + d * last;
            spikes[t] = d;
            c = self.leak * d;
        }
    }
}

/// How a layer's steps lie in memory, outermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// T, 1 … [`MOST_STEPS`].
    pub steps: usize,
    /// There is one current, the same in all steps.
    pub constant: bool,
    /// There is one output, the number of spikes.
    pub count: bool,
}

impl Steps {
    /// Neurons of a layer with so many currents.
    fn neurons(self, x: usize) -> usize {
        if self.constant { x } else { x / self.steps }
    }

    pub(crate) fn check(self, x: usize, y: usize) -> usize {
        assert!((1..=MOST_STEPS).contains(&self.steps), "neurons: steps");
        let n = self.neurons(x);
        assert_eq!(
            x,
            if self.constant { n } else { n * self.steps },
            "neurons: currents"
        );
        assert_eq!(y, if self.count { n } else { n * self.steps }, "neurons: spikes");
        n
    }

    fn at(self, one: bool, n: usize, t: usize, neuron: usize) -> usize {
        if one { neuron } else { t * n + neuron }
    }
}

/// Spikes of currents.
pub fn integrate_fire(pool: &Pool, op: Steps, neuron: Neuron<f32>, x: &[f32], y: &mut [f32]) {
    let n = op.check(x.len(), y.len());
    let y = Parts::new(y);
    let block = |first: usize, lanes: usize| {
        let (mut u, mut sum) = ([0f32; LANES], [0f32; LANES]);
        for t in 0..op.steps {
            let from = op.at(op.constant, n, t, first);
            let mut spikes = [0f32; LANES];
            for (j, &x) in x[from..from + lanes].iter().enumerate() {
                let (fires, left) = neuron.fire(neuron.integrate(u[j], x));
                u[j] = left;
                spikes[j] = f32::from(u8::from(fires));
                sum[j] += spikes[j];
            }
            if !op.count {
                // SAFETY: blocks are of different neurons, steps are apart.
                unsafe { y.part(t * n + first, lanes) }.copy_from_slice(&spikes[..lanes]);
            }
        }
        if op.count {
            // SAFETY: blocks are of different neurons.
            unsafe { y.part(first, lanes) }.copy_from_slice(&sum[..lanes]);
        }
    };
    pool.run(PARTS, &|part| {
        let range = part_of(part, PARTS, n);
        for first in range.clone().step_by(LANES) {
            block(first, LANES.min(range.end - first));
        }
    });
}

/// Gradients of the currents into `dx`, and of threshold and leak; `dy` are those of the spikes, or of their numbers. `wide` is scratch memory of
/// [`sums_scratch`](super::backward::sums_scratch)`(2)`.
pub fn integrate_fire_backward(
    pool: &Pool,
    op: Steps,
    neuron: Neuron<f32>,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    wide: &mut [f64],
) -> NeuronGradient<f32> {
    let n = op.check(x.len(), dy.len());
    assert_eq!(dx.len(), x.len(), "neurons backward: gradients");
    {
        let (wide, dx) = (Parts::new(&mut wide[..2 * PARTS]), Parts::new(dx));
        pool.run(PARTS, &|part| {
            let (mut before, mut e) = ([0f32; MOST_STEPS], [0f32; MOST_STEPS]);
            let (before, e) = (&mut before[..op.steps], &mut e[..op.steps]);
            let mut total = [0f64; 2];
            for i in part_of(part, PARTS, n) {
                let mut u = 0.0;
                for t in 0..op.steps {
                    before[t] = neuron.integrate(u, x[op.at(op.constant, n, t, i)]);
                    u = neuron.fire(before[t]).1;
                    e[t] = dy[op.at(op.count, n, t, i)];
                }
                let mut sums = NeuronGradient {
                    threshold: 0.0,
                    leak: 0.0,
                };
                neuron.backward(before, e, &mut sums);
                total[0] += f64::from(sums.threshold);
                total[1] += f64::from(sums.leak);
                // SAFETY: every neuron's gradients are written by its part alone.
                let write = |at: usize, d: f32| unsafe { dx.part(at, 1) }[0] = d;
                match op.constant {
                    true => write(i, e.iter().sum()),
                    false => e.iter().enumerate().for_each(|(t, &d)| write(t * n + i, d)),
                }
            }
            // SAFETY: a task owns the sums of its part.
            unsafe { wide.part(2 * part, 2) }.copy_from_slice(&total);
        });
    }
    combine(wide, 2);
    NeuronGradient {
        threshold: wide[0] as f32,
        leak: wide[1] as f32,
    }
}
