//! The codes of one output channel: nearest plane at several scales, then weight by weight.

use super::Scales;
use super::levels::Levels;
use super::moments::Moments;

/// Scales that are tried, as powers of two of the layer's own: a little more, and down to where the largest weights are clipped.
const EXPONENTS: (f64, f64) = (-0.7, 0.25);

/// Scales that are tried at most.
const TRIES: usize = 32;

/// Multiplications that the tries of a layer may take: large layers get fewer.
const WORK: f64 = 2e9;

/// Times that all weights are gone through again at most.
const SWEEPS: usize = 4;

/// Bits of a code from which on the nearest plane at the grid's own scale is all that is done: what is left there is the rounding of activations, and
/// other codes only roll the dice again. Int8 on 900 held-out pictures, F1 of agreement with the nearest plane alone, with sweeps, with scales, too:
/// YOLO-Fastest 1.1 0.951, 0.951, 0.952, MobileNetV2-YOLOv3-Nano 0.967, 0.972, 0.968, yolo_fastest_xl 0.976, 0.972; losses of mAP50 in points
/// 0.4, 0.0, 0.6; 0.4, 1.7, 1.0; -0.1, 0.0.
const FINE: u32 = 8;

/// H of a layer's inputs, with its root.
pub(super) struct Metric {
    dim: usize,
    /// Weights in the order that the root has them, those that are rounded first last.
    order: Vec<usize>,
    /// R of H = RᵀR, in that order.
    root: Vec<f64>,
    /// H, all of it, weights in their own order.
    squares: Vec<f64>,
}

/// A row's codes and what they leave wrong.
pub(super) struct Row {
    pub(super) choices: Vec<u32>,
    /// What the row's scales are to be multiplied by.
    pub(super) gain: f64,
    /// (w − ŵ)ᵀ H (w − ŵ).
    pub(super) error: f64,
    /// wᵀ H w.
    pub(super) energy: f64,
}

impl Metric {
    /// None where H has no root.
    pub(super) fn of(moments: Moments) -> Option<Self> {
        let mut order: Vec<usize> = (0..moments.dim).collect();
        order.sort_by(|&i, &j| moments.energy(i).total_cmp(&moments.energy(j)));
        Some(Metric {
            dim: moments.dim,
            root: moments.root(&order)?,
            order,
            squares: moments.into_damped(),
        })
    }

    /// The scales to try for one of `channels` rows, relative to those that the row has.
    pub(super) fn factors(&self, scales: Scales, channels: usize) -> Vec<f64> {
        let one = 2.0 * (self.dim * self.dim) as f64 * channels as f64;
        let tries = match scales {
            Scales::Kept => 1,
            Scales::Searched => ((WORK / one) as usize).clamp(1, TRIES),
        };
        let (low, high) = EXPONENTS;
        let exponent = |k: usize| high - (high - low) * (k as f64 - 0.5) / (tries - 1) as f64;
        std::iter::once(1.0)
            .chain((1..tries).map(|k| exponent(k).exp2()))
            .collect()
    }

    /// The best codes for the weights `w` at one of the scales, `old` if none is better.
    pub(super) fn row(
        &self,
        w: &[f32],
        levels: &Levels,
        old: Vec<u32>,
        factors: &[f64],
        scales: Scales,
    ) -> Row {
        let fine = levels.bits >= FINE;
        let (factors, scales) = match fine {
            true => (&factors[..1], Scales::Kept),
            false => (factors, scales),
        };
        let w: Vec<f64> = w.iter().map(|x| f64::from(*x)).collect();
        let pull = self.product(&w);
        let energy = dot(&w, &pull);
        let judge = |choices: Vec<u32>, factor: f64, error: &[f64], forces: &[f64]| {
            let (squares, along) = (factor * factor * dot(error, forces), factor * dot(error, &pull));
            let size = energy - 2.0 * along + squares;
            // The scale of least squares for these codes, where it is positive.
            let (gain, error) = match scales {
                Scales::Searched if size > 0.0 && energy > along => {
                    let left = (squares - (along - squares).powi(2) / size).max(0.0);
                    (factor * (energy - along) / size, left)
                }
                _ => (factor, squares),
            };
            Row {
                choices,
                gain,
                error,
                energy,
            }
        };
        let errors = |choices: &[u32], w: &[f64]| -> Vec<f64> {
            let pairs = w.iter().zip(choices);
            pairs.map(|(w, c)| w - levels.by_choice[*c as usize]).collect()
        };
        let of_old = errors(&old, &w);
        let forces = self.product(&of_old);
        let mut best = judge(old, 1.0, &of_old, &forces);
        for &factor in factors {
            let scaled: Vec<f64> = w.iter().map(|x| x / factor).collect();
            let mut choices = self.nearest_plane(&scaled, levels);
            let mut error = errors(&choices, &scaled);
            let mut forces = self.product(&error);
            if !fine {
                self.descend(&scaled, levels, &mut choices, &mut error, &mut forces);
            }
            let new = judge(choices, factor, &error, &forces);
            if new.error < best.error {
                best = new;
            }
        }
        best
    }

