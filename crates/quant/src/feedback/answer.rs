//! Weights that answer for the errors which their inputs have already, before they are rounded.
//!
//! ```text
//! minimize over δ, for each output channel w:   Σ_x ((w + δ)ᵀ x − wᵀ y)² + λ‖δ‖²       x: an input in the quantized network, y: in the float one
//! δ = (H + λI)⁻¹ Σ_x x wᵀ(y − x)
//! ```
//! λ is the one that does best on the half of the pictures that δ was not fitted on: few pictures ask for much of it, many for little.

use std::sync::OnceLock;

use super::Workers;
use super::moments::{Moments, cholesky, solve};

/// λ, relative to H's mean diagonal.
const RIDGES: [f64; 4] = [2.0, 0.5, 0.1, 0.01];

/// Weights of an output channel from which on one λ alone is looked at: each costs a root of H for both halves and the whole.
const WIDE: usize = 1024;

fn ridges(dim: usize) -> &'static [f64] {
    if dim < WIDE { &RIDGES } else { &RIDGES[1..2] }
}

/// The weights of a group, channel by channel, with the answers that both halves of the pictures agree upon; a channel stays as it is where no
/// answer holds on pictures that it was not made from.
pub(super) fn answered(w: &[f32], [a, b]: [&Moments; 2], whole: &Moments, workers: Workers<'_>) -> Vec<f32> {
    let mut best = vec![0.0; whole.channels];
    let mut out = w.to_vec();
    let ridges = ridges(whole.dim);
    // For each λ, what each half's answers do for the other.
    let held: Vec<OnceLock<Vec<f64>>> = (0..2 * ridges.len()).map(|_| OnceLock::new()).collect();
    workers(held.len(), &|i| {
        let (fit, check) = if i % 2 == 0 { (a, b) } else { (b, a) };
        let _ = held[i].set(gains(fit, check, ridges[i / 2]));
    });
    let mut held = held.into_iter().filter_map(OnceLock::into_inner);
    for &ridge in ridges {
        let (Some(one), Some(other)) = (held.next(), held.next()) else {
            break;
        };
        let mut better = Vec::new();
        for (c, (one, other)) in one.into_iter().zip(other).enumerate() {
            if one + other > best[c] {
                best[c] = one + other;
                better.push(c);
            }
        }
        let answers = answers(whole, ridge, &better);
        for (c, delta) in better.iter().zip(answers) {
            let at = c * whole.dim..(c + 1) * whole.dim;
            let old = w[at.clone()].iter().zip(delta);
            out[at]
                .iter_mut()
                .zip(old)
                .for_each(|(o, (w, d))| *o = (f64::from(*w) + d) as f32);
        }
    }
    out
}

/// δ of some channels; none where H has no root.
fn answers(m: &Moments, ridge: f64, channels: &[usize]) -> Vec<Vec<f64>> {
    let order: Vec<usize> = (0..m.dim).collect();
    if channels.is_empty() {
        return Vec::new();
    }
    let Some(root) = cholesky(m.ordered(&order, ridge), m.dim) else {
        return Vec::new();
    };
    let one = |&c: &usize| {
        let mut delta = m.cross[c * m.dim..(c + 1) * m.dim].to_vec();
        solve(&root, &mut delta);
        delta
    };
    channels.iter().map(one).collect()
}

/// By how much Σ (error)² of each output channel falls on `check` with the answers of `fit`: 2 δᵀ(Σ x wᵀ(y − x)) − δᵀHδ.
fn gains(fit: &Moments, check: &Moments, ridge: f64) -> Vec<f64> {
    let d = check.dim;
    let all: Vec<usize> = (0..fit.channels).collect();
    let answers = answers(fit, ridge, &all);
    let each = answers.iter().zip(check.cross.chunks_exact(d.max(1)));
    each.map(|(delta, cross)| {
        let linear: f64 = delta.iter().zip(cross).map(|(a, b)| a * b).sum();
        let mut squares = 0.0;
        for (i, a) in delta.iter().enumerate() {
            let row = &check.squares[i * d..(i + 1) * d];
            let right: f64 = row[i + 1..].iter().zip(&delta[i + 1..]).map(|(h, b)| h * b).sum();
            squares += a * (a * row[i] + 2.0 * right);
        }
        2.0 * linear - squares
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::moments::product;
    use super::super::tests::{ALONE, inputs, random};
    use super::*;

    fn moments(x: &[f32], y: &[f32], w: &[f32], dim: usize) -> Moments {
        let mut m = Moments::new(dim, w.len() / dim);
        m.add(x, y, &product);
        m.weighted(w, &product);
        m
    }

    fn error(x: &[f32], y: &[f32], w: &[f32], new: &[f32], dim: usize) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let pairs = x.chunks_exact(dim).zip(y.chunks_exact(dim));
        pairs
            .map(|(x, y)| {
                let channels = w.chunks_exact(dim).zip(new.chunks_exact(dim));
                channels
                    .map(|(w, n)| (dot(y, w) - dot(x, n)).powi(2))
                    .sum::<f64>()
            })
            .sum()
    }

    /// The quantized network shrinks one input: the weights make it good, on pictures of their own too.
    #[test]
    fn an_input_that_is_too_small_gets_a_larger_weight() {
        let (dim, w) = (6, random(3, 12));
        let y = inputs(11, 4000, dim);
        let x: Vec<f32> = y
            .iter()
            .enumerate()
            .map(|(i, y)| if i % dim == 2 { 0.5 * y } else { *y })
            .collect();
        let half = 2000 * dim;
        let (a, b) = (
            moments(&x[..half], &y[..half], &w, dim),
            moments(&x[half..], &y[half..], &w, dim),
        );
        let whole = a.clone().plus(&b);
        let new = answered(&w, [&a, &b], &whole, ALONE);
        assert!((new[2] / w[2] - 2.0).abs() < 0.3, "{} {}", new[2], w[2]);
        assert!(error(&x, &y, &w, &new, dim) < 0.05 * error(&x, &y, &w, &w, dim));
    }

    /// Errors without a pattern, and few inputs: an answer would only fit their noise.
    #[test]
    fn noise_is_not_answered() {
        let (dim, w) = (40, random(5, 40));
        let (mut worse, mut kept) = (0, 0);
        for seed in 0..20 {
            let sample = |seed: u64, rows: usize| {
                let y = random(seed, rows * dim);
                let noise = random(seed + 1000, rows * dim);
                let x: Vec<f32> = y.iter().zip(noise).map(|(y, n)| y + 0.05 * n).collect();
                (x, y)
            };
            let (x, y) = sample(seed * 7 + 1, 120);
            let half = 60 * dim;
            let (a, b) = (
                moments(&x[..half], &y[..half], &w, dim),
                moments(&x[half..], &y[half..], &w, dim),
            );
            let new = answered(&w, [&a, &b], &a.clone().plus(&b), ALONE);
            kept += usize::from(new == w);
            let (x, y) = sample(seed * 7 + 5000, 3000);
            worse += usize::from(error(&x, &y, &w, &new, dim) > 1.05 * error(&x, &y, &w, &w, dim));
        }
        assert!(kept >= 10 && worse <= 2, "{kept} {worse}");
    }

    #[test]
    fn a_single_half_answers_nothing() {
        let (x, y, w) = (inputs(1, 100, 4), inputs(2, 100, 4), random(9, 4));
        let a = moments(&x, &y, &w, 4);
        assert_eq!(answered(&w, [&a, &Moments::new(4, 1)], &a, ALONE), w);
    }
}
