//! Random operators for random graphs.

use graph::{
    Binary, Conv, ConvTranspose, CoordinateTransform, NearestMode, Op, PadMode, Padding, Pool, ReduceKind,
    Resize, ResizeMode, Unary, ValueId,
};
use tensor::Tensor;

use super::{Builder, normals};

/// Most elements of a value, so that the oracle stays fast.
const MOST: usize = 12_000;

/// Appends one operator, or one with its companions.
pub fn block(b: &mut Builder) {
    let recent = b.values.len().min(4);
    let x = b.values[b.values.len() - b.rng.range(1, recent)];
    let shape = b.shape(x);
    let picture = shape.len() >= 3 && shape[2..].iter().all(|&d| d > 0);
    let y = match b.rng.range(0, if picture { 21 } else { 5 }) {
        0 | 1 => unary(b, x),
        2 => binary(b, x),
        3 => reshaped(b, x),
        4 => transposed(b, x),
        5 => linear(b, x),
        6..=9 => conv(b, x),
        10 | 11 => depthwise(b, x),
        12 => conv_transpose(b, x),
        13 => pool(b, x),
        14 => global(b, x),
        15 | 16 => concat(b, x),
        17 => resize(b, x),
        18 => sliced(b, x),
        19 => split(b, x),
        20 => padded(b, x),
        _ => shuffle(b, x),
    };
    let shape = b.shape(y);
    if !shape.contains(&0) && shape.iter().product::<usize>() <= MOST {
        b.values.push(y);
    } else {
        b.values.push(x);
    }
}

fn unary(b: &mut Builder, x: ValueId) -> ValueId {
    let all = [
        Unary::Relu,
        Unary::Relu,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Sigmoid,
        Unary::Swish { alpha: 1.0 },
        Unary::HardSwish,
        Unary::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Unary::Mish,
        Unary::Tanh,
        Unary::Exp,
        Unary::Abs,
        Unary::Elu { alpha: 1.0 },
    ];
    if b.rng.chance(20) {
        let (low, high) = (
            b.g.add_constant("low", Tensor::scalar(0f32)),
            b.g.add_constant("high", Tensor::scalar(1.5f32)),
        );
        return b.node(Op::Clip, &[x, low, high]);
    }
    let u = b.rng.pick(&all);
    b.node(Op::Unary(u), &[x])
}

/// Another value of a shape that broadcasts, made where there is none.
fn partner(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let same: Vec<ValueId> = b
        .values
        .iter()
        .copied()
        .filter(|&v| b.shape(v) == shape)
        .collect();
    match b.rng.range(0, 4) {
        0 => {
            let mut s = shape.clone();
            for d in &mut s {
                if b.rng.chance(50) {
                    *d = 1;
                }
            }
            let skip = if b.rng.chance(30) {
                b.rng.range(0, s.len() - 1)
            } else {
                0
            };
            let t = normals(&mut b.rng, &s[skip..]);
            b.g.add_constant("c", t)
        }
        1 if shape.len() > 2 => b.node(Op::GlobalAveragePool, &[x]),
        _ => b.rng.pick(&same),
    }
}

fn binary(b: &mut Builder, x: ValueId) -> ValueId {
    let y = partner(b, x);
    let op = b.rng.pick(&[Binary::Add, Binary::Add, Binary::Sub, Binary::Mul]);
    let pair = if b.rng.chance(50) { [x, y] } else { [y, x] };
    if b.rng.chance(8) {
        return b.node(Op::Max, &pair);
    }
    b.node(Op::Binary(op), &pair)
}

fn window(
    b: &mut Builder,
    shape: &[usize],
    most: usize,
    strides: &[usize],
) -> (Vec<usize>, Vec<usize>, Vec<usize>, Vec<usize>) {
    let (mut kernel, mut stride, mut dilation, mut pads) = (vec![], vec![], vec![], vec![]);
    for &len in &shape[2..] {
        let k = b.rng.range(1, most.min(len));
        let d = if k > 1 && (k - 1) * 2 < len && b.rng.chance(15) {
            2
        } else {
            1
        };
        kernel.push(k);
        dilation.push(d);
        stride.push(b.rng.pick(strides));
        pads.push(if b.rng.chance(60) {
            (k - 1) / 2
        } else {
            b.rng.range(0, k - 1)
        });
    }
    (kernel, stride, dilation, [pads.clone(), pads].concat())
}

