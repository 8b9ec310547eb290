//! Weight methods: what a *shadow* weight (float, kept by the optimizer) becomes in forward, and what its gradient then does to it.
//!
//! ```text
//! each step, for every quantized weight W:
//!   Ŵ ← project(W)                       forward and backward run on Ŵ: g = ∂ℓ/∂Ŵ
//!   g ← gradient(W, Ŵ, g)                straight-through (identity), clipped, or with the gradients of learned steps
//!   W ← before_update(W, Ŵ)              blending
//!   W ← optimizer(W, g)
//!   W ← after_update(W)                  clipping
//! at the end: one more projection, and annotation(), its codes and scales
//! ```
//!
//! | method | file | source |
//! |---|---|---|
//! | projected SGD on any grid; LBW-Net's grids and thresholds | [`lbw`] | arXiv 1612.06052 |
//! | BCGD: blending, its weight quantizers | [`bcgd`] | arXiv 1808.05240 |
//! | BinaryRelax | [`binary_relax`] | arXiv 1801.06313 |
//! | LSQ: learned steps | [`lsq`] | arXiv 1902.08153 |
//! | ternary with a learned threshold | [`ternary_threshold`] | arXiv 1810.01018 |
//! | affine maps with learned ranges | [`affine`] | ACM JETC 18(2), 2022 |
//! | APoT with a learned clipping threshold | [`apot`] | arXiv 1909.13144 |
//! | uniform, by the largest weight | [`symmetric`] | Frontiers in Neuroscience 16, 2022 |
//! | gains of channels, codes as they are | [`gains`] | |
//! | AdaRound: codes to the next level, beside gains | [`adaround`] | arXiv 2004.10568 |
//! | biases in units of their own | [`offset`] | |
//! | bits that fall during training | [`progressive`] | |
//! | structured pruning beside any of them | [`pruned`] | AAAI 2020 |
//! | activations | [`activation`] | BCGD, LSQ |
//!
//! All numbers are f32 in ONNX order.

pub mod activation;
pub mod adaround;
pub mod affine;
pub mod apot;
pub mod bcgd;
pub mod binary_relax;
pub mod gains;
mod grid_projection;
pub mod lbw;
mod learned_grid;
pub mod lsq;
pub mod offset;
pub mod progressive;
pub mod pruned;
pub mod symmetric;
pub mod ternary_threshold;

use graph::WeightAnnotation;
use quant::ProjectError;

/// Zeroes the gradient of every weight of size 1 and more: what the ternarizers of He and Fan (CVPR 2019; AAAI 2020) pass straight through.
fn straight_below_one(shadow: &[f32], gradient: &mut [f32]) {
    for (w, g) in shadow.iter().zip(gradient) {
        if w.abs() >= 1.0 {
            *g = 0.0;
        }
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps done, 0 in the first.
    pub step: u64,
    /// Steps of the whole run, at least 1.
    pub steps: u64,
}

impl Progress {
    /// Part of the run that is done, 0…1.
    ///
    /// ```
    /// assert_eq!(train::method::Progress { step: 5, steps: 20 }.fraction(), 0.25);
    /// ```
    pub fn fraction(&self) -> f64 {
        (self.step as f64 / self.steps.max(1) as f64).min(1.0)
    }
}

/// Shape of a weight in ONNX order and the axis of its output channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// As in the graph.
    pub shape: Vec<usize>,
    /// 0 for Conv, 1 for ConvTranspose and plain Gemm.
    pub axis: usize,
}

impl Layout {
    /// Output channel of the element at row-major index `i`.
    pub fn channel(&self, i: usize) -> usize {
        let inner: usize = self.shape[self.axis + 1..].iter().product();
        i / inner.max(1) % self.shape[self.axis]
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no weight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Numbers that a method learns beside the weights: steps, clipping thresholds. The trainer's optimizer moves them, without weight decay.
#[derive(Debug)]
pub struct Learned<'a> {
    /// What they are, for checkpoints and reports.
    pub name: &'static str,
    /// The values.
    pub values: &'a mut [f32],
    /// Their gradients, written by [`WeightMethod::gradient`].
    pub gradients: &'a [f32],
}

/// How one weight tensor is quantized while it is trained.
pub trait WeightMethod: Send {
    /// Ŵ of the current shadow weights.
    ///
    /// # Errors
    /// A shadow weight that is not finite: the run has diverged.
    fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError>;

    /// Turns ∂ℓ/∂Ŵ into the gradient that moves the shadow weights, in place. Identity unless the method says otherwise.
    fn gradient(&mut self, _shadow: &[f32], _projected: &[f32], _gradient: &mut [f32]) {}

    /// Starts from codes that another procedure found, before the first projection: its scales are taken, and every shadow weight outside of the bin
    /// of its code moves to the code's value. `false` where the method knows no such start.
    fn start_from(&mut self, _start: &WeightAnnotation, _shadow: &mut [f32]) -> bool {
        false
    }

    /// What happens to the shadow weights between backward and the optimizer.
    fn before_update(&mut self, _shadow: &mut [f32], _projected: &[f32]) {}

    /// What happens to the shadow weights after the optimizer.
    fn after_update(&mut self, _shadow: &mut [f32]) {}

    /// Numbers learned beside the weights.
    fn learned(&mut self) -> Option<Learned<'_>> {
        None
    }

    /// Codes and scales of the last projection, for the packed model; `None` before the first. Decoding gives what
    /// [`project`](Self::project) wrote (but for [`binary_relax`] before its second phase, which writes what is not on the grid).
    fn annotation(&self) -> Option<WeightAnnotation>;

    /// What must be kept beside the shadow weights so that a resumed run gives the same bytes.
    fn state(&self) -> Vec<f32> {
        Vec::new()
    }

    /// Takes back what [`state`](Self::state) gave; `false` when it does not fit.
    fn restore(&mut self, state: &[f32]) -> bool {
        state.is_empty()
    }
}
