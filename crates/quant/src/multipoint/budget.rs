//! How many points each row gets when all rows together may cost so much (Liu et al. §3.3; the page of the method calls it the global budget).
//!
//! ```text
//! minimize  Σ_c e_c(k_c)   subject to   Σ_c cost_c · k_c ≤ B,    k_c extra points of row c, e_c(0) ≥ 0 known for each k
//! ```
//! A network has thousands of rows, whose gains and costs are alike: what the whole loses by one other choice of a row is nearly always more than
//! what the optimum could gain on the greedy answer, so that only a few rows are left for the table of the exact solution.

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

/// The optimum: rows whose number of points follows from bounds are settled first (`left_open`), the others by dynamic programming over what is left
/// of the budget in units of their costs' greatest common divisor: O(rows · points · units) time, a byte a row and unit. `None` where that is more than
/// `most_bytes`.
///
/// ```
/// use quant::multipoint::budget::{Row, exact};
/// let row = |errors: &[f64], cost| Row { errors: errors.to_vec(), cost };
/// // The second row gains more for its cost, and leaves no room for the first.
/// let rows = [row(&[10.0, 1.0], 3), row(&[5.0, 0.0], 1)];
/// assert_eq!(exact(&rows, 3, 1 << 20), Some(vec![1, 0]));
/// ```
pub fn exact(rows: &[Row], budget: u64, most_bytes: usize) -> Option<Vec<usize>> {
    let greedy = by_gain(rows, budget);
    let allowed = left_open(rows, budget, &greedy);
    let mut points: Vec<usize> = allowed.iter().map(|a| a[0]).collect();
    let open: Vec<usize> = (0..rows.len()).filter(|&c| allowed[c].len() > 1).collect();
    let settled = (0..rows.len()).filter(|&c| allowed[c].len() == 1);
    let spent = settled
        .map(|c| cost(&rows[c], points[c]))
        .fold(0, u64::saturating_add);
    let choices: Vec<(&Row, &[usize])> = open.iter().map(|&c| (&rows[c], &allowed[c][..])).collect();
    for (c, k) in open
        .iter()
        .zip(table(&choices, budget.checked_sub(spent)?, most_bytes)?)
    {
        points[*c] = k;
    }
    Some(points)
}

/// Σ_c e_c(k_c).
pub fn total_error(rows: &[Row], points: &[usize]) -> f64 {
    rows.iter().zip(points).map(|(row, &k)| row.errors[k]).sum()
}

fn cost(row: &Row, points: usize) -> u64 {
    row.cost.max(1).saturating_mul(points as u64)
}

/// For each row the numbers of points that an optimum may have, ascending, `known`'s among them (Ingargiola, Korsh: Operations Research 23, 1975, with
/// the Lagrangian for the linear relaxation, which it equals at the best λ):
///
/// ```text
/// L(λ) = Σ_c min_k (e_c(k) + λ·cost_c·k) − λ·B  ≤  optimum  ≤  error of `known`
/// row c has not k   where   L(λ) − min_j (e_c(j) + λ·cost_c·j) + e_c(k) + λ·cost_c·k  >  error of `known`
/// ```
/// λ, the gain for the cost where the budget ends, is found by bisection: L is concave.
fn left_open(rows: &[Row], budget: u64, known: &[usize]) -> Vec<Vec<usize>> {
    let priced =
        |row: &Row, lambda: f64, k: usize| row.errors[k] + lambda * row.cost.max(1) as f64 * k as f64;
    let cheapest = |row: &Row, lambda: f64| {
        let all = (0..row.errors.len()).map(|k| (priced(row, lambda, k), k));
        all.reduce(|a, b| if b.0 < a.0 { b } else { a })
            .unwrap_or((0.0, 0))
    };
    let over = |lambda: f64| {
        let all = rows.iter().map(|row| cost(row, cheapest(row, lambda).1));
        all.fold(0, u64::saturating_add) > budget
    };
    let largest = |row: &Row| row.errors[0] / row.cost.max(1) as f64;
    let (mut low, mut high) = (0.0, rows.iter().map(largest).fold(0.0, f64::max));
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        (low, high) = if over(middle) {
            (middle, high)
        } else {
            (low, middle)
        };
    }
    let lambda = high;
    let bound = rows.iter().map(|row| cheapest(row, lambda).0).sum::<f64>() - lambda * budget as f64;
    // What rounding of these sums may hide.
    let slack = ROUNDING * rows.iter().map(|row| row.errors[0].abs()).sum::<f64>();
    let gap = total_error(rows, known) - bound + slack;
    let open = |(row, &known): (&Row, &usize)| {
        let least = cheapest(row, lambda).0;
        let may = |k: &usize| *k == known || priced(row, lambda, *k) - least <= gap;
        (0..row.errors.len()).filter(may).collect()
    };
    rows.iter().zip(known).map(open).collect()
}

/// Halvings of λ: beyond the digits of an f64 nothing changes.
const BISECTIONS: usize = 64;

/// Of the sum of all errors, far above what thousands of f64 sums lose.
const ROUNDING: f64 = 1e-12;

/// The best choice among those allowed of each row; `None` beyond `most_bytes`, or where nothing keeps to the budget.
fn table(rows: &[(&Row, &[usize])], budget: u64, most_bytes: usize) -> Option<Vec<usize>> {
    let unit = rows.iter().map(|r| r.0.cost.max(1)).fold(0, gcd).max(1);
    let dearest = |(row, allowed): &(&Row, &[usize])| cost(row, allowed.last().copied().unwrap_or(0));
    let all: u64 = rows.iter().map(dearest).fold(0, u64::saturating_add);
    let units = usize::try_from(budget.min(all) / unit).ok()?;
    if (units.checked_add(1)?).checked_mul(rows.len())? > most_bytes {
        return None;
    }
    // best[b]: least error of the rows so far within b units.
    let mut best = vec![0f64; units + 1];
    let mut taken: Vec<Vec<u8>> = Vec::with_capacity(rows.len());
    for (row, allowed) in rows {
        let mut next = vec![f64::INFINITY; units + 1];
        let mut choice = vec![0u8; units + 1];
        for (place, &k) in allowed.iter().enumerate().take(256) {
            let Some(start) = usize::try_from(cost(row, k) / unit).ok().filter(|s| *s <= units) else {
                break;
            };
            for b in start..=units {
                let sum = best[b - start] + row.errors[k];
                if sum < next[b] {
                    (next[b], choice[b]) = (sum, place as u8);
                }
            }
        }
        best = next;
        taken.push(choice);
    }
    if best[units].is_infinite() {
        return None;
    }
    let mut at = units;
    let mut points: Vec<usize> = Vec::with_capacity(rows.len());
    for ((row, allowed), choice) in rows.iter().zip(&taken).rev() {
        let k = allowed[usize::from(choice[at])];
        at -= (cost(row, k) / unit) as usize;
        points.push(k);
    }
    points.reverse();
    Some(points)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
