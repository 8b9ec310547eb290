//! Pruning in groups and ternary thresholds, against the vectors of the method's page (`vectors/wpc.json`, made by an independent program) and its laws.

use proptest::prelude::*;
use quant::methods::{ternary, ternary_threshold};
use quant::prune::{Clip, GroupShape, Groups, Penalty, Stored, ratio, select, shrink};
use quant::{ProjectError, ProjectOptions, Solver, project};
use serde_json::Value;
use testing::SplitMix64;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/wpc.json")).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn floats(v: &Value) -> Vec<f32> {
    numbers(v).iter().map(|&x| x as f32).collect()
}

fn near(a: f64, b: f64, within: f64, what: &str) {
    assert!((a - b).abs() <= within * b.abs().max(1.0), "{what}: {a} not {b}");
}

#[test]
fn ternary_rules_give_the_thresholds_scales_and_signs_of_the_vectors() {
    let all = vectors();
    let w = floats(&all["ternary_max"]["w"]);
    let number = |case: &str, key: &str| all[case][key].as_f64().unwrap();

    let delta = ternary_threshold::of_max(&w);
    near(delta, number("ternary_max", "delta"), 1e-7, "max rule: threshold");
    let fit = ternary_threshold::solve(&w, delta);
    near(fit.scale, number("ternary_max", "alpha"), 1e-7, "max rule: scale");
    let signs: Vec<f64> = fit.indices.iter().map(|&i| f64::from(i)).collect();
    assert_eq!(signs, numbers(&all["ternary_max"]["tern"]));
    for (sign, what) in signs.iter().zip(numbers(&all["ternary_max"]["what"])) {
        near(fit.scale * sign, what, 1e-7, "max rule: projected weight");
    }
    // What is ternary already stays as it is.
    let again: Vec<f32> = signs.iter().map(|s| (fit.scale * s) as f32).collect();
    assert_eq!(
        ternary_threshold::solve(&again, ternary_threshold::of_max(&again)).indices,
        fit.indices
    );

    let delta = ternary_threshold::of_mean(&w);
    near(
        delta,
        number("ternary_twn", "delta"),
        1e-7,
        "mean rule: threshold",
    );
    let fit = ternary_threshold::solve(&w, delta);
    near(
        fit.scale,
        number("ternary_twn", "alpha"),
        1e-7,
        "mean rule: scale",
    );
    let count = fit.indices.iter().filter(|i| **i != 0).count();
    assert_eq!(count as f64, number("ternary_twn", "nnz"));

    let fit = ternary::solve(&w);
    near(
        fit.scale,
        number("ternary_l2opt", "alpha"),
        1e-7,
        "optimum: scale",
    );
    let square = |(&x, &i): (&f32, &i32)| (f64::from(x) - fit.scale * f64::from(i)).powi(2);
    let error: f64 = w.iter().zip(&fit.indices).map(square).sum();
    near(error, number("ternary_l2opt", "sse"), 1e-6, "optimum: error");
    let count = fit.indices.iter().filter(|i| **i != 0).count();
    assert_eq!(count as f64, number("ternary_l2opt", "nnz"));
    // The threshold lies between the largest weight that goes and the smallest that stays.
    let [low, high] = numbers(&all["ternary_l2opt"]["delta_between"])[..] else {
        panic!("two weights")
    };
    let sizes = |kept: bool| {
        let of = |(x, i): (&f32, &i32)| ((*i != 0) == kept).then_some(f64::from(x.abs()));
        w.iter().zip(&fit.indices).filter_map(of).collect::<Vec<_>>()
    };
    near(
        sizes(false).into_iter().fold(0.0, f64::max),
        low,
        1e-6,
        "optimum: largest that goes",
    );
    near(
        sizes(true).into_iter().fold(f64::INFINITY, f64::min),
        high,
        1e-6,
        "optimum: smallest that stays",
    );
}

