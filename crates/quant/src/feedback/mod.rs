//! Rounding with error feedback: what one weight's rounding does to a layer's output, the weights that are still to be rounded make good as
//! far as their inputs go together (OBQ and GPTQ: Frantar et al., arXiv 2208.11580 and 2210.17323).
//!
//! ```text
//! minimize over codes, for each output channel:  Σ_x ((w − ŵ)ᵀ x)² = (w − ŵ)ᵀ H (w − ŵ) = ‖R (w − ŵ)‖²,    H = Σ_x x xᵀ = Rᵀ R
//! from the last weight to the first:  ŵ_j = nearest level to  w_j + Σ_{k>j} R_jk (w_k − ŵ_k) / R_jj
//! ```
//! This is Babai's nearest plane, which GPTQ equals (Chen et al., arXiv 2507.18553). Weights whose inputs are largest are rounded first. Then weights
//! take their best level one by one (learned rounding by least squares, without a relaxation), and where scales are free, all of that is done at several. What earlier
//! layers left wrong in the inputs is answered for before, by least squares against the float network's output.

use std::sync::OnceLock;

use graph::WeightAnnotation;

mod answer;
mod levels;
mod moments;
mod row;

use levels::Levels;
pub use moments::{Moments, Product, product};
use row::{Metric, Row};

/// Σ over the inputs of two halves of the pictures, of one group of a layer.
pub type Halves = [Moments; 2];

/// Chooses the codes of a weight again, its scales as they are, so that its outputs follow those of `float` on the inputs that `groups` were
/// taken from: one for each group, over the weights of an output channel in their order. First `float` is changed to answer for the errors that
/// the inputs have already, as far as both halves of the pictures agree. A channel whose error would not fall keeps its codes. Nothing is done
/// to weights whose output channels are not outermost. Several points are chosen together: a weight takes the sum of levels that is nearest.
///
/// Gives the errors of all channels, none where nothing was done.
pub fn round(
    weight: &mut WeightAnnotation,
    float: &[f32],
    groups: &[Halves],
    scales: Scales,
    workers: Workers<'_>,
) -> Vec<ChannelError> {
    let channels = weight.shape.first().copied().unwrap_or(0);
    let mut errors = Vec::new();
    if weight.axis != 0 || channels == 0 || groups.is_empty() {
        return errors;
    }
    let dim = weight.len() / channels;
    let each = channels / groups.len();
    let fits = |m: &Moments| m.dim == dim && m.channels == each;
    if float.len() != weight.len() || each == 0 || !groups.iter().flatten().all(fits) {
        return errors;
    }
    errors = vec![ChannelError::default(); channels];
    for (group, [a, b]) in groups.iter().enumerate() {
        let whole = a.clone().plus(b);
        let all = group * each * dim..(group + 1) * each * dim;
        let target = answer::answered(&float[all], [a, b], &whole, workers);
        let Some(metric) = Metric::of(whole) else {
            continue;
        };
        let factors = metric.factors(scales, each);
        let weight_now = &*weight;
        let found: Vec<OnceLock<(Levels, Row)>> = (0..each).map(|_| OnceLock::new()).collect();
        workers(each, &|c| {
            let levels = Levels::of(weight_now, group * each + c);
            let old = levels.chosen(weight_now, group * each + c);
            let row = metric.row(&target[c * dim..][..dim], &levels, old, &factors, scales);
            let _ = found[c].set((levels, row));
        });
        let found = found.into_iter().filter_map(OnceLock::into_inner);
        for (c, (levels, row)) in (group * each..).zip(found) {
            levels.store(&row.choices, weight, c);
            if row.gain != 1.0 {
                levels.scale(row.gain, weight, c);
            }
            errors[c] = ChannelError {
                error: row.error,
                energy: row.energy,
            };
        }
    }
    errors
}

