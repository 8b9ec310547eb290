//! The loop on a network small enough to be written down: y = W·x.

use std::collections::BTreeMap;

use quant::ProjectOptions;
use testing::SplitMix64;
use train::checkpoint::Checkpoint;
use train::exec::{Exec, ExecError, Mode};
use train::loss::{LossParts, Output};
use train::method::lbw::Lbw;
use train::method::lsq::Lsq;
use train::method::{Layout, WeightMethod};
use train::optimizer::Optimizer;
use train::optimizer::adamw::AdamW;
use train::optimizer::ema::Ema;
use train::optimizer::schedule::{Schedule, Shape};
use train::program::{Parameter, ParameterKind, Port};
use train::trainer::{Settings, TrainError, Trainer};

const IN: usize = 6;
const OUT: usize = 4;

/// y = W·x with a running mean of y that only training moves.
struct Linear {
    w: Vec<f32>,
    mean: Vec<f32>,
    x: Vec<f32>,
    dw: Vec<f32>,
}

impl Exec for Linear {
    fn set_parameter(&mut self, index: usize, values: &[f32]) -> Result<(), ExecError> {
        [&mut self.w, &mut self.mean][index].copy_from_slice(values);
        Ok(())
    }

    fn parameter(&self, index: usize, into: &mut [f32]) -> Result<(), ExecError> {
        into.copy_from_slice([&self.w, &self.mean][index]);
        Ok(())
    }

    fn forward(
        &mut self,
        inputs: &[&[f32]],
        mode: Mode,
        outputs: &mut Vec<Vec<f32>>,
    ) -> Result<(), ExecError> {
        self.x = inputs[0].to_vec();
        let row = |o: usize| {
            self.w[o * IN..][..IN]
                .iter()
                .zip(&self.x)
                .map(|(w, x)| w * x)
                .sum::<f32>()
        };
        *outputs = vec![(0..OUT).map(row).collect()];
        if mode == Mode::Train {
            self.mean
                .iter_mut()
                .zip(&outputs[0])
                .for_each(|(m, y)| *m += 0.1 * (y - *m));
        }
        Ok(())
    }

    fn backward(&mut self, output_gradients: &[Vec<f32>]) -> Result<(), ExecError> {
        self.dw = (output_gradients[0].iter())
            .flat_map(|g| self.x.iter().map(move |x| g * x))
            .collect();
        Ok(())
    }

    fn gradient(&self, _: usize, into: &mut [f32]) -> Result<(), ExecError> {
        into.copy_from_slice(&self.dw);
        Ok(())
    }
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64(seed);
    (0..n).map(|_| (rng.unit() * 2.0 - 1.0) as f32).collect()
}

fn settings(rate: f64) -> Settings {
    Settings {
        steps: 300,
        optimizer: Optimizer::AdamW(AdamW::default()),
        schedule: Schedule {
            base: rate,
            warmup: 5,
            shape: Shape::Cosine { end: 0.0 },
        },
        decay: 0.0,
        clip: 10.0,
        relative: false,
        ema: Some(Ema {
            decay: 0.9,
            ramp: 0.0,
        }),
        train_affine: true,
        frozen_from: u64::MAX,
    }
}

fn method(name: &str) -> Option<Box<dyn WeightMethod>> {
    let layout = Layout {
        shape: vec![OUT, IN],
        axis: 0,
    };
    match name {
        "float" => None,
        "lsq" => Some(Box::new(Lsq::new(4, quant::Granularity::Tensor, layout))),
        grid => Some(Box::new(Lbw::new(
            grid.parse().unwrap(),
            ProjectOptions::default(),
            layout,
            7,
            true,
        ))),
    }
}

fn run(name: &str, rate: f64) -> Trainer {
    run_with(name, settings(rate))
}

fn run_with(name: &str, settings: Settings) -> Trainer {
    let initial = random(OUT * IN, 1);
    let parameter = |name: &str, shape: Vec<usize>, kind, initial| Parameter {
        name: name.into(),
        shape,
        kind,
        initial,
    };
    let node = || "fc".to_string();
    let parameters = [
        parameter(
            "w",
            vec![OUT, IN],
            ParameterKind::Weight { node: node() },
            initial.clone(),
        ),
        parameter(
            "mean",
            vec![OUT],
            ParameterKind::RunningMean { node: node() },
            vec![0.0; OUT],
        ),
    ];
    let exec = Linear {
        w: initial,
        mean: vec![0.0; OUT],
        x: vec![],
        dw: vec![],
    };
    let methods = method(name).map(|m| ("w".to_string(), m)).into_iter().collect();
    let port = Port {
        name: "y".into(),
        shape: vec![1, OUT],
    };
    Trainer::new(
        Box::new(exec),
        &parameters,
        &[port],
        settings,
        methods,
        &BTreeMap::new(),
    )
}

fn target() -> Vec<f32> {
    random(OUT * IN, 2)
}

