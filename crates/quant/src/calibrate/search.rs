//! Choosing a range from a histogram.

use graph::EdgeQuantizer;

use super::histogram::Histogram;
use super::{Through, quantizer};

/// Finest shrink step: 2^(−1/8).
const STEPS_PER_OCTAVE: f64 = 8.0;
/// Shrinks down to 1/32 of the range.
const STEPS: u32 = 40;

/// Range that leaves out a share of the values at each end.
pub(super) fn percentile(h: &Histogram, extremes: (f64, f64), tail: f64) -> (f64, f64) {
    let bins: Vec<(f64, f64)> = h.bins().collect();
    let total: f64 = h.zeros as f64 + bins.iter().map(|b| b.1).sum::<f64>();
    let allowed = tail * total;
    let cut = |ordered: &mut dyn Iterator<Item = &(f64, f64)>, outward: f64| {
        let mut left = allowed;
        for &(x, count) in ordered {
            left -= count;
            if left < 0.0 {
                return x + outward * h.width() / 2.0;
            }
        }
        0.0
    };
    let low = cut(&mut bins.iter().filter(|b| b.0 < 0.0), -1.0);
    let high = cut(&mut bins.iter().rev().filter(|b| b.0 > 0.0), 1.0);
    (low.max(extremes.0), high.min(extremes.1))
}

/// Range of least squared error: each end shrinks by turns.
pub(super) fn least_error(
    h: &Histogram,
    extremes: (f64, f64),
    bits: u32,
    through: Through<'_>,
) -> (f64, f64) {
    let points = Points::new(h, through);
    let error = |range: (f64, f64)| points.error(&quantizer(range.0, range.1, bits));
    let (mut best, mut least) = (extremes, error(extremes));
    for _ in 0..2 {
        let before = best;
        for side in 0..2 {
            let fixed = best;
            for k in 0..=STEPS {
                let shrink = (-f64::from(k) / STEPS_PER_OCTAVE).exp2();
                // The last step drops the side altogether.
                let shrink = if k == STEPS { 0.0 } else { shrink };
                let range = if side == 0 {
                    (extremes.0 * shrink, fixed.1)
                } else {
                    (fixed.0, extremes.1 * shrink)
                };
                let e = error(range);
                if e < least {
                    (best, least) = (range, e);
                }
            }
        }
        if best == before {
            break;
        }
    }
    let coarse = best;
    for k in -6..=6 {
        let fine = (f64::from(k) / (8.0 * STEPS_PER_OCTAVE)).exp2();
        for range in [(coarse.0 * fine, best.1), (best.0, coarse.1 * fine)] {
            let range = (range.0.max(extremes.0), range.1.min(extremes.1));
            let e = error(range);
            if e < least {
                (best, least) = (range, e);
            }
        }
    }
    best
}

/// Range of least divergence among ranges shrunk at both ends alike.
pub(super) fn least_divergence(h: &Histogram, extremes: (f64, f64), bits: u32) -> (f64, f64) {
    let bins: Vec<(f64, f64)> = h.bins().collect();
    let (mut best, mut least) = (extremes, f64::INFINITY);
    for k in 0..STEPS {
        let shrink = (-f64::from(k) / STEPS_PER_OCTAVE).exp2();
        let range = (extremes.0 * shrink, extremes.1 * shrink);
        let d = divergence(&bins, h.zeros as f64, range, &quantizer(range.0, range.1, bits));
        if d < least {
            (best, least) = (range, d);
        }
    }
    best
}

/// KL(P ‖ Q): P the histogram with outliers moved into the end bins, Q the counts of each code spread evenly over its bins.
fn divergence(bins: &[(f64, f64)], zeros: f64, range: (f64, f64), q: &EdgeQuantizer) -> f64 {
    let inside: Vec<(f64, f64)> = bins
        .iter()
        .copied()
        .filter(|b| (range.0..=range.1).contains(&b.0))
        .collect();
    let below: f64 = bins.iter().filter(|b| b.0 < range.0).map(|b| b.1).sum();
    let above: f64 = bins.iter().filter(|b| b.0 > range.1).map(|b| b.1).sum();
    if inside.is_empty() {
        return f64::INFINITY;
    }
    let code = |x: f64| usize::from(q.quantize(x as f32));
    let mut spread = [(0f64, 0f64); 256];
    for &(x, count) in &inside {
        let slot = &mut spread[code(x)];
        slot.0 += count;
        slot.1 += 1.0;
    }
    let total: f64 = bins.iter().map(|b| b.1).sum::<f64>() + zeros;
    let kept: f64 = inside.iter().map(|b| b.1).sum::<f64>() + zeros;
    let last = inside.len() - 1;
    let term = |i: usize, &(x, count): &(f64, f64)| {
        let p = count + if i == 0 { below } else { 0.0 } + if i == last { above } else { 0.0 };
        let (sum, parts) = spread[code(x)];
        let (p, q) = (p / total, sum / parts / kept);
        p * (p / q).ln()
    };
    let zero_term = if zeros > 0.0 {
        zeros / total * (kept / total).ln()
    } else {
        0.0
    };
    inside.iter().enumerate().map(|(i, b)| term(i, b)).sum::<f64>() + zero_term
}

/// Histogram points with the function's value at each.
pub(super) struct Points<'a> {
    points: Vec<(f64, f64, f64)>,
    width: f64,
    through: Through<'a>,
}

impl<'a> Points<'a> {
    pub(super) fn new(h: &Histogram, through: Through<'a>) -> Self {
        let value = |x: f64| through.map_or(x, |f| f(x));
        Points {
            points: h.bins().map(|(x, count)| (x, value(x), count)).collect(),
            width: h.width(),
            through,
        }
    }

    /// Σ count·(F(x) − F(dequantize(quantize(x))))². Where a step is hardly wider than a bin the bin's centre says nothing of the rounding
    /// error, which is then taken as uniform: the square of F's change over one step, divided by 12.
    pub(super) fn error(&self, q: &EdgeQuantizer) -> f64 {
        let value = |x: f64| self.through.map_or(x, |f| f(x));
        let (scale, zero) = (f64::from(q.scale), f64::from(q.zero_point));
        let hi = f64::from(q.max_code());
        let levels: Vec<f64> = (0..=u32::from(q.max_code()))
            .map(|k| value(scale * (f64::from(k) - zero)))
            .collect();
        let coarse = scale < 2.0 * self.width;
        let mut sum = 0.0;
        for &(x, fx, count) in &self.points {
            let k = (x / scale).round_ties_even() + zero;
            let d2 = if coarse && (0.0..=hi).contains(&k) {
                let d = value(x + scale / 2.0) - value(x - scale / 2.0);
                d * d / 12.0
            } else {
                let d = fx - levels[k.clamp(0.0, hi) as usize];
                d * d
            };
            sum += count * d2;
        }
        sum
    }
}
