//! LBW's problem solved exactly in O(N): power-of-two levels and a power-of-two scale.
//!
//! ```text
//! minimize over s ∈ Z, Q ∈ {0, ±2^(1−n), …, ±1/2, ±1}^N :   E(s, Q) = ‖w − 2^s Q‖²
//! ```
//! Source: Yin, Zhang, Qi, Xin, arXiv 1612.06052, eq. 3; the paper solves n = 1 exactly and thresholds for n > 1. Here:
//! for fixed s nearest rounding is optimal, and all midpoints are 2^k or 1.5·2^k, so a weight matters only through its *half-octave bin*
//! h = 2e + [m ≥ 1.5], |w| = m·2^e. One pass sums count, |w| and w² per bin; E(s) then costs O(n). The scan goes down from
//! s_max = ⌊log₂(4·max|w|/3)⌋ (a larger s leaves the top level unused) and stops when the error of clipping alone,
//! Σ_{|w| > 2^s} (|w| − 2^s)², exceeds the best error found.

use super::{max_abs, pow2};

/// Smallest bin: the least subnormal f32, 2^−149.
const FIRST_BIN: i32 = -298;
/// Bins up to 1.5·2^127 … 2^128.
const BINS: usize = 554;
/// Below this size a direct pass per candidate is cheaper than clearing a histogram.
const DIRECT: usize = 64;

/// The optimum: the top level is 2^s, and weight i is `sign(c_i)·2^(s + |c_i| − n)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimum {
    /// Exponent of the top level; 0 for a group of zeros.
    pub s: i32,
    /// −n … n.
    pub codes: Vec<i32>,
}

/// Best exponent and codes of one group of finite weights; n ≥ 1 magnitudes. Ties go to the larger exponent, and away from zero.
///
/// On paper, n = 2: the levels 0, ±½, ±1 times 2^s. For w = (0.75, −0.375, 1.5), s_max = ⌊log₂ 2⌋ = 1: 0.75 → 1 (tie, up),
/// −0.375 → 0 (below the midpoint ½), 1.5 → 2 (tie, up), E = 0.0625 + 0.140625 + 0.25 = 0.453125. At s = 0: 0.75 → 1, −0.375 → −½,
/// 1.5 → 1, E = 0.0625 + 0.015625 + 0.25 = 0.328125. At s = −1 clipping 1.5 alone costs 1.
/// ```
/// let best = quant::methods::lbw_optimum::solve(&[0.75, -0.375, 1.5], 2);
/// assert_eq!((best.s, best.codes), (0, vec![2, -1, 2]));
/// ```
pub fn solve(w: &[f32], n: u32) -> Optimum {
    let top = max_abs(w);
    if top == 0.0 {
        return Optimum {
            s: 0,
            codes: vec![0; w.len()],
        };
    }
    let n = n as i32;
    let s_max = s_max(top);
    let s = if w.len() <= DIRECT {
        scan_direct(w, n, s_max)
    } else {
        Histogram::new(w).scan(w, n, s_max)
    };
    Optimum {
        s,
        codes: w.iter().map(|&x| code(x, s, n)).collect(),
    }
}

/// ⌊log₂(4·top/3)⌋, at most 127 so that the top level is an f32.
fn s_max(top: f64) -> i32 {
    let h = bin_f64(top);
    // 2e + [m ≥ 1.5]: the exponent, or the next one from 1.5 on.
    (h + 1).div_euclid(2).min(127)
}

/// Code of a weight at exponent s by its bin alone.
pub(crate) fn code(w: f32, s: i32, n: i32) -> i32 {
    if w == 0.0 {
        return 0;
    }
    let (h, low) = (bin(w), s + 1 - n);
    if h < 2 * low - 2 {
        return 0;
    }
    let level = (h + 1).div_euclid(2).clamp(low, s);
    let c = level - low + 1;
    if w < 0.0 { -c } else { c }
}

/// ‖w − 2^s Q‖² with nearest Q, by one pass over the weights.
pub fn error(w: &[f32], s: i32, n: u32) -> f64 {
    let n = n as i32;
    w.iter()
        .map(|&x| {
            let c = code(x, s, n);
            let level = if c == 0 { 0.0 } else { pow2(s + c.abs() - n) };
            let d = f64::from(x.abs()) - level;
            d * d
        })
        .sum()
}

fn clip_error(w: &[f32], s: i32) -> f64 {
    let top = pow2(s);
    w.iter()
        .map(|x| (f64::from(x.abs()) - top).max(0.0))
        .map(|d| d * d)
        .sum()
}

