//! Rounding with error feedback: what one weight's rounding does to a layer's output, the weights that are still to be rounded make good as
//! far as their inputs go together (OBQ and GPTQ: Frantar et al., arXiv 2208.11580 and 2210.17323).
//!
//! ```text
//! minimize over codes, for each output channel:  Σ_x ((w − ŵ)ᵀ x)² = (w − ŵ)ᵀ H (w − ŵ) = ‖R (w − ŵ)‖²,    H = Σ_x x xᵀ = Rᵀ R
//! from the last weight to the first:  ŵ_j = nearest level to  w_j + Σ_{k>j} R_jk (w_k − ŵ_k) / R_jj
//! ```
//! This is Babai's nearest plane, which GPTQ equals (Chen et al., arXiv 2507.18553). Weights whose inputs are largest are rounded first.

use graph::WeightAnnotation;

/// Added to the diagonal of H, relative to its mean: directions that few inputs point to are not believed.
const DAMPING: f64 = 0.01;

/// Rows that are multiplied at a time: their columns stay in the cache.
const BLOCK: usize = 256;

/// H = Σ x xᵀ over the inputs x of one group of a layer.
#[derive(Debug, Clone)]
pub struct SecondMoments {
    dim: usize,
    /// Row-major, the upper triangle.
    sums: Vec<f64>,
}

impl SecondMoments {
    /// For inputs of so many numbers: kernel size × channels of the group.
    pub fn new(dim: usize) -> Self {
        SecondMoments {
            dim,
            sums: vec![0.0; dim * dim],
        }
    }

    /// Adds inputs that lie one after the other; what is left behind the last whole one is ignored.
    pub fn add(&mut self, inputs: &[f32]) {
        if self.dim == 0 {
            return;
        }
        for block in inputs.chunks(BLOCK * self.dim) {
            let rows = block.len() / self.dim;
            let columns: Vec<Vec<f32>> = (0..self.dim)
                .map(|i| block.chunks_exact(self.dim).map(|row| row[i]).collect())
                .collect();
            debug_assert!(columns.iter().all(|c| c.len() == rows));
            for (i, a) in columns.iter().enumerate() {
                if a.iter().all(|x| *x == 0.0) {
                    continue;
                }
                for (j, b) in columns.iter().enumerate().skip(i) {
                    self.sums[i * self.dim + j] += f64::from(dot(a, b));
                }
            }
        }
    }

    /// H, damped, in the order given.
    fn ordered(&self, order: &[usize]) -> Vec<f64> {
        let d = self.dim;
        let mean = (0..d).map(|i| self.sums[i * d + i]).sum::<f64>() / d as f64;
        let damp = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        let mut h = vec![0.0; d * d];
        for (i, &a) in order.iter().enumerate() {
            for (j, &b) in order.iter().enumerate().skip(i) {
                h[i * d + j] = self.sums[a.min(b) * d + a.max(b)];
            }
            h[i * d + i] += damp;
        }
        h
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (left, right) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = left
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
    sums.iter().sum::<f32>() + rest
}

/// R with H = RᵀR from the upper triangle of H, in place; `None` where H is not positive definite.
fn cholesky(mut h: Vec<f64>, d: usize) -> Option<Vec<f64>> {
    for i in 0..d {
        let (done, rest) = h.split_at_mut((i + 1) * d);
        let row = &mut done[i * d..];
        let pivot = row[i].sqrt();
        if !(pivot.is_finite() && pivot > 0.0) {
            return None;
        }
        for x in &mut row[i..] {
            *x /= pivot;
        }
        for (k, below) in rest.chunks_exact_mut(d).enumerate() {
            let j = i + 1 + k;
            let factor = row[j];
            if factor != 0.0 {
                for (x, y) in below[j..].iter_mut().zip(&row[j..]) {
                    *x -= factor * y;
                }
            }
        }
    }
    Some(h)
}

/// Chooses the codes of a weight again, its scales as they are, so that its outputs follow those of `float` on the inputs that `moments` were
/// taken from: one for each group, over the weights of an output channel in their order. A channel whose error would not fall keeps its codes.
/// Nothing is done to weights whose output channels are not outermost, or that have several points.
pub fn round(weight: &mut WeightAnnotation, float: &[f32], moments: &[SecondMoments]) {
    let channels = weight.shape.first().copied().unwrap_or(0);
    if weight.axis != 0 || weight.points.len() != 1 || channels == 0 || moments.is_empty() {
        return;
    }
    let dim = weight.len() / channels;
    let each = channels / moments.len();
    if float.len() != weight.len() || each == 0 || moments.iter().any(|m| m.dim != dim) {
        return;
    }
    for (group, m) in moments.iter().enumerate() {
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| m.sums[a * dim + a].total_cmp(&m.sums[b * dim + b]));
        let Some(root) = cholesky(m.ordered(&order), dim) else {
            continue;
        };
        for c in group * each..(group + 1) * each {
            let levels = Levels::of(weight, c);
            let at = c * dim..(c + 1) * dim;
            let codes = levels.rounded(&float[at.clone()], &root, &order);
            let old = &mut weight.points[0].codes[at.clone()];
            let error = |codes: &[u8]| levels.error(&float[at.clone()], codes, &root, &order);
            if error(&codes) < error(old) {
                old.copy_from_slice(&codes);
            }
        }
    }
}

