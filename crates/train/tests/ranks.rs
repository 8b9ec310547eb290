//! Ranks that train together do what one with the whole batch does.

mod common;

use std::collections::BTreeMap;

use common::cpu;
use testing::SplitMix64;
use train::exchange::{ExchangeError, Ranks, threads};
use train::exec::Cpu;
use train::loss::yolo_v8::{Options, YoloV8};
use train::loss::{Loss, Output, Target};
use train::method::lsq::Lsq;
use train::method::{Layout, WeightMethod};
use train::optimizer::Optimizer;
use train::optimizer::schedule::{Schedule, Shape};
use train::optimizer::sgd::Sgd;
use train::program::{FakeQuantizer, ParameterKind, ProgramOptions, QuantizerGradient, Rounding};
use train::trainer::{Settings, StepRule, Trainer};
use train::zoo;

const SIZE: usize = 48;
const BATCH: usize = 4;
const STEPS: u64 = 8;

fn graph() -> graph::Graph {
    let mut graph = zoo::tiny(&["a".into(), "b".into()], 4, [SIZE, SIZE], 3);
    graph::passes::simplify_for_training(&mut graph, &oracle::Reference, &Default::default()).unwrap();
    graph
}

/// The whole batch of a step: pictures that differ in brightness, so that statistics of halves are not those of the whole; the first have no object.
fn batch(step: u64) -> (Vec<f32>, Vec<Vec<Target>>) {
    let mut rng = SplitMix64(step + 1);
    let each = 3 * SIZE * SIZE;
    let pixel = |i: usize, rng: &mut SplitMix64| (rng.unit() * (0.2 + 0.4 * (i / each) as f64)) as f32;
    let x = (0..BATCH * each).map(|i| pixel(i, &mut rng)).collect();
    let object = |k: usize, rng: &mut SplitMix64| {
        let (x, y) = (rng.unit() as f32 * 20.0, rng.unit() as f32 * 20.0);
        Target {
            class: k % 2,
            corners: [x, y, x + 12.0 + 8.0 * (k as f32), y + 14.0],
        }
    };
    let objects = |p: usize, rng: &mut SplitMix64| (0..p).map(|k| object(k, rng)).collect();
    (x, (0..BATCH).map(|p| objects(p, &mut rng)).collect())
}

fn settings() -> Settings {
    Settings {
        steps: STEPS,
        optimizer: Optimizer::Sgd(Sgd {
            momentum: 0.9,
            nesterov: false,
        }),
        schedule: Schedule {
            base: 0.01,
            warmup: 0,
            shape: Shape::Constant,
        },
        decay: 1e-3,
        clip: 10.0,
        relative: false,
        ema: None,
        train_affine: true,
        frozen_from: u64::MAX,
    }
}

/// With learned steps of weights and activations, or in float.
fn trainer(low_bit: bool, ranks: &Ranks, sync: bool) -> Trainer {
    let graph = graph();
    let mut options = ProgramOptions::new(BATCH / ranks.size());
    let quantizer = |edge: &str| FakeQuantizer {
        edge: edge.into(),
        bits: 4,
        step: 0.2,
        zero_point: 0,
        rounding: Rounding::Nearest,
        gradient: QuantizerGradient::Lsq,
        step_of: None,
    };
    let relu = |n: &&graph::Node| matches!(n.op, graph::Op::Unary(graph::Unary::Relu));
    if low_bit {
        let edges = graph
            .nodes
            .iter()
            .filter(relu)
            .map(|n| &graph.value(n.outputs[0]).name);
        options.quantizers = edges.map(|name| quantizer(name)).collect();
        assert!(options.quantizers.len() > 4);
    }
    let mut exec: Cpu = cpu(&graph, &options, 1);
    if sync {
        exec = exec.synchronized(ranks);
    }
    let (parameters, outputs) = (
        exec.program().parameters().to_vec(),
        exec.program().outputs().to_vec(),
    );
    let mut methods: BTreeMap<String, Box<dyn WeightMethod>> = BTreeMap::new();
    let mut steps = BTreeMap::new();
    for p in parameters.iter().filter(|_| low_bit) {
        let layout = || Layout {
            shape: p.shape.clone(),
            axis: 0,
        };
        match p.kind {
            ParameterKind::Weight { .. } => {
                let method = Lsq::new(4, quant::Granularity::Channel, layout());
                methods.insert(p.name.clone(), Box::new(method));
            }
            ParameterKind::Step { .. } => {
                steps.insert(p.name.clone(), StepRule::Lsq { scale: 1e-2 });
            }
            _ => {}
        }
    }
    Trainer::new(Box::new(exec), &parameters, &outputs, settings(), methods, &steps).shared(ranks)
}

/// Losses of all steps, and everything that is left: parameters, moments, learned steps, statistics.
type Ended = (Vec<f64>, BTreeMap<String, Vec<f32>>);

