//! Laws of the weight methods beyond BCGD's own vectors.

mod ternary;

use quant::{Granularity, ProjectOptions, ScaleKind, Solver};
use testing::SplitMix64;
use train::method::affine::Affine;
use train::method::apot::Apot;
use train::method::bcgd::{Bcgd, Quantizer};
use train::method::binary_relax::{BinaryRelax, relax};
use train::method::lbw::Lbw;
use train::method::lsq::Lsq;
use train::method::progressive::Progressive;
use train::method::ternary_threshold::TernaryThreshold;
use train::method::{Layout, Progress, WeightMethod};

fn layout() -> Layout {
    Layout {
        shape: vec![4, 3, 3, 3],
        axis: 0,
    }
}

fn weights(seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64(seed);
    let draw = |rng: &mut SplitMix64| (0..6).map(|_| rng.unit() - 0.5).sum::<f64>() as f32 * 0.1;
    (0..layout().len()).map(|_| draw(&mut rng)).collect()
}

fn at(step: u64) -> Progress {
    Progress { step, steps: 100 }
}

fn paper() -> ProjectOptions {
    ProjectOptions {
        granularity: Granularity::Tensor,
        scale_kind: ScaleKind::PowerOfTwo,
        ..ProjectOptions::default()
    }
}

fn lbw(grid: &str, options: ProjectOptions, every: u64, clip: bool) -> Lbw {
    Lbw::new(grid.parse().unwrap(), options, layout(), every, clip)
}

/// Every method on the same weight.
fn all() -> Vec<(&'static str, Box<dyn WeightMethod>)> {
    let mut out: Vec<(&'static str, Box<dyn WeightMethod>)> = Vec::new();
    for grid in [
        "lbw2", "lbw3", "lbw4", "lbw5", "lbw6", "pow2-3", "pow2-4", "ternary", "binary", "int2", "int4",
        "int8", "affine4", "apot4",
    ] {
        out.push((grid, Box::new(lbw(grid, ProjectOptions::default(), 1, false))));
        out.push((grid, Box::new(lbw(grid, paper(), 7, true))));
    }
    let thresholds = ProjectOptions {
        solver: Solver::SemiAnalytic,
        ..paper()
    };
    out.push(("lbw4 (H)", Box::new(lbw("lbw4", thresholds, 7, false))));
    for bits in [1, 2, 4] {
        for quantizer in [Quantizer::Exact, Quantizer::Published] {
            out.push((
                "bcgd",
                Box::new(Bcgd::new(
                    bits,
                    quantizer,
                    Granularity::Channel,
                    1e-5,
                    layout(),
                    1,
                )),
            ));
        }
    }
    for granularity in [Granularity::Tensor, Granularity::Channel] {
        out.push(("lsq", Box::new(Lsq::new(4, granularity, layout()))));
        for bits in [2, 4, 8] {
            out.push(("affine", Box::new(Affine::new(bits, 7, granularity, layout()))));
        }
        out.push((
            "ternary-threshold",
            Box::new(TernaryThreshold::new(granularity, layout())),
        ));
        out.push((
            "apot",
            Box::new(Apot::new("apot4".parse().unwrap(), granularity, layout())),
        ));
    }
    let stages: Vec<(f64, Box<dyn WeightMethod>)> = vec![
        (0.0, Box::new(lbw("lbw6", paper(), 1, false))),
        (0.5, Box::new(lbw("lbw4", paper(), 1, false))),
    ];
    out.push(("progressive", Box::new(Progressive::new(stages))));
    out.push((
        "binary-relax",
        Box::new(BinaryRelax::new(Box::new(lbw("ternary", paper(), 1, false)))),
    ));
    out
}

#[test]
fn what_is_exported_is_what_was_used() {
    for (name, mut method) in all() {
        assert!(method.annotation().is_none(), "{name}: nothing was projected yet");
        for step in [0, 1, 8, 60, 100] {
            let shadow = weights(step);
            let mut projected = vec![0.0; shadow.len()];
            method.project(&shadow, &at(step), &mut projected).unwrap();
            let annotation = method.annotation().unwrap();
            annotation.check().unwrap_or_else(|e| panic!("{name}: {e}"));
            if name != "binary-relax" || step >= 75 {
                assert_eq!(annotation.decode(), projected, "{name} step {step}");
            }
        }
    }
}

#[test]
fn a_resumed_method_goes_on_as_the_unbroken_one() {
    for ((name, mut whole), (_, mut resumed)) in all().into_iter().zip(all()) {
        let mut a = vec![0.0; layout().len()];
        let mut b = a.clone();
        for step in 0..60 {
            whole.project(&weights(step), &at(step), &mut a).unwrap();
        }
        assert!(resumed.restore(&whole.state()), "{name}");
        for step in 60..70 {
            let shadow = weights(step);
            whole.project(&shadow, &at(step), &mut a).unwrap();
            resumed.project(&shadow, &at(step), &mut b).unwrap();
            assert_eq!(a, b, "{name} step {step}");
            assert_eq!(whole.annotation(), resumed.annotation(), "{name} step {step}");
        }
        assert!(
            !resumed.restore(&[1.0, 2.0, 3.0]),
            "{name}: a state of another layer"
        );
    }
}

#[test]
fn a_weight_that_is_not_finite_is_an_error_at_every_step() {
    for (name, mut method) in all() {
        let mut out = vec![0.0; layout().len()];
        method.project(&weights(1), &at(0), &mut out).unwrap();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut shadow = weights(2);
            shadow[17] = bad;
            for step in [1, 7] {
                let error = method.project(&shadow, &at(step), &mut out).unwrap_err();
                assert!(error.to_string().contains("17"), "{name}: {error}");
            }
        }
    }
}

