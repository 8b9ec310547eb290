//! Laws that hold for every input: equivariance, idempotence, bounds, degenerates.

use graph::WeightAnnotation;
use proptest::prelude::*;
use quant::grid::Grid;
use quant::methods::{Levels, lbw_optimum, lbw_semi_analytic, lbw_ternary, scale_real};
use quant::{Granularity, ProjectError, ProjectOptions, ScaleKind, Solver, project, project_weight};

/// Groups with zeros, ties, outliers and wide ranges among them.
fn group() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        4 => -4f32..4.0,
        1 => Just(0f32),
        1 => (-6i32..6).prop_map(|e| (e as f32).exp2()),
        1 => (-6i32..6).prop_map(|e| -1.5 * (e as f32).exp2()),
        1 => -300f32..300.0,
    ];
    prop::collection::vec(value, 1..120)
}

fn magnitudes() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(1u32),
        Just(2),
        Just(3),
        Just(4),
        Just(7),
        Just(8),
        Just(15),
        Just(16)
    ]
}

fn decoded(w: &[f32], n: u32) -> Vec<f32> {
    let best = lbw_optimum::solve(w, n);
    let level = |c: i32| {
        if c == 0 {
            0.0
        } else {
            ((best.s + c.abs() - n as i32) as f32).exp2().copysign(c as f32)
        }
    };
    best.codes.iter().map(|&c| level(c)).collect()
}

