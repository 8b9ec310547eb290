//! Structured pruning around a weight method.

use quant::ProjectOptions;
use quant::prune::{Clip, GroupShape, Groups};
use testing::SplitMix64;
use train::method::lbw::Lbw;
use train::method::pruned::{Pruned, Pruning};
use train::method::{Layout, Progress, WeightMethod};

const SHAPE: [usize; 4] = [4, 8, 3, 3];

fn groups() -> Groups {
    let shape: GroupShape = "1x4xk".parse().unwrap();
    Groups::new(shape, &SHAPE).unwrap()
}

fn pruned(clip: Clip) -> Pruned {
    let layout = Layout {
        shape: SHAPE.to_vec(),
        axis: 0,
    };
    let inner = Lbw::new(
        "ternary".parse().unwrap(),
        ProjectOptions::default(),
        layout,
        1,
        false,
    );
    let pruning = Pruning {
        share: 0.375,
        until: 0.5,
        lambda: 0.1,
        clip,
    };
    Pruned::new(Box::new(inner), groups(), pruning)
}

fn weights(seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64(seed);
    let strength: Vec<f32> = (0..groups().len()).map(|g| 0.1 * (g + 1) as f32).collect();
    let strength = groups().spread(&strength);
    strength.iter().map(|s| s * (rng.unit() as f32 - 0.5)).collect()
}

fn at(step: u64) -> Progress {
    Progress { step, steps: 10 }
}

/// A step with a constant gradient; gives the projection.
fn step(method: &mut Pruned, shadow: &mut [f32], number: u64) -> Vec<f32> {
    let mut projected = vec![0.0; shadow.len()];
    method.project(shadow, &at(number), &mut projected).unwrap();
    let mut gradient = vec![0.01; shadow.len()];
    method.gradient(shadow, &projected, &mut gradient);
    method.before_update(shadow, &projected);
    shadow.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= 0.01 * g);
    // As momentum would.
    shadow.iter_mut().for_each(|w| *w += 1e-3);
    method.after_update(shadow);
    projected
}

#[test]
fn weak_groups_are_pulled_by_lambda_and_strong_ones_are_not() {
    let (w, groups) = (weights(1), groups());
    let pull = |clip: Clip| {
        let mut method = pruned(clip);
        let mut projected = vec![0.0; w.len()];
        method.project(&w, &at(0), &mut projected).unwrap();
        let mut gradient = vec![0.0; w.len()];
        method.gradient(&w, &projected, &mut gradient);
        groups.norms(&gradient)
    };
    let norms = groups.norms(&w);
    let mean = norms.iter().sum::<f64>() / norms.len() as f64;
    for (clip, limit) in [(Clip::None, f64::INFINITY), (Clip::OfMean(0.7), 0.7 * mean)] {
        for (pull, norm) in pull(clip).iter().zip(&norms) {
            let want = if *norm < limit { 0.1 } else { 0.0 };
            assert!((pull - want).abs() < 1e-6, "{clip:?}: {pull} of {norm}");
        }
    }
}

#[test]
fn the_weakest_groups_go_at_their_time_and_stay_away() {
    let (mut method, mut shadow, groups) = (pruned(Clip::OfMean(0.7)), weights(2), groups());
    for number in 0..10 {
        let projected = step(&mut method, &mut shadow, number);
        let empty = |w: &[f32]| groups.norms(w).iter().filter(|n| **n == 0.0).count();
        let want = if number < 5 { 0 } else { 3 };
        assert_eq!(empty(&shadow), want, "step {number}");
        assert!(empty(&projected) >= want, "step {number}");
        let gone = method.kept().iter().filter(|k| !**k).count();
        assert_eq!(gone, want, "step {number}");
    }
    // Codes of what went are zeros.
    let annotation = method.annotation().unwrap();
    let decoded = annotation.decode();
    for (g, kept) in method.kept().iter().enumerate() {
        assert!(*kept || groups.weights(g).all(|i| decoded[i] == 0.0), "group {g}");
    }
}

#[test]
fn a_run_goes_on_from_its_state() {
    for stop in [3, 7] {
        let (mut whole, mut a) = (pruned(Clip::None), weights(3));
        (0..stop).for_each(|n| drop(step(&mut whole, &mut a, n)));
        let (mut again, mut b) = (pruned(Clip::None), a.clone());
        assert!(again.restore(&whole.state()));
        for number in stop..10 {
            let left = step(&mut whole, &mut a, number);
            assert_eq!(left, step(&mut again, &mut b, number));
        }
        assert_eq!(a, b);
        assert_eq!(whole.state(), again.state());
    }
    assert!(!pruned(Clip::None).restore(&[]));
    assert!(!pruned(Clip::None).restore(&[1.0, 0.0]));
}
