//! Uniform symmetric weights, levels 0, ±1 … ±(2^(b−1) − 1), with the scale of least error instead of max|w|.
//!
//! ```text
//! ℓ = clamp(round(w/α), −P, P),   P = 2^(b−1) − 1,   α = argmin ‖w − αℓ‖²
//! ```
//! At 8 bits this is nearly max|w|/127; at 4 and fewer bits clipping the largest weights halves the error.

use super::{Fit, Levels, scale_pow2, scale_real};

/// Best scale and levels of one group for width b ≥ 2.
///
/// ```
/// let fit = quant::methods::uniform::solve(&[7.0, -3.0, 1.0], 4, false);
/// assert_eq!((fit.scale, &fit.indices[..]), (1.0, &[7, -3, 1][..]));
/// ```
pub fn solve(w: &[f32], bits: u32, power_of_two: bool) -> Fit {
    let magnitudes: Vec<i32> = (1..1 << (bits - 1)).collect();
    let levels = Levels::new(&magnitudes);
    if power_of_two {
        scale_pow2::solve(w, &levels)
    } else {
        scale_real::solve(w, &levels)
    }
}
