//! APoT, additive powers of two with a reparameterized clipping function (Li, Dong, Wang, arXiv 1909.13144, eq. 5–8).
//!
//! ```text
//! ŵ = α · Π( clip(w/α, −1, 1) )               Π: nearest of the set, whose largest magnitude is 1
//! ∂ŵ/∂w = 1 where |w| ≤ α, else 0
//! ∂ŵ/∂α = sign(w) where |w| > α, else Π(w/α) − w/α
//! ```
//! α is learned, one per tensor as in the paper or one per output channel; it starts where the error of the projection is least. The paper
//! normalizes w to mean 0 and variance 1 before; that is left out, because it changes what the network computes where no BatchNorm follows.

use graph::{Point, WeightAnnotation};
use quant::grid::Grid;
use quant::methods::Levels;
use quant::{Granularity, ProjectError, ProjectOptions, project_weight};

use super::{Layout, Learned, Progress, WeightMethod};

/// Weights on `apot3` … `apot8` (or any symmetric grid with 0) with learned clipping thresholds.
#[derive(Debug, Clone)]
pub struct Apot {
    grid: Grid,
    granularity: Granularity,
    layout: Layout,
    levels: Levels,
    alphas: Vec<f32>,
    gradients: Vec<f32>,
    codes: Vec<u8>,
}

impl Apot {
    /// Method of one weight. The grid must be symmetric and have the level 0.
    pub fn new(grid: Grid, granularity: Granularity, layout: Layout) -> Self {
        Apot {
            levels: Levels::new(&grid.magnitudes()),
            grid,
            granularity,
            layout,
            alphas: Vec::new(),
            gradients: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn group(&self, i: usize) -> usize {
        match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Channel => self.layout.channel(i),
        }
    }

    /// Signed index of the level nearest to w/α.
    fn index(&self, i: usize, w: f32) -> i32 {
        let unit = f64::from(self.alphas[self.group(i)]) / self.levels.top();
        let index = self.levels.index(f64::from(w.abs()) / unit) as i32;
        if w < 0.0 { -index } else { index }
    }

    /// Scale of the integer levels: α over the largest of them.
    fn scales(&self) -> Vec<f32> {
        let top = self.levels.top() as f32;
        self.alphas.iter().map(|a| a / top).collect()
    }
}

impl WeightMethod for Apot {
    fn project(
        &mut self,
        shadow: &[f32],
        _progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        if let Some(index) = shadow.iter().position(|w| !w.is_finite()) {
            let value = shadow[index];
            return Err(ProjectError::NonFinite { index, value });
        }
        let top = self.levels.top() as f32;
        if self.alphas.is_empty() {
            let options = ProjectOptions {
                granularity: self.granularity,
                ..ProjectOptions::default()
            };
            let Layout { shape, axis } = &self.layout;
            let (_, found) = project_weight(&self.grid, shadow, shape, *axis, &options)?;
            self.alphas = found.scales.iter().map(|s| s * top).collect();
            self.gradients = vec![0.0; self.alphas.len()];
        }
        for a in &mut self.alphas {
            if !a.is_finite() {
                return Err(ProjectError::NonFinite { index: 0, value: *a });
            }
            *a = a.max(f32::MIN_POSITIVE * top);
        }
        self.codes = (shadow.iter().enumerate())
            .map(|(i, &w)| self.grid.code(self.index(i, w)))
            .collect();
        let annotation = self.annotation().expect("there are codes now");
        projected.copy_from_slice(&annotation.decode());
        Ok(())
    }

    fn gradient(&mut self, shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        let mut sums = vec![0f64; self.alphas.len()];
        for (i, (&w, g)) in shadow.iter().zip(gradient.iter_mut()).enumerate() {
            let group = self.group(i);
            let x = f64::from(w) / f64::from(self.alphas[group]);
            if x.abs() > 1.0 {
                sums[group] += f64::from(*g) * x.signum();
                *g = 0.0;
            } else {
                let index = self.index(i, w);
                let level = self.levels.magnitude(index.unsigned_abs() as usize) / self.levels.top();
                sums[group] += f64::from(*g) * (level.copysign(x) - x);
            }
        }
        self.gradients = sums.iter().map(|&s| s as f32).collect();
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        (!self.alphas.is_empty()).then_some(Learned {
            name: "alpha",
            values: &mut self.alphas,
            gradients: &self.gradients,
        })
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        (!self.codes.is_empty()).then(|| WeightAnnotation {
            grid: self.grid.to_string(),
            bits: self.grid.bits(),
            shape: self.layout.shape.clone(),
            axis: self.layout.axis,
            levels: self.grid.levels(),
            zero_points: None,
            points: vec![Point {
                codes: self.codes.clone(),
                scales: self.scales(),
            }],
        })
    }

    fn state(&self) -> Vec<f32> {
        self.alphas.clone()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        let groups = match self.granularity {
            Granularity::Tensor => 1,
            Granularity::Channel => self.layout.shape[self.layout.axis],
        };
        if !state.is_empty() && state.len() != groups {
            return false;
        }
        self.alphas = state.to_vec();
        self.gradients = vec![0.0; state.len()];
        true
    }
}
