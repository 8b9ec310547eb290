//! The real scale of least error for any symmetric set of magnitudes L_1 < … < L_P.
//!
//! ```text
//! minimize over α > 0, ℓ :  ‖w − αℓ‖² ;   for given ℓ:  α = A/B,  E = ‖w‖² − A²/B,   A = Σ|ℓ||w|,  B = Σℓ²
//! ```
//! *Exact*: as t = 1/α grows from 0, weight i steps from L_(j−1) to L_j at t = (L_(j−1) + L_j)/2 / |w_i|. Sort the N·P events and keep the largest
//! A²/B; the optimum is its own nearest rounding, so the sweep meets it. O(NP log NP).
//! *Scan*, for large groups: α on a geometric grid over a histogram of |w| (64 bins an octave), finer near the best, then α ← A/B
//! and nearest rounding by turns on the weights until nothing changes. Never more than 1 % of ‖w‖² above the
//! exact error (tested on 300 to 500 weights).

use super::{Fit, Levels, max_abs};

/// Events up to which the exact sweep is used.
const EXACT_EVENTS: usize = 2048;
/// Weights up to which the scan looks at each, not at a histogram.
const DIRECT: usize = 256;
/// Grid of the scan: α per octave.
const STEPS: i32 = 16;

/// Best scale and levels of one group of finite weights.
///
/// On paper, L = {1, 2, 3}, w = (3, −1, 0.2): α = 1 gives levels (3, −1, 0), A = 10, B = 10.
/// ```
/// use quant::methods::{Levels, scale_real};
/// let fit = scale_real::solve(&[3.0, -1.0, 0.2], &Levels::new(&[1, 2, 3]));
/// assert_eq!((fit.scale, &fit.indices[..]), (1.0, &[3, -1, 0][..]));
/// ```
pub fn solve(w: &[f32], levels: &Levels) -> Fit {
    if max_abs(w) == 0.0 {
        return Fit::zeros(w.len());
    }
    let scale = if w.len() * levels.count() <= EXACT_EVENTS {
        exact(w, levels)
    } else {
        scan(w, levels)
    };
    Fit::nearest(w, levels, scale)
}

/// α of the exact sweep; the group has a non-zero weight.
pub fn exact(w: &[f32], levels: &Levels) -> f64 {
    sweep(w.iter().map(|x| f64::from(x.abs())), levels)
}