/// Σ_i (w_i − ŵ_i) x̄_i of each output channel: what a bias makes good, where `groups` were centred. Empty where [`round`] does nothing.
pub fn shifts(weight: &WeightAnnotation, float: &[f32], groups: &[Halves]) -> Vec<f64> {
    let channels = weight.shape.first().copied().unwrap_or(0);
    if weight.axis != 0 || channels == 0 || groups.is_empty() || float.len() != weight.len() {
        return Vec::new();
    }
    let (dim, each) = (weight.len() / channels, channels / groups.len());
    let means: Vec<Vec<f64>> = groups
        .iter()
        .map(|[a, b]| a.clone().plus(b).means().to_vec())
        .collect();
    let decoded = weight.decode();
    let rows = float
        .chunks_exact(dim.max(1))
        .zip(decoded.chunks_exact(dim.max(1)));
    rows.enumerate()
        .map(|(c, (w, q))| {
            let errors = w.iter().zip(q).map(|(w, q)| f64::from(*w) - f64::from(*q));
            let means = &means[(c / each.max(1)).min(means.len() - 1)];
            errors.zip(means).map(|(e, m)| e * m).sum()
        })
        .collect()
}

/// Does `work(i)` for each i below the number, in any order, several at a time: `&|count, work| (0..count).for_each(work)`, or a pool's threads.
pub type Workers<'a> = &'a (dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Sync);

/// Whether a layer's scales may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// They are those of the grid's solver: powers of two, one for a whole tensor, or shared with other layers.
    Kept,
    /// Each channel takes, of several, the scale whose codes do best, refitted to them; where the weight has one for each channel.
    Searched,
}