#[test]
fn the_truncated_gaussian_has_the_means_and_slopes_of_the_vectors() {
    let all = vectors();
    for case in all["trunc_gauss"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let z = number("z");
        let (alpha, slope) = ternary_threshold::truncated_gaussian(z);
        near(alpha, number("alpha_over_sigma"), 1e-9, "alpha");
        near(slope, number("dalpha_ddelta"), 1e-9, "slope");
        let of = |z: f64| ternary_threshold::truncated_gaussian(z).0;
        near(slope, (of(z + 1e-5) - of(z - 1e-5)) / 2e-5, 1e-6, "differences");
    }
    // The least error of a Gaussian is where the threshold is half the scale; the vector's was searched for.
    let optimum = |key: &str| all["gauss_opt"][key].as_f64().unwrap();
    let alpha = ternary_threshold::truncated_gaussian(optimum("z")).0;
    near(alpha, optimum("alpha_over_sigma"), 1e-9, "optimum");
    near(alpha, 2.0 * optimum("z"), 1e-5, "twice the threshold");
    // Zeros are the mass of a Gaussian within the threshold, here by Simpson's rule; what they and the one level leave follows.
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (parts, z) = (1000, optimum("z"));
    let weight = |k: usize| match k {
        0 => 1.0,
        k if k == parts => 1.0,
        k => [2.0, 4.0][k % 2],
    };
    let sum: f64 = (0..=parts)
        .map(|k| weight(k) * density(z * k as f64 / parts as f64))
        .sum();
    let zeros = 2.0 * sum * z / (3.0 * parts as f64);
    near(zeros, optimum("sparsity"), 1e-9, "zeros");
    near(
        1.0 - alpha * alpha * (1.0 - zeros),
        optimum("sse_rel"),
        1e-9,
        "error",
    );
}

#[test]
fn rules_of_one_ternary_point_are_refused_elsewhere() {
    let rule = |solver| ProjectOptions {
        solver,
        ..ProjectOptions::default()
    };
    let w = [2.0, -1.0, 0.2, 0.5];
    for solver in [Solver::MaxRule, Solver::MeanRule] {
        let one = project(&"ternary".parse().unwrap(), &w, 1, &rule(solver)).unwrap();
        assert_eq!(one.scales.len(), 1);
        for grid in ["int4", "lbw2", "ternaryx2"] {
            let refused = project(&grid.parse().unwrap(), &w, 1, &rule(solver));
            assert!(matches!(refused, Err(ProjectError::Solver { .. })), "{grid}");
        }
    }
}

#[test]
fn the_clipped_penalty_and_its_gradient_are_those_of_the_vectors() {
    let all = vectors();
    let v = &all["wpc"];
    let w = floats(&v["w"]);
    let shape: GroupShape = "1x4xk".parse().unwrap();
    let groups = Groups::new(shape, &[4, 8, 3, 3]).unwrap();
    assert_eq!((groups.len(), groups.full()), (8, 36));
    for (a, b) in groups.norms(&w).iter().zip(numbers(&v["norms"])) {
        near(*a, b, 1e-6, "norm");
    }
    let clip = Clip::OfMean(v["a"].as_f64().unwrap());
    let penalty = Penalty::new(&groups, &w, clip);
    near(penalty.threshold, v["delta"].as_f64().unwrap(), 1e-6, "threshold");
    near(penalty.value, v["penalty"].as_f64().unwrap(), 1e-6, "penalty");
    assert_eq!(penalty.below as u64, v["n_below"].as_u64().unwrap());
    let mut gradient = vec![0.0; w.len()];
    penalty.add_gradient(&groups, &w, 1.0, &mut gradient);
    for (a, b) in groups
        .norms(&gradient)
        .iter()
        .zip(numbers(&v["grad_detached_group_norms"]))
    {
        near(*a, b, 1e-6, "norm of a group's gradient");
    }
    // The first group, of the first output channel and four input channels, lies beyond the threshold: nothing pulls on it.
    for (a, b) in gradient[..36].iter().zip(numbers(&v["grad_detached_group0"])) {
        near(f64::from(*a), b, 1e-6, "gradient of the first group");
    }
    // A threshold that moves with the norms pulls on all groups: differences of the value along each group's direction, found anew at each.
    for (g, want) in numbers(&v["grad_attached_group_norms"]).into_iter().enumerate() {
        let at = |step: f32| {
            let mut moved = w.clone();
            let (first, norm) = (g * 36, groups.norms(&w)[g] as f32);
            moved[first..first + 36]
                .iter_mut()
                .for_each(|x| *x *= 1.0 + step / norm);
            Penalty::new(&groups, &moved, clip).value
        };
        near(
            (at(1e-3) - at(-1e-3)) / 2e-3,
            want,
            1e-3,
            "a threshold that moves",
        );
    }
    let lasso = Penalty::new(&groups, &w, Clip::None);
    near(
        lasso.value,
        v["plain_group_lasso"].as_f64().unwrap(),
        1e-6,
        "group lasso",
    );

    let mut u = floats(&all["prox"]["u"]);
    shrink(&mut u, all["prox"]["tau"].as_f64().unwrap());
    for (a, b) in u.iter().zip(numbers(&all["prox"]["out"])) {
        near(f64::from(*a), b, 1e-7, "proximal step");
    }
    for case in all["compression"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let got = ratio(number("pruned"), number("group") as usize, number("index_bits"));
        near(got, number("ratio"), 1e-12, "compression");
    }
}

