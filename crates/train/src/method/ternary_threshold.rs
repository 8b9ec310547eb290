//! Ternary weights with a trained threshold, by the truncated Gaussian (He, Fan, CVPR 2019, arXiv 1810.01018).
//!
//! ```text
//! ŵ = α·T,   T = sign(w) where |w| ≥ Δ, else 0,   α = σ·h(Δ/σ),   h(z) = φ(z)/(1 − Φ(z))
//! ∂ŵ/∂w = 1 where |w| < 1, else 0
//! ∂L/∂Δ = h(z)·(h(z) − z) · Σ ∂L/∂ŵ·T,   σ held;   scaled by 1/√N as LSQ scales its steps
//! 0 < Δ < 3σ,   Δ₀ = 0.612·σ, which has the least error of a Gaussian
//! ```
//! σ is the root mean square of the weights that are not 0: pruned ones do not count. One threshold per tensor, or per output channel.

use graph::WeightAnnotation;
use quant::methods::ternary_threshold::truncated_gaussian;
use quant::{Granularity, ProjectError};

use super::learned_grid::{LearnedGrid, check_finite};
use super::{Layout, Learned, Progress, WeightMethod, straight_below_one};

/// Δ/σ of least error, and its bounds.
const START: f64 = 0.612;
const BOUNDS: (f64, f64) = (0.01, 2.99);

/// Ternary weights with learned thresholds.
#[derive(Debug, Clone)]
pub struct TernaryThreshold {
    /// Learns Δ.
    inner: LearnedGrid,
    /// σ and α of the last projection.
    deviations: Vec<f64>,
    scales: Vec<f32>,
}

impl TernaryThreshold {
    /// Method of one weight.
    pub fn new(granularity: Granularity, layout: Layout) -> Self {
        let grid = "ternary".parse().expect("a grid's name");
        TernaryThreshold {
            inner: LearnedGrid::new(grid, granularity, layout),
            deviations: Vec::new(),
            scales: Vec::new(),
        }
    }

    fn measure(&mut self, shadow: &[f32]) {
        let mut sums = vec![(0f64, 0usize); self.inner.groups()];
        for (i, &w) in shadow.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            let (sum, count) = &mut sums[self.inner.group(i)];
            *sum += f64::from(w).powi(2);
            *count += 1;
        }
        let root = |(sum, count): (f64, usize)| (sum / count.max(1) as f64).sqrt();
        self.deviations = sums.into_iter().map(root).collect();
    }

    /// −1, 0 or 1.
    fn sign(&self, i: usize, w: f32) -> i32 {
        match w != 0.0 && w.abs() >= self.inner.values[self.inner.group(i)] {
            true if w < 0.0 => -1,
            true => 1,
            false => 0,
        }
    }
}

impl WeightMethod for TernaryThreshold {
    fn project(
        &mut self,
        shadow: &[f32],
        _progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        check_finite(shadow)?;
        self.measure(shadow);
        if self.inner.values.is_empty() {
            let start = |sigma: &f64| (START * sigma) as f32;
            self.inner.start(self.deviations.iter().map(start).collect());
        }
        self.inner.at_least(0.0)?;
        self.scales.clear();
        for (delta, &sigma) in self.inner.values.iter_mut().zip(&self.deviations) {
            *delta = f64::from(*delta).clamp(BOUNDS.0 * sigma, BOUNDS.1 * sigma) as f32;
            let (hazard, _) = truncated_gaussian(if sigma > 0.0 {
                f64::from(*delta) / sigma
            } else {
                START
            });
            self.scales.push(((sigma * hazard) as f32).max(f32::MIN_POSITIVE));
        }
        let mut codes = std::mem::take(&mut self.inner.codes);
        codes.clear();
        for (i, (&w, p)) in shadow.iter().zip(projected).enumerate() {
            let sign = self.sign(i, w);
            codes.push(self.inner.grid.code(sign));
            *p = self.scales[self.inner.group(i)] * sign as f32;
        }
        self.inner.codes = codes;
        Ok(())
    }

    fn gradient(&mut self, shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        let mut sums = vec![0f64; self.inner.values.len()];
        for (i, (&w, g)) in shadow.iter().zip(gradient.iter()).enumerate() {
            sums[self.inner.group(i)] += f64::from(*g) * f64::from(self.sign(i, w));
        }
        straight_below_one(shadow, gradient);
        let each = (shadow.len() / sums.len().max(1)).max(1) as f64;
        for (k, sum) in sums.into_iter().enumerate() {
            let (delta, sigma) = (f64::from(self.inner.values[k]), self.deviations[k]);
            let slope = match sigma > 0.0 {
                true => truncated_gaussian(delta / sigma).1,
                false => 0.0,
            };
            self.inner.gradients[k] = (slope * sum / each.sqrt()) as f32;
        }
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        self.inner.learned("threshold")
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.inner.annotation(self.scales.clone())
    }

    fn state(&self) -> Vec<f32> {
        self.inner.values.clone()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        self.inner.restore(state)
    }
}
