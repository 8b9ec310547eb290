//! BinaryRelax (Yin, Zhang, Lyu, Osher, Qi, Xin, arXiv 1801.06313): the grid as a penalty that grows, then as a constraint.
//!
//! ```text
//! x = argmin ½‖x − y‖² + (λ/2)·dist(x, grid)²  =  ( λ·proj(y) + y ) / (λ + 1)
//! phase 1:  gradient taken at x;  λ ← growth·λ twice an epoch, from λ = 1
//! phase 2:  x = proj(y), a small rate
//! ```
//! Here λ grows with the fraction of the run: λ(t) = 1 · ratio^(t / t₂) for t < t₂, the start of phase 2 (published: 150 of 200 epochs and 1.02 twice an
//! epoch, ratio 1.02³⁰⁰ ≈ 380, so that x ends 99.7 % quantized).

use graph::WeightAnnotation;
use quant::ProjectError;

use super::{Progress, WeightMethod};

/// Relaxes the projection of another method.
pub struct BinaryRelax {
    inner: Box<dyn WeightMethod>,
    /// Fraction of the run where phase 2 starts.
    second_phase: f64,
    /// λ there; it starts at 1.
    ratio: f64,
}

impl BinaryRelax {
    /// With the published schedule: phase 2 in the last quarter, λ up to 380.
    pub fn new(inner: Box<dyn WeightMethod>) -> Self {
        BinaryRelax::with_schedule(inner, 0.75, 380.0)
    }

    /// With phase 2 from a fraction 0 … 1 of the run on, and λ from 1 to `ratio` before it.
    pub fn with_schedule(inner: Box<dyn WeightMethod>, second_phase: f64, ratio: f64) -> Self {
        BinaryRelax {
            inner,
            second_phase,
            ratio,
        }
    }

    /// λ, or `None` in phase 2.
    pub fn lambda(&self, progress: &Progress) -> Option<f64> {
        let t = progress.fraction();
        (t < self.second_phase).then(|| libm::pow(self.ratio, t / self.second_phase))
    }
}

/// (λ·p + y)/(λ + 1), with y the shadow weights and p, in place, their projection.
pub fn relax(shadow: &[f32], projected: &mut [f32], lambda: f64) {
    for (p, &y) in projected.iter_mut().zip(shadow) {
        *p = ((lambda * f64::from(*p) + f64::from(y)) / (lambda + 1.0)) as f32;
    }
}

impl WeightMethod for BinaryRelax {
    fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        self.inner.project(shadow, progress, projected)?;
        if let Some(lambda) = self.lambda(progress) {
            relax(shadow, projected, lambda);
        }
        Ok(())
    }

    fn start_from(&mut self, start: &WeightAnnotation, shadow: &mut [f32]) -> bool {
        self.inner.start_from(start, shadow)
    }

    fn after_update(&mut self, shadow: &mut [f32]) {
        self.inner.after_update(shadow);
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.inner.annotation()
    }

    fn state(&self) -> Vec<f32> {
        self.inner.state()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        self.inner.restore(state)
    }
}