fn step(trainer: &mut Trainer) -> Result<f64, TrainError> {
    let x = random(IN, 100 + trainer.step_count());
    let t = target();
    let mut objective = |outputs: &[Output], gradients: &mut Vec<Vec<f32>>| {
        let want = (0..OUT).map(|o| t[o * IN..][..IN].iter().zip(&x).map(|(w, x)| w * x).sum::<f32>());
        let d: Vec<f32> = outputs[0].values.iter().zip(want).map(|(y, w)| y - w).collect();
        let sum = d.iter().map(|&d| f64::from(d * d) / 2.0).sum();
        *gradients = vec![d];
        Ok(LossParts {
            parts: vec![("square", sum)],
        })
    };
    Ok(trainer.step(&[&x], &mut objective)?.loss.total())
}

#[test]
fn float_and_low_bit_runs_come_near_the_target() {
    for (name, most) in [
        ("float", 1e-3),
        ("int8", 1e-2),
        ("int4", 0.1),
        ("pow2-4", 0.2),
        ("lsq", 0.1),
    ] {
        let mut trainer = run(name, 0.05);
        while !trainer.is_done() {
            step(&mut trainer).unwrap();
        }
        let all = trainer.deploy(&[]).unwrap();
        let error: f64 = all[0]
            .values
            .iter()
            .zip(target())
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum();
        assert!(error / 8.0 < most, "{name}: {error}");
        assert_eq!(all[1].parameter.name, "mean");
        match &all[0].annotation {
            Some(annotation) => assert_eq!(annotation.decode(), all[0].values, "{name}"),
            None => assert_eq!(name, "float"),
        }
    }
}

/// Stopped after any step and started anew from the bytes of a checkpoint: the same bits at the end.
#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    for name in ["float", "lbw3", "int4", "lsq"] {
        let mut whole = run(name, 0.05);
        let mut saved = Vec::new();
        while !whole.is_done() {
            if whole.step_count() % 61 == 13 {
                saved.push(whole.checkpoint().unwrap().to_bytes());
            }
            // Evaluation in between changes nothing.
            if whole.step_count() % 50 == 49 {
                whole.evaluate(&[&random(IN, 5)]).unwrap();
            }
            step(&mut whole).unwrap();
        }
        let want = whole.checkpoint().unwrap().to_bytes();
        assert!(saved.len() > 3);
        for bytes in saved {
            let mut resumed = run(name, 0.05);
            resumed.restore(&Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
            while !resumed.is_done() {
                step(&mut resumed).unwrap();
            }
            assert!(resumed.checkpoint().unwrap().to_bytes() == want, "{name}");
        }
    }
}

#[test]
fn a_diverging_run_stops_with_advice() {
    let mut trainer = run("float", 0.05);
    for _ in 0..60 {
        step(&mut trainer).unwrap();
    }
    let mut bad = |_: &[Output], gradients: &mut Vec<Vec<f32>>| {
        *gradients = vec![vec![0.0; OUT]];
        Ok(LossParts {
            parts: vec![("square", f64::NAN)],
        })
    };
    let error = trainer.step(&[&random(IN, 1)], &mut bad).unwrap_err().to_string();
    assert!(
        error.contains("step 60") && error.contains("optimizer.rate"),
        "{error}"
    );
    let mut infinite = |_: &[Output], gradients: &mut Vec<Vec<f32>>| {
        *gradients = vec![vec![f32::INFINITY; OUT]];
        Ok(LossParts::default())
    };
    let error = trainer.step(&[&random(IN, 1)], &mut infinite).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    let mut high = |_: &[Output], gradients: &mut Vec<Vec<f32>>| {
        *gradients = vec![vec![0.0; OUT]];
        Ok(LossParts {
            parts: vec![("square", 1e9)],
        })
    };
    let mut survived = 0;
    while trainer.step(&[&random(IN, 1)], &mut high).is_ok() {
        survived += 1;
    }
    assert_eq!(survived, 9);
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let float = run("float", 0.05).checkpoint().unwrap();
    let error = run("int4", 0.05).restore(&float).unwrap_err().to_string();
    assert!(error.contains("another recipe"), "{error}");
    let mut short = float;
    short.tensors.insert("param/w".into(), vec![0.0; 3]);
    assert!(run("float", 0.05).restore(&short).is_err());
}

/// The statistics follow up to the step from which they stay, and the weights go on.
#[test]
fn statistics_stay_in_the_last_steps() {
    let settings = Settings {
        frozen_from: 20,
        ..settings(0.05)
    };
    let mut trainer = run_with("float", settings);
    let statistics = |trainer: &mut Trainer| {
        let all = trainer.deploy(&[]).unwrap();
        let of = |kind: fn(&ParameterKind) -> bool| {
            all.iter()
                .filter(|d| kind(&d.parameter.kind))
                .flat_map(|d| d.values.clone())
                .collect::<Vec<f32>>()
        };
        (
            of(|k| matches!(k, ParameterKind::RunningMean { .. })),
            of(|k| matches!(k, ParameterKind::Weight { .. })),
        )
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        for _ in 0..10 {
            step(&mut trainer).unwrap();
        }
        seen.push(statistics(&mut trainer));
    }
    assert_ne!(seen[0].0, seen[1].0);
    assert_eq!(seen[1].0, seen[3].0);
    assert_ne!(seen[2].1, seen[3].1);
}
