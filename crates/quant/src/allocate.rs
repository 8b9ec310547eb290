//! One choice for each layer within a budget: the multiple-choice knapsack, exactly.
//!
//! ```text
//! minimize  Σ_l error(l, c_l)   subject to   Σ_l cost(l, c_l) ≤ B,    one choice c_l of each layer l
//! ```
//! Partial sums are kept layer by layer, (cost, error) pairs that no other pair beats in both. A pair goes where even the linear relaxation of
//! the layers that are left cannot bring it below the best answer that is known: the greedy walk along the convex hulls. Layers whose choices
//! differ most come first, so that the relaxation, tight on the rest, cuts early.

/// What one choice of a layer costs and does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Bits, multiplications, picoseconds: whatever the budget counts.
    pub cost: u64,
    /// Finite, not negative.
    pub error: f64,
}

/// A choice of each layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// By layer, the index of its choice.
    pub chosen: Vec<usize>,
    /// Σ of the chosen costs.
    pub cost: u64,
    /// Σ of the chosen errors.
    pub error: f64,
    /// No allocation has less error; else the least that any could have is `error − gap`.
    pub gap: f64,
}

/// Most partial sums kept: beyond it the greedy answer stands, its gap said.
const MOST_STATES: usize = 1 << 20;

/// The allocation of least error; `None` where even the cheapest choices cost more than the budget, or a layer has no choice.
///
/// ```
/// use quant::allocate::{Choice, allocate};
/// let c = |cost, error| Choice { cost, error };
/// let layers = [vec![c(2, 5.0), c(4, 1.0)], vec![c(2, 9.0), c(4, 2.0), c(8, 0.0)]];
/// let best = allocate(&layers, 8).unwrap();
/// assert_eq!((&best.chosen[..], best.cost, best.error, best.gap), (&[1, 1][..], 8, 3.0, 0.0));
/// assert_eq!(allocate(&layers, 3), None);
/// ```
pub fn allocate(layers: &[Vec<Choice>], budget: u64) -> Option<Allocation> {
    let cheapest = |l: &Vec<Choice>| l.iter().map(|c| c.cost).min();
    let least = layers
        .iter()
        .map(cheapest)
        .try_fold(0u64, |sum, c| sum.checked_add(c?))?;
    if least > budget {
        return None;
    }
    // Layers by how much there is to choose.
    let hulls: Vec<Vec<usize>> = layers.iter().map(|l| hull(l)).collect();
    let spread = |l: usize| {
        let (first, last) = (hulls[l][0], hulls[l][hulls[l].len() - 1]);
        layers[l][first].error - layers[l][last].error
    };
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by(|&a, &b| spread(b).total_cmp(&spread(a)).then(a.cmp(&b)));
    let bounds: Vec<Relaxed> = (0..=order.len())
        .map(|k| Relaxed::new(layers, &hulls, &order[k..]))
        .collect();

    let greedy = greedy(layers, &hulls, budget);
    let bound = bounds[0].error(budget);
    let fallback = Allocation {
        gap: (greedy.error - bound).max(0.0),
        ..greedy.clone()
    };
    let mut best = greedy.error;
    // (cost, error, parent, choice) of every layer's kept sums.
    let mut steps: Vec<Vec<State>> = Vec::with_capacity(order.len());
    let mut now = vec![State::default()];
    let mut all = 0;
    for (k, &l) in order.iter().enumerate() {
        let mut next: Vec<State> = Vec::with_capacity(now.len() * layers[l].len());
        for (parent, state) in now.iter().enumerate() {
            for (c, choice) in layers[l].iter().enumerate() {
                let sum = State {
                    cost: state.cost.saturating_add(choice.cost),
                    error: state.error + choice.error,
                    parent: parent as u32,
                    choice: c as u32,
                };
                let rest = &bounds[k + 1];
                if sum.cost.saturating_add(rest.least) <= budget
                    && sum.error + rest.error(budget - sum.cost) <= best
                {
                    best = best.min(sum.error + rest.whole(budget - sum.cost));
                    next.push(sum);
                }
            }
        }
        next.sort_by(|a, b| a.cost.cmp(&b.cost).then(a.error.total_cmp(&b.error)));
        let mut lowest = f64::INFINITY;
        next.retain(|s| {
            let better = s.error < lowest;
            lowest = lowest.min(s.error);
            better
        });
        all += next.len();
        if all > MOST_STATES {
            return Some(fallback);
        }
        steps.push(std::mem::replace(&mut now, next));
    }
    // Rounding may have cut the greedy answer's own path.
    let Some(end) = (0..now.len()).min_by(|&a, &b| now[a].error.total_cmp(&now[b].error)) else {
        return Some(Allocation { gap: 0.0, ..fallback });
    };
    let mut chosen = vec![0; layers.len()];
    let mut state = now[end];
    for (&l, before) in order.iter().zip(&steps).rev() {
        chosen[l] = state.choice as usize;
        state = before[state.parent as usize];
    }
    let found = Allocation::of(layers, chosen);
    Some(if found.error <= greedy.error {
        found
    } else {
        greedy
    })
}