/// acc = Σ_i 2^i·[popcount(q_i & plus) − popcount(q_i & minus)], on the planes that a file stores.
#[test]
fn two_planes_of_bits_multiply_as_their_signs_do() {
    let all = vectors();
    let (q, signs) = (numbers(&all["dot"]["q"]), numbers(&all["dot"]["tern"]));
    let plane = |of: &dyn Fn(usize) -> bool| {
        let bit = |i: usize| u128::from(of(i)) << i;
        (0..q.len()).map(bit).fold(0u128, |a, b| a | b)
    };
    assert!(q.len() <= 128 && q.len() == signs.len());
    let (plus, minus) = (plane(&|i| signs[i] > 0.0), plane(&|i| signs[i] < 0.0));
    let sum: i64 = (0..4)
        .map(|bit| {
            let codes = plane(&|i| q[i] as u32 >> bit & 1 == 1);
            let ones = |of: u128| i64::from((codes & of).count_ones());
            (ones(plus) - ones(minus)) << bit
        })
        .sum();
    assert_eq!(sum, all["dot"]["acc"].as_i64().unwrap());
    let plain: f64 = q.iter().zip(&signs).map(|(q, s)| q * s).sum();
    assert_eq!(plain, sum as f64);
}

#[test]
fn names_of_groups_are_read_back_and_others_refused() {
    for text in ["lane", "kernel", "tile", "panel", "1x32x1", "4x2xk"] {
        let shape: GroupShape = text.parse().unwrap();
        assert_eq!(shape.to_string(), text);
    }
    assert_eq!("1x16x1".parse(), Ok(GroupShape::LANE));
    for text in ["", "lanes", "0x1x1", "1x1x9", "1x1", "1x1x1x1", "axbxc"] {
        assert!(text.parse::<GroupShape>().is_err(), "{text}");
    }
    assert!(
        "lanes"
            .parse::<GroupShape>()
            .unwrap_err()
            .contains("did you mean \"lane\"")
    );
    assert_eq!(Groups::new(GroupShape::LANE, &[4]), None);
    assert_eq!(Groups::new(GroupShape::LANE, &[4, 0, 3, 3]), None);
}

/// Linear regression: two strong groups of nine weights and six weak ones, by proximal steps; strong norms relative to least squares.
fn regression(clip: Clip) -> ([f64; 2], usize) {
    let (groups, n) = (Groups::new(GroupShape::KERNEL, &[8, 1, 3, 3]).unwrap(), 400);
    let mut rng = SplitMix64(5);
    let mut gauss = || {
        let (u, v) = (rng.unit().max(1e-12), rng.unit());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    };
    let truth: Vec<f64> = (0..72)
        .map(|i| gauss() * if i < 18 { 1.0 } else { 0.02 })
        .collect();
    let x: Vec<Vec<f64>> = (0..n).map(|_| (0..72).map(|_| gauss()).collect()).collect();
    let y: Vec<f64> = x
        .iter()
        .map(|x| x.iter().zip(&truth).map(|(a, b)| a * b).sum::<f64>() + 0.1 * gauss())
        .collect();
    let fit = |lambda: f64, steps: usize| -> Vec<f32> {
        let mut w = vec![0.01f32; 72];
        for _ in 0..steps {
            let mut gradient = vec![0.0; 72];
            for (x, y) in x.iter().zip(&y) {
                let off = x.iter().zip(&w).map(|(a, b)| a * f64::from(*b)).sum::<f64>() - y;
                gradient
                    .iter_mut()
                    .zip(x)
                    .for_each(|(g, x)| *g += off * x / n as f64);
            }
            w.iter_mut()
                .zip(&gradient)
                .for_each(|(w, g)| *w -= 0.05 * *g as f32);
            Penalty::new(&groups, &w, clip).shrink(&groups, &mut w, 0.05 * lambda);
        }
        w
    };
    let (free, pulled) = (groups.norms(&fit(0.0, 4000)), groups.norms(&fit(0.3, 4000)));
    let zeros = pulled[2..].iter().filter(|n| **n == 0.0).count();
    ([pulled[0] / free[0], pulled[1] / free[1]], zeros)
}