proptest! {
    #[test]
    fn powers_of_two_signs_order_and_zeros(w in group(), n in magnitudes(), k in -20i32..20, turn in 0usize..200) {
        let base = lbw_optimum::solve(&w, n);
        let zero = w.iter().all(|x| *x == 0.0);
        let scaled: Vec<f32> = w.iter().map(|x| x * (k as f32).exp2()).collect();
        let other = lbw_optimum::solve(&scaled, n);
        prop_assert_eq!(&other.codes, &base.codes);
        prop_assert_eq!(other.s, if zero { 0 } else { base.s + k });
        let negated: Vec<f32> = w.iter().map(|x| -x).collect();
        let opposite: Vec<i32> = base.codes.iter().map(|c| -c).collect();
        prop_assert_eq!(lbw_optimum::solve(&negated, n).codes, opposite);
        let mut turned = w.clone();
        turned.rotate_left(turn % w.len());
        let mut codes = base.codes.clone();
        codes.rotate_left(turn % w.len());
        let found = lbw_optimum::solve(&turned, n);
        prop_assert_eq!((found.s, found.codes), (base.s, codes));
        let mut longer = w.clone();
        longer.extend([0.0, -0.0]);
        let found = lbw_optimum::solve(&longer, n);
        prop_assert_eq!(found.s, base.s);
        prop_assert_eq!(&found.codes[..w.len()], &base.codes[..]);
        prop_assert_eq!(&found.codes[w.len()..], &[0, 0]);
    }

    #[test]
    fn projecting_twice_is_projecting_once(w in group(), n in magnitudes()) {
        let once = decoded(&w, n);
        prop_assert_eq!(decoded(&once, n), once);
    }

    #[test]
    fn no_exponent_and_no_rule_of_the_paper_is_better(w in group(), n in magnitudes()) {
        let best = lbw_optimum::solve(&w, n);
        let least = lbw_optimum::error(&w, best.s, n);
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        let slack = 1e-12 * norm;
        for s in best.s - 12..best.s + 3 {
            prop_assert!(least <= lbw_optimum::error(&w, s, n) + slack);
        }
        let of = |codes: &[i32], s: i32| -> f64 {
            let value = |c: i32| if c == 0 { 0.0 } else { f64::from(s + c.abs() - n as i32).exp2().copysign(f64::from(c)) };
            w.iter().zip(codes).map(|(&x, &c)| (f64::from(x) - value(c)).powi(2)).sum()
        };
        let paper = lbw_semi_analytic::solve(&w, n, 0.75);
        prop_assert!(least <= of(&paper.codes, paper.s) + slack);
        if n == 1 {
            let ternary = lbw_ternary::solve(&w);
            prop_assert!((least - of(&ternary.codes, ternary.s)).abs() <= slack);
        }
        // More magnitudes never hurt.
        let double = lbw_optimum::solve(&w, 2 * n);
        prop_assert!(lbw_optimum::error(&w, double.s, 2 * n) <= least + slack);
        // The top level is used.
        if norm > 0.0 {
            prop_assert_eq!(best.codes.iter().map(|c| c.unsigned_abs()).max(), Some(n));
        }
        for (x, hat) in w.iter().zip(decoded(&w, n)) {
            let a = f64::from(x.abs());
            let bound = (a / 3.0).max(f64::from(best.s - n as i32).exp2()).max(a - f64::from(best.s).exp2());
            prop_assert!((f64::from(*x) - f64::from(hat)).abs() <= bound * (1.0 + 1e-12));
        }
    }

    #[test]
    fn histogram_and_direct_scan_agree(w in prop::collection::vec(-4f32..4.0, 65..400), n in magnitudes()) {
        let best = lbw_optimum::solve(&w, n);
        let least = lbw_optimum::error(&w, best.s, n);
        for s in best.s - 20..=best.s + 2 {
            prop_assert!(least <= lbw_optimum::error(&w, s, n) * (1.0 + 1e-12));
        }
    }

    #[test]
    fn real_scale_is_optimal_and_bounded(w in group(), grid in 0usize..5) {
        let names = ["lbw4", "pow2-4", "int3", "int4", "apot4"];
        let grid: Grid = names[grid].parse().unwrap();
        let options = ProjectOptions { granularity: Granularity::Tensor, ..ProjectOptions::default() };
        let real = project(&grid, &w, 1, &options).unwrap();
        let power = project(&grid, &w, 1, &ProjectOptions { scale_kind: ScaleKind::PowerOfTwo, ..options }).unwrap();
        prop_assert!(real.error <= power.error + 1e-6 * real.norm);
        let harmonic: f64 = (1..=w.len()).map(|k| 1.0 / k as f64).sum();
        prop_assert!(real.error <= real.norm * (1.0 - 1.0 / harmonic) + 1e-6 * real.norm);
        let levels = Levels::new(&grid.magnitudes());
        for k in 1..60 {
            let scale = f64::from(real.scales[0]) * (f64::from(k) / 30.0);
            let error: f64 = w.iter().map(|&x| {
                let a = f64::from(x.abs());
                (a - scale * levels.magnitude(levels.index(a / scale))).powi(2)
            }).sum();
            prop_assert!(real.error <= error + 1e-6 * real.norm, "{} at {}", grid, k);
        }
    }

    #[test]
    fn the_scan_is_as_good_as_the_sweep(seed in prop::collection::vec(-1f32..1.0, 300..500).prop_filter("not all zero", |v| v.iter().any(|x| x.abs() > 0.1)), grid in 0usize..4) {
        let w: Vec<f32> = seed.iter().map(|x| x * x * x).collect();
        let grid: Grid = ["pow2-4", "int4", "apot5", "lbw5-i8"][grid].parse().unwrap();
        let levels = Levels::new(&grid.magnitudes());
        let error = |scale: f64| -> f64 {
            w.iter().map(|&x| {
                let a = f64::from(x.abs());
                (a - scale * levels.magnitude(levels.index(a / scale))).powi(2)
            }).sum()
        };
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        let (exact, scan) = (error(scale_real::exact(&w, &levels)), error(scale_real::scan(&w, &levels)));
        prop_assert!(scan <= exact + 0.01 * norm && exact <= scan * (1.0 + 1e-9), "{}: {} {}", grid, exact, scan);
    }

    #[test]
    fn any_axis_gives_the_same_codes(data in prop::collection::vec(-1f32..1.0, 24), grid in 0usize..40) {
        let all = Grid::all();
        let grid = all[grid % all.len()];
        let (first, _) = project_weight(&grid, &data, &[2, 3, 4], 0, &ProjectOptions::default()).unwrap();
        // The same weights with the channel axis moved to the middle: [3, 2, 4].
        let moved: Vec<f32> = (0..24).map(|i| data[(i / 4 % 2) * 12 + (i / 8) * 4 + i % 4]).collect();
        let (second, _) = project_weight(&grid, &moved, &[3, 2, 4], 1, &ProjectOptions::default()).unwrap();
        let back: Vec<f32> = (0..24).map(|i| second.decode()[(i / 4 % 3) * 8 + (i / 12) * 4 + i % 4]).collect();
        prop_assert_eq!(first.decode(), back);
        prop_assert_eq!(&first.points[0].scales, &second.points[0].scales);
    }

    #[test]
    fn error_is_that_of_the_decoded_weights(data in prop::collection::vec(-1f32..1.0, 24), grid in 0usize..40) {
        let all = Grid::all();
        let grid = all[grid % all.len()];
        for scale_kind in [ScaleKind::Real, ScaleKind::PowerOfTwo] {
            let options = ProjectOptions { scale_kind, ..ProjectOptions::default() };
            let (annotation, p) = project_weight(&grid, &data, &[4, 6], 0, &options).unwrap();
            let decoded = annotation.decode();
            let error: f64 = data.iter().zip(&decoded).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            prop_assert!((error - p.error).abs() <= 1e-5 * p.norm + 1e-12);
            prop_assert!(annotation.points[0].codes.iter().all(|&c| usize::from(c) < 1 << grid.bits()));
            if scale_kind == ScaleKind::PowerOfTwo {
                prop_assert!(p.scales.iter().all(|s| s.to_bits() & 0x7F_FFFF == 0), "{} {:?}", grid, p.scales);
            }
        }
    }
}

