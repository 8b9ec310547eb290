//! The executor's fake quantizers against the formulas of `method::activation`.

mod common;

use common::reference::Net;
use graph::Op;
use train::exec::{Exec, Mode};
use train::method::activation::Fake;
use train::program::{AlphaDerivative, FakeQuantizer, ProgramOptions, QuantizerGradient, Rounding};

const GRADIENTS: [QuantizerGradient; 5] = [
    QuantizerGradient::Fixed,
    QuantizerGradient::Lsq,
    QuantizerGradient::Alpha(AlphaDerivative::AlmostEverywhere),
    QuantizerGradient::Alpha(AlphaDerivative::ThreeValued),
    QuantizerGradient::Alpha(AlphaDerivative::TwoValued),
];

#[test]
fn forward_and_both_derivatives() {
    let mut net = Net::new(1);
    let x = net.input(&[2, 500]);
    let y = net.node(Op::Identity, &[x]);
    net.graph.outputs = vec![y];
    graph::shape::infer(&mut net.graph).unwrap();
    let edge = net.graph.value(x).name.clone();
    for bits in 1..=8u32 {
        for zero_point in [0, ((1u32 << bits) / 2) as u8] {
            for rounding in [Rounding::Nearest, Rounding::Up] {
                for gradient in GRADIENTS {
                    let step = 0.37f32;
                    let quantizer = FakeQuantizer {
                        edge: edge.clone(),
                        bits,
                        step,
                        zero_point,
                        rounding,
                        gradient,
                    };
                    let options = ProgramOptions {
                        quantizers: vec![quantizer],
                        input_gradients: true,
                        ..ProgramOptions::new(2)
                    };
                    let mut cpu = common::cpu(&net.graph, &options, 2);
                    let top = f64::from(1 << bits);
                    let mut x: Vec<f32> = (0..1000)
                        .map(|_| ((net.random.unit() * 3.0 - 1.5) * top) as f32 * step)
                        .collect();
                    // Ends and ties.
                    x[..6].copy_from_slice(&[
                        0.0,
                        step,
                        -step,
                        step * (top as f32 - 1.0),
                        step / 2.0,
                        f32::NAN,
                    ]);
                    let mut outputs = Vec::new();
                    cpu.forward(&[&x], Mode::Train, &mut outputs).unwrap();
                    let dy: Vec<f32> = (0..1000).map(|_| net.random.unit() as f32 - 0.5).collect();
                    cpu.backward(std::slice::from_ref(&dy)).unwrap();
                    let fake = Fake {
                        step,
                        zero_point,
                        bits,
                        rounding,
                    };
                    let (mut dx, mut dstep) = (vec![0.0; 1000], [0.0]);
                    cpu.input_gradient(0, &mut dx).unwrap();
                    cpu.gradient(0, &mut dstep).unwrap();
                    let mut sum = 0f64;
                    for i in 0..1000 {
                        let (by_x, by_step) = fake.derivatives(x[i], gradient);
                        let what = format!(
                            "{bits} bits, zero {zero_point}, {rounding:?}, {gradient:?}, x = {}",
                            x[i]
                        );
                        assert_eq!(outputs[0][i], fake.value(x[i]), "{what}");
                        assert_eq!(dx[i], by_x * dy[i], "{what}");
                        sum += f64::from(by_step) * f64::from(dy[i]);
                    }
                    assert!(
                        (f64::from(dstep[0]) - sum).abs() <= 1e-4 * (1.0 + sum.abs()),
                        "{bits} {gradient:?}: {} for {sum}",
                        dstep[0]
                    );
                }
            }
        }
    }
}
