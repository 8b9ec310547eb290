//! One fake quantizer between input and output, in every kind.

use graph::{Graph, Op};
use train::program::{AlphaDerivative, FakeQuantizer, ProgramOptions, QuantizerGradient, Rounding};

use super::reference::Net;

const GRADIENTS: [QuantizerGradient; 5] = [
    QuantizerGradient::Fixed,
    QuantizerGradient::Lsq,
    QuantizerGradient::Alpha(AlphaDerivative::AlmostEverywhere),
    QuantizerGradient::Alpha(AlphaDerivative::ThreeValued),
    QuantizerGradient::Alpha(AlphaDerivative::TwoValued),
];

/// A quantizer and what goes through it.
pub(crate) struct Case {
    pub(crate) what: String,
    pub(crate) quantizer: FakeQuantizer,
    /// With the gradient of the input, for a batch of two.
    pub(crate) options: ProgramOptions,
    /// 1000 numbers, within and beyond the range; the first are its ends, ties and what is no number.
    pub(crate) x: Vec<f32>,
}

/// The graph, and the cases of these bits: both kinds of zero point, both roundings, all gradients.
pub(crate) fn cases(bits: &[u32]) -> (Graph, Vec<Case>) {
    let mut net = Net::new(1);
    let x = net.input(&[2, 500]);
    let y = net.node(Op::Identity, &[x]);
    net.graph.outputs = vec![y];
    graph::shape::infer(&mut net.graph).unwrap();
    let edge = net.graph.value(x).name.clone();
    let mut cases = Vec::new();
    for &bits in bits {
        for zero_point in [0, ((1u32 << bits) / 2) as u8] {
            for rounding in [Rounding::Nearest, Rounding::Up] {
                for gradient in GRADIENTS {
                    let step = 0.37f32;
                    let top = f64::from(1 << bits);
                    let mut x: Vec<f32> = (0..1000)
                        .map(|_| ((net.random.unit() * 3.0 - 1.5) * top) as f32 * step)
                        .collect();
                    let low = -f32::from(zero_point) * step;
                    let ends = [0.0, -0.0, step, -step, step * (top as f32 - 1.0), step / 2.0, low];
                    x[..7].copy_from_slice(&ends);
                    x[7..10].copy_from_slice(&[f32::NAN, f32::INFINITY, low.next_down()]);
                    let quantizer = FakeQuantizer {
                        edge: edge.clone(),
                        bits,
                        step,
                        zero_point,
                        rounding,
                        gradient,
                        step_of: None,
                    };
                    cases.push(Case {
                        what: format!("{bits} bits, zero {zero_point}, {rounding:?}, {gradient:?}"),
                        options: ProgramOptions {
                            quantizers: vec![quantizer.clone()],
                            input_gradients: true,
                            ..ProgramOptions::new(2)
                        },
                        quantizer,
                        x,
                    });
                }
            }
        }
    }
    (net.graph, cases)
}