fn conv_op(b: &mut Builder, shape: &[usize], group: usize) -> Conv {
    let (kernel, strides, dilations, pads) = window(b, shape, 3, &[1, 1, 1, 2]);
    let padding = match b.rng.range(0, 7) {
        0 => Padding::SameUpper,
        1 => Padding::SameLower,
        _ => Padding::Explicit(pads),
    };
    Conv {
        kernel,
        strides,
        dilations,
        padding,
        group,
    }
}

fn with_activation(b: &mut Builder, y: ValueId) -> ValueId {
    match b.rng.range(0, 2) {
        0 => y,
        _ => unary(b, y),
    }
}

fn conv(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let groups: Vec<usize> = (1..=4).filter(|g| shape[1].is_multiple_of(*g)).collect();
    let group = if b.rng.chance(75) { 1 } else { b.rng.pick(&groups) };
    let outputs = group * b.rng.range(1, 24 / group);
    let op = conv_op(b, &shape, group);
    let depth = op.kernel.iter().product::<usize>() * shape[1] / group;
    let w = b.weight(
        &[&[outputs, shape[1] / group], &op.kernel[..]].concat(),
        Some(0),
        depth,
    );
    let bias = b.bias(outputs);
    let inputs: Vec<ValueId> = [x, w].into_iter().chain(bias).collect();
    let y = b.node(Op::Conv(op), &inputs);
    with_activation(b, y)
}

fn depthwise(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let op = conv_op(b, &shape, shape[1]);
    let depth = op.kernel.iter().product::<usize>();
    let w = b.weight(&[&[shape[1], 1], &op.kernel[..]].concat(), Some(0), depth);
    let bias = b.bias(shape[1]);
    let inputs: Vec<ValueId> = [x, w].into_iter().chain(bias).collect();
    let y = b.node(Op::Conv(op), &inputs);
    with_activation(b, y)
}

fn conv_transpose(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let group = if shape[1].is_multiple_of(2) && b.rng.chance(25) {
        2
    } else {
        1
    };
    let outputs = group * b.rng.range(1, 5);
    let (kernel, strides, dilations, _) = window(b, &shape, 3, &[1, 2, 2]);
    let pads: Vec<usize> = kernel.iter().map(|&k| b.rng.range(0, (k - 1) / 2)).collect();
    let output_padding = strides.iter().map(|&s| b.rng.range(0, s - 1)).collect();
    let depth = kernel.iter().product::<usize>() * shape[1] / group;
    let axis = (group == 1).then_some(1);
    let w = b.weight(&[&[shape[1], outputs / group], &kernel[..]].concat(), axis, depth);
    let bias = b.bias(outputs);
    let op = Op::ConvTranspose(ConvTranspose {
        conv: Conv {
            kernel,
            strides,
            dilations,
            padding: Padding::Explicit([pads.clone(), pads].concat()),
            group,
        },
        output_padding,
        output_shape: None,
    });
    let inputs: Vec<ValueId> = [x, w].into_iter().chain(bias).collect();
    b.node(op, &inputs)
}

fn pool(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let (kernel, strides, dilations, pads) = window(b, &shape, 3, &[1, 2]);
    let op = Pool {
        kernel,
        strides,
        dilations,
        padding: Padding::Explicit(pads),
        ceil_mode: b.rng.chance(30),
        count_include_pad: b.rng.chance(50),
    };
    match b.rng.chance(50) {
        true => b.node(Op::MaxPool(op), &[x]),
        false => b.node(Op::AveragePool(op), &[x]),
    }
}

