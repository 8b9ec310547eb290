//! Ternary weights by the rules of their papers.

use quant::methods::ternary_threshold::truncated_gaussian;
use quant::{Granularity, ProjectOptions, ScaleKind, Solver};
use train::method::WeightMethod;
use train::method::ternary_threshold::TernaryThreshold;

use super::{at, layout, lbw, paper, weights};

/// ∂⟨g, ŵ⟩/∂Δ against differences, signs and σ held, and the straight-through gradient that ends at 1.
#[test]
fn a_ternary_threshold_moves_by_the_truncated_gaussian_and_large_weights_stay() {
    let w: Vec<f32> = weights(9).iter().map(|w| 10.0 * w).collect();
    let mut method = TernaryThreshold::new(Granularity::Tensor, layout());
    let mut out = vec![0.0; w.len()];
    method.project(&w, &at(0), &mut out).unwrap();
    let sigma = (w.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / w.len() as f64).sqrt();
    let delta = f64::from(method.learned().unwrap().values[0]);
    assert!((delta - 0.612 * sigma).abs() < 1e-6);
    let signs: Vec<f64> = w
        .iter()
        .map(|&w| {
            if f64::from(w.abs()) >= delta {
                f64::from(w.signum())
            } else {
                0.0
            }
        })
        .collect();
    let (scale, zeros) = (1.224 * sigma, signs.iter().filter(|s| **s == 0.0).count());
    assert!(zeros > 0 && zeros < w.len());
    for (p, s) in out.iter().zip(&signs) {
        assert!((f64::from(*p) - scale * s).abs() < 2e-3 * scale, "{p} {s}");
    }
    let before = weights(10);
    let mut g = before.clone();
    method.gradient(&w, &out, &mut g);
    let along: f64 = signs.iter().zip(&before).map(|(s, g)| s * f64::from(*g)).sum();
    let alpha = |delta: f64| sigma * truncated_gaussian(delta / sigma).0;
    let step = 1e-5 * sigma;
    let want = along * (alpha(delta + step) - alpha(delta - step)) / (2.0 * step) / (w.len() as f64).sqrt();
    let got = f64::from(method.learned().unwrap().gradients[0]);
    assert!((got - want).abs() < 1e-5 * want.abs().max(1.0), "{got} {want}");
    assert!(w.iter().any(|w| w.abs() >= 1.0));
    for ((w, before), g) in w.iter().zip(&before).zip(&g) {
        assert_eq!(*g, if w.abs() >= 1.0 { 0.0 } else { *before });
    }
    // Wherever the optimizer leaves it, the next projection finds it within 0 … 3σ.
    for wild in [-5.0f32, 1e9] {
        method.learned().unwrap().values[0] = wild;
        method.project(&w, &at(1), &mut out).unwrap();
        let delta = f64::from(method.learned().unwrap().values[0]);
        assert!(delta > 0.0 && delta < 3.0 * sigma, "{delta}");
    }
}

/// `methods/wpc.md` §3: the max rule's gradient ends at 1; LBW-Net's own goes straight through.
#[test]
fn the_max_rule_leaves_large_weights_where_they_are() {
    let w: Vec<f32> = weights(9).iter().map(|w| 10.0 * w).collect();
    assert!(w.iter().any(|w| w.abs() >= 1.0) && w.iter().any(|w| w.abs() < 1.0));
    let before = weights(10);
    for (solver, masks) in [(Solver::MaxRule, true), (Solver::Optimum, false)] {
        let options = ProjectOptions {
            solver,
            scale_kind: ScaleKind::Real,
            ..paper()
        };
        let mut method = lbw("ternary", options, 1, false);
        let (mut out, mut g) = (vec![0.0; w.len()], before.clone());
        method.project(&w, &at(0), &mut out).unwrap();
        method.gradient(&w, &out, &mut g);
        for ((w, before), g) in w.iter().zip(&before).zip(&g) {
            assert_eq!(*g, if masks && w.abs() >= 1.0 { 0.0 } else { *before });
        }
    }
}
