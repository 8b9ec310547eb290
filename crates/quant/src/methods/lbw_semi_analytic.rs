//! LBW's semi-analytic thresholds with the free parameter μ: the paper's own projection for three bits and more.
//!
//! ```text
//! |w| <  2^(2−n)·μ/3                        → 0
//! 2^(2−n)·μ/3 ≤ |w| < 2^(2−n)·μ             → 2^(1−n)
//! 2^(−t)·μ ≤ |w| < 2^(1−t)·μ, t = n−2 … 1   → 2^(−t)
//! |w| ≥ μ                                   → 1
//! s̃ = ⌊ log₂( 4·Σ|Q||w| / (3·ΣQ²) ) ⌋                                                     (H)
//! ```
//! Source: arXiv 1612.06052, section on b > 2; default μ = ¾·max|w|. (H)'s s̃ is the best exponent for *that* partition, but unless 4μ/3 is a
//! power of two the partition is not nearest rounding for the levels used: the error is 2 to 5 times the optimum's. It is here because
//! users compare with the paper; [`lbw_optimum`](super::lbw_optimum) is the default.

use super::lbw_optimum::Optimum;
use super::{floor_log2, max_abs, pow2};

/// The partition of one group and its sums.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// −n … n.
    pub codes: Vec<i32>,
    /// Σ|Q||w| with the top level 1.
    pub dot: f64,
    /// ΣQ².
    pub norm: f64,
}

/// Thresholds at `mu` (absolute, same unit as the weights).
pub fn partition(w: &[f32], n: u32, mu: f64) -> Partition {
    let n = n as i32;
    let low = mu * pow2(2 - n);
    let (mut dot, mut norm) = (0.0, 0.0);
    let codes = w
        .iter()
        .map(|&x| {
            let a = f64::from(x.abs());
            let c = if a < low / 3.0 || a == 0.0 {
                return 0;
            } else if a < low && n > 1 {
                1
            } else if a >= mu || n == 1 {
                n
            } else {
                // The largest c < n with threshold 2^(c−n)·μ at or below a.
                (2..n).rev().find(|&c| a >= mu * pow2(c - n)).unwrap_or(2)
            };
            let q = pow2(c - n);
            dot += q * a;
            norm += q * q;
            if x < 0.0 { -c } else { c }
        })
        .collect();
    Partition { codes, dot, norm }
}

/// (H) for one group of finite weights; `mu` is relative to max|w|, the paper's default being 0.75.
///
/// On paper: w = (0.75, −0.375, 1.5), n = 2, μ = ¾·1.5 = 1.125: thresholds 0.375 and 1.125, so Q = (½, −½, 1),
/// Σ|Q||w| = 2.0625, ΣQ² = 1.5, s̃ = ⌊log₂ 1.83⌋ = 0.
/// ```
/// let paper = quant::methods::lbw_semi_analytic::solve(&[0.75, -0.375, 1.5], 2, 0.75);
/// assert_eq!((paper.s, paper.codes), (0, vec![1, -1, 2]));
/// ```
pub fn solve(w: &[f32], n: u32, mu: f64) -> Optimum {
    let p = partition(w, n, mu * max_abs(w));
    let s = if p.norm > 0.0 {
        floor_log2(4.0 * p.dot / (3.0 * p.norm)).min(127)
    } else {
        0
    };
    Optimum { s, codes: p.codes }
}
