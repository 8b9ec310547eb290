//! Additive powers of two: levels that are sums of a few powers of two, denser near zero than uniform ones, without the hole that single powers
//! leave between ½ and 1.
//!
//! ```text
//! minimize over α > 0, ℓ ∈ ±{Σ_j p_j} :  ‖w − αℓ‖²,     p_j ∈ {0, 2^(−j−1), 2^(−n−j−1), 2^(−2n−j−1)}
//! ```
//! Source: Li, Dong, Wang, "Additive Powers-of-Two Quantization", arXiv 1909.13144, eq. 5. The paper learns the clipping threshold; after training
//! ends the error-optimal scale takes its place.

use super::{Fit, Levels, scale_pow2, scale_real};
use crate::grid::Grid;

/// Best scale and levels of one group for an APoT grid.
///
/// On paper, `apot3` has the magnitudes 1, 2, 4: w = (4, −2, 1) is exact with α = 1.
/// ```
/// let grid = "apot3".parse().unwrap();
/// let fit = quant::methods::apot::solve(&[4.0, -2.0, 1.0], grid, false);
/// assert_eq!((fit.scale, &fit.indices[..]), (1.0, &[3, -2, 1][..]));
/// ```
pub fn solve(w: &[f32], grid: Grid, power_of_two: bool) -> Fit {
    let levels = Levels::new(&grid.magnitudes());
    if power_of_two {
        scale_pow2::solve(w, &levels)
    } else {
        scale_real::solve(w, &levels)
    }
}
