//! Three spatial axes, and one.

use graph::*;

use super::batch;
use super::common::reference::Net;

/// Kernel × stride × dilation × groups of volumes: strides and dilations differ from axis to axis; channels and padding drawn.
#[test]
fn conv_over_the_grid() {
    let mut seed = 3000;
    for kernel in [[1, 1, 1], [3, 3, 3], [2, 3, 1], [1, 5, 2]] {
        for stride in 1..=3 {
            for dilation in 1..=2 {
                for groups in 0..3 {
                    seed += 1;
                    let mut net = Net::new(seed);
                    let draw = [1, 3, 17][net.random.below(3)];
                    let (inputs, outputs, group) = match groups {
                        0 => (draw, [1, 3, 16][net.random.below(3)], 1),
                        1 => (6, 9, 3),
                        _ => (draw, draw, draw),
                    };
                    let strides = vec![stride, 1 + stride % 3, 1 + (stride + 1) % 3];
                    let dilations = vec![dilation, 3 - dilation, dilation];
                    let reach: Vec<usize> = (0..3).map(|i| dilations[i] * (kernel[i] - 1)).collect();
                    let size: Vec<usize> = reach.iter().map(|r| 2 + r + net.random.below(3)).collect();
                    let pads: Vec<usize> = (0..6).map(|i| net.random.below(1 + reach[i % 3])).collect();
                    let what = format!(
                        "conv {inputs}→{outputs} group {group} kernel {kernel:?} strides {strides:?} dilations {dilations:?} pads {pads:?}"
                    );
                    let x = net.input(&[2, inputs, size[0], size[1], size[2]]);
                    let w = net.constant(
                        &[outputs, inputs / group, kernel[0], kernel[1], kernel[2]],
                        -0.5,
                        0.5,
                    );
                    let b = net.constant(&[outputs], -0.5, 0.5);
                    let op = Conv {
                        kernel: kernel.to_vec(),
                        strides,
                        dilations,
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

#[test]
fn conv_transposed() {
    for (seed, (strides, kernel, group, pads)) in [
        ([2, 2, 2], [2, 2, 2], 1, [0; 6]),
        ([2, 1, 3], [3, 2, 4], 2, [1, 0, 1, 0, 1, 2]),
        ([1, 2, 2], [1, 3, 3], 4, [0, 1, 1, 0, 0, 1]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut net = Net::new(3200 + seed as u64);
        let x = net.input(&[2, 4, 3, 4, 2]);
        let w = net.constant(&[4, 8 / group, kernel[0], kernel[1], kernel[2]], -0.5, 0.5);
        let b = net.constant(&[8], -0.5, 0.5);
        let conv = Conv {
            kernel: kernel.to_vec(),
            strides: strides.to_vec(),
            dilations: vec![1; 3],
            padding: Padding::Explicit(pads.to_vec()),
            group,
        };
        let op = ConvTranspose {
            conv,
            output_padding: vec![0; 3],
            output_shape: None,
        };
        let y = net.node(Op::ConvTranspose(op), &[x, w, b]);
        net.check(
            &format!("transposed conv kernel {kernel:?} group {group}"),
            &[y],
            &batch(2),
        );
    }
}

/// Windows, means and nearest neighbours of volumes, as U-Nets have them.
#[test]
fn pools_and_resizes() {
    let window = |kernel: [usize; 3], strides: [usize; 3], pads: [usize; 6], include: bool| Pool {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        dilations: vec![1; 3],
        padding: Padding::Explicit(pads.to_vec()),
        ceil_mode: false,
        count_include_pad: include,
    };
    for (i, (kernel, strides, pads)) in [
        ([2; 3], [2; 3], [0; 6]),
        ([3, 2, 1], [2, 1, 1], [1, 0, 0, 0, 1, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        for op in [
            Op::MaxPool(window(kernel, strides, pads, false)),
            Op::AveragePool(window(kernel, strides, pads, false)),
            Op::AveragePool(window(kernel, strides, pads, true)),
        ] {
            let mut net = Net::new(3300 + i as u64);
            let x = net.input(&[2, 5, 6, 4, 5]);
            let y = net.node(op.clone(), &[x]);
            net.check(&format!("{op:?}"), &[y], &batch(2));
        }
    }
    for (i, mode) in [ResizeMode::Nearest, ResizeMode::Linear].into_iter().enumerate() {
        let mut net = Net::new(3310 + i as u64);
        let x = net.input(&[2, 3, 2, 3, 4]);
        let sizes = net.integers(&[2, 3, 4, 6, 8]);
        let op = Resize {
            mode,
            coordinates: CoordinateTransform::Asymmetric,
            nearest: NearestMode::Floor,
            axes: vec![],
        };
        let y = net.node(Op::Resize(op), &[x]);
        let inputs = &mut net.graph.nodes.last_mut().unwrap().inputs;
        inputs.extend([None, None, Some(sizes)]);
        net.check(&format!("{mode:?}"), &[y], &batch(2));
    }
    for op in [Op::GlobalAveragePool, Op::GlobalMaxPool] {
        let mut net = Net::new(3320);
        let x = net.input(&[2, 5, 3, 2, 4]);
        let y = net.node(op.clone(), &[x]);
        net.check(op.name(), &[y], &batch(2));
    }
}

#[test]
fn conv_along_one_axis() {
    for (seed, (kernel, stride, dilation, group)) in [(3, 1, 2, 1), (5, 2, 1, 3), (1, 3, 1, 1), (4, 1, 1, 6)]
        .into_iter()
        .enumerate()
    {
        let mut net = Net::new(3400 + seed as u64);
        let x = net.input(&[2, 6, 17]);
        let w = net.constant(&[12, 6 / group, kernel], -0.5, 0.5);
        let op = Conv {
            kernel: vec![kernel],
            strides: vec![stride],
            dilations: vec![dilation],
            padding: Padding::Explicit(vec![kernel / 2, 0]),
            group,
        };
        let y = net.node(Op::Conv(op), &[x, w]);
        net.check(
            &format!("kernel {kernel} stride {stride} group {group}"),
            &[y],
            &batch(2),
        );
    }
}