fn global(b: &mut Builder, x: ValueId) -> ValueId {
    match b.rng.range(0, 2) {
        0 => b.node(Op::GlobalAveragePool, &[x]),
        1 => b.node(Op::GlobalMaxPool, &[x]),
        _ => {
            let axes: Vec<i64> = (2..b.shape(x).len() as i64).collect();
            let axes = b.ints(&axes);
            let keep_dims = b.rng.chance(60);
            b.node(
                Op::Reduce {
                    kind: ReduceKind::Mean,
                    keep_dims,
                    noop_with_empty_axes: false,
                },
                &[x, axes],
            )
        }
    }
}

/// Over channels, of convolutions of `x` and of older values of the same size.
fn concat(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let rest = |s: &[usize]| s.len() == shape.len() && s[0] == shape[0] && s[2..] == shape[2..];
    let mut parts: Vec<ValueId> = b.values.iter().copied().filter(|&v| rest(&b.shape(v))).collect();
    while parts.len() > 3 {
        let i = b.rng.range(0, parts.len() - 1);
        parts.remove(i);
    }
    for _ in 0..b.rng.range(0, 2) {
        let outputs = b.rng.range(1, 9);
        let ones = vec![1; shape.len() - 2];
        let w = b.weight(&[&[outputs, shape[1]], &ones[..]].concat(), Some(0), shape[1]);
        let op = Conv {
            kernel: ones.clone(),
            strides: ones.clone(),
            dilations: ones,
            padding: Padding::Valid,
            group: 1,
        };
        let y = b.node(Op::Conv(op), &[x, w]);
        parts.push(with_activation(b, y));
    }
    let axis = if b.rng.chance(80) {
        1
    } else {
        1 - shape.len() as i64
    };
    b.node(Op::Concat { axis }, &parts)
}

fn resize(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let op = Op::Resize(Resize {
        mode: b.rng.pick(&[ResizeMode::Nearest, ResizeMode::Linear]),
        coordinates: b.rng.pick(&[
            CoordinateTransform::HalfPixel,
            CoordinateTransform::Asymmetric,
            CoordinateTransform::AlignCorners,
            CoordinateTransform::PytorchHalfPixel,
        ]),
        nearest: b.rng.pick(&[
            NearestMode::Floor,
            NearestMode::RoundPreferFloor,
            NearestMode::RoundPreferCeil,
            NearestMode::Ceil,
        ]),
        axes: vec![],
    });
    if b.rng.chance(50) {
        let mut scales = vec![1f32, 1.0];
        let scale = |b: &mut Builder, d: usize| b.rng.pick(&[2f32, 2.0, 1.5, if d > 1 { 0.7 } else { 1.0 }]);
        scales.extend(shape[2..].iter().map(|&d| scale(b, d)));
        let scales = b.floats(&scales);
        return b.node_of(op, vec![Some(x), None, Some(scales)], None);
    }
    let mut sizes: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    for d in &mut sizes[2..] {
        *d = b.rng.range(1, 11) as i64;
    }
    if b.rng.chance(15)
        && matches!(
            op,
            Op::Resize(Resize {
                mode: ResizeMode::Nearest,
                ..
            })
        )
    {
        sizes[1] = b.rng.range(1, 9) as i64;
    }
    let sizes = b.ints(&sizes);
    b.node_of(op, vec![Some(x), None, None, Some(sizes)], None)
}

fn sliced(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let axis = b.rng.range(1, shape.len() - 1);
    let len = shape[axis] as i64;
    let start = b.rng.range(0, (len - 1) as usize) as i64;
    let end = b.rng.range(start as usize + 1, len as usize) as i64;
    let (start, end, step) = match b.rng.range(0, 3) {
        0 => (end - 1, start - 1 - len, -1),
        1 => (start - len, end, 2),
        _ => (start, end, 1),
    };
    let inputs = [
        x,
        b.ints(&[start]),
        b.ints(&[end]),
        b.ints(&[axis as i64]),
        b.ints(&[step]),
    ];
    b.node(Op::Slice, &inputs)
}

fn split(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let axis = b.rng.range(1, shape.len() - 1);
    let first = b.rng.range(0, shape[axis] - 1).max(1).min(shape[axis]);
    if first == shape[axis] {
        return x;
    }
    let parts = b.ints(&[first as i64, (shape[axis] - first) as i64]);
    let second = b.g.add_value("second", None, None);
    let y = b.node_of(
        Op::Split { axis: axis as i64 },
        vec![Some(x), Some(parts)],
        Some(second),
    );
    b.values.push(second);
    y
}

