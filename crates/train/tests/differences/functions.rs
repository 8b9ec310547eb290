//! Functions of one element, and of two.

use graph::*;

use super::common::reference::Net;
use super::{batch, conv_1x1};

pub(super) fn activations() -> Vec<Option<Unary>> {
    let list = [
        Unary::Relu,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Sigmoid,
        Unary::Swish { alpha: 1.0 },
        Unary::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Unary::HardSwish,
        Unary::Mish,
        Unary::Tanh,
        Unary::Exp,
        Unary::Neg,
        Unary::Elu { alpha: 0.7 },
        Unary::Selu {
            alpha: 1.67,
            gamma: 1.05,
        },
        Unary::Softplus,
        Unary::Softsign,
        Unary::Gelu { tanh: false },
        Unary::Gelu { tanh: true },
        Unary::Erf,
        Unary::Abs,
        Unary::Sin,
        Unary::Cos,
    ];
    [None].into_iter().chain(list.map(Some)).collect()
}

/// Alone, behind a convolution with a bias, and a value that is read twice.
#[test]
fn activations_everywhere() {
    for (seed, function) in activations().into_iter().flatten().enumerate() {
        let mut net = Net::new(500 + seed as u64);
        let x = net.input(&[2, 5, 3, 7]);
        let a = net.node(Op::Unary(function), &[x]);
        let c = conv_1x1(&mut net, a, 5, 6);
        let y = net.node(Op::Unary(function), &[c]);
        let z = conv_1x1(&mut net, y, 6, 6);
        let sum = net.node(Op::Binary(Binary::Add), &[y, z]);
        net.check(&format!("{function:?}"), &[sum, y], &batch(2));
    }
    let mut net = Net::new(550);
    let x = net.input(&[2, 5, 3, 7]);
    let (low, high) = (
        net.graph.add_constant("low", tensor::Tensor::scalar(-0.3f32)),
        net.graph.add_constant("high", tensor::Tensor::scalar(0.6f32)),
    );
    let y = net.node(Op::Clip, &[x, low, high]);
    net.check("clip", &[y], &batch(2));
}

/// Of positive numbers.
#[test]
fn functions_with_a_pole_at_zero() {
    for (i, function) in [Unary::Log, Unary::Sqrt, Unary::Reciprocal]
        .into_iter()
        .enumerate()
    {
        let mut net = Net::new(560 + i as u64);
        let x = net.input(&[2, 5, 3, 7]);
        let x = net.node(Op::Unary(Unary::Exp), &[x]);
        let y = net.node(Op::Unary(function), &[x]);
        net.check(&format!("{function:?}"), &[y], &batch(2));
    }
}

/// One slope for each channel, and one for all; behind a convolution, too.
#[test]
fn parametric_relus() {
    for (i, slope) in [&[5usize, 1, 1][..], &[1], &[5, 3, 7]].into_iter().enumerate() {
        let mut net = Net::new(570 + i as u64);
        let x = net.input(&[2, 5, 3, 7]);
        let c = conv_1x1(&mut net, x, 5, 5);
        let slope = net.constant(slope, 0.05, 0.5);
        let y = net.node(Op::Binary(Binary::PRelu), &[c, slope]);
        let z = net.node(Op::Binary(Binary::PRelu), &[x, slope]);
        net.check(&format!("prelu {i}"), &[y, z], &batch(2));
    }
    let mut net = Net::new(575);
    let x = net.input(&[2, 6]);
    let slope = net.constant(&[6], 0.05, 0.5);
    let y = net.node(Op::Binary(Binary::PRelu), &[x, slope]);
    net.check("prelu of rows", &[y], &batch(2));
}

/// An operator without a backward is named, with a way out.
#[test]
fn what_has_no_backward_is_refused_by_name() {
    let mut net = Net::new(580);
    let x = net.input(&[2, 5]);
    let y = net.node(Op::LogSoftmax { axis: 1 }, &[x]);
    net.graph.outputs.push(y);
    graph::shape::infer(&mut net.graph).unwrap();
    let refused = train::program::Program::new(&net.graph, &batch(2))
        .unwrap_err()
        .to_string();
    for part in ["LogSoftmax", "\"y\"", "no backward", "quantize without training"] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn binary_with_broadcast() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[2, 5, 3, 4], &[2, 5, 3, 4]),
        (&[2, 5, 3, 4], &[2, 5, 1, 1]),
        (&[2, 1, 3, 4], &[2, 5, 3, 4]),
        (&[2, 5, 3, 4], &[2, 1, 3, 1]),
        (&[2, 6], &[2, 6]),
        (&[2, 7, 9], &[2, 7, 1]),
    ];
    for (i, (a_shape, b_shape)) in shapes.into_iter().enumerate() {
        for (k, op) in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div]
            .into_iter()
            .enumerate()
        {
            let mut net = Net::new(600 + (10 * i + k) as u64);
            let (a, b) = (net.input(a_shape), net.input(b_shape));
            // A divisor away from zero.
            let b = net.node(Op::Unary(Unary::Exp), &[b]);
            let y = net.node(Op::Binary(op), &[a, b]);
            net.check(&format!("{op:?} {a_shape:?} {b_shape:?}"), &[y], &batch(2));
        }
    }
    let mut net = Net::new(690);
    let x = net.input(&[2, 5, 3, 4]);
    let c = net.constant(&[5, 1, 1], -1.0, 1.0);
    let two = net.graph.add_constant("two", tensor::Tensor::scalar(2.0f32));
    let y = net.node(Op::Binary(Binary::Mul), &[x, c]);
    let y = net.node(Op::Binary(Binary::Pow), &[y, two]);
    let y = net.node(Op::Sum, &[y, x, x]);
    let mean = net.node(Op::Mean, &[y, x]);
    net.check(
        "constants of lower rank, squares, sums, means",
        &[y, mean],
        &batch(2),
    );
}
