//! Terms that several losses share.

use tensor::math::{exp, sigmoid};

/// ln(1 + eˣ) without overflow.
///
/// ```
/// assert!((train::loss::softplus(0.0) - 2f32.ln()).abs() < 1e-7);
/// assert_eq!(train::loss::softplus(500.0), 500.0);
/// ```
pub fn softplus(x: f32) -> f32 {
    x.max(0.0) + libm::log1pf(exp(-x.abs()))
}

/// Binary cross-entropy of a logit x against a target t in 0…1, and its derivative σ(x) − t.
///
/// ```
/// let (value, slope) = train::loss::bce(0.0, 1.0);
/// assert!((value - 2f64.ln()).abs() < 1e-6 && slope == -0.5);
/// ```
pub fn bce(x: f32, t: f32) -> (f64, f32) {
    (
        f64::from(softplus(x)) - f64::from(t) * f64::from(x),
        sigmoid(x) - t,
    )
}

/// The same of a probability p, kept away from 0 and 1 by 1e-6, for graphs that end in a sigmoid: times p(1 − p), which the graph's backward
/// multiplies by, the derivative is p − t again.
pub(super) fn bce_probability(p: f32, t: f32) -> (f64, f32) {
    let p = f64::from(p).clamp(1e-6, 1.0 - 1e-6);
    let t = f64::from(t);
    let value = -t * libm::log(p) - (1.0 - t) * libm::log(1.0 - p);
    (value, ((p - t) / (p * (1.0 - p))) as f32)
}

/// Adds a term, times its gain, to a part of the loss, and writes its gradient.
pub(super) fn add(part: &mut f64, gradient: &mut f32, (value, slope): (f64, f32), gain: f64) {
    *part += value * gain;
    *gradient = slope * gain as f32;
}
