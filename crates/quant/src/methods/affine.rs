//! Uniform weights with a zero point: levels 0 … 2^b − 1.
//!
//! ```text
//! q = clamp(round(w/α) + z, 0, 2^b − 1),   ŵ = α·(q − z),   z ∈ 0 … 2^b − 1
//! ```
//! As in ONNX DequantizeLinear. (α, z) are searched: both ends of the range shrink by turns, then α is refitted by least squares to the
//! levels found. Real 0 is always a level.

use super::{Fit, floor_log2, pow2};

/// Best scale, zero point and levels of one group of finite weights.
///
/// ```
/// let fit = quant::methods::affine::solve(&[-1.0, 0.0, 2.0], 2, false);
/// assert_eq!((fit.scale, fit.zero_point, &fit.indices[..]), (1.0, 1, &[0, 1, 3][..]));
/// ```
pub fn solve(w: &[f32], bits: u32, power_of_two: bool) -> Fit {
    let top = (1i32 << bits) - 1;
    let low = f64::from(w.iter().fold(0f32, |m, &x| m.min(x)));
    let high = f64::from(w.iter().fold(0f32, |m, &x| m.max(x)));
    if high - low == 0.0 {
        return Fit::zeros(w.len());
    }
    let mut best = Candidate::of_range(low, high, top, power_of_two).measured(w, top);
    // Many ranges have one power of two.
    let mut seen = vec![(best.scale, best.zero)];
    let (mut keep_low, mut keep_high) = (1.0, 1.0);
    // A rounded exponent may clip: then the range must be allowed to grow.
    let widest = if power_of_two { 30 } else { 20 };
    for shrink in (6..widest).rev().map(|k| f64::from(k) / 20.0) {
        for (a, b) in [(shrink, keep_high), (keep_low, shrink)] {
            let next = Candidate::of_range(a * low, b * high, top, power_of_two);
            if seen.contains(&(next.scale, next.zero)) {
                continue;
            }
            seen.push((next.scale, next.zero));
            let next = next.measured(w, top);
            if next.error < best.error {
                best = next;
                (keep_low, keep_high) = (a, b);
            }
        }
    }
    if !power_of_two {
        for _ in 0..3 {
            let next = best.refit(w, top);
            if next.error >= best.error {
                break;
            }
            best = next;
        }
    }
    Fit {
        scale: best.scale,
        indices: w.iter().map(|&x| best.level(x, top)).collect(),
        zero_point: best.zero,
    }
}

struct Candidate {
    scale: f64,
    zero: i32,
    error: f64,
}

impl Candidate {
    fn of_range(low: f64, high: f64, top: i32, power_of_two: bool) -> Self {
        let width = ((high - low) / f64::from(top)).max(f64::from(f32::MIN_POSITIVE));
        let scale = if power_of_two {
            pow2(floor_log2(4.0 * width / 3.0))
        } else {
            width
        };
        Candidate {
            scale,
            zero: ((-low / scale).round() as i32).clamp(0, top),
            error: f64::INFINITY,
        }
    }

    /// With its error, in steps and in f32, which vector instructions do: it only chooses among candidates.
    fn measured(self, w: &[f32], top: i32) -> Self {
        const LANES: usize = 16;
        // Added and taken away again, it leaves the nearest whole number.
        const WHOLE: f32 = 12_582_912.0;
        let inverse = (1.0 / self.scale) as f32;
        let (low, high) = (-self.zero as f32, (top - self.zero) as f32);
        let one = |x: f32| {
            let steps = x * inverse;
            // What is clipped far out is no whole number here, and is clipped all the same.
            let level = (steps.clamp(low - 1.0, high + 1.0) + WHOLE - WHOLE).clamp(low, high);
            (steps - level) * (steps - level)
        };
        let mut error = 0.0;
        for part in w.chunks(64 * LANES) {
            let mut lanes = [0f32; LANES];
            let (whole, rest) = part.as_chunks::<LANES>();
            for chunk in whole {
                for (sum, &x) in lanes.iter_mut().zip(chunk) {
                    *sum += one(x);
                }
            }
            let all = lanes.iter().copied().chain(rest.iter().map(|&x| one(x)));
            error += all.map(f64::from).sum::<f64>();
        }
        Candidate {
            error: error * self.scale * self.scale,
            ..self
        }
    }

    fn level(&self, x: f32, top: i32) -> i32 {
        // Away from zero at ties, as everywhere in projection; a cast is a small part of what `round` costs.
        let steps = f64::from(x) / self.scale;
        ((steps + 0.5f64.copysign(steps)) as i32)
            .saturating_add(self.zero)
            .clamp(0, top)
    }

    fn refit(&self, w: &[f32], top: i32) -> Self {
        let (mut dot, mut norm) = (0.0, 0.0);
        for &x in w {
            let l = f64::from(self.level(x, top) - self.zero);
            dot += l * f64::from(x);
            norm += l * l;
        }
        if norm <= 0.0 || dot <= 0.0 {
            return Candidate {
                error: f64::INFINITY,
                ..*self
            };
        }
        Candidate {
            // As in `of_range`: the inverse of a smaller one is no f32.
            scale: (dot / norm).max(f64::from(f32::MIN_POSITIVE)),
            ..*self
        }
        .measured(w, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_below_the_normal_numbers_keep_a_scale_that_can_be_inverted() {
        let fit = solve(&[1e-40, 0.0, -2e-40, 3e-41], 8, false);
        assert!(fit.scale >= f64::from(f32::MIN_POSITIVE));
        assert_eq!(fit.indices[1], fit.zero_point);
    }
}