#[test]
fn scales_hold_between_searches_and_rounding_is_nearest() {
    let mut method = lbw("lbw4", paper(), 10, false);
    let mut out = vec![0.0; layout().len()];
    method.project(&weights(1), &at(0), &mut out).unwrap();
    let first = method.annotation().unwrap().points[0].scales.clone();
    let large: Vec<f32> = weights(2).iter().map(|w| w * 4.0).collect();
    method.project(&large, &at(9), &mut out).unwrap();
    assert_eq!(method.annotation().unwrap().points[0].scales, first);
    let levels: Vec<f32> = [0, 1, 2, 4, 8].iter().map(|&l| first[0] * l as f32).collect();
    for (w, p) in large.iter().zip(&out) {
        let least = levels
            .iter()
            .map(|l| (w.abs() - l).abs())
            .fold(f32::MAX, f32::min);
        assert_eq!((w - p).abs(), least);
    }
    method.project(&large, &at(10), &mut out).unwrap();
    assert_eq!(method.annotation().unwrap().points[0].scales[0], first[0] * 4.0);
}

/// Power-of-two scaling, sign and order, as for the projection itself.
#[test]
fn projected_descent_keeps_the_laws_of_the_projection() {
    let w = weights(4);
    let run = |w: &[f32]| {
        let mut out = vec![0.0; w.len()];
        lbw("lbw4", paper(), 1, false)
            .project(w, &at(0), &mut out)
            .unwrap();
        out
    };
    let p = run(&w);
    let eighth: Vec<f32> = w.iter().map(|x| x / 8.0).collect();
    assert_eq!(run(&eighth), p.iter().map(|x| x / 8.0).collect::<Vec<_>>());
    assert_eq!(run(&p), p, "idempotent");
}

#[test]
fn clipped_shadow_weights_stay_within_half_a_gap_above_the_top() {
    let mut method = lbw("ternary", ProjectOptions::default(), 1, true);
    let mut shadow = weights(5);
    let mut out = vec![0.0; shadow.len()];
    method.project(&shadow, &at(0), &mut out).unwrap();
    let scales = method.annotation().unwrap().points[0].scales.clone();
    for w in &mut shadow {
        *w *= 100.0;
    }
    method.after_update(&mut shadow);
    for (i, w) in shadow.iter().enumerate() {
        assert!(w.abs() <= scales[i / 27] * 1.5);
    }
    let mut free = lbw("ternary", ProjectOptions::default(), 1, false);
    let mut kept = vec![100.0; 108];
    free.project(&kept, &at(0), &mut out).unwrap();
    free.after_update(&mut kept);
    assert!(kept.iter().all(|&w| w == 100.0));
}

