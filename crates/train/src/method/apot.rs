//! APoT, additive powers of two with a reparameterized clipping function (Li, Dong, Wang, arXiv 1909.13144, eq. 5–8).
//!
//! ```text
//! ŵ = α · Π( clip(w/α, −1, 1) )               Π: nearest of the set, whose largest magnitude is 1
//! ∂ŵ/∂w = 1 where |w| ≤ α, else 0
//! ∂ŵ/∂α = sign(w) where |w| > α, else Π(w/α) − w/α
//! ```
//! α is learned, one per tensor as in the paper or one per output channel; it starts where the error of the projection is least. The paper
//! normalizes w to mean 0 and variance 1 before; that is left out, because it changes what the network computes where no BatchNorm follows.

use graph::WeightAnnotation;
use quant::grid::Grid;
use quant::methods::Levels;
use quant::{Granularity, ProjectError, ProjectOptions, project_weight};

use super::learned_grid::{LearnedGrid, check_finite};
use super::{Layout, Learned, Progress, WeightMethod};

/// Weights on `apot3` … `apot8` (or any symmetric grid with 0) with learned clipping thresholds.
#[derive(Debug, Clone)]
pub struct Apot {
    /// Learns α.
    inner: LearnedGrid,
    levels: Levels,
}

impl Apot {
    /// Method of one weight. The grid must be symmetric and have the level 0.
    pub fn new(grid: Grid, granularity: Granularity, layout: Layout) -> Self {
        Apot {
            levels: Levels::new(&grid.magnitudes()),
            inner: LearnedGrid::new(grid, granularity, layout),
        }
    }

    /// Signed index of the level nearest to w/α.
    fn index(&self, i: usize, w: f32) -> i32 {
        let unit = f64::from(self.inner.values[self.inner.group(i)]) / self.levels.top();
        let index = self.levels.index(f64::from(w.abs()) / unit) as i32;
        if w < 0.0 { -index } else { index }
    }
}

impl WeightMethod for Apot {
    fn project(
        &mut self,
        shadow: &[f32],
        _progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        check_finite(shadow)?;
        let top = self.levels.top() as f32;
        if self.inner.values.is_empty() {
            let options = ProjectOptions {
                granularity: self.inner.granularity,
                ..ProjectOptions::default()
            };
            let Layout { shape, axis } = &self.inner.layout;
            let (_, found) = project_weight(&self.inner.grid, shadow, shape, *axis, &options)?;
            self.inner.start(found.scales.iter().map(|s| s * top).collect());
        }
        self.inner.at_least(f32::MIN_POSITIVE * top)?;
        self.inner.codes = (shadow.iter().enumerate())
            .map(|(i, &w)| self.inner.grid.code(self.index(i, w)))
            .collect();
        let annotation = self.annotation().expect("there are codes now");
        projected.copy_from_slice(&annotation.decode());
        Ok(())
    }

    fn gradient(&mut self, shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        let mut sums = vec![0f64; self.inner.values.len()];
        for (i, (&w, g)) in shadow.iter().zip(gradient.iter_mut()).enumerate() {
            let group = self.inner.group(i);
            let x = f64::from(w) / f64::from(self.inner.values[group]);
            if x.abs() > 1.0 {
                sums[group] += f64::from(*g) * x.signum();
                *g = 0.0;
            } else {
                let index = self.index(i, w);
                let level = self.levels.magnitude(index.unsigned_abs() as usize) / self.levels.top();
                sums[group] += f64::from(*g) * (level.copysign(x) - x);
            }
        }
        self.inner.gradients = sums.iter().map(|&s| s as f32).collect();
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        self.inner.learned("alpha")
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        // Integer levels: α over the largest of them.
        let top = self.levels.top() as f32;
        let scales = self.inner.values.iter().map(|a| a / top).collect();
        self.inner.annotation(scales)
    }

    fn state(&self) -> Vec<f32> {
        self.inner.values.clone()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        self.inner.restore(state)
    }
}
