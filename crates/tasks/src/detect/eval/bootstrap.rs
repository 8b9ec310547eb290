//! Bootstrap intervals over pictures (Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993, §13: percentile).

use serde::Serialize;

use super::{Evaluation, Metric};

/// A percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
    /// Share of the probability between the two.
    pub level: f64,
    /// Resamples drawn.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same draws everywhere.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        // The high half of the product: uniform to 2⁻⁶⁴·n.
        ((u128::from(z) * n as u128) >> 64) as usize
    }
}

fn resample(
    pictures: usize,
    resamples: usize,
    seed: u64,
    mut value: impl FnMut(&[u32]) -> Option<f64>,
) -> Option<Interval> {
    if pictures == 0 || resamples == 0 {
        return None;
    }
    let mut draws = Draws(seed);
    let mut values = Vec::with_capacity(resamples);
    let mut weights = vec![0u32; pictures];
    for _ in 0..resamples {
        weights.fill(0);
        for _ in 0..pictures {
            weights[draws.below(pictures)] += 1;
        }
        values.extend(value(&weights));
    }
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |q: f64| values[(q * last as f64).round() as usize];
    Some(Interval {
        low: at(0.025),
        high: at(0.975),
        level: 0.95,
        resamples,
        seed,
    })
}

impl Evaluation {
    /// 95 % interval of a mean over resampled pictures. `None` when no class counts.
    pub fn interval(&self, metric: Metric, resamples: usize, seed: u64) -> Option<Interval> {
        resample(self.report.pictures, resamples, seed, |w| {
            self.mean(metric, Some(w))
        })
    }
}

/// 95 % interval of the difference `b − a` on the same resampled pictures: much narrower than the two intervals,
/// because both models meet the same easy and hard pictures. `None` when the data sets differ in size.
pub fn paired_interval(
    a: &Evaluation,
    b: &Evaluation,
    metric: Metric,
    resamples: usize,
    seed: u64,
) -> Option<Interval> {
    if a.report.pictures != b.report.pictures {
        return None;
    }
    resample(a.report.pictures, resamples, seed, |w| {
        Some(b.mean(metric, Some(w))? - a.mean(metric, Some(w))?)
    })
}
