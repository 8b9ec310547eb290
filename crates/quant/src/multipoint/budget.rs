//! How many points each row gets when all rows together may cost so much (Liu et al. §3.3; the page of the method calls it the global budget).
//!
//! ```text
//! minimize  Σ_c e_c(k_c)   subject to   Σ_c cost_c · k_c ≤ B,    k_c extra points of row c, e_c(0) ≥ 0 known for each k
//! ```

/// Errors with 0, 1, 2 … extra points, and what one of them costs: bits, or multiplications.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// e(0), e(1) … ; not empty, finite.
    pub errors: Vec<f64>,
    /// At least 1.
    pub cost: u64,
}

/// Extra points of each row by the largest gain for the cost, on the lower convex hull of each row's errors. Optimal where all costs are equal and
/// gains fall; else at most one row's gain away from it.
///
/// ```
/// use quant::multipoint::budget::{Row, by_gain};
/// let row = |errors: &[f64]| Row { errors: errors.to_vec(), cost: 1 };
/// assert_eq!(by_gain(&[row(&[9.0, 5.0, 4.0]), row(&[6.0, 3.0, 1.0])], 3), [1, 2]);
/// ```
pub fn by_gain(rows: &[Row], budget: u64) -> Vec<usize> {
    let hulls: Vec<Vec<usize>> = rows.iter().map(|r| hull(&r.errors)).collect();
    let mut offers: Vec<(f64, usize, usize)> = Vec::new();
    for (c, (row, hull)) in rows.iter().zip(&hulls).enumerate() {
        for (corner, pair) in hull.windows(2).enumerate() {
            let gain = row.errors[pair[0]] - row.errors[pair[1]];
            offers.push((
                gain / (row.cost.max(1) as f64 * (pair[1] - pair[0]) as f64),
                c,
                corner + 1,
            ));
        }
    }
    // Gains fall along a hull, so that a row's corners come in order; rows in theirs where gains are equal.
    offers.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    let mut points = vec![0; rows.len()];
    let mut blocked = vec![false; rows.len()];
    let mut left = budget;
    for (_, c, corner) in offers {
        let cost = rows[c]
            .cost
            .max(1)
            .saturating_mul((hulls[c][corner] - points[c]) as u64);
        if !blocked[c] && cost <= left {
            left -= cost;
            points[c] = hulls[c][corner];
        } else {
            blocked[c] = true;
        }
    }
    points
}

/// Points on the lower convex hull of (k, e_k) from k = 0 to the least error, those on its edges too.
fn hull(errors: &[f64]) -> Vec<usize> {
    let mut corners: Vec<usize> = Vec::new();
    for k in 0..errors.len() {
        let slope = |a: usize, b: usize| (errors[b] - errors[a]) / (b - a) as f64;
        while let [.., a, b] = corners[..] {
            if slope(a, b) <= slope(b, k) {
                break;
            }
            corners.pop();
        }
        if corners.last().is_none_or(|&last| errors[k] < errors[last]) {
            corners.push(k);
        }
    }
    corners
}

/// The optimum, by dynamic programming over the budget in units of the costs' greatest common divisor: O(rows · points · units) time, a byte a row
/// and unit. `None` where that is more than `most_bytes`.
///
/// ```
/// use quant::multipoint::budget::{Row, exact};
/// let row = |errors: &[f64], cost| Row { errors: errors.to_vec(), cost };
/// // The second row gains more for its cost, and leaves no room for the first.
/// let rows = [row(&[10.0, 1.0], 3), row(&[5.0, 0.0], 1)];
/// assert_eq!(exact(&rows, 3, 1 << 20), Some(vec![1, 0]));
/// ```
pub fn exact(rows: &[Row], budget: u64, most_bytes: usize) -> Option<Vec<usize>> {
    let unit = rows.iter().map(|r| r.cost.max(1)).fold(0, gcd).max(1);
    let all: u64 = rows
        .iter()
        .map(|r| r.cost.max(1).saturating_mul(r.errors.len() as u64))
        .sum();
    let units = usize::try_from(budget.min(all) / unit).ok()?;
    if (units.checked_add(1)?).checked_mul(rows.len())? > most_bytes {
        return None;
    }
    // best[b]: least error of the rows so far within b units.
    let mut best = vec![0f64; units + 1];
    let mut taken: Vec<Vec<u8>> = Vec::with_capacity(rows.len());
    for row in rows {
        let cost = (row.cost.max(1) / unit) as usize;
        let mut next = vec![f64::INFINITY; units + 1];
        let mut choice = vec![0u8; units + 1];
        for (k, e) in row.errors.iter().enumerate().take(256) {
            let Some(start) = k.checked_mul(cost).filter(|s| *s <= units) else {
                break;
            };
            for b in start..=units {
                if best[b - start] + e < next[b] {
                    next[b] = best[b - start] + e;
                    choice[b] = k as u8;
                }
            }
        }
        best = next;
        taken.push(choice);
    }
    let mut at = units;
    let mut points: Vec<usize> = Vec::with_capacity(rows.len());
    for (row, choice) in rows.iter().zip(&taken).rev() {
        let k = usize::from(choice[at]);
        at -= k * (row.cost.max(1) / unit) as usize;
        points.push(k);
    }
    points.reverse();
    Some(points)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
