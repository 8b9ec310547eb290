//! The levels that points with scales a power of two apart reach together: one set of integers, so that scale and rounding are those of a grid of
//! one point, and no point has to be chosen before the next.
//!
//! ```text
//! ℓ = Σ_p 2^(s_p) ℓ_p,   s_1 ≥ s_2 ≥ … ≥ s_m = 0,   every ℓ_p a level of the grid
//! ```

use std::collections::BTreeMap;

use crate::grid::Grid;
use crate::methods::{Fit, Levels, max_abs, scale_pow2, scale_real};
use crate::project::{ProjectOptions, ScaleKind};

/// Largest power of two between the scales of two points that follow each other.
const LARGEST_SHIFT: u32 = 7;

/// Points of a grid at fixed ratios of their scales.
#[derive(Debug, Clone)]
pub(crate) struct Combined {
    /// s_p of every point.
    shifts: Vec<u32>,
    /// Positive integers, ascending, each with the signed magnitude index of every point.
    sums: Vec<(i32, Vec<i32>)>,
    levels: Levels,
}

impl Combined {
    /// Points of the grid's levels at these shifts. Of several ways to a sum the one whose later points are smaller is taken.
    fn new(grid: &Grid, shifts: &[u32]) -> Self {
        let magnitudes = grid.magnitudes();
        let signed: Vec<(i32, i32)> = std::iter::once((0, 0))
            .chain(magnitudes.iter().zip(1..).flat_map(|(&m, j)| [(m, j), (-m, -j)]))
            .collect();
        let mut all: BTreeMap<i32, Vec<i32>> = BTreeMap::from([(0, Vec::new())]);
        for shift in shifts {
            let mut next: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
            for (sum, indices) in &all {
                for &(level, index) in &signed {
                    let longer: Vec<i32> = indices.iter().copied().chain([index]).collect();
                    let size = |i: &[i32]| i.iter().rev().map(|i| i.unsigned_abs()).collect::<Vec<_>>();
                    let at = next
                        .entry(sum + (level << shift))
                        .or_insert_with(|| longer.clone());
                    if size(&longer) < size(at) {
                        *at = longer;
                    }
                }
            }
            all = next;
        }
        let sums: Vec<(i32, Vec<i32>)> = all.into_iter().filter(|(sum, _)| *sum > 0).collect();
        let integers: Vec<i32> = sums.iter().map(|(sum, _)| *sum).collect();
        Combined {
            shifts: shifts.to_vec(),
            levels: Levels::new(&integers),
            sums,
        }
    }

    fn fit(&self, w: &[f32], scale: ScaleKind) -> (f64, Fit) {
        let fit = match scale {
            ScaleKind::Real => scale_real::solve(w, &self.levels),
            ScaleKind::PowerOfTwo => scale_pow2::solve(w, &self.levels),
        };
        let error = |(x, i): (&f32, &i32)| {
            let level = self.levels.magnitude(i.unsigned_abs() as usize) * f64::from(i.signum());
            (f64::from(*x) - fit.scale * level).powi(2)
        };
        (w.iter().zip(&fit.indices).map(error).sum(), fit)
    }
}

/// All sets of a grid's points that a search goes through, made once for a weight.
#[derive(Debug)]
pub(crate) struct Search {
    /// By the shifts, the first point's left out where it follows.
    sets: Vec<Combined>,
}

/// A group's points: scales and signed magnitude indices, the first point's first.
pub(crate) struct Found {
    pub(crate) scales: Vec<f64>,
    pub(crate) indices: Vec<Vec<i32>>,
    /// Σ (w − ŵ)².
    pub(crate) error: f64,
}

impl Search {
    /// Sets of two points at every ratio; of more points at ratios that are all alike.
    pub(crate) fn new(grid: &Grid) -> Self {
        let points = grid.points();
        let shifts = |t: u32| (0..points).rev().map(|p| p * t).collect::<Vec<u32>>();
        let most = if points == 2 {
            LARGEST_SHIFT
        } else {
            LARGEST_SHIFT / 2
        };
        Search {
            sets: (1..=most).map(|t| Combined::new(grid, &shifts(t))).collect(),
        }
    }

    /// The set, scale and levels of least error.
    pub(crate) fn best(&self, w: &[f32], options: &ProjectOptions) -> Found {
        let points = self.sets[0].shifts.len();
        if max_abs(w) == 0.0 {
            return Found {
                scales: vec![1.0; points],
                indices: vec![vec![0; w.len()]; points],
                error: 0.0,
            };
        }
        let tried = self.sets.iter().map(|set| (set, set.fit(w, options.scale_kind)));
        let best = tried.reduce(|a, b| if b.1.0 < a.1.0 { b } else { a });
        let (set, (error, fit)) = best.expect("there is a set");
        let one = |p: usize| {
            let index = |i: &i32| match i.unsigned_abs() as usize {
                0 => 0,
                j => set.sums[j - 1].1[p] * i.signum(),
            };
            fit.indices.iter().map(index).collect()
        };
        Found {
            scales: set
                .shifts
                .iter()
                .map(|s| fit.scale * f64::from(1u32 << s))
                .collect(),
            indices: (0..points).map(one).collect(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Levels;
    use crate::multipoint::{shifted, squared_error};

    fn gauss(seed: u64, n: usize) -> Vec<f32> {
        let mut r = testing::SplitMix64(seed);
        let mut next = || (0..12).map(|_| r.unit_f32()).sum::<f32>() - 6.0;
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn points_together_are_no_worse_than_one_after_the_other() {
        for (name, want) in [
            ("ternaryx2", 0.06),
            ("int3x2", 0.006),
            ("int4x2", 0.0009),
            ("lbw3x2", 0.015),
            ("pow2-4x2", 0.0015),
        ] {
            let grid: Grid = name.parse().unwrap();
            let (search, levels) = (Search::new(&grid), Levels::new(&grid.magnitudes()));
            for seed in 0..4 {
                let w = gauss(seed, 288);
                let norm: f64 = w.iter().map(|x| f64::from(*x).powi(2)).sum();
                let found = search.best(&w, &ProjectOptions::default());
                let greedy = squared_error(&w, &levels, &shifted(&w, &levels, 2).unwrap());
                assert!(
                    found.error <= 1.001 * greedy && found.error < want * norm,
                    "{name} {} {}",
                    found.error / norm,
                    greedy / norm
                );
                let value = |p: usize, i: usize| {
                    let index = found.indices[p][i];
                    found.scales[p]
                        * levels.magnitude(index.unsigned_abs() as usize)
                        * f64::from(index.signum())
                };
                let error: f64 = (0..w.len())
                    .map(|i| (f64::from(w[i]) - value(0, i) - value(1, i)).powi(2))
                    .sum();
                assert!((error - found.error).abs() < 1e-9 * norm);
            }
        }
    }

    #[test]
    fn more_points_have_less_error() {
        let w = gauss(9, 144);
        let error = |name: &str| {
            let grid: Grid = name.parse().unwrap();
            Search::new(&grid).best(&w, &ProjectOptions::default()).error
        };
        assert!(error("ternaryx3") < 0.5 * error("ternaryx2"));
        assert!(error("ternaryx4") < 0.5 * error("ternaryx3"));
    }
}
