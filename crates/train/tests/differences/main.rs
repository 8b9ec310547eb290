//! Every instruction's forward against the oracle in float64, and its backward against differences there.

#[path = "../common/mod.rs"]
mod common;
mod functions;
mod volumes;

use common::reference::Net;
use functions::activations;
use graph::*;
use train::program::{BatchNormMode, ProgramOptions};

const CHANNELS: [usize; 6] = [1, 3, 15, 16, 17, 33];
const KERNELS: [[usize; 2]; 7] = [[1, 1], [2, 2], [3, 3], [5, 5], [7, 7], [3, 1], [2, 5]];

fn batch(n: usize) -> ProgramOptions {
    ProgramOptions::new(n)
}

/// Kernel × stride × dilation × groups; channels and padding drawn.
#[test]
fn conv_over_the_grid() {
    let mut seed = 1;
    for kernel in KERNELS {
        for stride in 1..=3 {
            for dilation in 1..=2 {
                for groups in 0..3 {
                    seed += 1;
                    let mut net = Net::new(seed);
                    let draw = CHANNELS[net.random.below(6)];
                    let (inputs, outputs, group) = match groups {
                        0 => (draw, CHANNELS[net.random.below(6)], 1),
                        1 => (
                            3 * [1, 5, 8][net.random.below(3)],
                            3 * [1, 2, 17][net.random.below(3)],
                            3,
                        ),
                        _ => (draw, draw, draw),
                    };
                    let size = [
                        5 + dilation * kernel[0] + net.random.below(4),
                        5 + dilation * kernel[1] + net.random.below(4),
                    ];
                    let pads: Vec<usize> = (0..4)
                        .map(|i| net.random.below(1 + dilation * (kernel[i % 2] - 1)))
                        .collect();
                    let what = format!(
                        "conv {inputs}→{outputs} group {group} kernel {kernel:?} stride {stride} dilation {dilation} pads {pads:?}"
                    );
                    let x = net.input(&[2, inputs, size[0], size[1]]);
                    let w = net.constant(&[outputs, inputs / group, kernel[0], kernel[1]], -0.5, 0.5);
                    let b = net.constant(&[outputs], -0.5, 0.5);
                    let op = Conv {
                        kernel: kernel.to_vec(),
                        strides: vec![stride; 2],
                        dilations: vec![dilation; 2],
                        padding: Padding::Explicit(pads),
                        group,
                    };
                    let y = net.node(Op::Conv(op), &[x, w, b]);
                    net.check(&what, &[y], &batch(2));
                }
            }
        }
    }
}

/// Every number of channels with every other, and depthwise.
#[test]
fn conv_over_channels() {
    for (i, inputs) in CHANNELS.into_iter().enumerate() {
        for (j, outputs) in CHANNELS.into_iter().enumerate() {
            for group in [1, inputs] {
                if group > 1 && i != j {
                    continue;
                }
                let mut net = Net::new(2000 + (10 * i + j) as u64);
                let x = net.input(&[2, inputs, 4, 5]);
                let w = net.constant(&[outputs, inputs / group, 3, 2], -0.5, 0.5);
                let op = Conv {
                    kernel: vec![3, 2],
                    strides: vec![1, 2],
                    dilations: vec![1; 2],
                    padding: Padding::Explicit(vec![0, 1, 2, 0]),
                    group,
                };
                let y = net.node(Op::Conv(op), &[x, w]);
                net.check(&format!("conv {inputs}→{outputs} group {group}"), &[y], &batch(2));
            }
        }
    }
}

/// More pixels than one part of a sum, and more channels than one task's panels.
#[test]
fn conv_in_several_parts() {
    for (seed, (inputs, outputs, group, kernel, size)) in [
        (4, 70, 1, 3, 40),
        (130, 9, 1, 1, 37),
        (24, 24, 24, 5, 50),
        (6, 4, 2, 3, 45),
    ]
    .into_iter()
    .enumerate()
    {
        let mut net = Net::new(900 + seed as u64);
        let x = net.input(&[2, inputs, size, size + 3]);
        let w = net.constant(&[outputs, inputs / group, kernel, kernel], -0.5, 0.5);
        let op = Conv {
            kernel: vec![kernel; 2],
            strides: vec![1; 2],
            dilations: vec![1; 2],
            padding: Padding::SameUpper,
            group,
        };
        let y = net.node(Op::Conv(op), &[x, w]);
        net.check(
            &format!("conv {inputs}→{outputs} group {group} kernel {kernel}"),
            &[y],
            &batch(2),
        );
    }
}

