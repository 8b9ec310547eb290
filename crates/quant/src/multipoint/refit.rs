//! All scales of a row's points anew, together.

use super::Term;
use crate::methods::Levels;
use crate::project::{ProjectError, all_finite};

/// Least squares over the scales, the levels as they are: G a = c, G_ij = ⟨q_i, q_j⟩, c_i = ⟨q_i, w⟩. A scale that comes out negative gives its
/// sign to the levels; a point that the others can replace goes. The error never grows.
///
/// # Errors
/// A weight that is not finite, named by its index; the points stay as they were.
pub fn refit(w: &[f32], levels: &Levels, terms: &mut Vec<Term>) -> Result<(), ProjectError> {
    all_finite(w)?;
    loop {
        let units: Vec<Vec<f64>> = terms
            .iter()
            .map(|t| {
                let unit = Term {
                    scale: 1.0,
                    ..t.clone()
                };
                (0..w.len()).map(|i| unit.value(levels, i)).collect()
            })
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let target: Vec<f64> = w.iter().map(|&x| f64::from(x)).collect();
        let gram = units
            .iter()
            .map(|a| units.iter().map(|b| dot(a, b)).collect())
            .collect();
        let right = units.iter().map(|a| dot(a, &target)).collect();
        match solve(gram, right) {
            Ok(scales) => {
                for (t, a) in terms.iter_mut().zip(&scales) {
                    t.scale = a.abs();
                    if *a < 0.0 {
                        t.indices.iter_mut().for_each(|i| *i = -*i);
                    }
                }
                terms.retain(|t| t.scale > 0.0);
                return Ok(());
            }
            Err(replaceable) => {
                terms.remove(replaceable);
            }
        }
    }
}

/// The solution of a positive definite system, by Cholesky; else the first row that the rows before it give.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Result<Vec<f64>, usize> {
    /// Of a pivot, relative to the diagonal it came from: below it nothing but rounding is left.
    const SINGULAR: f64 = 1e-12;
    let n = b.len();
    for i in 0..n {
        let whole = a[i][i];
        for k in 0..i {
            let done = a[i][k];
            a[i][i] -= done * done;
        }
        if a[i][i] <= SINGULAR * whole || whole <= 0.0 {
            return Err(i);
        }
        let pivot = a[i][i].sqrt();
        a[i][i] = pivot;
        for j in i + 1..n {
            let carried: f64 = (0..i).map(|k| a[i][k] * a[j][k]).sum();
            a[j][i] = (a[j][i] - carried) / pivot;
        }
    }
    for i in 0..n {
        let carried: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - carried) / a[i][i];
    }
    for i in (0..n).rev() {
        let carried: f64 = (i + 1..n).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - carried) / a[i][i];
    }
    Ok(b)
}
