//! Stochastic gradient descent as in PyTorch: momentum without dampening.
//!
//! ```text
//! d = g + λ·w
//! V ← β·V + d        (first step: V = d)
//! w ← w − η·V        Nesterov:  w ← w − η·(d + β·V)
//! ```

use super::State;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// β, 0 … 1.
    pub momentum: f32,
    /// Look ahead.
    pub nesterov: bool,
}

impl Sgd {
    pub(super) fn update(&self, state: &mut State, w: &mut [f32], g: &[f32], rate: f32, decay: f32) {
        let beta = self.momentum;
        if beta == 0.0 {
            for (w, &g) in w.iter_mut().zip(g) {
                *w -= rate * (g + decay * *w);
            }
            return;
        }
        // From zeros, β·0 + d is the first step.
        let [velocity] = state.moments::<1>(w.len());
        for ((w, &g), v) in w.iter_mut().zip(g).zip(velocity) {
            let d = g + decay * *w;
            *v = beta * *v + d;
            *w -= rate * if self.nesterov { d + beta * *v } else { *v };
        }
    }
}