#[test]
fn clipping_zeroes_weak_groups_and_leaves_strong_ones_alone() {
    let (strong, zeros) = regression(Clip::None);
    assert!(
        strong.iter().all(|r| *r < 0.95) && zeros == 6,
        "{strong:?} {zeros}"
    );
    let (strong, zeros) = regression(Clip::OfMean(0.7));
    assert!(
        strong.iter().all(|r| (r - 1.0).abs() < 0.02) && zeros == 6,
        "{strong:?} {zeros}"
    );
}

#[test]
fn bits_are_counted_in_full() {
    let layer = Stored {
        weights: 1600,
        kept: 1200,
        bits: 2,
        index: 100,
        other: 64,
    };
    assert_eq!(layer.total(), 2564);
    near(
        Stored::compression(&[layer, layer]),
        32.0 * 1600.0 / 2564.0,
        1e-12,
        "of two layers",
    );
    assert_eq!(Stored::compression(&[]), 0.0);
}

fn shapes() -> impl Strategy<Value = (GroupShape, Vec<usize>)> {
    let shape = (1usize..5, 1usize..20, any::<bool>()).prop_map(|(outputs, inputs, one)| GroupShape {
        outputs,
        inputs,
        taps: one.then_some(1),
    });
    (shape, prop::collection::vec(1usize..8, 2..5))
}

proptest! {
    #[test]
    fn every_weight_is_in_one_group((shape, weight) in shapes(), seed: u64) {
        let groups = Groups::new(shape, &weight).unwrap();
        let n: usize = weight.iter().product();
        let mut rng = SplitMix64(seed);
        let w: Vec<f32> = (0..n).map(|_| rng.unit() as f32 - 0.5).collect();
        let mut seen = vec![0; n];
        for g in 0..groups.len() {
            groups.weights(g).for_each(|i| seen[i] += 1);
        }
        prop_assert!(seen.iter().all(|&s| s == 1));
        let squares: f64 = groups.norms(&w).iter().map(|n| n * n).sum();
        let all: f64 = w.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        prop_assert!((squares - all).abs() <= 1e-9 * all);
        let number: Vec<usize> = (0..groups.len()).collect();
        let of = groups.spread(&number);
        prop_assert!((0..groups.len()).all(|g| groups.weights(g).all(|i| of[i] == g)));
    }

    #[test]
    fn scaling_weights_scales_the_penalty_and_leaves_the_set((shape, weight) in shapes(), seed: u64, k in -8i32..8) {
        let groups = Groups::new(shape, &weight).unwrap();
        let n: usize = weight.iter().product();
        let mut rng = SplitMix64(seed);
        let w: Vec<f32> = (0..n).map(|_| rng.unit() as f32 - 0.5).collect();
        let scaled: Vec<f32> = w.iter().map(|x| x * 2f32.powi(k)).collect();
        let (a, b) = (Penalty::new(&groups, &w, Clip::OfMean(0.7)), Penalty::new(&groups, &scaled, Clip::OfMean(0.7)));
        prop_assert_eq!(a.below, b.below);
        let t = 2f64.powi(k);
        prop_assert!((b.value - t * a.value).abs() <= 1e-9 * b.value.max(1e-30));
        prop_assert!((b.threshold - t * a.threshold).abs() <= 1e-9 * b.threshold.max(1e-30));
    }

    #[test]
    fn no_output_channel_loses_its_last_group((shape, weight) in shapes(), seed: u64, share in 0.0f64..1.1) {
        let groups = Groups::new(shape, &weight).unwrap();
        let n: usize = weight.iter().product();
        let mut rng = SplitMix64(seed);
        let w: Vec<f32> = (0..n).map(|_| rng.unit() as f32 - 0.5).collect();
        let count = (share * groups.len() as f64) as usize;
        let kept = select(&groups, &w, count);
        let pruned = kept.iter().filter(|k| !**k).count();
        prop_assert!(pruned <= count);
        for o in 0..weight[0] {
            prop_assert!((0..groups.len()).any(|g| kept[g] && groups.outputs(g).contains(&o)));
        }
        // What went is no stronger than what could have gone instead.
        let norms = groups.comparable_norms(&w);
        let strongest = (0..groups.len()).filter(|g| !kept[*g]).map(|g| norms[g]).fold(0.0, f64::max);
        let alone = |g: usize| groups.outputs(g).any(|o| {
            (0..groups.len()).filter(|h| kept[*h] && groups.outputs(*h).contains(&o)).count() == 1
        });
        for g in (0..groups.len()).filter(|g| kept[*g]) {
            prop_assert!(norms[g] >= strongest || alone(g), "{} {}", norms[g], strongest);
        }
    }
}

