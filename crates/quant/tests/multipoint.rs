//! Multipoint quantization against published vectors (exact steps and knapsacks by exhaustive search) and its laws.

use proptest::prelude::*;
use quant::methods::Levels;
use quant::multipoint::budget::{Row, by_gain, exact};
use quant::multipoint::{Search, collapse, greedy, refit, shifted, squared_error};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/multipoint.json")).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

/// Integer magnitudes of a named level set of the vectors.
fn magnitudes(name: &str) -> Vec<i32> {
    match name.split_at(7) {
        ("uniform", bits) => (1..1 << (bits.parse::<u32>().unwrap() - 1)).collect(),
        _ => (0..name.strip_prefix("pow2_n").unwrap().parse().unwrap())
            .map(|k| 1 << k)
            .collect(),
    }
}

#[test]
fn greedy_steps_and_refits_have_the_published_errors() {
    let vectors = vectors();
    let cases = vectors["greedy"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let w: Vec<f32> = numbers(&case["w"]).iter().map(|&x| x as f32).collect();
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        let magnitudes = magnitudes(case["levels"].as_str().unwrap());
        let levels = Levels::new(&magnitudes);
        let steps = case["steps"].as_array().unwrap();
        let mut terms = greedy(&w, &levels, steps.len(), Search::Exact).unwrap();
        for (m, want) in steps.iter().enumerate() {
            let have = squared_error(&w, &levels, &terms[..(m + 1).min(terms.len())]);
            let want = want["err"].as_f64().unwrap();
            assert!((have - want).abs() <= 1e-10 * norm, "{case}: {have} {want}");
        }
        refit(&w, &levels, &mut terms).unwrap();
        let (have, want) = (
            squared_error(&w, &levels, &terms),
            case["refit_err"].as_f64().unwrap(),
        );
        assert!((have - want).abs() <= 1e-10 * norm, "{case}: {have} {want}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_index() {
    let levels = Levels::new(&[1, 2]);
    let one = greedy(&[1.0, -2.0, 0.5], &levels, 1, Search::Exact).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let w = [1.0, -2.0, bad];
        let mut kept = one.clone();
        let refused = [
            greedy(&w, &levels, 2, Search::Exact).map(|_| ()),
            greedy(&w, &levels, 2, Search::Grid(100)).map(|_| ()),
            shifted(&w, &levels, 2).map(|_| ()),
            refit(&w, &levels, &mut kept),
        ];
        for result in refused {
            let sentence = result.unwrap_err().to_string();
            assert_eq!(
                sentence,
                format!("weight 2 is {bad}; every weight must be finite")
            );
        }
        assert_eq!(kept, one);
    }
}

fn rows_of(case: &Value) -> Vec<Row> {
    let errors = case["err"].as_array().unwrap().iter().map(numbers);
    let costs = numbers(&case["cost"]);
    errors
        .zip(costs)
        .map(|(errors, cost)| Row {
            errors,
            cost: cost as u64,
        })
        .collect()
}

fn total(rows: &[Row], points: &[usize]) -> f64 {
    rows.iter().zip(points).map(|(r, &k)| r.errors[k]).sum()
}

fn spent(rows: &[Row], points: &[usize]) -> u64 {
    rows.iter().zip(points).map(|(r, &k)| r.cost * k as u64).sum()
}

#[test]
fn budgets_are_spent_as_exhaustive_search_does() {
    let vectors = vectors();
    let cases = vectors["knapsack"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let rows = rows_of(case);
        let budget = case["budget"].as_u64().unwrap();
        let points = exact(&rows, budget, 1 << 20).unwrap();
        assert!(spent(&rows, &points) <= budget);
        let want = case["best_err"].as_f64().unwrap();
        assert!((total(&rows, &points) - want).abs() < 1e-9, "{case}: {points:?}");
    }
}

/// Every way to spend a budget.
fn exhaustive(rows: &[Row], budget: u64) -> f64 {
    match rows {
        [] => 0.0,
        [row, rest @ ..] => (0..row.errors.len())
            .filter(|&k| row.cost * k as u64 <= budget)
            .map(|k| row.errors[k] + exhaustive(rest, budget - row.cost * k as u64))
            .fold(f64::INFINITY, f64::min),
    }
}

fn rows(cost: impl Strategy<Value = u64>) -> impl Strategy<Value = Vec<Row>> {
    let row = (prop::collection::vec(0u32..1000, 1..5), cost).prop_map(|(mut errors, cost)| {
        errors.sort_unstable_by(|a, b| b.cmp(a));
        Row {
            errors: errors.into_iter().map(f64::from).collect(),
            cost,
        }
    });
    prop::collection::vec(row, 0..5)
}

fn level_sets() -> impl Strategy<Value = Levels> {
    prop::sample::select(vec![
        "uniform2", "uniform3", "uniform4", "pow2_n2", "pow2_n4", "pow2_n7",
    ])
    .prop_map(|name| Levels::new(&magnitudes(name)))
}

fn row() -> impl Strategy<Value = Vec<f32>> {
    let weight = prop_oneof![3 => -1f32..1.0, 1 => Just(0.0), 1 => (-8i32..8).prop_map(|x| x as f32 / 4.0)];
    prop::collection::vec(weight, 1..40)
}

/// Thousands of rows of like gains and many costs, as a network has them: the whole table would take 5,000 rows × 140,000 units.
#[test]
fn the_best_choice_of_thousands_of_rows_takes_little_memory() {
    let mut random = testing::SplitMix64(7);
    let costs = [100, 160, 448, 832, 2368];
    let mut rows = Vec::new();
    for _ in 0..5_000 {
        let first = f64::from(random.unit_f32());
        let second = first * 0.3 * f64::from(random.unit_f32());
        let cost = costs[(random.unit_f32() * 5.0) as usize % 5];
        rows.push(Row {
            errors: vec![first, second, 0.1 * second],
            cost,
        });
    }
    let budget = rows.iter().map(|r| r.cost).sum::<u64>() / 7;
    let (best, quick) = (exact(&rows, budget, 64 << 20).unwrap(), by_gain(&rows, budget));
    assert!(spent(&rows, &best) <= budget);
    assert!(total(&rows, &best) <= total(&rows, &quick));
    // Another solver of the same sum.
    let few = &rows[..300];
    let choices = few.iter().map(|r| {
        let all = r.errors.iter().zip(0..);
        all.map(|(&error, k)| quant::allocate::Choice {
            cost: k * r.cost,
            error,
        })
        .collect()
    });
    let other = quant::allocate::allocate(&choices.collect::<Vec<_>>(), budget / 20).unwrap();
    assert_eq!(other.gap, 0.0);
    let best = total(few, &exact(few, budget / 20, 4 << 20).unwrap());
    assert!((best - other.error).abs() < 1e-9, "{best} {}", other.error);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_exact_budget_is_the_best_and_the_other_is_within_one_rows_gain(rows in rows(1u64..5), budget in 0u64..30) {
        let best = exhaustive(&rows, budget);
        let points = exact(&rows, budget, 1 << 20).unwrap();
        prop_assert!(spent(&rows, &points) <= budget);
        prop_assert_eq!(total(&rows, &points), best);
        let quick = by_gain(&rows, budget);
        prop_assert!(spent(&rows, &quick) <= budget);
        let one = rows.iter().map(|r| r.errors[0] - r.errors[r.errors.len() - 1]).fold(0.0, f64::max);
        prop_assert!(total(&rows, &quick) <= best + one);
        // More to spend never hurts.
        prop_assert!(total(&rows, &exact(&rows, budget + 3, 1 << 20).unwrap()) <= best);
    }

    #[test]
    fn equal_costs_and_falling_gains_need_no_program(mut gains in prop::collection::vec(prop::collection::vec(0u32..100, 0..4), 0..5), budget in 0u64..12) {
        let rows: Vec<Row> = gains.iter_mut().map(|g| {
            g.sort_unstable();
            let errors = std::iter::once(0).chain(g.iter().scan(0, |sum, x| { *sum += x; Some(*sum) })).map(f64::from);
            let mut errors: Vec<f64> = errors.collect();
            errors.reverse();
            Row { errors, cost: 1 }
        }).collect();
        prop_assert_eq!(total(&rows, &by_gain(&rows, budget)), exhaustive(&rows, budget));
    }

    #[test]
    fn errors_fall_with_points_at_least_as_fast_as_the_bound(w in row(), levels in level_sets()) {
        let terms = greedy(&w, &levels, 4, Search::Exact).unwrap();
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        let harmonic: f64 = (1..=w.len()).map(|k| 1.0 / k as f64).sum();
        let mut before = norm;
        for m in 1..=terms.len() {
            let error = squared_error(&w, &levels, &terms[..m]);
            prop_assert!(error <= (1.0 - 1.0 / harmonic) * before + 1e-12 * norm);
            before = error;
        }
        if terms.len() < 4 {
            prop_assert!(before <= 1e-28 * norm.max(1e-40));
        }
        // One step of the paper's grid is never better than the exact one.
        let grid = squared_error(&w, &levels, &greedy(&w, &levels, 1, Search::Grid(100)).unwrap());
        prop_assert!(squared_error(&w, &levels, &terms[..terms.len().min(1)]) <= grid + 1e-12 * norm);
        let mut fitted = terms.clone();
        refit(&w, &levels, &mut fitted).unwrap();
        prop_assert!(squared_error(&w, &levels, &fitted) <= before + 1e-12 * norm);
        prop_assert!(fitted.iter().all(|t| t.scale > 0.0 && t.scale.is_finite()));
    }

    #[test]
    fn scale_sign_and_order_do_not_matter(w in row(), levels in level_sets(), k in -8i32..8) {
        let terms = greedy(&w, &levels, 3, Search::Exact).unwrap();
        let factor = 2f32.powi(k);
        let scaled: Vec<f32> = w.iter().map(|x| x * factor).collect();
        for (a, b) in terms.iter().zip(greedy(&scaled, &levels, 3, Search::Exact).unwrap()) {
            prop_assert_eq!(a.scale * f64::from(factor), b.scale);
            prop_assert_eq!(&a.indices, &b.indices);
        }
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        let error = squared_error(&w, &levels, &greedy(&w, &levels, 1, Search::Exact).unwrap());
        let turned: Vec<f32> = w.iter().rev().map(|x| -x).collect();
        let other = squared_error(&turned, &levels, &greedy(&turned, &levels, 1, Search::Exact).unwrap());
        prop_assert!((error - other).abs() <= 1e-12 * norm);
    }

    #[test]
    fn what_is_on_the_grid_is_found_with_one_point(indices in prop::collection::vec(-3i32..=3, 1..20), scale in 0.01f32..10.0) {
        let levels = Levels::new(&[1, 2, 3]);
        let scale = f32::from_bits(scale.to_bits() & 0xFFFF_0000);
        let w: Vec<f32> = indices.iter().map(|&i| i as f32 * scale).collect();
        let terms = greedy(&w, &levels, 3, Search::Exact).unwrap();
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        // … and the search stops there.
        prop_assert_eq!(terms.len(), usize::from(norm != 0.0));
        prop_assert!(squared_error(&w, &levels, &terms[..terms.len().min(1)]) <= 1e-24 * norm);
    }

    /// (b), (c) of the page: scales of the largest weight, or 0.8 of it for powers of two, leave no weight more than this share of it, and the exact step is no worse.
    #[test]
    fn a_point_leaves_no_more_than_a_simple_step_may(w in row(), (name, share) in prop::sample::select(vec![
        ("uniform2", 0.5), ("uniform3", 1.0 / 6.0), ("uniform4", 1.0 / 14.0), ("pow2_n3", 0.2), ("pow2_n4", 0.2), ("pow2_n7", 0.2),
    ])) {
        let levels = Levels::new(&magnitudes(name));
        let terms = greedy(&w, &levels, 3, Search::Exact).unwrap();
        let mut rest: Vec<f64> = w.iter().map(|&x| f64::from(x)).collect();
        let norm: f64 = rest.iter().map(|x| x * x).sum();
        for m in 1..=terms.len() {
            let largest = rest.iter().fold(0f64, |a, x| a.max(x.abs()));
            let most = rest.len() as f64 * (share * largest).powi(2);
            // What is left of weights that are met exactly is rounding.
            prop_assert!(squared_error(&w, &levels, &terms[..m]) <= most * (1.0 + 1e-9) + 1e-28 * norm);
            let term = &terms[m - 1];
            for (r, i) in rest.iter_mut().zip(&term.indices) {
                *r -= term.scale * levels.magnitude(i.unsigned_abs() as usize) * f64::from(i.signum());
            }
        }
    }

    /// Weights of one size, whatever their signs, are one point; where sizes repeat, the order of the weights changes nothing.
    #[test]
    fn equal_sizes_are_no_trap(signs in prop::collection::vec(any::<bool>(), 1..30), size in 0.01f32..10.0, turn in 0usize..30, levels in level_sets()) {
        let w: Vec<f32> = signs.iter().map(|s| if *s { size } else { -size }).collect();
        let norm = signs.len() as f64 * f64::from(size).powi(2);
        let one = greedy(&w, &levels, 2, Search::Exact).unwrap();
        prop_assert!(squared_error(&w, &levels, &one[..1]) <= 1e-24 * norm);
        let tied: Vec<f32> = (0..signs.len()).map(|i| size * (1 + i % 3) as f32).collect();
        let mut turned = tied.clone();
        turned.rotate_left(turn % signs.len());
        let error = |w: &[f32]| squared_error(w, &levels, &greedy(w, &levels, 1, Search::Exact).unwrap());
        prop_assert!((error(&tied) - error(&turned)).abs() <= 1e-12 * norm);
    }

    #[test]
    fn points_a_power_of_two_apart_add_up_in_integers(w in row(), levels in level_sets(), x in prop::collection::vec(0i64..256, 40)) {
        let terms = shifted(&w, &levels, 2).unwrap();
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        prop_assert!(squared_error(&w, &levels, &terms) <= squared_error(&w, &levels, &terms[..terms.len().min(1)]) + 1e-12 * norm);
        if let Some(plane) = collapse(&terms, &levels) {
            for (i, &level) in plane.levels.iter().enumerate() {
                let sum: f64 = terms.iter().map(|t| t.scale * levels.magnitude(t.indices[i].unsigned_abs() as usize) * f64::from(t.indices[i].signum())).sum();
                prop_assert!((plane.scale * f64::from(level) - sum).abs() <= 1e-12 * sum.abs());
            }
            // The integer sums of the points, shifted, are the sum of the plane.
            let dot = |q: &dyn Fn(usize) -> i64| -> i64 { (0..w.len()).map(|i| q(i) * x[i]).sum() };
            let points: i64 = terms.iter().map(|t| {
                let shift = (t.scale / plane.scale) as i64;
                shift * dot(&|i| levels.magnitude(t.indices[i].unsigned_abs() as usize) as i64 * i64::from(t.indices[i].signum()))
            }).sum();
            prop_assert_eq!(points, dot(&|i| i64::from(plane.levels[i])));
        }
    }
}

/// Relative errors of the method's page (K = 576, means over 20 Gaussian rows), within their spread.
#[test]
fn gaussian_rows_lose_what_the_page_says() {
    let mut state = 7u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let mut gauss = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    let rows: Vec<Vec<f32>> = (0..20)
        .map(|_| (0..576).map(|_| gauss() as f32).collect())
        .collect();
    for (name, one, two, two_shifted, three) in [
        ("uniform2", 0.193, 0.0427, 0.0489, 0.0179),
        ("uniform3", 0.0474, 0.00498, 0.00526, 0.00145),
        ("uniform4", 0.0128, 0.000745, 0.000836, 0.000115),
        ("pow2_n2", 0.0839, 0.0109, 0.0118, 0.00312),
        ("pow2_n4", 0.0374, 0.00133, 0.00182, 0.000061),
    ] {
        let levels = Levels::new(&magnitudes(name));
        let mean = |of: &dyn Fn(&[f32]) -> f64| -> f64 {
            let relative = |w: &Vec<f32>| of(w) / w.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
            rows.iter().map(relative).sum::<f64>() / 20.0
        };
        let greedy_error =
            |m: usize| mean(&|w| squared_error(w, &levels, &greedy(w, &levels, m, Search::Exact).unwrap()));
        // What three points leave differs more from row to row.
        let within = |share: f64, have: f64, want: f64| {
            assert!((have / want - 1.0).abs() < share, "{name}: {have} {want}")
        };
        within(0.12, greedy_error(1), one);
        within(0.12, greedy_error(2), two);
        within(0.25, greedy_error(3), three);
        within(
            0.12,
            mean(&|w| squared_error(w, &levels, &shifted(w, &levels, 2).unwrap())),
            two_shifted,
        );
    }
}