#[test]
fn a_start_from_codes_gives_those_codes() {
    let shadow = weights(6);
    let options = ProjectOptions::default();
    let grid = "pow2-4".parse().unwrap();
    let (mut start, _) = quant::project_weight(&grid, &shadow, &[4, 3, 3, 3], 0, &options).unwrap();
    // As a reconstruction would: some codes are not the nearest ones.
    for code in start.points[0].codes.iter_mut().step_by(5) {
        *code = if *code == 7 { 6 } else { 7 };
    }
    let mut method = lbw("pow2-4", options, 100, false);
    let mut moved = shadow.clone();
    method.start_from(&start, &mut moved);
    let mut out = vec![0.0; shadow.len()];
    method.project(&moved, &at(1), &mut out).unwrap();
    assert_eq!(out, start.decode());
    // As far from all thresholds as can be: small steps lose none of them.
    let gap = start.points[0].scales.iter().copied().fold(f32::MAX, f32::min);
    for sign in [-0.49, 0.49] {
        let near: Vec<f32> = moved.iter().map(|w| w + sign * gap).collect();
        method.project(&near, &at(2), &mut out).unwrap();
        assert_eq!(out, start.decode());
    }
}

#[test]
fn the_relaxed_point_is_the_proximal_point() {
    let (y, p) = (weights(7), weights(8));
    let mut x = p.clone();
    relax(&y, &mut x, 0.0);
    assert_eq!(x, y);
    x.clone_from(&p);
    relax(&y, &mut x, 1e12);
    assert!(x.iter().zip(&p).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()));

    // Against random perturbations, with the grid's own distance.
    let mut inner = lbw("ternary", paper(), 1, false);
    let mut q = vec![0.0; y.len()];
    inner.project(&y, &at(0), &mut q).unwrap();
    let lambda = 2.5;
    let value = |x: &[f32]| {
        let mut inner = lbw(
            "ternary",
            ProjectOptions {
                scale_kind: ScaleKind::PowerOfTwo,
                ..paper()
            },
            1,
            false,
        );
        let mut near = vec![0.0; x.len()];
        inner.project(x, &at(0), &mut near).unwrap();
        let square = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum::<f64>()
        };
        0.5 * square(x, &y) + lambda / 2.0 * square(x, &near)
    };
    let mut best = q.clone();
    relax(&y, &mut best, lambda);
    let least = value(&best);
    let mut rng = SplitMix64(13);
    for _ in 0..200 {
        let size = 10f64.powf(-3.0 * rng.unit()) * 0.1;
        let moved: Vec<f32> = (best.iter())
            .map(|&b| b + ((rng.unit() - 0.5) * size) as f32)
            .collect();
        assert!(value(&moved) >= least - 1e-9);
    }
}

#[test]
fn relaxation_ends_on_the_grid() {
    let relaxed = BinaryRelax::new(Box::new(lbw("ternary", paper(), 1, false)));
    assert_eq!(relaxed.lambda(&at(0)), Some(1.0));
    let late = relaxed.lambda(&at(74)).unwrap();
    assert!(late > 340.0 && late < 380.0, "{late}");
    assert_eq!(relaxed.lambda(&at(75)), None);
}

#[test]
fn learned_steps_have_the_published_start_and_gradients() {
    let w = [0.9f32, -0.35, 0.1, -2.0];
    let row = Layout {
        shape: vec![1, 4],
        axis: 0,
    };
    let mut lsq = Lsq::new(3, Granularity::Tensor, row);
    let mut out = [0.0; 4];
    lsq.project(&w, &at(0), &mut out).unwrap();
    let start = lsq.learned().unwrap().values[0];
    assert!((start - 2.0 * 0.8375 / 3f32.sqrt()).abs() < 1e-6);
    lsq.learned().unwrap().values[0] = 0.5;
    lsq.project(&w, &at(1), &mut out).unwrap();
    assert_eq!(out, [1.0, -0.5, 0.0, -1.5]);
    let mut g = [1.0f32, 2.0, -1.0, 0.5];
    lsq.gradient(&w, &out, &mut g);
    // |w/s| = 1.8, 0.7, 0.2, 4 > 3: the last is clipped.
    assert_eq!(g, [1.0, 2.0, -1.0, 0.0]);
    let sum = (2.0 - 1.8) + 2.0 * (-1.0 + 0.7) - (0.0 - 0.2) + 0.5 * -3.0;
    let want = sum / (4.0f32 * 3.0).sqrt();
    assert!((lsq.learned().unwrap().gradients[0] - want).abs() < 1e-6);
}

