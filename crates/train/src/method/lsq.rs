//! LSQ, learned step sizes (Esser, McKinstry, Bablani, Appuswamy, Modha, arXiv 1902.08153, eq. 1–5), for weights.
//!
//! ```text
//! ŵ = s·q,   q = clamp( round(w/s), −P, P )
//! ∂ŵ/∂w = 1 where |w/s| < P, else 0
//! ∂ŵ/∂s = q − w/s where |w/s| < P, else ±P
//! gradient of s scaled by g = 1/√(N·P);   s₀ = 2·mean|w|/√P
//! ```
//! P = 2^(b−1) − 1 on both sides: the grids of the project are symmetric, the paper has one more negative level. Ties of `round` go away from
//! zero as everywhere in projection. One step per tensor as in the paper, or per output channel (N then counts the channel's weights).

use graph::WeightAnnotation;
use quant::{Granularity, ProjectError};

use super::learned_grid::{LearnedGrid, check_finite};
use super::{Layout, Learned, Progress, WeightMethod};

/// Uniform weights with learned steps.
#[derive(Debug, Clone)]
pub struct Lsq {
    /// Learns s.
    inner: LearnedGrid,
}

impl Lsq {
    /// Method of one weight with `int2` … `int8`.
    ///
    /// # Panics
    /// When `bits` is not 2 … 8.
    pub fn new(bits: u32, granularity: Granularity, layout: Layout) -> Self {
        let grid = format!("int{bits}").parse().expect("bits are 2 to 8");
        Lsq {
            inner: LearnedGrid::new(grid, granularity, layout),
        }
    }

    fn top(&self) -> f32 {
        ((1u32 << (self.inner.grid.bits() - 1)) - 1) as f32
    }

    fn initialize(&mut self, shadow: &[f32]) {
        let mut sums = vec![0f64; self.inner.groups()];
        for (i, &w) in shadow.iter().enumerate() {
            sums[self.inner.group(i)] += f64::from(w.abs());
        }
        let each = (shadow.len() / sums.len()).max(1) as f64;
        let root = f64::from(self.top()).sqrt();
        let step = |sum: &f64| ((2.0 * sum / each / root) as f32).max(f32::MIN_POSITIVE);
        self.inner.start(sums.iter().map(step).collect());
    }

    fn level(&self, i: usize, w: f32) -> f32 {
        let top = self.top();
        (w / self.inner.values[self.inner.group(i)])
            .round()
            .clamp(-top, top)
    }
}

impl WeightMethod for Lsq {
    fn project(
        &mut self,
        shadow: &[f32],
        _progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        check_finite(shadow)?;
        if self.inner.values.is_empty() {
            self.initialize(shadow);
        }
        self.inner.at_least(f32::MIN_POSITIVE)?;
        let mut codes = std::mem::take(&mut self.inner.codes);
        codes.clear();
        for (i, (&w, p)) in shadow.iter().zip(projected).enumerate() {
            let q = self.level(i, w);
            codes.push(self.inner.grid.code(q as i32));
            *p = self.inner.values[self.inner.group(i)] * q;
        }
        self.inner.codes = codes;
        Ok(())
    }

    fn gradient(&mut self, shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        let top = self.top();
        let mut sums = vec![0f64; self.inner.values.len()];
        for (i, (&w, g)) in shadow.iter().zip(gradient.iter_mut()).enumerate() {
            let group = self.inner.group(i);
            let x = w / self.inner.values[group];
            let inside = x.abs() < top;
            let slope = if inside { x.round() - x } else { top.copysign(x) };
            sums[group] += f64::from(*g) * f64::from(slope);
            if !inside {
                *g = 0.0;
            }
        }
        let each = (shadow.len() / sums.len().max(1)).max(1) as f64;
        let scale = 1.0 / (each * f64::from(top)).sqrt();
        for (out, sum) in self.inner.gradients.iter_mut().zip(sums) {
            *out = (sum * scale) as f32;
        }
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        self.inner.learned("step")
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.inner.annotation(self.inner.values.clone())
    }

    fn state(&self) -> Vec<f32> {
        self.inner.values.clone()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        self.inner.restore(state)
    }
}