    /// Babai's codes: each weight takes the level nearest to what it would have to be, those before it as they are.
    fn nearest_plane(&self, w: &[f64], levels: &Levels) -> Vec<u32> {
        let d = self.dim;
        let mut choices = vec![0; d];
        let mut errors = vec![0.0; d];
        for j in (0..d).rev() {
            let row = &self.root[j * d..(j + 1) * d];
            let carried = dot(&row[j + 1..], &errors[j + 1..]);
            let x = w[self.order[j]];
            let (value, choice) = levels.nearest(x + carried / row[j]);
            errors[j] = x - value;
            choices[self.order[j]] = choice;
        }
        choices
    }

    /// Gives one weight after the other its best level, all others as they are, until nothing changes. `error` is w − ŵ, `forces` H (w − ŵ).
    fn descend(
        &self,
        w: &[f64],
        levels: &Levels,
        choices: &mut [u32],
        error: &mut [f64],
        forces: &mut [f64],
    ) {
        for _ in 0..SWEEPS {
            let mut changed = false;
            for j in 0..self.dim {
                let row = &self.squares[j * self.dim..(j + 1) * self.dim];
                // Without rounding the error of weight j would be e_j − (H e)_j / H_jj.
                let (value, choice) = levels.nearest(w[j] - error[j] + forces[j] / row[j]);
                let step = w[j] - value - error[j];
                let gain = -step * (2.0 * forces[j] + step * row[j]);
                // Levels that are as good to the last digits are no reason to go on.
                if gain <= 1e-12 * row[j] * error[j] * error[j] {
                    continue;
                }
                changed = true;
                choices[j] = choice;
                error[j] = w[j] - value;
                forces.iter_mut().zip(row).for_each(|(f, h)| *f += step * h);
            }
            if !changed {
                break;
            }
        }
    }

    /// H x.
    fn product(&self, x: &[f64]) -> Vec<f64> {
        let rows = self.squares.chunks_exact(self.dim.max(1));
        rows.map(|row| dot(row, x)).collect()
    }
}

/// Σ aᵢ bᵢ, in eight sums side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left
        .remainder()
        .iter()
        .zip(right.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in left.zip(right) {
        for (s, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *s += x * y;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::super::tests::{inputs, random};
    use super::*;
    use crate::feedback::product;
    use crate::{ProjectOptions, project_weight};

    #[test]
    fn no_other_level_of_one_weight_does_better() {
        for (seed, grid) in ["int4", "lbw4", "ternary", "int7", "int3x2"].iter().enumerate() {
            let (w, x) = (random(seed as u64, 12), inputs(seed as u64 + 30, 500, 12));
            let weight = project_weight(
                &grid.parse().unwrap(),
                &w,
                &[1, 12],
                0,
                &ProjectOptions::default(),
            );
            let weight = weight.unwrap().0;
            let mut moments = Moments::new(12, 1);
            moments.add(&x, &x, &product);
            let metric = Metric::of(moments).unwrap();
            let levels = Levels::of(&weight, 0);
            let old = levels.chosen(&weight, 0);
            let row = metric.row(&w, &levels, old, &[1.0], Scales::Kept);
            let error = |choices: &[u32]| {
                let pairs = w.iter().zip(choices);
                let e: Vec<f64> = pairs
                    .map(|(w, c)| f64::from(*w) - levels.by_choice[*c as usize])
                    .collect();
                dot(&e, &metric.product(&e))
            };
            assert!(
                (error(&row.choices) - row.error).abs() <= 1e-9 * row.energy,
                "{grid}"
            );
            for j in 0..12 {
                for choice in 0..levels.by_choice.len() as u32 {
                    let mut other = row.choices.clone();
                    other[j] = choice;
                    assert!(
                        error(&other) >= row.error - 1e-9 * row.energy,
                        "{grid} {j} {choice}"
                    );
                }
            }
        }
    }

    #[test]
    fn large_layers_try_fewer_scales() {
        let tries = |dim: usize, channels: usize, scales: Scales| {
            let metric = Metric {
                dim,
                order: Vec::new(),
                root: Vec::new(),
                squares: Vec::new(),
            };
            metric.factors(scales, channels)
        };
        let many = tries(9, 1, Scales::Searched);
        assert_eq!((many.len(), many[0]), (TRIES, 1.0));
        assert!(many[1..].windows(2).all(|w| w[1] < w[0]));
        assert!(many[1..].iter().all(|f| (0.6..1.2).contains(f)));
        assert_eq!(tries(9, 1, Scales::Kept), [1.0]);
        assert_eq!(tries(4096, 512, Scales::Searched), [1.0]);
    }
}