fn everywhere(w: &[f32]) -> Vec<(Grid, WeightAnnotation)> {
    let mut out = Vec::new();
    for grid in Grid::all() {
        for scale_kind in [ScaleKind::Real, ScaleKind::PowerOfTwo] {
            let options = ProjectOptions {
                scale_kind,
                ..ProjectOptions::default()
            };
            out.push((
                grid,
                project_weight(&grid, w, &[1, w.len()], 0, &options).unwrap().0,
            ));
        }
    }
    out
}

#[test]
fn degenerate_groups() {
    for (grid, zero) in everywhere(&[0.0, -0.0, 0.0]) {
        if grid.has_zero() {
            assert_eq!(zero.points[0].scales, [1.0], "{grid}");
            assert!(zero.points[0].codes.iter().all(|&c| c == 0), "{grid}");
        }
        assert!(
            zero.decode().iter().all(|x| x.abs() <= f32::MIN_POSITIVE),
            "{grid}"
        );
    }
    for hostile in [
        vec![f32::from_bits(1); 3],
        vec![f32::MIN_POSITIVE, -1e-44],
        vec![f32::MAX, -f32::MAX, 1.0],
        vec![f32::MAX],
        vec![1e-40, 1e30, -1e-3],
    ] {
        for (grid, w) in everywhere(&hostile) {
            let scale = w.points[0].scales[0];
            assert!(scale.is_normal() && scale > 0.0, "{grid} {hostile:?} {scale}");
            assert!(w.decode().iter().all(|x| x.is_finite()), "{grid} {hostile:?}");
        }
    }
}

#[test]
fn one_weight_an_outlier_and_the_largest_number() {
    assert_eq!(decoded(&[-0.125], 4), [-0.125]);
    assert_eq!(decoded(&[0.75], 4), [1.0]); // a tie goes away from zero
    let mut outlier = vec![0.01f32; 63];
    outlier.push(10.0);
    assert_eq!(lbw_optimum::solve(&outlier, 2).s, 3);
    let top = lbw_optimum::solve(&[f32::MAX], 4);
    assert_eq!((top.s, top.codes), (127, vec![4]));
}

#[test]
fn errors_name_the_weight_and_the_reason() {
    let int8: Grid = "int8".parse().unwrap();
    let options = ProjectOptions::default();
    assert_eq!(project(&int8, &[], 1, &options), Err(ProjectError::Empty));
    let error = project(&int8, &[1.0, f32::NAN], 1, &options).unwrap_err();
    assert!(
        matches!(error, ProjectError::NonFinite { index: 1, .. }),
        "{error}"
    );
    // In ONNX order, not in the order of the channels.
    let error = project_weight(&int8, &[1.0, f32::INFINITY, 2.0, 3.0], &[2, 2], 1, &options).unwrap_err();
    assert!(
        matches!(error, ProjectError::NonFinite { index: 1, .. }),
        "{error}"
    );
    assert!(project(&int8, &[1.0; 5], 2, &options).is_err());
    assert!(project_weight(&int8, &[1.0; 5], &[5], 1, &options).is_err());
    let semi = ProjectOptions {
        solver: Solver::SemiAnalytic,
        ..options
    };
    assert!(matches!(
        project(&int8, &[1.0], 1, &semi),
        Err(ProjectError::Solver { .. })
    ));
    let lbw4: Grid = "lbw4".parse().unwrap();
    assert!(matches!(
        project(&lbw4, &[1.0], 1, &ProjectOptions { mu: -1.0, ..semi }),
        Err(ProjectError::Mu(_))
    ));
    // A μ above every weight leaves nothing but zeros.
    let zeros = project(&lbw4, &[1.0, 0.5], 1, &ProjectOptions { mu: 100.0, ..semi }).unwrap();
    assert_eq!((zeros.scales, zeros.codes), (vec![1.0], vec![0, 0]));
}
