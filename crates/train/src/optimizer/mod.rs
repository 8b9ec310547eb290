//! Optimizers as plain functions over slices: PyTorch's update rules, with all state in vectors that a checkpoint can keep.
//!
//! | file | |
//! |---|---|
//! | [`sgd`] | momentum, Nesterov |
//! | [`adamw`] | decoupled weight decay; without decay it is Adam |
//! | [`schedule`] | the rate over a run: constant, cosine, steps; warm-up |
//! | [`clip`] | gradient norms |
//! | [`ema`] | averaged weights |
//! | [`groups`] | who decays, and rates relative to each tensor's size |

pub mod adamw;
pub mod clip;
pub mod ema;
pub mod groups;
pub mod schedule;
pub mod sgd;

use adamw::AdamW;
use sgd::Sgd;

/// An update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
}

/// What an update rule remembers of one tensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Updates done.
    pub steps: u64,
    /// Momentum; or the first and the second moment. As long as the tensor; empty before the first update.
    pub moments: Vec<Vec<f32>>,
}

impl Optimizer {
    /// Updates one tensor at a rate, with a weight decay.
    ///
    /// # Panics
    /// When the gradient or the state belongs to a tensor of another length.
    pub fn update(&self, state: &mut State, values: &mut [f32], gradient: &[f32], rate: f32, decay: f32) {
        assert_eq!(values.len(), gradient.len(), "one gradient for each value");
        state.steps += 1;
        match self {
            Optimizer::Sgd(sgd) => sgd.update(state, values, gradient, rate, decay),
            Optimizer::AdamW(adamw) => adamw.update(state, values, gradient, rate, decay),
        }
    }

    /// Vectors that [`State`] holds for each tensor.
    pub fn moments(&self) -> usize {
        match self {
            Optimizer::Sgd(sgd) => usize::from(sgd.momentum != 0.0),
            Optimizer::AdamW(_) => 2,
        }
    }
}

impl State {
    /// Empty moments become zeros.
    fn moments<const N: usize>(&mut self, length: usize) -> &mut [Vec<f32>; N] {
        self.moments.resize_with(N, Vec::new);
        for m in &mut self.moments {
            m.resize(length, 0.0);
        }
        self.moments.as_mut_slice().try_into().expect("resized to N")
    }
}
