//! A row of weights as a sum of rows of few bits (Liu, Ye, Zhou, Liu: AAAI 2021, arXiv 2002.09049): rows that matter get more points, which acts
//! like more bits without a second kind of arithmetic.
//!
//! ```text
//! w ≈ ŵ = Σ_{i=1…m} a_i q_i,   a_i > 0,   q_i ∈ {0, ±L_1 … ±L_P}^K
//! greedy:  r_0 = w,   (a_i, q_i) = argmin ‖r_{i−1} − a q‖²,   r_i = r_{i−1} − a_i q_i
//! ```
//! One step loses at least the share 1/H_K of ‖r‖², H_K = 1 + ½ + … + 1/K, whatever the levels (0 and one more are enough): the error falls
//! exponentially with the points, as the paper's theorem says.

pub mod budget;
pub(crate) mod combined;
mod refit;
mod shifted;

use crate::methods::{Levels, scale_real};
use crate::project::{ProjectError, all_finite};

pub use refit::refit;
pub use shifted::{Plane, collapse, shifted};

/// One of the summands: a scale and the signed magnitude index of every weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// a, of the integer levels; finite, positive.
    pub scale: f64,
    /// 0 is level 0; ±j is ±L_j.
    pub indices: Vec<i32>,
}

impl Term {
    /// a·q of weight `i`.
    fn value(&self, levels: &Levels, i: usize) -> f64 {
        let index = self.indices[i];
        let magnitude = levels.magnitude(index.unsigned_abs() as usize);
        self.scale * magnitude * f64::from(index.signum())
    }

    fn nearest(r: &[f64], levels: &Levels, scale: f64) -> Self {
        let index = |x: &f64| levels.index(x.abs() / scale) as i32 * x.signum() as i32;
        Term {
            scale,
            indices: r.iter().map(index).collect(),
        }
    }
}

/// How the scale of a step is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// The best of all scales: all breakpoints of nearest rounding, sorted. O(KP log KP).
    Exact,
    /// The paper's search: so many multiples of γ up to ‖r‖_∞ over the largest level, with one least-squares refit.
    Grid(u32),
}

/// At most `most` points of a row; fewer where nothing is left, none for a row of zeros.
///
/// # Errors
/// A weight that is not finite, named by its index.
///
/// ```
/// use quant::methods::Levels;
/// use quant::multipoint::{Search, greedy, squared_error};
/// let levels = Levels::new(&[1]);
/// let w = [4.0, -4.0, 1.0, 0.0];
/// let points = greedy(&w, &levels, 4, Search::Exact).unwrap();
/// assert_eq!((points[0].scale, &points[0].indices[..]), (4.0, &[1, -1, 0, 0][..]));
/// assert_eq!((points.len(), squared_error(&w, &levels, &points)), (2, 0.0));
/// ```
pub fn greedy(w: &[f32], levels: &Levels, most: usize, search: Search) -> Result<Vec<Term>, ProjectError> {
    all_finite(w)?;
    let mut rest: Vec<f64> = w.iter().map(|&x| f64::from(x)).collect();
    let mut terms = Vec::new();
    while terms.len() < most {
        let Some(term) = step(&rest, levels, search) else {
            break;
        };
        for (i, r) in rest.iter_mut().enumerate() {
            *r -= term.value(levels, i);
        }
        terms.push(term);
    }
    Ok(terms)
}

/// The best single point of what is left; `None` where that is zero.
fn step(r: &[f64], levels: &Levels, search: Search) -> Option<Term> {
    let largest = r.iter().fold(0f64, |m, x| m.max(x.abs()));
    if largest < f64::from(f32::MIN_POSITIVE) * f64::EPSILON {
        return None;
    }
    let scale = match search {
        Search::Exact => scale_real::sweep(r.iter().map(|x| x.abs()), levels),
        Search::Grid(points) => on_grid(r, levels, largest / levels.top(), points.max(1)),
    };
    Some(Term::nearest(r, levels, scale))
}

/// The best of `points` multiples of a step, refitted to the levels it gives.
fn on_grid(r: &[f64], levels: &Levels, largest: f64, points: u32) -> f64 {
    let (mut best, mut scale) = (-1.0, largest);
    for k in 1..=points {
        let at = largest * f64::from(k) / f64::from(points);
        let (mut dot, mut norm) = (0.0, 0.0);
        for x in r {
            let level = levels.magnitude(levels.index(x.abs() / at));
            dot += level * x.abs();
            norm += level * level;
        }
        // The error is ‖r‖² less this once the scale is refitted.
        if norm > 0.0 && dot * dot / norm > best {
            (best, scale) = (dot * dot / norm, dot / norm);
        }
    }
    scale
}

/// ‖w − Σ a_i q_i‖².
pub fn squared_error(w: &[f32], levels: &Levels, terms: &[Term]) -> f64 {
    let sum = |i: usize| terms.iter().map(|t| t.value(levels, i)).sum::<f64>();
    w.iter()
        .enumerate()
        .map(|(i, &x)| (f64::from(x) - sum(i)).powi(2))
        .sum()
}
