//! Points whose scales are powers of two apart: they add up in integers, and to one row of whole numbers where those are small.

use super::{Search, Term, greedy, step};
use crate::methods::{Levels, pow2};
use crate::project::ProjectError;

/// Largest ratio of two scales that is looked at, as a power of two.
const LARGEST_SHIFT: i32 = 12;

/// As [`greedy`], with the scale of every later point a_1·2^−t, t ≥ 0 the best for what is left.
///
/// # Errors
/// A weight that is not finite, named by its index.
pub fn shifted(w: &[f32], levels: &Levels, most: usize) -> Result<Vec<Term>, ProjectError> {
    let mut terms = greedy(w, levels, most.min(1), Search::Exact)?;
    let Some(first) = terms.first().map(|t| t.scale) else {
        return Ok(terms);
    };
    let mut rest: Vec<f64> = w.iter().map(|&x| f64::from(x)).collect();
    loop {
        if let Some(last) = terms.last() {
            for (i, r) in rest.iter_mut().enumerate() {
                *r -= last.value(levels, i);
            }
        }
        if terms.len() >= most || step(&rest, levels, Search::Grid(1)).is_none() {
            return Ok(terms);
        }
        let left = |t: &Term| -> f64 {
            rest.iter()
                .enumerate()
                .map(|(i, r)| (r - t.value(levels, i)).powi(2))
                .sum()
        };
        let all = (0..=LARGEST_SHIFT).map(|t| Term::nearest(&rest, levels, first * pow2(-t)));
        let best = all
            .map(|t| (left(&t), t))
            .reduce(|a, b| if b.0 < a.0 { b } else { a });
        match best {
            Some((error, term)) if error < rest.iter().map(|r| r * r).sum() => terms.push(term),
            _ => return Ok(terms),
        }
    }
}

/// Points added up: `scale · level` is their sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Of the smallest point.
    pub scale: f64,
    /// −127 … 127.
    pub levels: Vec<i8>,
}

/// The sum of points whose scales are powers of two apart as one row of bytes; `None` where ratios are others or a sum is larger.
///
/// ```
/// use quant::methods::Levels;
/// use quant::multipoint::{collapse, shifted};
/// let ternary = Levels::new(&[1]);
/// let points = shifted(&[2.0, 1.0, -2.0, 1.0], &ternary, 2).unwrap();
/// let plane = collapse(&points, &ternary).unwrap();
/// assert_eq!((plane.scale, plane.levels), (0.375, vec![5, 3, -5, 3]));
/// ```
pub fn collapse(terms: &[Term], levels: &Levels) -> Option<Plane> {
    let smallest = terms.iter().map(|t| t.scale).reduce(f64::min)?;
    let mut sums = vec![0f64; terms[0].indices.len()];
    for term in terms {
        let ratio = term.scale / smallest;
        // A power of two has no bits behind its first.
        if ratio.to_bits() << 12 != 0 || ratio > pow2(LARGEST_SHIFT) {
            return None;
        }
        let whole = Term {
            scale: ratio,
            ..term.clone()
        };
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += whole.value(levels, i);
        }
    }
    let fits = sums.iter().all(|s| s.abs() <= f64::from(i8::MAX));
    fits.then(|| Plane {
        scale: smallest,
        levels: sums.iter().map(|&s| s as i8).collect(),
    })
}
