//! AdamW (Loshchilov, Hutter, arXiv 1711.05101) as in PyTorch.
//!
//! ```text
//! w ← w − η·λ·w
//! m ← β₁·m + (1 − β₁)·g,   v ← β₂·v + (1 − β₂)·g²
//! w ← w − η · (m / (1 − β₁ᵗ)) / ( √(v / (1 − β₂ᵗ)) + ε )
//! ```

use super::State;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// β₁ and β₂.
    pub betas: [f32; 2],
    /// ε.
    pub epsilon: f32,
}

impl Default for AdamW {
    /// PyTorch's: 0.9, 0.999, 1e-8.
    fn default() -> Self {
        AdamW {
            betas: [0.9, 0.999],
            epsilon: 1e-8,
        }
    }
}

impl AdamW {
    pub(super) fn update(&self, state: &mut State, w: &mut [f32], g: &[f32], rate: f32, decay: f32) {
        let [b1, b2] = self.betas;
        let t = state.steps as f64;
        let bias = |beta: f32| 1.0 - libm::pow(f64::from(beta), t);
        let size = (f64::from(rate) / bias(b1)) as f32;
        let root = bias(b2).sqrt() as f32;
        let shrink = 1.0 - rate * decay;
        let [first, second] = state.moments::<2>(w.len());
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(first).zip(second) {
            *w *= shrink;
            *m += (1.0 - b1) * (g - *m);
            *v = b2 * *v + (1.0 - b2) * g * g;
            *w -= size * *m / (v.sqrt() / root + self.epsilon);
        }
    }
}
