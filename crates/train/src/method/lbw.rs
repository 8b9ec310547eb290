//! LBW-Net's training: projected gradient descent on shadow weights (Yin, Zhang, Qi, Xin, arXiv 1612.06052, §2).
//!
//! ```text
//! Ŵ = argmin_{s, Q} ‖W − 2^s Q‖²          Q ∈ {0, ±2^(1−n), …, ±1/2, ±1}^N,   n = 2^(b−2)
//! W ← W − η·momentum( ∂ℓ/∂Ŵ + λW )         no gradient through s or Q
//! ```
//! The method is the grid's: `lbw2` … `lbw6` with a power-of-two scale per tensor are the paper, its thresholds (H) are
//! [`Solver::SemiAnalytic`]. The full-code sets `pow2-3`, `pow2-4`, a real scale per output channel, `int2` … `int8`, `ternary`
//! and the affine grids are trained in the same way. Ternary weights by [`Solver::MaxRule`] have the gradient of their paper: none where |w| ≥ 1.
//!
//! Two additions, each off unless asked for: the scale is searched anew only every `every` steps, nearest rounding at the last one between
//! (`every` = 1 is the paper, with 0 the first one stays); and shadow weights are clipped half a gap above the top level, without which ternary rows grow for ever and the
//! next search explodes.

use graph::WeightAnnotation;
use quant::grid::Grid;
use quant::{ProjectError, ProjectOptions, Solver};

use super::grid_projection::GridProjection;
use super::{Layout, Progress, WeightMethod, straight_below_one};

/// Projected gradient descent on a grid.
#[derive(Debug, Clone)]
pub struct Lbw {
    projection: GridProjection,
    clip: bool,
    /// The max rule: weights of size 1 and more are not moved by the gradient.
    masked: bool,
}

impl Lbw {
    /// Method of one weight.
    ///
    /// ```
    /// use train::method::{Layout, Progress, WeightMethod, lbw::Lbw};
    /// let layout = Layout { shape: vec![1, 4], axis: 0 };
    /// let paper = quant::ProjectOptions {
    ///     granularity: quant::Granularity::Tensor,
    ///     scale_kind: quant::ScaleKind::PowerOfTwo,
    ///     ..Default::default()
    /// };
    /// let mut lbw3 = Lbw::new("lbw3".parse().unwrap(), paper, layout, 1, false);
    /// let mut projected = [0.0; 4];
    /// lbw3.project(&[0.9, -0.5, 0.1, 0.02], &Progress { step: 0, steps: 1 }, &mut projected).unwrap();
    /// assert_eq!(projected, [1.0, -0.5, 0.0, 0.0]);
    /// ```
    pub fn new(grid: Grid, options: ProjectOptions, layout: Layout, every: u64, clip: bool) -> Self {
        Lbw {
            masked: options.solver == Solver::MaxRule,
            projection: GridProjection::new(grid, options, layout, every),
            clip,
        }
    }
}

impl WeightMethod for Lbw {
    fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        self.projection.project(shadow, progress, projected)
    }

    fn gradient(&mut self, shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        if self.masked {
            straight_below_one(shadow, gradient);
        }
    }

    fn start_from(&mut self, start: &WeightAnnotation, shadow: &mut [f32]) -> bool {
        self.projection.start_from(start, shadow)
    }

    fn after_update(&mut self, shadow: &mut [f32]) {
        if self.clip {
            self.projection.clip(shadow);
        }
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.projection.annotation()
    }

    fn state(&self) -> Vec<f32> {
        self.projection.state()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        self.projection.restore(state)
    }
}
