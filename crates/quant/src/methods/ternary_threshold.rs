//! Ternary weights by a threshold: T = 0 within ±Δ, else the sign; α = mean{|w| : |w| ≥ Δ}, which has the least error for these signs.
//!
//! ```text
//! max rule:            Δ = 0.05·max|w|     (Ternarized Neural Network, arXiv 1807.07948)
//! mean rule:           Δ = 0.75·mean|w|    (Ternary Weight Networks, arXiv 1605.04711)
//! truncated Gaussian:  w ~ N(0, σ²), z = Δ/σ, h(z) = φ(z)/(1 − Φ(z)):   α = σ·h(z),   dα/dΔ = h(z)·(h(z) − z)      (arXiv 1810.01018)
//! ```
//! The last one makes Δ trainable: with σ held, ∂L/∂Δ = dα/dΔ · Σ ∂L/∂ŵ·T. [`ternary`](super::ternary) is the exact optimum.

use super::{Fit, max_abs};

/// c of Δ = c·max|w|.
pub const OF_MAX: f64 = 0.05;
/// c of Δ = c·mean|w|.
pub const OF_MEAN: f64 = 0.75;

/// The max rule's Δ.
pub fn of_max(w: &[f32]) -> f64 {
    OF_MAX * max_abs(w)
}

/// The mean rule's Δ.
pub fn of_mean(w: &[f32]) -> f64 {
    OF_MEAN * w.iter().map(|x| f64::from(x.abs())).sum::<f64>() / w.len().max(1) as f64
}

/// Signs beyond Δ ≥ 0 and their α; zeros stay zeros whatever Δ is.
///
/// ```
/// use quant::methods::ternary_threshold::{of_mean, solve};
/// let w = [2.0, -1.0, 0.2];
/// let fit = solve(&w, of_mean(&w));
/// assert_eq!((fit.scale, &fit.indices[..]), (1.5, &[1, -1, 0][..]));
/// ```
pub fn solve(w: &[f32], delta: f64) -> Fit {
    let kept = |x: f32| x != 0.0 && f64::from(x.abs()) >= delta;
    let beyond: Vec<f64> = w
        .iter()
        .filter(|x| kept(**x))
        .map(|x| f64::from(x.abs()))
        .collect();
    if beyond.is_empty() {
        return Fit::zeros(w.len());
    }
    let sign = |&x: &f32| match (kept(x), x < 0.0) {
        (false, _) => 0,
        (true, true) => -1,
        (true, false) => 1,
    };
    Fit {
        scale: beyond.iter().sum::<f64>() / beyond.len() as f64,
        indices: w.iter().map(sign).collect(),
        zero_point: 0,
    }
}

/// α/σ and dα/dΔ of the truncated Gaussian at z = Δ/σ ≥ 0.
pub fn truncated_gaussian(z: f64) -> (f64, f64) {
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let beyond = libm::erfc(z / std::f64::consts::SQRT_2) / 2.0;
    let hazard = density / beyond;
    (hazard, hazard * (hazard - z))
}