fn padded(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let mut pads = vec![0i64; 2 * shape.len()];
    for axis in 1..shape.len() {
        if b.rng.chance(60) {
            pads[axis] = b.rng.range(0, 2) as i64;
            pads[shape.len() + axis] =
                b.rng.range(0, 2) as i64 - i64::from(shape[axis] > 2 && b.rng.chance(30));
        }
    }
    let pads = b.ints(&pads);
    let mode = PadMode::Constant;
    match b.rng.range(0, 3) {
        0 => {
            let value = b.g.add_constant("value", Tensor::scalar(0.75f32));
            b.node(Op::Pad { mode }, &[x, pads, value])
        }
        _ => b.node(Op::Pad { mode }, &[x, pads]),
    }
}

fn shuffle(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let groups: Vec<usize> = (1..=4).filter(|g| shape[1].is_multiple_of(*g)).collect();
    let g = b.rng.pick(&groups);
    let mut five = vec![shape[0] as i64, g as i64, (shape[1] / g) as i64];
    five.extend(shape[2..].iter().map(|&d| d as i64));
    let mut perm: Vec<usize> = (0..five.len()).collect();
    perm.swap(1, 2);
    let back: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let (five, back) = (b.ints(&five), b.ints(&back));
    let y = b.node(Op::Reshape { allow_zero: false }, &[x, five]);
    let y = b.node(Op::Transpose { perm: Some(perm) }, &[y]);
    b.node(Op::Reshape { allow_zero: false }, &[y, back])
}

/// Another factorization of the elements.
fn reshaped(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let rest: usize = shape[1..].iter().product();
    let divisors: Vec<usize> = (1..=rest.min(12)).filter(|d| rest.is_multiple_of(*d)).collect();
    let c = b.rng.pick(&divisors);
    let to = match b.rng.range(0, 3) {
        0 => vec![shape[0] as i64, -1],
        1 => vec![shape[0] as i64, (rest / c) as i64, c as i64],
        2 => vec![shape[0] as i64, c as i64, 1, (rest / c) as i64],
        _ => {
            if shape.len() > 3 {
                vec![shape[0] as i64, shape[1] as i64, -1]
            } else {
                vec![shape[0] as i64, c as i64, -1, 1]
            }
        }
    };
    let to = b.ints(&to);
    b.node(Op::Reshape { allow_zero: false }, &[x, to])
}

fn transposed(b: &mut Builder, x: ValueId) -> ValueId {
    let rank = b.shape(x).len();
    let mut perm: Vec<usize> = (0..rank).collect();
    for i in 1..rank {
        let j = b.rng.range(1, i);
        perm.swap(i, j);
    }
    b.node(Op::Transpose { perm: Some(perm) }, &[x])
}

/// Gemm of rank 2, else MatMul or Softmax over the last axis.
fn linear(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let inputs = *shape.last().unwrap();
    let outputs = b.rng.range(1, 20);
    if b.rng.chance(20) {
        let axis = b.rng.range(0, shape.len() - 1) as i64;
        return b.node(Op::Softmax { axis }, &[x]);
    }
    if shape.len() == 2 && b.rng.chance(60) {
        let trans_b = b.rng.chance(50);
        let (w, axis) = match trans_b {
            true => ([outputs, inputs], 0),
            false => ([inputs, outputs], 1),
        };
        let w = b.weight(&w, Some(axis), inputs);
        let bias = b.bias(outputs);
        let all: Vec<ValueId> = [x, w].into_iter().chain(bias).collect();
        let y = b.node(
            Op::Gemm {
                alpha: 1.0,
                beta: 1.0,
                trans_a: false,
                trans_b,
            },
            &all,
        );
        return with_activation(b, y);
    }
    let w = b.weight(&[inputs, outputs], Some(1), inputs);
    b.node(Op::MatMul, &[x, w])
}