/// The mean of |w| beyond the threshold, of a million samples of the Gaussian that the truncated mean is of.
#[test]
fn the_truncated_mean_is_that_of_a_million_samples() {
    let mut rng = SplitMix64(3);
    let samples: Vec<f64> = (0..500_000)
        .flat_map(|_| {
            let (u, v) = (rng.unit().max(1e-12), rng.unit());
            let radius = (-2.0 * u.ln()).sqrt();
            let (sin, cos) = (2.0 * std::f64::consts::PI * v).sin_cos();
            [radius * cos, radius * sin]
        })
        .map(f64::abs)
        .collect();
    for z in [0.3, 0.612, 1.2] {
        let beyond: Vec<f64> = samples.iter().copied().filter(|w| *w >= z).collect();
        let mean = beyond.iter().sum::<f64>() / beyond.len() as f64;
        near(
            ternary_threshold::truncated_gaussian(z).0,
            mean,
            5e-3,
            "mean of samples",
        );
    }
}

/// Both gradients against differences of the penalty: with δ held, and with δ following the norms, where every group gets (clipped·a/G)·w/‖w‖ more.
#[test]
fn gradients_are_the_differences_of_the_penalty() {
    let v = &vectors()["wpc"];
    let (w, a) = (floats(&v["w"]), v["a"].as_f64().unwrap());
    let groups = Groups::new("1x4xk".parse().unwrap(), &[4, 8, 3, 3]).unwrap();
    let at = Penalty::new(&groups, &w, Clip::OfMean(a));
    let mut held = vec![0.0; w.len()];
    at.add_gradient(&groups, &w, 1.0, &mut held);
    let norms = groups.norms(&w);
    let clipped = norms.iter().filter(|n| **n >= at.threshold).count() as f64;
    let more: Vec<f64> = norms
        .iter()
        .map(|n| clipped * a / norms.len() as f64 / n)
        .collect();
    let more = groups.spread(&more);
    for i in (0..w.len()).step_by(7) {
        // f32 weights: a step that they hold exactly enough, and no norm near the threshold.
        let step = 1.0 / 1024.0;
        let moved = |by: f32| {
            let mut w = w.clone();
            w[i] += by;
            w
        };
        let [up, down] = [moved(step), moved(-step)];
        let span = f64::from(up[i]) - f64::from(down[i]);
        let value = |w: &[f32], threshold: f64| groups.norms(w).iter().map(|n| n.min(threshold)).sum::<f64>();
        let difference = (value(&up, at.threshold) - value(&down, at.threshold)) / span;
        near(f64::from(held[i]), difference, 1e-4, "held");
        let whole = |w: &[f32]| Penalty::new(&groups, w, Clip::OfMean(a)).value;
        let difference = (whole(&up) - whole(&down)) / span;
        let attached = f64::from(held[i]) + more[i] * f64::from(w[i]);
        near(attached, difference, 1e-4, "attached");
    }
}
