//! The power-of-two scale of least error for any symmetric set of magnitudes.
//!
//! ```text
//! minimize over s ∈ Z, ℓ :  ‖w − 2^s ℓ‖²
//! ```
//! Scans s down from the exponent where the largest weight just reaches the top level, and stops when clipping alone costs more than the best.
//! The magnitudes 1, 2, 4 … have the O(N) solution of [`lbw_optimum`](super::lbw_optimum).

use super::{Fit, Levels, floor_log2, max_abs, pow2};

/// Best exponent and levels of one group of finite weights.
///
/// On paper, L = {1, 2, 3}, w = (1.5, 0.6): s = −1 gives (3, 1)·½, error 0.01.
/// ```
/// use quant::methods::{Levels, scale_pow2};
/// let fit = scale_pow2::solve(&[1.5, 0.6], &Levels::new(&[1, 2, 3]));
/// assert_eq!((fit.scale, &fit.indices[..]), (0.5, &[3, 1][..]));
/// ```
pub fn solve(w: &[f32], levels: &Levels) -> Fit {
    let top = max_abs(w);
    if top == 0.0 {
        return Fit::zeros(w.len());
    }
    let mut s = floor_log2(top / levels.top()) + 1;
    let (mut best, mut least) = (s, f64::INFINITY);
    loop {
        let scale = pow2(s);
        let (mut error, mut clipped) = (0.0, 0.0);
        for x in w {
            let a = f64::from(x.abs());
            let d = a - scale * levels.magnitude(levels.index(a / scale));
            error += d * d;
            let over = (a - scale * levels.top()).max(0.0);
            clipped += over * over;
        }
        if error < least {
            (best, least) = (s, error);
        }
        if clipped >= least || least == 0.0 || s < -1000 {
            break;
        }
        s -= 1;
    }
    Fit::nearest(w, levels, pow2(best))
}
