//! LBW's exact formula for two bits (n = 1): levels 0, ±2^s.
//!
//! With the k largest |w| kept, a_1 ≥ a_2 ≥ …, S_k = a_1 + … + a_k:
//! ```text
//! s_k = ⌊log₂(4·S_k / (3k))⌋,   k* = argmin_k  k·4^(s_k) − 2·2^(s_k)·S_k,   s* = s_(k*)          (T)
//! ```
//! Source: arXiv 1612.06052, the ternary case of its projection. O(N log N); [`lbw_optimum`](super::lbw_optimum) with n = 1 gives the same
//! error in O(N).

use super::lbw_optimum::{Optimum, code};
use super::{floor_log2, pow2};

/// (T) for one group of finite weights.
///
/// On paper: w = (1, −0.9, 0.1). S_1 = 1: s = ⌊log₂ 1.33⌋ = 0, gain 1 − 2 = −1. S_2 = 1.9: s = ⌊log₂ 1.27⌋ = 0, gain 2 − 3.8 = −1.8.
/// S_3 = 2: s = ⌊log₂ 0.89⌋ = −1, gain 0.75 − 2 = −1.25. Best k = 2.
/// ```
/// let best = quant::methods::lbw_ternary::solve(&[1.0, -0.9, 0.1]);
/// assert_eq!((best.s, best.codes), (0, vec![1, -1, 0]));
/// ```
pub fn solve(w: &[f32]) -> Optimum {
    let mut sorted: Vec<f64> = w
        .iter()
        .map(|x| f64::from(x.abs()))
        .filter(|&a| a > 0.0)
        .collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut best) = (0.0, None::<(f64, i32)>);
    for (k, a) in sorted.iter().enumerate() {
        let k = (k + 1) as f64;
        sum += a;
        let s = floor_log2(4.0 * sum / (3.0 * k)).min(127);
        let p = pow2(s);
        let gain = p * (p * k - 2.0 * sum);
        if best.is_none_or(|(least, _)| gain < least) {
            best = Some((gain, s));
        }
    }
    // No weight but zeros: the scale is irrelevant.
    let s = best.map_or(0, |b| b.1);
    Optimum {
        s,
        codes: w.iter().map(|&x| code(x, s, 1)).collect(),
    }
}