/// The values of a channel's codes.
struct Levels {
    /// (value, code), ascending.
    sorted: Vec<(f64, u8)>,
    by_code: Vec<f64>,
}

impl Levels {
    fn of(weight: &WeightAnnotation, channel: usize) -> Self {
        let pick = |len: usize| if len == 1 { 0 } else { channel };
        let scales = &weight.points[0].scales;
        let scale = f64::from(scales[pick(scales.len())]);
        let zero = weight.zero_points.as_ref().map_or(0, |z| z[pick(z.len())]);
        let by_code: Vec<f64> = weight
            .levels
            .iter()
            .map(|l| scale * f64::from(l - zero))
            .collect();
        let mut sorted: Vec<(f64, u8)> = by_code.iter().zip(0..=u8::MAX).map(|(v, c)| (*v, c)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Codes that a grid does not use stand for 0, which has code 0 before them.
        sorted.dedup_by(|later, kept| later.0 == kept.0);
        Levels { sorted, by_code }
    }

    fn nearest(&self, x: f64) -> (f64, u8) {
        let above = self.sorted.partition_point(|(v, _)| *v < x);
        let (low, high) = (
            self.sorted[above.saturating_sub(1)],
            self.sorted[above.min(self.sorted.len() - 1)],
        );
        if x - low.0 <= high.0 - x { low } else { high }
    }

    fn rounded(&self, w: &[f32], root: &[f64], order: &[usize]) -> Vec<u8> {
        let d = w.len();
        let mut codes = vec![0; d];
        let mut errors = vec![0.0; d];
        for j in (0..d).rev() {
            let row = &root[j * d..(j + 1) * d];
            let carried: f64 = row[j + 1..]
                .iter()
                .zip(&errors[j + 1..])
                .map(|(r, e)| r * e)
                .sum();
            let x = f64::from(w[order[j]]);
            let (value, code) = self.nearest(x + carried / row[j]);
            errors[j] = x - value;
            codes[order[j]] = code;
        }
        codes
    }

    /// ‖R (w − ŵ)‖².
    fn error(&self, w: &[f32], codes: &[u8], root: &[f64], order: &[usize]) -> f64 {
        let d = w.len();
        let errors: Vec<f64> = order
            .iter()
            .map(|&i| f64::from(w[i]) - self.by_code[usize::from(codes[i])])
            .collect();
        (0..d)
            .map(|j| {
                let row = &root[j * d + j..(j + 1) * d];
                row.iter()
                    .zip(&errors[j..])
                    .map(|(r, e)| r * e)
                    .sum::<f64>()
                    .powi(2)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProjectOptions, project_weight};

    /// Uniform in −1 … 1.
    fn random(seed: u64, count: usize) -> Vec<f32> {
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
    fn inputs(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
        let noise = random(seed, rows * (dim + 1));
        noise
            .chunks(dim + 1)
            .flat_map(|r| r[1..].iter().map(move |x| r[0] + 0.3 * x))
            .collect()
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
            "int4", "lbw4", "pow2-4", "ternary", "affine3", "lbw2", "apot4", "int8",
        ]
        .iter()
        .enumerate()
        {
            let float = random(seed as u64, 8 * 12);
            let mut weight = projected(grid, &float, &[8, 3, 2, 2]);
            let x = inputs(seed as u64 + 99, 700, 12);
            let mut moments = SecondMoments::new(12);
            moments.add(&x);
            let error = |w: &WeightAnnotation| (0..8).map(|c| output_error(&float, w, &x, c)).sum::<f64>();
            let before = error(&weight);
            round(&mut weight, &float, &[moments]);
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
            let mut moments = SecondMoments::new(6);
            moments.add(&x);
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
            round(&mut weight, &float, &[moments]);
            ratio += output_error(&float, &weight, &x, 0) / best / 20.0;
        }
        assert!(ratio < 2.0 && nearest > 2.0 * ratio, "{ratio} {nearest}");
    }

    #[test]
    fn groups_have_inputs_of_their_own_and_inputs_that_are_all_zero_change_nothing() {
        // 0.4 is nearest to 0; nine of them on inputs that go together are nearest to 4 times 1.
        let float = vec![0.4; 4 * 9];
        let mut weight = projected("ternary", &float, &[4, 1, 3, 3]);
        weight.points[0].scales = vec![1.0];
        weight.points[0].codes = vec![0; 4 * 9];
        let mut moments = vec![SecondMoments::new(9); 4];
        moments[0].add(&[0.0; 90]);
        moments[2].add(&inputs(5, 64, 9));
        round(&mut weight, &float, &moments);
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
        round(&mut weight, &float[1..], &moments);
        assert_eq!(weight, before);
    }

    #[test]
    fn the_root_gives_the_moments_back() {
        let x = inputs(7, 50, 5);
        let mut moments = SecondMoments::new(5);
        moments.add(&x);
        let h = moments.ordered(&[0, 1, 2, 3, 4]);
        let r = cholesky(h.clone(), 5).unwrap();
        for i in 0..5 {
            for j in i..5 {
                let product: f64 = (0..=i).map(|k| r[k * 5 + i] * r[k * 5 + j]).sum();
                assert!((product - h[i * 5 + j]).abs() < 1e-9 * h[0]);
            }
        }
        assert!(cholesky(vec![-1.0], 1).is_none());
    }
}