fn run(low_bit: bool, ranks: Ranks, sync: bool) -> Ended {
    let heads = [("small", 8), ("large", 16)].map(|(output, stride)| tasks::detect::DflHead {
        output: output.into(),
        stride,
    });
    let mut loss = YoloV8::new(heads.to_vec(), 8, 2, Options::default());
    let mut trainer = trainer(low_bit, &ranks, sync);
    let share = BATCH / ranks.size();
    let mut losses = Vec::new();
    while !trainer.is_done() {
        let (x, targets) = batch(trainer.step_count());
        let each = x.len() / BATCH;
        let mine = ranks.rank() * share..(ranks.rank() + 1) * share;
        let (x, targets) = (&x[mine.start * each..mine.end * each], &targets[mine]);
        let mut objective = |outputs: &[Output], gradients: &mut Vec<Vec<f32>>| {
            Ok(loss.evaluate(outputs, targets, &ranks, gradients)?)
        };
        losses.push(trainer.step(&[x], &mut objective).unwrap().loss.total());
    }
    (losses, trainer.checkpoint().unwrap().tensors)
}

fn together(size: usize, low_bit: bool, sync: bool) -> Vec<Ended> {
    std::thread::scope(|s| {
        let start = |ranks: Ranks| s.spawn(move || run(low_bit, ranks, sync));
        let all: Vec<_> = threads::ranks(size).into_iter().map(start).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

/// Largest distance of two lists of losses, and of two states relative to the size of each tensor.
fn distance(a: &Ended, b: &Ended) -> (f64, f64) {
    let losses =
        a.0.iter()
            .zip(&b.0)
            .map(|(a, b)| (a - b).abs() / b.abs())
            .fold(0.0, f64::max);
    let mut state = 0f64;
    assert!(a.1.keys().eq(b.1.keys()));
    for (x, y) in a.1.values().zip(b.1.values()) {
        let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let apart = norm(&mut x.iter().zip(y).map(|(x, y)| x - y));
        state = state.max(apart / norm(&mut y.iter().copied()).max(1e-3));
    }
    (losses, state)
}

/// Weights, affine, momentum and running statistics after 8 steps, too. Only rounding parts them: BatchNorm nets amplify it with every step.
#[test]
fn ranks_with_synchronized_statistics_do_what_one_with_the_whole_batch_does() {
    let whole = run(false, Ranks::default(), true);
    for size in [2, 4] {
        let parts = together(size, false, true);
        let (losses, state) = distance(&parts[0], &whole);
        println!("{size} ranks: losses within {losses:.1e}, state within {state:.1e}");
        assert!(losses < 1e-5 && state < 1e-3, "{losses} {state}");
        assert!(
            parts.iter().all(|p| *p == parts[0]),
            "all ranks have the same bits"
        );
    }
    // The batches are such that statistics of halves would be seen.
    let alone = together(2, false, false);
    assert!(distance(&alone[0], &whole).0 > 1e-3);
    assert!(
        alone[0] == alone[1],
        "running statistics and updates are shared all the same"
    );
}

/// Learned steps of weights and of activations are moved by the sums over all ranks. A code that rounding tips over moves more than rounding.
#[test]
fn learned_steps_are_summed_over_the_ranks() {
    let whole = run(true, Ranks::default(), true);
    let learned = |name: &&String| name.starts_with("method/") || name.ends_with("/step");
    assert!(whole.1.keys().filter(learned).count() > 12);
    let parts = together(2, true, true);
    let (losses, state) = distance(&parts[0], &whole);
    println!("losses within {losses:.1e}, state within {state:.1e}");
    assert!(losses < 1e-2 && state < 5e-2, "{losses} {state}");
    assert!((parts[0].0[0] - whole.0[0]).abs() < 1e-4 * whole.0[0]);
    assert!(
        parts[0] == parts[1] && together(2, true, true) == parts,
        "a second run gives the same bits"
    );
}

#[test]
fn sums_are_in_the_order_of_ranks_and_a_rank_that_leaves_is_noticed() {
    let ends = threads::ranks(3);
    let given = [1e8f32, 1.0, -1e8];
    std::thread::scope(|s| {
        for ranks in &ends {
            s.spawn(move || {
                for _ in 0..200 {
                    // In f32 the one would be lost.
                    let mut values = [given[ranks.rank()], 2.0];
                    ranks.sum(&mut values).unwrap();
                    assert_eq!(values, [1.0, 6.0]);
                    let mut bytes = vec![ranks.rank() as u8; 1 + ranks.rank()];
                    ranks.broadcast(&mut bytes).unwrap();
                    assert_eq!(bytes, [0]);
                    assert!(ranks.any(ranks.rank() == 1).unwrap() && !ranks.any(false).unwrap());
                }
                let mut wrong = vec![0.0; 3 + ranks.rank() / 2];
                let error = ranks.sum_wide(&mut wrong).unwrap_err();
                assert!(matches!(error, ExchangeError::Length { .. }), "{error}");
            });
        }
    });
    let mut ends = ends.into_iter();
    let (gone, stays) = (ends.next(), ends.next().unwrap());
    let waiting = std::thread::spawn(move || stays.total(1.0));
    drop(gone);
    assert_eq!(waiting.join().unwrap(), Err(ExchangeError::Left));
}
