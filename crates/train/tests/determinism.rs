//! The same bits for any number of threads, and in a second run.

mod common;

use common::reference::Net;
use common::{cpu, model, pattern, step};
use graph::*;
use train::exec::{Cpu, Exec, Mode};
use train::program::{BatchNormMode, FakeQuantizer, ProgramOptions, QuantizerGradient, Rounding};

/// Losses, parameters and gradients after three steps.
fn run(mut cpu: Cpu) -> (Vec<u64>, Vec<u32>) {
    let x = pattern(cpu.program().inputs()[0].len());
    let losses = (0..3).map(|_| step(&mut cpu, &x, 0.01).to_bits()).collect();
    let mut all = Vec::new();
    for i in 0..cpu.program().parameters().len() {
        let mut list = vec![0.0; cpu.program().parameters()[i].len()];
        cpu.parameter(i, &mut list).unwrap();
        all.extend(list.iter().map(|v| v.to_bits()));
        cpu.gradient(i, &mut list).unwrap();
        all.extend(list.iter().map(|v| v.to_bits()));
    }
    (losses, all)
}

fn same(graph: &Graph, options: &ProgramOptions) {
    let want = run(cpu(graph, options, 1));
    for threads in [1, 2, 3] {
        assert_eq!(run(cpu(graph, options, threads)), want, "{threads} threads");
    }
}

/// Long sums of every kind: many pixels, few channels, borders, quantizers, pools.
#[test]
fn threads_do_not_change_a_bit() {
    let mut net = Net::new(5);
    let x = net.input(&[3, 3, 61, 47]);
    let mut conv = |x: ValueId, [outputs, inputs, k, stride]: [usize; 4], group: usize| {
        let w = net.constant(&[outputs, inputs / group, k, k], -0.5, 0.5);
        let b = net.constant(&[outputs], -0.1, 0.1);
        let op = Conv {
            kernel: vec![k; 2],
            strides: vec![stride; 2],
            dilations: vec![1; 2],
            padding: Padding::SameUpper,
            group,
        };
        net.node(Op::Conv(op), &[x, w, b])
    };
    let a = conv(x, [20, 3, 3, 1], 1);
    let d = conv(a, [20, 20, 5, 2], 20);
    let p = conv(d, [70, 20, 1, 1], 1);
    let list: Vec<ValueId> = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0)]
        .map(|(l, h)| net.constant(&[70], l, h))
        .to_vec();
    let n = net.node(
        Op::BatchNormalization { epsilon: 1e-5 },
        &[&[p][..], &list].concat(),
    );
    let r = net.node(Op::Unary(Unary::Relu), &[n]);
    let pool = Pool {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        padding: Padding::SameUpper,
        ceil_mode: false,
        count_include_pad: false,
    };
    let m = net.node(Op::MaxPool(pool), &[r]);
    let y = net.node(Op::Unary(Unary::Swish { alpha: 1.0 }), &[m]);
    net.graph.outputs = vec![y];
    graph::shape::infer(&mut net.graph).unwrap();
    let edge = net.graph.value(r).name.clone();
    let quantizer = FakeQuantizer {
        edge,
        bits: 4,
        step: 0.2,
        zero_point: 0,
        rounding: Rounding::Nearest,
        gradient: QuantizerGradient::Lsq,
        step_of: None,
    };
    same(
        &net.graph,
        &ProgramOptions {
            quantizers: vec![quantizer],
            ..ProgramOptions::new(3)
        },
    );
}

#[test]
fn threads_do_not_change_a_bit_of_resnet20() {
    let Some(data) = testing::data("threads_do_not_change_a_bit_of_resnet20") else {
        return;
    };
    same(
        &model(&data.join("models/cifar_resnet20.onnx")),
        &ProgramOptions::new(8),
    );
}

/// Evaluation changes nothing: neither statistics nor what a step after it computes.
#[test]
fn evaluation_leaves_no_trace() {
    let mut net = Net::new(6);
    let x = net.input(&[4, 3, 9, 9]);
    let w = net.constant(&[8, 3, 3, 3], -0.5, 0.5);
    let op = Conv {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        padding: Padding::SameUpper,
        group: 1,
    };
    let c = net.node(Op::Conv(op), &[x, w]);
    let list: Vec<ValueId> = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0)]
        .map(|(l, h)| net.constant(&[8], l, h))
        .to_vec();
    let y = net.node(
        Op::BatchNormalization { epsilon: 1e-5 },
        &[&[c][..], &list].concat(),
    );
    net.graph.outputs = vec![y];
    graph::shape::infer(&mut net.graph).unwrap();
    let (mut one, mut two) = (
        cpu(&net.graph, &ProgramOptions::new(4), 1),
        cpu(&net.graph, &ProgramOptions::new(4), 1),
    );
    let x = pattern(one.program().inputs()[0].len());
    let mut outputs = Vec::new();
    step(&mut one, &x, 0.1);
    step(&mut two, &x, 0.1);
    one.forward(&[&x], Mode::Evaluate, &mut outputs).unwrap();
    assert!(
        one.backward(&outputs).is_err(),
        "no backward behind an evaluation"
    );
    let evaluated = outputs.clone();
    one.forward(&[&x], Mode::Train, &mut outputs).unwrap();
    assert_ne!(outputs, evaluated);
    let mut others = Vec::new();
    two.forward(&[&x], Mode::Train, &mut others).unwrap();
    assert_eq!(outputs, others);
}