/// The step's gradient against differences of ⟨g, ŵ(s)⟩ with the levels held.
#[test]
fn learned_thresholds_move_with_the_clipped_weights() {
    let w = weights(9);
    let mut apot = Apot::new("apot4".parse().unwrap(), Granularity::Tensor, layout());
    let mut out = vec![0.0; w.len()];
    apot.project(&w, &at(0), &mut out).unwrap();
    let alpha = apot.learned().unwrap().values[0];
    let mut g: Vec<f32> = weights(10);
    let before = g.clone();
    apot.gradient(&w, &out, &mut g);
    let mut want = 0.0;
    for ((&w, &p), (&g0, &g1)) in w.iter().zip(&out).zip(before.iter().zip(&g)) {
        let outside = w.abs() > alpha;
        assert_eq!(g1, if outside { 0.0 } else { g0 });
        want += g0 * if outside { w.signum() } else { (p - w) / alpha };
    }
    assert!((apot.learned().unwrap().gradients[0] - want).abs() < 1e-5);
    assert!(
        w.iter().any(|w| w.abs() > alpha),
        "some weight is clipped at the start"
    );
}

#[test]
fn bits_fall_at_their_fractions() {
    let stages: Vec<(f64, Box<dyn WeightMethod>)> = vec![
        (0.5, Box::new(lbw("lbw4", paper(), 1, false))),
        (0.0, Box::new(lbw("lbw6", paper(), 1, false))),
        (0.8, Box::new(lbw("lbw2", paper(), 1, false))),
    ];
    let mut method = Progressive::new(stages);
    let mut out = vec![0.0; layout().len()];
    for (step, grid) in [
        (0, "lbw6"),
        (49, "lbw6"),
        (50, "lbw4"),
        (79, "lbw4"),
        (80, "lbw2"),
        (100, "lbw2"),
    ] {
        method.project(&weights(1), &at(step), &mut out).unwrap();
        assert_eq!(method.annotation().unwrap().grid, grid, "step {step}");
    }
}

/// min ‖Ŵ − T‖² over shadow weights, from elsewhere: descent at the projected point reaches the target's own codes.
#[test]
fn projected_descent_reaches_a_target_on_the_grid() {
    for grid in ["lbw2", "lbw4", "pow2-4", "int4"] {
        let options = ProjectOptions {
            granularity: Granularity::Tensor,
            ..ProjectOptions::default()
        };
        let mut target = vec![0.0; layout().len()];
        lbw(grid, options, 1, false)
            .project(&weights(20), &at(0), &mut target)
            .unwrap();
        let mut shadow = weights(21);
        let mut method = lbw(grid, options, 1, true);
        let mut out = vec![0.0; target.len()];
        let mut distance = 0.0;
        for step in 0..400 {
            method.project(&shadow, &at(step), &mut out).unwrap();
            distance = out
                .iter()
                .zip(&target)
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum();
            for ((w, p), t) in shadow.iter_mut().zip(&out).zip(&target) {
                *w -= 0.1 * (p - t);
            }
            method.after_update(&mut shadow);
        }
        let norm: f64 = target.iter().map(|&t| f64::from(t).powi(2)).sum();
        assert!(distance < 0.02 * norm, "{grid}: {distance} of {norm}");
    }
}

#[test]
fn activation_rules_have_names_and_near_ones() {
    use train::method::activation::{rounding, rule};
    use train::program::{QuantizerGradient, Rounding};
    assert_eq!(rule("lsq"), Ok(QuantizerGradient::Lsq));
    assert!(rule("bcgd3").unwrap_err().contains("\"bcgd-3\""));
    assert_eq!(
        (rounding("rne"), rounding("ceil")),
        (Ok(Rounding::Nearest), Ok(Rounding::Up))
    );
    assert!(rounding("up").is_err());
}
