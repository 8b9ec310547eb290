//! Weight penalty clipping.
//!
//! ```text
//! P = Σ_g min(‖w_g‖, δ),   δ = a·mean_g ‖w_g‖        ∂P/∂w = w/‖w_g‖ where 0 < ‖w_g‖ < δ, else 0     (δ held)
//! ```
//! Plain group lasso is δ = ∞: it pulls on the groups that stay, too, which narrows their weights until ternary thresholds no longer fit them. With δ left
//! in the gradient every group gets (clipped·a/G)·w/‖w_g‖ more.

use super::Groups;

/// Which groups the penalty leaves alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clip {
    /// None: group lasso.
    None,
    /// Those whose norm is above a times the mean.
    OfMean(f64),
}

/// The penalty of a weight, and its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Penalty {
    /// P.
    pub value: f64,
    /// δ.
    pub threshold: f64,
    /// Groups below it.
    pub below: usize,
    norms: Vec<f64>,
}

impl Penalty {
    /// Of the weights as they are.
    pub fn new(groups: &Groups, w: &[f32], clip: Clip) -> Penalty {
        let norms = groups.norms(w);
        let threshold = match clip {
            Clip::None => f64::INFINITY,
            Clip::OfMean(a) => a * norms.iter().sum::<f64>() / norms.len() as f64,
        };
        Penalty {
            value: norms.iter().map(|n| n.min(threshold)).sum(),
            threshold,
            below: norms.iter().filter(|n| **n < threshold).count(),
            norms,
        }
    }

    /// Adds λ·∂P/∂w, δ held.
    pub fn add_gradient(&self, groups: &Groups, w: &[f32], lambda: f64, gradient: &mut [f32]) {
        for (g, &norm) in self.norms.iter().enumerate() {
            if norm > 0.0 && norm < self.threshold {
                let factor = lambda / norm;
                groups
                    .weights(g)
                    .for_each(|i| gradient[i] += (factor * f64::from(w[i])) as f32);
            }
        }
    }

    /// The proximal step: groups below δ come nearer to zero by `step` (rate · λ) in norm, and reach it exactly.
    pub fn shrink(&self, groups: &Groups, w: &mut [f32], step: f64) {
        for (g, &norm) in self.norms.iter().enumerate() {
            if norm < self.threshold {
                let left = left(norm, step);
                groups
                    .weights(g)
                    .for_each(|i| w[i] = (left * f64::from(w[i])) as f32);
            }
        }
    }
}

/// The proximal step of one group on its own, without a threshold: w·max(0, 1 − τ/‖w‖).
pub fn shrink(w: &mut [f32], tau: f64) {
    let norm = w.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let left = left(norm, tau);
    w.iter_mut().for_each(|x| *x = (left * f64::from(*x)) as f32);
}

/// max(0, 1 − τ/‖w‖), 0 for a group of zeros.
fn left(norm: f64, tau: f64) -> f64 {
    if norm > 0.0 {
        (1.0 - tau / norm).max(0.0)
    } else {
        0.0
    }
}