/// The same from |w|.
pub(crate) fn sweep(magnitudes: impl ExactSizeIterator<Item = f64>, levels: &Levels) -> f64 {
    let mut events: Vec<(f64, f64, u32)> = Vec::with_capacity(magnitudes.len() * levels.count());
    for a in magnitudes.filter(|&a| a > 0.0) {
        events.extend((1..=levels.count()).map(|j| (levels.midpoint(j) / a, a, j as u32)));
    }
    events.sort_unstable_by(|x, y| {
        (x.0, x.1, x.2)
            .partial_cmp(&(y.0, y.1, y.2))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let (mut dot, mut norm, mut best) = (0.0, 0.0, (0.0, 1.0));
    for (_, a, j) in events {
        let (low, high) = (levels.magnitude(j as usize - 1), levels.magnitude(j as usize));
        dot += (high - low) * a;
        norm += high * high - low * low;
        if dot * dot / norm > best.0 {
            best = (dot * dot / norm, dot / norm);
        }
    }
    best.1
}

/// α of the scan; the group has a non-zero weight.
pub fn scan(w: &[f32], levels: &Levels) -> f64 {
    let summary = Summary::new(w);
    let largest = max_abs(w) / levels.top() * (4.0 / 3.0);
    let try_at = |step: i32, per_octave: i32| {
        let scale = largest * (-f64::from(step) / f64::from(per_octave)).exp2();
        let (dot, norm) = summary.sums(levels, scale);
        let gain = if norm > 0.0 { dot * dot / norm } else { 0.0 };
        (gain, scale, step)
    };
    let mut best = try_at(0, STEPS);
    let mut step = 0;
    // Clipping alone costs more than the best found: no smaller scale can win.
    while step < 24 * STEPS {
        step += 1;
        let next = try_at(step, STEPS);
        if next.0 > best.0 {
            best = next;
        }
        if summary.clipped(levels.top() * next.1) > summary.squares - best.0 {
            break;
        }
    }
    let center = best.2 * 4;
    for fine in center - 3..=center + 3 {
        let next = try_at(fine, 4 * STEPS);
        if next.0 > best.0 {
            best = (next.0, next.1, best.2);
        }
    }
    refine(w, levels, best.1)
}

/// α ← A/B with nearest rounding between, on the weights themselves; the error falls with every turn.
fn refine(w: &[f32], levels: &Levels, start: f64) -> f64 {
    let mut scale = start;
    for _ in 0..4 {
        let (mut dot, mut norm) = (0.0, 0.0);
        let inverse = 1.0 / scale;
        for x in w {
            let a = f64::from(x.abs());
            let level = levels.magnitude(levels.index(a * inverse));
            dot += level * a;
            norm += level * level;
        }
        if norm <= 0.0 || (dot / norm - scale).abs() <= 1e-9 * scale {
            break;
        }
        scale = dot / norm;
    }
    scale
}

/// |w| in few ascending points, each with its count and its mean, as sums of all points before each: what a scale costs then depends on the number of
/// levels, not on that of the points.
struct Summary {
    means: Vec<f64>,
    /// Σ 1, Σ |w|, Σ |w|² of the points before each, and of all.
    before: Vec<[f64; 3]>,
    /// First point of each bin or of a later one: where to look for a magnitude; empty where each weight is a point.
    first: Vec<u32>,
    /// Bin of the largest |w|.
    top: u32,
    squares: f64,
}

/// Of a bin's key: the exponent and six bits of the mantissa.
const SHIFT: u32 = 17;
/// 24 octaves below the largest |w|; all smaller ones share the first bin.
const BINS: u32 = 24 << 6;

impl Summary {
    fn new(w: &[f32]) -> Self {
        let top = (max_abs(w) as f32).to_bits() >> SHIFT;
        let mut summary = Summary {
            means: Vec::new(),
            before: vec![[0.0; 3]],
            first: Vec::new(),
            top,
            squares: w.iter().map(|&x| f64::from(x) * f64::from(x)).sum(),
        };
        let magnitudes = w.iter().map(|x| x.abs()).filter(|&a| a > 0.0);
        if w.len() <= DIRECT {
            let mut sorted: Vec<f32> = magnitudes.collect();
            sorted.sort_unstable_by(f32::total_cmp);
            for a in sorted {
                summary.push(1.0, f64::from(a));
            }
            return summary;
        }
        let mut bins = vec![(0f64, 0f64); BINS as usize];
        for a in magnitudes {
            let slot = &mut bins[summary.bin(a) as usize];
            slot.0 += 1.0;
            slot.1 += f64::from(a);
        }
        summary.first.reserve(bins.len());
        for (count, sum) in bins {
            summary.first.push(summary.means.len() as u32);
            if count > 0.0 {
                summary.push(count, sum / count);
            }
        }
        summary
    }

    fn bin(&self, a: f32) -> u32 {
        (BINS - 1).saturating_sub(self.top.saturating_sub(a.to_bits() >> SHIFT))
    }

    fn push(&mut self, count: f64, mean: f64) {
        let [n, sum, squares] = *self.before.last().unwrap_or(&[0.0; 3]);
        self.means.push(mean);
        self.before
            .push([n + count, sum + count * mean, squares + count * mean * mean]);
    }

    /// Number of points below x.
    fn below(&self, x: f64) -> usize {
        if self.first.is_empty() {
            return self.means.partition_point(|&a| a < x);
        }
        // The first point of x's bin or of a later one; a later one is not below. Where the conversion rounds x up into the next bin, all weights of
        // its own are below it.
        let first = self.first[self.bin(x as f32) as usize] as usize;
        first + usize::from(self.means.get(first).is_some_and(|&a| a < x))
    }

    /// A and B at a scale: each level adds its step to every point that reaches it.
    fn sums(&self, levels: &Levels, scale: f64) -> (f64, f64) {
        let all = self.before[self.means.len()];
        let (mut dot, mut norm, mut low) = (0.0, 0.0, 0.0);
        for j in 1..=levels.count() {
            let at = self.before[self.below(levels.midpoint(j) * scale)];
            let high = levels.magnitude(j);
            dot += (high - low) * (all[1] - at[1]);
            norm += (high * high - low * low) * (all[0] - at[0]);
            low = high;
        }
        (dot, norm)
    }

    /// Σ (|w| − top)² over |w| > top.
    fn clipped(&self, top: f64) -> f64 {
        let (all, at) = (self.before[self.means.len()], self.before[self.below(top)]);
        let [n, sum, squares] = [0, 1, 2].map(|k| all[k] - at[k]);
        squares - 2.0 * top * sum + top * top * n
    }
}