/// From the step on at which statistics stay, a program is the one that was derived with frozen ones: outputs, gradients and running statistics, bit for bit.
#[test]
fn frozen_steps_are_those_of_a_frozen_program() {
    let mut net = Net::new(8);
    let x = net.input(&[4, 3, 5, 4]);
    let w = net.constant(&[6, 3, 3, 3], -0.5, 0.5);
    let conv = Conv {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        padding: Padding::SameUpper,
        group: 1,
    };
    let c = net.node(Op::Conv(conv), &[x, w]);
    let list = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0)].map(|(l, h)| net.constant(&[6], l, h));
    let y = net.node(
        Op::BatchNormalization { epsilon: 1e-5 },
        &[&[c][..], &list].concat(),
    );
    let y = net.node(Op::Unary(Unary::Relu), &[y]);
    net.graph.outputs = vec![y];
    graph::shape::infer(&mut net.graph).unwrap();
    let moving = ProgramOptions::new(4);
    let frozen = ProgramOptions {
        batch_norm: BatchNormMode::Frozen,
        ..moving.clone()
    };
    let run = |options: &ProgramOptions, mode: Mode| {
        let mut cpu = cpu(&net.graph, options, 2);
        let x = pattern(cpu.program().inputs()[0].len());
        let mut outputs = Vec::new();
        cpu.forward(&[&x], mode, &mut outputs).unwrap();
        cpu.backward(&outputs).unwrap();
        let lengths: Vec<usize> = cpu.program().parameters().iter().map(|p| p.len()).collect();
        let mut seen = outputs;
        for (i, n) in lengths.into_iter().enumerate() {
            let (mut value, mut gradient) = (vec![0.0; n], vec![0.0; n]);
            cpu.parameter(i, &mut value).unwrap();
            cpu.gradient(i, &mut gradient).unwrap();
            seen.extend([value, gradient]);
        }
        seen
    };
    let want = run(&frozen, Mode::Train);
    assert_eq!(run(&moving, Mode::TrainFrozen), want);
    assert_ne!(run(&moving, Mode::Train), want);
}

/// Running statistics follow PyTorch's rule: the unbiased variance, with the momentum.
#[test]
fn running_statistics_follow_the_rule() {
    let mut net = Net::new(7);
    let x = net.input(&[2, 2, 3, 2]);
    let list: Vec<ValueId> = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0)]
        .map(|(l, h)| net.constant(&[2], l, h))
        .to_vec();
    let y = net.node(
        Op::BatchNormalization { epsilon: 1e-5 },
        &[&[x][..], &list].concat(),
    );
    net.graph.outputs = vec![y];
    graph::shape::infer(&mut net.graph).unwrap();
    let mut cpu = cpu(&net.graph, &ProgramOptions::new(2), 1);
    let x: Vec<f32> = (0..24).map(|i| (i * i % 17) as f32 + 100.0).collect();
    let mut outputs = Vec::new();
    cpu.forward(&[&x], Mode::Train, &mut outputs).unwrap();
    for channel in 0..2 {
        let mine: Vec<f64> = (0..24)
            .filter(|i| i / 6 % 2 == channel)
            .map(|i| f64::from(x[i]))
            .collect();
        let mean = mine.iter().sum::<f64>() / 12.0;
        let variance = mine.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 11.0;
        for (i, (old, batch)) in [(2, mean), (3, variance)].into_iter().map(|(i, batch)| {
            (
                i,
                (net.graph.constants[&list[i]].as_f32().unwrap()[channel], batch),
            )
        }) {
            let mut have = [0.0; 2];
            cpu.parameter(i, &mut have).unwrap();
            let want = 0.9 * f64::from(old) + 0.1 * batch;
            assert!((f64::from(have[channel]) - want).abs() < 1e-4, "{have:?} {want}");
        }
    }
}