impl Allocation {
    fn of(layers: &[Vec<Choice>], chosen: Vec<usize>) -> Self {
        let picked = || layers.iter().zip(&chosen).map(|(l, &c)| l[c]);
        Allocation {
            cost: picked().map(|c| c.cost).sum(),
            error: picked().map(|c| c.error).sum(),
            gap: 0.0,
            chosen,
        }
    }
}

/// A partial sum over the first layers, and how it came about.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    cost: u64,
    error: f64,
    parent: u32,
    choice: u32,
}

/// Choices on the lower convex hull of (cost, error), from the cheapest to the one of least error.
fn hull(choices: &[Choice]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..choices.len()).collect();
    order.sort_by(|&a, &b| {
        let (x, y) = (choices[a], choices[b]);
        x.cost
            .cmp(&y.cost)
            .then(x.error.total_cmp(&y.error))
            .then(a.cmp(&b))
    });
    let mut corners: Vec<usize> = Vec::new();
    for i in order {
        if corners
            .last()
            .is_some_and(|&last| choices[i].error >= choices[last].error)
        {
            continue;
        }
        let slope = |a: usize, b: usize| gain(choices[a], choices[b]);
        while let [.., a, b] = corners[..] {
            if slope(a, b) > slope(b, i) {
                break;
            }
            corners.pop();
        }
        corners.push(i);
    }
    corners
}

/// Error that a unit of cost takes away.
fn gain(from: Choice, to: Choice) -> f64 {
    (from.error - to.error) / (to.cost - from.cost).max(1) as f64
}

/// Steps along the hulls of some layers, the most gainful first.
fn steps(layers: &[Vec<Choice>], hulls: &[Vec<usize>], some: &[usize]) -> Vec<(f64, usize, usize)> {
    let mut all: Vec<(f64, usize, usize)> = Vec::new();
    for &l in some {
        let pairs = hulls[l].windows(2).enumerate();
        all.extend(pairs.map(|(i, pair)| (gain(layers[l][pair[0]], layers[l][pair[1]]), l, i + 1)));
    }
    all.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    all
}

/// The walk along the hulls that takes every step that still fits, a layer's steps in order.
fn greedy(layers: &[Vec<Choice>], hulls: &[Vec<usize>], budget: u64) -> Allocation {
    let mut at = vec![0; layers.len()];
    let mut blocked = vec![false; layers.len()];
    let cost = |l: usize, corner: usize| layers[l][hulls[l][corner]].cost;
    let mut left = budget - (0..layers.len()).map(|l| cost(l, 0)).sum::<u64>();
    let some: Vec<usize> = (0..layers.len()).collect();
    for (_, l, corner) in steps(layers, hulls, &some) {
        let more = cost(l, corner) - cost(l, corner - 1);
        if !blocked[l] && more <= left {
            left -= more;
            at[l] = corner;
        } else {
            blocked[l] = true;
        }
    }
    Allocation::of(
        layers,
        at.iter().zip(hulls).map(|(&corner, hull)| hull[corner]).collect(),
    )
}

/// The linear relaxation over some layers, for any budget.
struct Relaxed {
    /// Cost of the cheapest choices.
    least: u64,
    /// Error with them.
    most: f64,
    /// After each step: cost beyond `least` and error taken away so far.
    sums: Vec<(u64, f64)>,
}