fn scan_direct(w: &[f32], n: i32, s_max: i32) -> i32 {
    let (mut best, mut least) = (s_max, error(w, s_max, n as u32));
    let mut s = s_max;
    while least > 0.0 && s > -150 {
        s -= 1;
        if clip_error(w, s) >= least {
            break;
        }
        let e = error(w, s, n as u32);
        if e < least {
            (best, least) = (s, e);
        }
    }
    best
}

/// Half-octave bin of a non-zero finite weight.
fn bin(w: f32) -> i32 {
    let bits = w.to_bits() & 0x7FFF_FFFF;
    if bits >= 0x0080_0000 {
        (bits >> 22) as i32 - 254
    } else {
        bin_f64(f64::from(w))
    }
}

/// The same in f64, where f32's subnormals are normal.
fn bin_f64(w: f64) -> i32 {
    ((w.to_bits() & !(1 << 63)) >> 51) as i32 - 2046
}

/// Sums per bin, made cumulative: element k is the sum of the bins below FIRST_BIN + k.
struct Histogram {
    count: Vec<f64>,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Histogram {
    fn new(w: &[f32]) -> Self {
        let mut bins = vec![[0f64; 3]; BINS + 1];
        for &x in w.iter().filter(|x| **x != 0.0) {
            let a = f64::from(x.abs());
            let slot = &mut bins[(bin(x) - FIRST_BIN) as usize];
            slot[0] += 1.0;
            slot[1] += a;
            slot[2] += a * a;
        }
        let cumulative = |k: usize| {
            let mut sum = 0.0;
            let mut before = |slot: &[f64; 3]| {
                let at = sum;
                sum += slot[k];
                at
            };
            bins.iter().map(&mut before).collect()
        };
        Histogram {
            count: cumulative(0),
            sum: cumulative(1),
            squares: cumulative(2),
        }
    }

    /// Σ over bins first … last of one of the cumulative sums.
    fn range(sums: &[f64], first: i32, last: i32) -> f64 {
        let at = |h: i32| sums[(h - FIRST_BIN).clamp(0, BINS as i32) as usize];
        if last < first {
            0.0
        } else {
            at(last + 1) - at(first)
        }
    }

    /// What replacing 0 by 2^t changes for the weights in the bins: Σ (4^t − 2·2^t·|w|).
    fn gain(&self, t: i32, first: i32, last: i32) -> f64 {
        let p = pow2(t);
        p * (p * Self::range(&self.count, first, last) - 2.0 * Self::range(&self.sum, first, last))
    }

    fn error(&self, s: i32, n: i32) -> f64 {
        let norm = self.squares[BINS];
        if n == 1 {
            return norm + self.gain(s, 2 * s - 2, 256);
        }
        let low = s + 1 - n;
        let inner: f64 = (low + 1..s).map(|t| self.gain(t, 2 * t - 1, 2 * t)).sum();
        norm + self.gain(low, 2 * low - 2, 2 * low) + inner + self.gain(s, 2 * s - 1, 256)
    }

    fn clip_error(&self, s: i32) -> f64 {
        let p = pow2(s);
        let squares = Self::range(&self.squares, 2 * s, 256);
        let sum = Self::range(&self.sum, 2 * s, 256);
        squares + p * (p * Self::range(&self.count, 2 * s, 256) - 2.0 * sum)
    }

    /// Cumulative sums carry an absolute error near 1e-15·‖w‖²: candidates closer than 1e-12·‖w‖² are settled by direct passes.
    fn scan(&self, w: &[f32], n: i32, s_max: i32) -> i32 {
        let close = 1e-12 * self.squares[BINS];
        let mut candidates = vec![(s_max, self.error(s_max, n))];
        let mut least = candidates[0].1;
        let mut s = s_max;
        while s > -150 {
            s -= 1;
            if self.clip_error(s) >= least + close {
                break;
            }
            let e = self.error(s, n);
            least = least.min(e);
            candidates.push((s, e));
        }
        candidates.retain(|c| c.1 <= least + close);
        if let [only] = candidates[..] {
            return only.0;
        }
        let direct = candidates.into_iter().map(|(s, _)| (s, error(w, s, n as u32)));
        direct
            .reduce(|best, next| if next.1 < best.1 { next } else { best })
            .map_or(s_max, |best| best.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_of_powers_midpoints_and_subnormals() {
        assert_eq!((bin(1.0), bin(1.49), bin(1.5), bin(2.0)), (0, 0, 1, 2));
        assert_eq!(bin(f32::from_bits(1)), FIRST_BIN);
        assert_eq!(bin(f32::from_bits(3)), FIRST_BIN + 3);
        assert_eq!(bin(f32::MAX), FIRST_BIN + BINS as i32 - 1);
    }
}
