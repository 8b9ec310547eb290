//! Binary weights ±α.
//!
//! ```text
//! ℓ = sign(w) (0 counts as positive),   α = ‖w‖₁/N,   E = ‖w‖² − ‖w‖₁²/N
//! ```
//! Source: XNOR-Net (Rastegari et al., arXiv 1603.05279), eq. 6. With a power-of-two scale the best exponent is
//! ⌊log₂(4·‖w‖₁/(3N))⌋, by the argument of [`lbw_ternary`](super::lbw_ternary) with k = N.

use super::{Fit, floor_log2, pow2};

/// α and signs of one group of finite weights. There is no level 0: a group of zeros gets the smallest normal f32 as its scale.
///
/// ```
/// let fit = quant::methods::binary::solve(&[1.0, -3.0], false);
/// assert_eq!((fit.scale, &fit.indices[..]), (2.0, &[1, -1][..]));
/// ```
pub fn solve(w: &[f32], power_of_two: bool) -> Fit {
    let sum: f64 = w.iter().map(|x| f64::from(x.abs())).sum();
    let mean = sum / w.len().max(1) as f64;
    let scale = match mean {
        0.0 => f64::from(f32::MIN_POSITIVE),
        _ if power_of_two => pow2(floor_log2(4.0 * mean / 3.0)),
        _ => mean,
    };
    Fit {
        scale,
        indices: w.iter().map(|&x| if x < 0.0 { -1 } else { 1 }).collect(),
        zero_point: 0,
    }
}
