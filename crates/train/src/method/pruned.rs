//! Structured pruning beside quantization (Yang, He, Fan, AAAI 2020; `methods/wpc.md` §5): another method, with groups that are pulled to zero and then go.
//!
//! ```text
//! sparsify:  g ← g + λ·w/‖w_g‖ for groups with ‖w_g‖ < a·mean ‖w_g‖        (a = ∞: group lasso)
//! prune:     the weakest groups, as many as are asked for; no output channel loses its last one
//! recover:   λ = 0, pruned weights stay 0
//! ```
//! What is pruned is zero for the inner method, whose grid has a zero.

use graph::WeightAnnotation;
use quant::ProjectError;
use quant::prune::{Clip, Groups, Penalty, select};

use super::{Learned, Progress, WeightMethod};

/// How a layer is pruned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pruning {
    /// Part of the groups that goes, 0 … 1.
    pub share: f64,
    /// Part of the run after which they go, 0 … 1.
    pub until: f64,
    /// λ.
    pub lambda: f64,
    /// What the penalty leaves alone.
    pub clip: Clip,
}

/// Prunes what another method quantizes.
pub struct Pruned {
    inner: Box<dyn WeightMethod>,
    groups: Groups,
    pruning: Pruning,
    /// Of each group, once they have gone; and 1 or 0 of each weight.
    kept: Vec<bool>,
    mask: Vec<f32>,
    masked: Vec<f32>,
}

impl Pruned {
    /// Around a method whose grid has a zero.
    pub fn new(inner: Box<dyn WeightMethod>, groups: Groups, pruning: Pruning) -> Self {
        Pruned {
            inner,
            groups,
            pruning,
            kept: Vec::new(),
            mask: Vec::new(),
            masked: Vec::new(),
        }
    }

    /// Of each group, whether it is kept; empty before they go.
    pub fn kept(&self) -> &[bool] {
        &self.kept
    }

    fn keep(&mut self, kept: Vec<bool>) {
        let factors: Vec<f32> = kept.iter().map(|&k| f32::from(u8::from(k))).collect();
        self.mask = self.groups.spread(&factors);
        self.kept = kept;
    }

    fn apply(&self, values: &mut [f32]) {
        // A product would keep the sign of zeros, and make NaN of infinities.
        for (v, &m) in values.iter_mut().zip(&self.mask) {
            if m == 0.0 {
                *v = 0.0;
            }
        }
    }
}

impl WeightMethod for Pruned {
    fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        if self.kept.is_empty() && progress.fraction() >= self.pruning.until {
            let count = (self.pruning.share * self.groups.len() as f64).round() as usize;
            self.keep(select(&self.groups, shadow, count));
        }
        if self.kept.is_empty() {
            return self.inner.project(shadow, progress, projected);
        }
        let mut masked = std::mem::take(&mut self.masked);
        masked.clear();
        masked.extend_from_slice(shadow);
        self.apply(&mut masked);
        let done = self.inner.project(&masked, progress, projected);
        self.masked = masked;
        done
    }

    fn gradient(&mut self, shadow: &[f32], projected: &[f32], gradient: &mut [f32]) {
        self.inner.gradient(shadow, projected, gradient);
        if self.kept.is_empty() {
            let penalty = Penalty::new(&self.groups, shadow, self.pruning.clip);
            penalty.add_gradient(&self.groups, shadow, self.pruning.lambda, gradient);
        } else {
            self.apply(gradient);
        }
    }

    fn start_from(&mut self, start: &WeightAnnotation, shadow: &mut [f32]) -> bool {
        self.inner.start_from(start, shadow)
    }

    fn before_update(&mut self, shadow: &mut [f32], projected: &[f32]) {
        self.inner.before_update(shadow, projected);
    }

    fn after_update(&mut self, shadow: &mut [f32]) {
        self.inner.after_update(shadow);
        self.apply(shadow);
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        self.inner.learned()
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.inner.annotation()
    }

    /// How many groups are said to be kept or gone, which, and the inner method's.
    fn state(&self) -> Vec<f32> {
        let mut state = vec![f32::from(u8::from(!self.kept.is_empty()))];
        state.extend(self.kept.iter().map(|&k| f32::from(u8::from(k))));
        state.extend(self.inner.state());
        state
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        let Some((&gone, rest)) = state.split_first() else {
            return false;
        };
        let count = if gone == 1.0 { self.groups.len() } else { 0 };
        let Some((kept, inner)) = rest.split_at_checked(count) else {
            return false;
        };
        if count > 0 {
            self.keep(kept.iter().map(|&k| k == 1.0).collect());
        }
        self.inner.restore(inner)
    }
}