#[test]
fn conv_transposed() {
    for (seed, (stride, kernel, group, pads, output_padding, dilation)) in [
        (2, 2, 1, [0; 4], 0, 1),
        (2, 3, 1, [1, 0, 1, 1], 1, 1),
        (3, 4, 2, [1, 2, 0, 1], 0, 1),
        (1, 3, 3, [1; 4], 0, 1),
        (2, 4, 6, [1; 4], 0, 1),
        (2, 3, 2, [1, 0, 0, 1], 0, 2),
    ]
    .into_iter()
    .enumerate()
    {
        let mut net = Net::new(100 + seed as u64);
        let x = net.input(&[2, 6, 5, 4]);
        let w = net.constant(&[6, 18 / group, kernel, kernel], -0.5, 0.5);
        let b = net.constant(&[18], -0.5, 0.5);
        let conv = Conv {
            kernel: vec![kernel; 2],
            strides: vec![stride; 2],
            dilations: vec![dilation; 2],
            padding: Padding::Explicit(pads.to_vec()),
            group,
        };
        let op = ConvTranspose {
            conv,
            output_padding: vec![output_padding; 2],
            output_shape: None,
        };
        let y = net.node(Op::ConvTranspose(op), &[x, w, b]);
        net.check(
            &format!("transposed conv stride {stride} kernel {kernel} group {group}"),
            &[y],
            &batch(2),
        );
    }
}

#[test]
fn gemm_and_mat_mul() {
    for trans_b in [false, true] {
        let mut net = Net::new(7);
        let x = net.input(&[5, 19]);
        let w = net.constant(if trans_b { &[33, 19] } else { &[19, 33] }, -0.5, 0.5);
        let b = net.constant(&[33], -0.5, 0.5);
        let y = net.node(
            Op::Gemm {
                alpha: 1.0,
                beta: 1.0,
                trans_a: false,
                trans_b,
            },
            &[x, w, b],
        );
        net.check("gemm", &[y], &batch(5));
    }
    let mut net = Net::new(8);
    let x = net.input(&[2, 3, 7]);
    let w = net.constant(&[7, 4], -0.5, 0.5);
    let y = net.node(Op::MatMul, &[x, w]);
    net.check("matmul by a weight", &[y], &batch(2));
    let mut net = Net::new(9);
    let (a, b) = (net.input(&[2, 3, 7, 5]), net.input(&[2, 3, 5, 4]));
    let y = net.node(Op::MatMul, &[a, b]);
    net.check("matmul of two", &[y], &batch(2));
}

fn conv_1x1(net: &mut Net, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
    let w = net.constant(&[outputs, inputs, 1, 1], -1.0, 1.0);
    let op = Conv {
        kernel: vec![1; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        padding: Padding::Valid,
        group: 1,
    };
    net.node(Op::Conv(op), &[x, w])
}

fn batch_norm(net: &mut Net, x: ValueId, c: usize) -> ValueId {
    let list = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0)];
    let mut inputs = vec![x];
    inputs.extend(list.map(|(low, high)| net.constant(&[c], low, high)));
    net.node(Op::BatchNormalization { epsilon: 1e-3 }, &inputs)
}

#[test]
fn batch_norm_with_activations() {
    for batch_norm_mode in [BatchNormMode::Batch { momentum: 0.1 }, BatchNormMode::Frozen] {
        for (seed, function) in activations().into_iter().enumerate() {
            for channels in [1, 8, 21, 80] {
                let mut net = Net::new(300 + seed as u64);
                let x = net.input(&[3, channels, 5, 4]);
                let x = conv_1x1(&mut net, x, channels, channels);
                let mut y = batch_norm(&mut net, x, channels);
                if let Some(function) = &function {
                    y = net.node(Op::Unary(*function), &[y]);
                }
                let options = ProgramOptions {
                    batch_norm: batch_norm_mode,
                    ..batch(3)
                };
                net.check(
                    &format!("{batch_norm_mode:?} {channels} {function:?}"),
                    &[y],
                    &options,
                );
            }
        }
    }
}

fn pool(kernel: usize, stride: usize, pads: [usize; 4], include: bool) -> Pool {
    Pool {
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        dilations: vec![1; 2],
        padding: Padding::Explicit(pads.to_vec()),
        ceil_mode: false,
        count_include_pad: include,
    }
}

#[test]
fn pools() {
    for (seed, (kernel, stride, pads)) in [
        (2, 2, [0; 4]),
        (3, 2, [1, 0, 1, 1]),
        (5, 1, [2; 4]),
        (3, 3, [0; 4]),
    ]
    .into_iter()
    .enumerate()
    {
        for op in [
            Op::MaxPool(pool(kernel, stride, pads, false)),
            Op::AveragePool(pool(kernel, stride, pads, false)),
            Op::AveragePool(pool(kernel, stride, pads, true)),
        ] {
            let mut net = Net::new(700 + seed as u64);
            let x = net.input(&[2, 19, 9, 7]);
            let y = net.node(op.clone(), &[x]);
            net.check(&format!("{op:?}"), &[y], &batch(2));
        }
    }
    for op in [Op::GlobalAveragePool, Op::GlobalMaxPool] {
        let mut net = Net::new(750);
        let x = net.input(&[2, 5, 4, 3]);
        let y = net.node(op.clone(), &[x]);
        net.check(op.name(), &[y], &batch(2));
    }
}

