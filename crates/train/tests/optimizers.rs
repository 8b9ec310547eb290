//! Update rules against PyTorch's trajectories (`tools/goldens/optimizers.py`) and closed forms.

use serde_json::Value;
use train::optimizer::adamw::AdamW;
use train::optimizer::ema::Ema;
use train::optimizer::groups::Group;
use train::optimizer::schedule::{Schedule, Shape};
use train::optimizer::sgd::Sgd;
use train::optimizer::{Optimizer, State, clip};

fn goldens() -> Value {
    serde_json::from_str(include_str!("vectors/optimizers.json")).unwrap()
}

fn floats(v: &Value) -> Vec<f32> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap() as f32)
        .collect()
}

fn gradients(step: usize, n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((7 * step + 3 * i) % 11) as f32 - 5.0)
        .map(|x| x * 0.125)
        .collect()
}

#[test]
fn trajectories_are_those_of_pytorch() {
    let all = goldens();
    for name in ["sgd", "sgd-decay", "momentum", "nesterov", "adam", "adamw"] {
        let case = &all[name];
        let option = |key: &str| case["options"][key].as_f64().unwrap_or(0.0) as f32;
        let optimizer = if name.starts_with("adam") {
            let betas = case["options"]["betas"].as_array();
            Optimizer::AdamW(AdamW {
                betas: betas.map_or([0.9, 0.999], |b| [0, 1].map(|i| b[i].as_f64().unwrap() as f32)),
                epsilon: if betas.is_some() { option("eps") } else { 1e-8 },
            })
        } else {
            Optimizer::Sgd(Sgd {
                momentum: option("momentum"),
                nesterov: case["options"]["nesterov"] == true,
            })
        };
        let mut state = State::default();
        let mut w: Vec<f32> = (0..5).map(|i| 0.5 - 0.25 * i as f32).collect();
        for (step, want) in case["values"].as_array().unwrap().iter().enumerate() {
            let g = gradients(step, w.len());
            optimizer.update(&mut state, &mut w, &g, option("lr"), option("weight_decay"));
            for (got, want) in w.iter().zip(floats(want)) {
                assert!(
                    (got - want).abs() <= 2e-6 * want.abs().max(0.1),
                    "{name} step {step}: {got} {want}"
                );
            }
        }
        assert_eq!(state.moments.len(), optimizer.moments(), "{name}");
    }
}

#[test]
fn clipping_is_that_of_pytorch() {
    let case = &goldens()["clip"];
    let (a, b) = ([3.0f32, 0.0, -1.0], [2.0f32, -5.0, 0.5]);
    let norm = clip::norm([&a[..], &b[..]]);
    assert!((norm - case["norm"].as_f64().unwrap()).abs() < 1e-6);
    let factor = clip::factor(norm, 2.0);
    for (g, want) in a
        .iter()
        .zip(floats(&case["a"]))
        .chain(b.iter().zip(floats(&case["b"])))
    {
        assert!((g * factor - want).abs() < 1e-6);
    }
}

#[test]
fn schedules_have_their_closed_forms() {
    let cosine = Schedule {
        base: 0.1,
        warmup: 0,
        shape: Shape::Cosine { end: 0.01 },
    };
    for (step, want) in floats(&goldens()["cosine"]).iter().enumerate() {
        assert!(
            (cosine.rate(step as u64, 20) - f64::from(*want)).abs() < 1e-8,
            "step {step}"
        );
    }
    let steps = Schedule {
        base: 1.0,
        warmup: 10,
        shape: Shape::Steps {
            milestones: vec![0.4, 0.7],
            factor: 0.1,
        },
    };
    let at = |step| steps.rate(step, 200);
    assert_eq!((at(0), at(4), at(9), at(10), at(79)), (0.1, 0.5, 1.0, 1.0, 1.0));
    for (step, want) in [(80, 0.1), (139, 0.1), (140, 0.01), (199, 0.01)] {
        assert!((at(step) - want).abs() < 1e-15);
    }
    let short = Schedule {
        base: 1.0,
        warmup: 100,
        shape: Shape::Constant,
    };
    assert_eq!((short.rate(9, 10), short.rate(500, 10)), (0.1, 1.0));
}

#[test]
fn the_average_of_constant_weights_is_the_weights_and_the_ramp_rises() {
    let ema = Ema {
        decay: 0.999,
        ramp: 2000.0,
    };
    let mut average = vec![];
    for t in 1..50 {
        ema.update(&mut average, &[1.5, -2.0], t);
    }
    assert_eq!(average, [1.5, -2.0]);
    assert!(ema.factor(1) < ema.factor(100) && ema.factor(100_000) > 0.998);
    // A step input reaches 1 − d^n.
    let plain = Ema {
        decay: 0.9,
        ramp: 0.0,
    };
    let mut average = vec![0.0];
    for t in 1..=10 {
        plain.update(&mut average, &[1.0], t);
    }
    assert!((f64::from(average[0]) - (1.0 - 0.9f64.powi(10))).abs() < 1e-6);
}

#[test]
fn only_weights_decay() {
    assert_eq!(Group::Weight.decay(5e-4), 5e-4);
    assert_eq!((Group::Affine.decay(5e-4), Group::Step.decay(5e-4)), (0.0, 0.0));
}

/// The state is all there is: a copy of it goes on with the same bits.
#[test]
fn a_copied_state_continues_bit_for_bit() {
    for optimizer in [
        Optimizer::AdamW(AdamW::default()),
        Optimizer::Sgd(Sgd {
            momentum: 0.9,
            nesterov: true,
        }),
    ] {
        let mut state = State::default();
        let mut w = vec![0.3f32; 7];
        for step in 0..5 {
            optimizer.update(&mut state, &mut w, &gradients(step, 7), 0.01, 0.1);
        }
        let (mut copy, mut v) = (state.clone(), w.clone());
        for step in 5..9 {
            optimizer.update(&mut state, &mut w, &gradients(step, 7), 0.01, 0.1);
            optimizer.update(&mut copy, &mut v, &gradients(step, 7), 0.01, 0.1);
        }
        assert_eq!(w, v);
    }
}