/// What rounding does to an output channel, over the inputs that it was fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ChannelError {
    /// Σ (y − ŷ)².
    pub error: f64,
    /// Σ y².
    pub energy: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProjectOptions, project_weight};

    pub(super) const ALONE: Workers<'static> = &|count, work| (0..count).for_each(work);

    /// Uniform in −1 … 1.
    pub(super) fn random(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// Inputs that go together: x_i = z + noise.
    pub(super) fn inputs(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
        let noise = random(seed, rows * (dim + 1));
        noise
            .chunks(dim + 1)
            .flat_map(|r| r[1..].iter().map(move |x| r[0] + 0.3 * x))
            .collect()
    }

    /// Moments of inputs without errors, in both halves.
    fn moments(x: &[f32], float: &[f32], dim: usize) -> Halves {
        let mut m = [(); 2].map(|()| Moments::new(dim, float.len() / dim));
        for (k, x) in x.chunks(dim).enumerate() {
            m[k % 2].add(x, x, &product);
        }
        m.iter_mut().for_each(|m| m.weighted(float, &product));
        m
    }

    fn output_error(float: &[f32], weight: &WeightAnnotation, x: &[f32], channel: usize) -> f64 {
        let dim = weight.len() / weight.shape[0];
        let decoded = weight.decode();
        let at = channel * dim..(channel + 1) * dim;
        x.chunks_exact(dim)
            .map(|x| {
                let e: f32 = x
                    .iter()
                    .zip(float[at.clone()].iter().zip(&decoded[at.clone()]))
                    .map(|(x, (w, q))| x * (w - q))
                    .sum();
                f64::from(e).powi(2)
            })
            .sum()
    }

    fn projected(grid: &str, float: &[f32], shape: &[usize]) -> WeightAnnotation {
        let grid = grid.parse().unwrap();
        project_weight(&grid, float, shape, 0, &ProjectOptions::default())
            .unwrap()
            .0
    }

    #[test]
    fn outputs_come_nearer_on_every_grid() {
        for (seed, grid) in [
            "int4",
            "lbw4",
            "pow2-4",
            "ternary",
            "affine3",
            "lbw2",
            "apot4",
            "int8",
            "ternaryx2",
            "int3x2",
        ]
        .iter()
        .enumerate()
        {
            let float = random(seed as u64, 8 * 12);
            let mut weight = projected(grid, &float, &[8, 3, 2, 2]);
            let x = inputs(seed as u64 + 99, 700, 12);
            let moments = moments(&x, &float, 12);
            let error = |w: &WeightAnnotation| (0..8).map(|c| output_error(&float, w, &x, c)).sum::<f64>();
            let before = error(&weight);
            round(&mut weight, &float, &[moments], Scales::Kept, ALONE);
            assert!(weight.check().is_ok());
            assert!(
                error(&weight) < 0.7 * before,
                "{grid}: {} {before}",
                error(&weight)
            );
        }
    }

    #[test]
    fn among_all_codes_of_a_small_row_it_is_near_the_best() {
        let (mut ratio, mut nearest) = (0.0, 0.0);
        for seed in 0..20 {
            let float = random(seed, 6);
            let mut weight = projected("ternary", &float, &[1, 6]);
            let x = inputs(seed + 500, 200, 6);
            let moments = moments(&x, &float, 6);
            let mut all = weight.clone();
            let used: Vec<u8> = vec![0, 1, 3];
            let best = (0..3usize.pow(6))
                .map(|mut n| {
                    for code in &mut all.points[0].codes {
                        *code = used[n % 3];
                        n /= 3;
                    }
                    output_error(&float, &all, &x, 0)
                })
                .fold(f64::INFINITY, f64::min);
            nearest += output_error(&float, &weight, &x, 0) / best / 20.0;
            round(&mut weight, &float, &[moments], Scales::Kept, ALONE);
            ratio += output_error(&float, &weight, &x, 0) / best / 20.0;
        }
        assert!(ratio < 2.0 && nearest > 2.0 * ratio, "{ratio} {nearest}");
    }

    #[test]
    fn a_searched_scale_does_better_than_the_grids_own_and_is_stored() {
        for (seed, grid) in ["int4", "lbw4", "pow2-4", "ternary", "int7", "int3x2"]
            .iter()
            .enumerate()
        {
            let float = random(seed as u64, 8 * 12);
            let x = inputs(seed as u64 + 99, 700, 12);
            let kept = projected(grid, &float, &[8, 3, 2, 2]);
            let error = |scales: Scales| {
                let mut weight = kept.clone();
                let told = round(&mut weight, &float, &[moments(&x, &float, 12)], scales, ALONE);
                assert!(weight.check().is_ok());
                let all = (0..8).map(|c| output_error(&float, &weight, &x, c));
                // What is told is what the stored codes and scales do, damping aside.
                for (c, (error, told)) in all.clone().zip(&told).enumerate() {
                    assert!(
                        error <= 1.01 * told.error + 1e-9 * told.energy,
                        "{grid} {c}: {error} {told:?}"
                    );
                }
                (all.sum::<f64>(), weight.points[0].scales.clone())
            };
            let ((before, same), (after, scales)) = (error(Scales::Kept), error(Scales::Searched));
            assert_eq!(same, kept.points[0].scales);
            assert_ne!(scales, same);
            assert!(after < 0.9 * before, "{grid}: {after} {before}");
        }
    }

    #[test]
    fn a_second_point_of_some_rows_lowers_their_error_alone() {
        let float = random(3, 4 * 12);
        let plain = projected("int3", &float, &[4, 3, 2, 2]);
        let mut extended = projected("int3x2", &float, &[4, 3, 2, 2]);
        // Rows 1 and 3 keep both points, the others their single one.
        for c in [0, 2] {
            let at = c * 12..(c + 1) * 12;
            extended.points[0].codes[at.clone()].copy_from_slice(&plain.points[0].codes[at.clone()]);
            extended.points[0].scales[c] = plain.points[0].scales[c];
            extended.points[1].codes[at].fill(0);
        }
        extended.points[1].rows = Some(vec![1, 3]);
        assert_eq!(extended.check(), Ok(()));
        let x = inputs(77, 700, 12);
        let mut one = plain.clone();
        let single = round(&mut one, &float, &[moments(&x, &float, 12)], Scales::Kept, ALONE);
        let both = round(
            &mut extended,
            &float,
            &[moments(&x, &float, 12)],
            Scales::Kept,
            ALONE,
        );
        assert_eq!(extended.check(), Ok(()));
        assert_eq!((single[0], single[2]), (both[0], both[2]));
        for c in [1, 3] {
            assert!(
                both[c].error < 0.2 * single[c].error,
                "{:?} {:?}",
                both[c],
                single[c]
            );
            assert!(both[c].error < 0.02 * both[c].energy);
        }
    }

    #[test]
    fn groups_have_inputs_of_their_own_and_inputs_that_are_all_zero_change_nothing() {
        // 0.4 is nearest to 0; nine of them on inputs that go together are nearest to 4 times 1.
        let float = vec![0.4; 4 * 9];
        let mut weight = projected("ternary", &float, &[4, 1, 3, 3]);
        weight.points[0].scales = vec![1.0];
        weight.points[0].codes = vec![0; 4 * 9];
        let groups: Vec<Halves> = (0..4)
            .map(|group| match group {
                2 => moments(&inputs(5, 64, 9), &float[..9], 9),
                0 => moments(&[0.0; 90], &float[..9], 9),
                _ => moments(&[], &float[..9], 9),
            })
            .collect();
        round(&mut weight, &float, &groups, Scales::Kept, ALONE);
        let ones = |w: &WeightAnnotation, c: usize| {
            w.points[0].codes[c * 9..][..9]
                .iter()
                .filter(|c| **c == 1)
                .count()
        };
        assert_eq!([0, 1, 3].map(|c| ones(&weight, c)), [0; 3]);
        assert!((3..=4).contains(&ones(&weight, 2)));
        // A layer that does not fit is left alone.
        let before = weight.clone();
        round(&mut weight, &float[1..], &groups, Scales::Kept, ALONE);
        assert_eq!(weight, before);
    }

    #[test]
    fn the_shift_is_the_mean_of_the_error() {
        let float = random(5, 2 * 12);
        let mut x = inputs(6, 400, 12);
        x.iter_mut().enumerate().for_each(|(i, x)| *x += (i % 12) as f32);
        let mut halves = moments(&x, &float, 12);
        halves.iter_mut().for_each(Moments::centre);
        let weight = projected("int3", &float, &[2, 12]);
        let decoded = weight.decode();
        for (c, shift) in shifts(&weight, &float, &[halves]).into_iter().enumerate() {
            let error = |x: &[f32]| -> f64 {
                (0..12)
                    .map(|i| {
                        f64::from(x[i]) * (f64::from(float[c * 12 + i]) - f64::from(decoded[c * 12 + i]))
                    })
                    .sum()
            };
            let mean = x.chunks_exact(12).map(error).sum::<f64>() / 400.0;
            assert!(
                (mean - shift).abs() < 1e-4 * mean.abs().max(0.01),
                "{mean} {shift}"
            );
        }
    }

    #[test]
    fn where_the_bias_is_fitted_afterwards_only_the_spread_of_the_error_counts() {
        let spread = |float: &[f32], w: &WeightAnnotation, x: &[f32]| -> f64 {
            let decoded = w.decode();
            let errors: Vec<f64> = x
                .chunks_exact(12)
                .map(|x| (0..12).map(|i| f64::from(x[i] * (float[i] - decoded[i]))).sum())
                .collect();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            errors.iter().map(|e| (e - mean).powi(2)).sum()
        };
        let (mut whole, mut centred) = (0.0, 0.0);
        for seed in 0..20 {
            let float = random(seed, 12);
            // Means that are larger than the spread, and differ.
            let mut x = inputs(seed + 40, 400, 12);
            x.iter_mut()
                .enumerate()
                .for_each(|(i, x)| *x += [0.0, 2.0, 5.0][i % 12 % 3]);
            let moments = moments(&x, &float, 12);
            let weight = projected("int3", &float, &[1, 12]);
            let mut spread_only = moments.clone();
            spread_only.iter_mut().for_each(Moments::centre);
            for (sum, moments) in [(&mut whole, moments), (&mut centred, spread_only)] {
                let mut weight = weight.clone();
                round(&mut weight, &float, &[moments], Scales::Kept, ALONE);
                *sum += spread(&float, &weight, &x);
            }
        }
        assert!(centred < 0.85 * whole, "{centred} {whole}");
    }
}