impl Relaxed {
    fn new(layers: &[Vec<Choice>], hulls: &[Vec<usize>], some: &[usize]) -> Self {
        let first = |l: &usize| layers[*l][hulls[*l][0]];
        let mut sums = vec![(0, 0.0)];
        let (mut cost, mut less) = (0u64, 0.0);
        for (_, l, corner) in steps(layers, hulls, some) {
            let (from, to) = (layers[l][hulls[l][corner - 1]], layers[l][hulls[l][corner]]);
            cost += to.cost - from.cost;
            less += from.error - to.error;
            sums.push((cost, less));
        }
        Relaxed {
            least: some.iter().map(|l| first(l).cost).sum(),
            most: some.iter().map(|l| first(l).error).sum(),
            sums,
        }
    }

    fn place(&self, budget: u64) -> (usize, u64) {
        let left = budget - self.least;
        let after = self.sums.partition_point(|(cost, _)| *cost <= left);
        (after, left)
    }

    /// No choice within the budget has less error. The last digits of the sums are given away, so that rounding cuts nothing.
    fn error(&self, budget: u64) -> f64 {
        let (after, left) = self.place(budget);
        let (cost, less) = self.sums[after - 1];
        let part = self.sums.get(after).map_or(0.0, |next| {
            (next.1 - less) * (left - cost) as f64 / (next.0 - cost).max(1) as f64
        });
        let error = self.most - less - part;
        error - 1e-12 * (self.most + 1e-300)
    }

    /// Error of the whole steps within the budget: some allocation has it.
    fn whole(&self, budget: u64) -> f64 {
        let (after, _) = self.place(budget);
        (self.most - self.sums[after - 1].1) * (1.0 + 1e-12) + 1e-12 * self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::SplitMix64;

    fn random(r: &mut SplitMix64, layers: usize, choices: usize) -> Vec<Vec<Choice>> {
        let choice = |r: &mut SplitMix64| Choice {
            cost: r.below(40) as u64,
            error: f64::from(r.unit_f32()) * 10.0,
        };
        (0..layers)
            .map(|_| (0..1 + r.below(choices)).map(|_| choice(r)).collect())
            .collect()
    }

    fn exhaustive(layers: &[Vec<Choice>], budget: u64) -> Option<f64> {
        let mut sums = vec![(0u64, 0.0)];
        for l in layers {
            sums = sums
                .iter()
                .flat_map(|s| l.iter().map(|c| (s.0 + c.cost, s.1 + c.error)))
                .collect();
        }
        let fits = sums.iter().filter(|s| s.0 <= budget).map(|s| s.1);
        fits.reduce(f64::min)
    }

    #[test]
    fn equals_exhaustive_search() {
        let mut r = SplitMix64(11);
        for case in 0..2000 {
            let count = 1 + r.below(6);
            let layers = random(&mut r, count, 5);
            let budget = r.below(160) as u64;
            let found = allocate(&layers, budget);
            let want = exhaustive(&layers, budget);
            assert_eq!(found.is_some(), want.is_some(), "case {case}");
            if let (Some(found), Some(want)) = (found, want) {
                assert!((found.error - want).abs() < 1e-9, "case {case}: {found:?} {want}");
                assert!(found.cost <= budget && found.gap == 0.0);
            }
        }
    }

    #[test]
    fn large_budgets_take_the_least_errors_and_more_budget_never_hurts() {
        let mut r = SplitMix64(12);
        let layers = random(&mut r, 120, 9);
        let least: f64 = layers
            .iter()
            .map(|l| l.iter().map(|c| c.error).fold(f64::INFINITY, f64::min))
            .sum();
        let mut last = f64::INFINITY;
        for budget in (0..5000u64).step_by(100) {
            let Some(found) = allocate(&layers, budget) else {
                continue;
            };
            assert!(
                found.error <= last + 1e-9 && found.gap == 0.0,
                "{budget}: {found:?}"
            );
            last = found.error;
        }
        assert!((last - least).abs() < 1e-9);
    }

    #[test]
    fn a_layer_without_choice_and_no_layer_at_all() {
        assert_eq!(allocate(&[Vec::new()], 10), None);
        let nothing = allocate(&[], 0).unwrap();
        assert_eq!((nothing.chosen.len(), nothing.cost, nothing.error), (0, 0, 0.0));
    }
}
