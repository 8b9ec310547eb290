//! Bits that fall during training: other methods one after the other, each from its fraction of the run on.
//!
//! A net that loses much at 2 bits is first trained at 6, then at 4; each stage starts from shadow weights that fit the stage before.

use graph::WeightAnnotation;
use quant::ProjectError;

use super::{Learned, Progress, WeightMethod};

/// Stages, in order.
pub struct Progressive {
    stages: Vec<(f64, Box<dyn WeightMethod>)>,
    now: usize,
}

impl Progressive {
    /// Methods with the fraction 0 … 1 of the run where each begins; they are sorted by it, and the first is used before its own begin too.
    ///
    /// # Panics
    /// When there is no stage.
    pub fn new(mut stages: Vec<(f64, Box<dyn WeightMethod>)>) -> Self {
        assert!(!stages.is_empty(), "at least one stage");
        stages.sort_by(|a, b| a.0.total_cmp(&b.0));
        Progressive { stages, now: 0 }
    }

    fn current(&mut self) -> &mut dyn WeightMethod {
        &mut *self.stages[self.now].1
    }
}

impl WeightMethod for Progressive {
    fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        let t = progress.fraction();
        self.now = self.stages.iter().rposition(|s| s.0 <= t).unwrap_or(0);
        self.current().project(shadow, progress, projected)
    }

    fn gradient(&mut self, shadow: &[f32], projected: &[f32], gradient: &mut [f32]) {
        self.current().gradient(shadow, projected, gradient);
    }

    fn before_update(&mut self, shadow: &mut [f32], projected: &[f32]) {
        self.current().before_update(shadow, projected);
    }

    fn after_update(&mut self, shadow: &mut [f32]) {
        self.current().after_update(shadow);
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        self.current().learned()
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.stages[self.now].1.annotation()
    }

    /// The stage, then that stage's state.
    fn state(&self) -> Vec<f32> {
        let mut out = vec![self.now as f32];
        out.extend(self.stages[self.now].1.state());
        out
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        match state {
            [now, rest @ ..] if *now >= 0.0 && (*now as usize) < self.stages.len() => {
                self.now = *now as usize;
                self.current().restore(rest)
            }
            _ => false,
        }
    }
}