#[test]
fn reductions() {
    for (i, (axes, keep_dims, kind)) in [
        (vec![2, 3], true, ReduceKind::Mean),
        (vec![2, 3], false, ReduceKind::Sum),
        (vec![1], true, ReduceKind::Mean),
        (vec![-1], false, ReduceKind::Mean),
        (vec![1, 3], false, ReduceKind::Sum),
    ]
    .into_iter()
    .enumerate()
    {
        let mut net = Net::new(800 + i as u64);
        let x = net.input(&[2, 5, 4, 3]);
        let x = conv_1x1(&mut net, x, 5, 6);
        let a = net.integers(&axes);
        let y = net.node(
            Op::Reduce {
                kind,
                keep_dims,
                noop_with_empty_axes: false,
            },
            &[x, a],
        );
        net.check(&format!("{kind:?} over {axes:?}"), &[y], &batch(2));
    }
}

#[test]
fn resizes() {
    use CoordinateTransform::*;
    for (i, (mode, coordinates, nearest)) in [
        (ResizeMode::Nearest, Asymmetric, NearestMode::Floor),
        (ResizeMode::Nearest, HalfPixel, NearestMode::RoundPreferFloor),
        (ResizeMode::Linear, HalfPixel, NearestMode::Floor),
        (ResizeMode::Linear, AlignCorners, NearestMode::Floor),
        (ResizeMode::Linear, Asymmetric, NearestMode::Floor),
        (ResizeMode::Linear, PytorchHalfPixel, NearestMode::Floor),
    ]
    .into_iter()
    .enumerate()
    {
        for sizes in [[2i64, 6, 8, 10], [2, 6, 7, 3]] {
            let mut net = Net::new(850 + i as u64);
            let x = net.input(&[2, 5, 4, 5]);
            let x = conv_1x1(&mut net, x, 5, 6);
            let s = net.integers(&sizes);
            let op = Resize {
                mode,
                coordinates,
                nearest,
                axes: vec![],
            };
            let y = net.node(Op::Resize(op.clone()), &[x]);
            net.graph
                .nodes
                .last_mut()
                .unwrap()
                .inputs
                .extend([None, None, Some(s)]);
            net.check(&format!("{op:?} to {sizes:?}"), &[y], &batch(2));
        }
    }
}

#[test]
fn moved_elements() {
    let mut net = Net::new(870);
    let x = net.input(&[2, 6, 5, 4]);
    let c = conv_1x1(&mut net, x, 6, 6);
    let sizes = net.integers(&[2, 3, 1]);
    net.graph.nodes.push(Node {
        name: "split".into(),
        op: Op::Split { axis: 1 },
        inputs: vec![Some(c), Some(sizes)],
        outputs: vec![],
    });
    let parts: Vec<ValueId> = (0..3)
        .map(|i| net.graph.add_value(&format!("part{i}"), None, None))
        .collect();
    net.graph.nodes.last_mut().unwrap().outputs = parts.clone();
    let joined = net.node(Op::Concat { axis: 1 }, &[parts[2], x, parts[0], parts[0]]);
    let (starts, ends, axes, steps) = (
        net.integers(&[1, -1]),
        net.integers(&[5, -100]),
        net.integers(&[1, 2]),
        net.integers(&[2, -2]),
    );
    let sliced = net.node(Op::Slice, &[joined, starts, ends, axes, steps]);
    let pads = net.integers(&[0, 1, 2, 0, 0, 3, 0, 1]);
    let padded = net.node(
        Op::Pad {
            mode: PadMode::Constant,
        },
        &[sliced, pads],
    );
    let indices = net.integers(&[2, 0, 0, -1]);
    let gathered = net.node(Op::Gather { axis: 2 }, &[padded, indices]);
    let turned = net.node(
        Op::Transpose {
            perm: Some(vec![0, 2, 3, 1]),
        },
        &[gathered],
    );
    let to = net.integers(&[2, -1, 6]);
    let rows = net.node(Op::Reshape { allow_zero: false }, &[turned, to]);
    let soft = net.node(Op::Softmax { axis: -1 }, &[rows]);
    let flat = net.node(Op::Flatten { axis: 1 }, &[soft]);
    let channels = net.node(Op::Softmax { axis: 1 }, &[c]);
    let middle = net.node(Op::Softmax { axis: 2 }, &[c]);
    net.check("moved elements", &[flat, channels, middle, rows], &batch(2));
}

#[test]
fn blocks_of_pixels_and_channels() {
    for (i, op) in [
        Op::DepthToSpace { block: 2, crd: false },
        Op::DepthToSpace { block: 2, crd: true },
        Op::SpaceToDepth { block: 2 },
    ]
    .into_iter()
    .enumerate()
    {
        let mut net = Net::new(880 + i as u64);
        let x = net.input(&[2, 5, 4, 6]);
        let x = conv_1x1(&mut net, x, 5, 12);
        let y = net.node(op.clone(), &[x]);
        net.check(&format!("{op:?}"), &[y], &batch(2));
    }
}
