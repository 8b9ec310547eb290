//! Ternary weights 0, ±α with the real α of least error.
//!
//! ```text
//! keep the k largest |w|, S_k their sum:  α = S_k/k,   E = ‖w‖² − S_k²/k;   k* = argmax S_k²/k
//! ```
//! The problem of Ternary Weight Networks (Li, Zhang, Liu, arXiv 1605.04711), which approximates it by the threshold 0.7·mean|w|; here it is
//! solved exactly by sorting.

use super::Fit;

/// Best α and signs of one group of finite weights.
///
/// On paper: w = (2, −1, 0.2): S²/k = 4, 4.5, 3.41, so k = 2 and α = 1.5.
/// ```
/// let fit = quant::methods::ternary::solve(&[2.0, -1.0, 0.2]);
/// assert_eq!((fit.scale, &fit.indices[..]), (1.5, &[1, -1, 0][..]));
/// ```
pub fn solve(w: &[f32]) -> Fit {
    // As bits, which have the order of the numbers and sort faster.
    let magnitudes = w.iter().map(|x| x.abs()).filter(|&a| a > 0.0);
    let mut sorted: Vec<u32> = magnitudes.map(f32::to_bits).collect();
    if sorted.is_empty() {
        return Fit::zeros(w.len());
    }
    sorted.sort_unstable();
    let (mut sum, mut best) = (0.0, (0.0, 1.0, 0f32));
    for (k, &bits) in sorted.iter().rev().enumerate() {
        let a = f32::from_bits(bits);
        sum += f64::from(a);
        let k = (k + 1) as f64;
        if sum * sum / k > best.0 {
            best = (sum * sum / k, sum / k, a);
        }
    }
    let (_, scale, least) = best;
    Fit {
        scale,
        indices: w
            .iter()
            .map(|&x| match x.abs() >= least {
                true if x < 0.0 => -1,
                true => 1,
                false => 0,
            })
            .collect(),
        zero_point: 0,
    }
}
