//! Every float kernel against its scalar meaning, bit for bit (a NaN is any NaN), on every instruction set of this CPU.
//!
//! An instruction set that this CPU lacks prints `SKIPPED <isa>`; `LOWBIT_REQUIRE=<isa,…>` makes that a failure.

mod common;

use common::random_shape;
use kernels::float::{self, Activation, BinaryOp, Conv, Divisor, Linear, LinearAxis, MatMul, Rare};
use kernels::{Broadcast, ConvShape, Isa, Out, Pixels, Pool, PoolShape};
use proptest::prelude::*;
use tensor::math;
use testing::SplitMix64;

/// Bits, with one NaN for all.
fn bits(x: &[f32]) -> Vec<u32> {
    let one = |x: &f32| if x.is_nan() { f32::NAN } else { *x }.to_bits();
    x.iter().map(one).collect()
}

fn equal(what: &str, got: &[f32], want: &[f32]) {
    let (a, b) = (bits(got), bits(want));
    if let Some(i) = (0..a.len().max(b.len())).find(|&i| a.get(i) != b.get(i)) {
        panic!("{what} differs at {i}: {:?} not {:?}", got.get(i), want.get(i));
    }
}

fn numbers(rng: &mut SplitMix64, count: usize) -> Vec<f32> {
    (0..count).map(|_| (rng.unit_f32() - 0.5) * 4.0).collect()
}

fn activations(rng: &mut SplitMix64) -> Vec<Activation> {
    vec![
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Clip {
            low: rng.unit_f32() - 1.0,
            high: rng.unit_f32() * 2.0 - 0.5,
        },
        Activation::Sigmoid,
        Activation::Swish { alpha: 1.0 },
        Activation::Swish { alpha: 1.7 },
        Activation::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Activation::HardSwish,
        Activation::Mish,
        Activation::Tanh,
        Activation::Exp,
        Activation::Rare(Rare::Elu {
            alpha: 0.7,
            gamma: 1.1,
        }),
        Activation::Rare(Rare::Gelu { tanh: false }),
    ]
}

/// Runs a layer on one instruction set, from and to channel ranges of wider pictures whose other channels must stay.
#[allow(clippy::too_many_arguments)]
fn conv(
    shape: &ConvShape,
    transposed: bool,
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    isa: Isa,
    x: &[f32],
    gap: usize,
) -> Vec<f32> {
    let make = if transposed { Conv::transposed } else { Conv::new };
    let conv = make(shape, weights, bias, activation, isa).expect("lengths fit");
    let c = shape.in_channels;
    let mut wide = vec![f32::NAN; x.len() / c * (c + gap)];
    for (to, from) in wide.chunks_mut(c + gap).zip(x.chunks(c)) {
        to[gap..].copy_from_slice(from);
    }
    let pixels = shape.batch * shape.output.iter().product::<usize>();
    let c = shape.out_channels;
    let mut y = vec![7.5; pixels * (c + gap)];
    conv.run(
        &Pool::new(2),
        Pixels {
            data: &wide,
            stride: shape.in_channels + gap,
            offset: gap,
        },
        Out {
            data: &mut y,
            stride: c + gap,
            offset: gap / 2,
        },
    );
    let mut own = Vec::new();
    for pixel in y.chunks(c + gap) {
        let (start, end) = (gap / 2, gap / 2 + c);
        assert!(
            pixel[..start].iter().chain(&pixel[end..]).all(|&v| v == 7.5),
            "{} wrote outside of its channels",
            conv.kernel_name()
        );
        own.extend_from_slice(&pixel[start..end]);
    }
    own
}

fn check_conv(rng: &mut SplitMix64, shape: &ConvShape, transposed: bool) {
    let depth = shape.kernel.iter().product::<usize>() * shape.in_channels / shape.groups;
    let weights = numbers(rng, depth * shape.out_channels);
    let bias = numbers(rng, shape.out_channels);
    let bias = rng.pick(&[true, false]).then_some(&bias[..]);
    let all = activations(rng);
    let activation = rng.pick(&all);
    let x = numbers(
        rng,
        shape.batch * shape.input.iter().product::<usize>() * shape.in_channels,
    );
    let gap = rng.pick(&[0, 0, 3]);
    let run = |isa| conv(shape, transposed, &weights, bias, activation, isa, &x, gap);
    let want = run(Isa::Scalar);
    for isa in Isa::usable() {
        let what = format!("{} {activation:?} transposed: {transposed} {shape:?}", isa.name());
        equal(&what, &run(isa), &want);
    }
}

#[test]
fn every_required_instruction_set_ran() {
    for isa in [Isa::Avx2, Isa::Avx512Vnni]
        .into_iter()
        .filter(|isa| !isa.is_available())
    {
        println!("SKIPPED {}: this CPU lacks it", isa.name());
        assert!(
            !testing::required(isa.name()),
            "LOWBIT_REQUIRE asks for {}, this CPU lacks it",
            isa.name()
        );
    }
}

#[test]
fn the_chosen_kernel_is_of_the_instruction_set_asked_for() {
    let shape = |channels, groups| ConvShape {
        batch: 1,
        in_channels: channels,
        out_channels: channels,
        groups,
        input: [1, 5, 5],
        output: [1, 5, 5],
        kernel: [1, 3, 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0, 1, 1],
    };
    let name = |channels: usize, groups: usize, isa| {
        let weights = vec![0.5; channels * 9 * channels / groups];
        let conv = Conv::new(&shape(channels, groups), &weights, None, Activation::None, isa);
        conv.expect("lengths fit").kernel_name().to_owned()
    };
    assert_eq!(name(8, 1, Isa::Scalar), "conv_f32_scalar_m1n1_nhwc");
    if Isa::Avx2.is_available() {
        assert_eq!(name(8, 1, Isa::Avx2), "conv_f32_avx2_m6n16_nhwc");
        assert_eq!(name(8, 8, Isa::Avx2), "dwconv_f32_avx2_m4n16_nhwc");
        assert_eq!(name(7, 7, Isa::Avx2), "conv_f32_avx2_m6n16_nhwc");
    }
    if Isa::Avx512Vnni.is_available() {
        assert_eq!(name(16, 16, Isa::Avx512Vnni), "dwconv_f32_avx512vnni_m4n32_nhwc");
        assert_eq!(name(9, 9, Isa::Avx512Vnni), "dwconv_f32_avx2_m4n16_nhwc");
    }
    let short = Conv::new(&shape(8, 1), &[0.0; 3], None, Activation::None, Isa::best());
    assert_eq!(
        short.expect_err("too few weights").to_string(),
        "weights: 3 elements, the shape wants 576"
    );
}

/// Sums so deep that weights go block by block, maps so large that there are many tasks, tiles with every number of pixels.
#[test]
fn deep_and_large_layers_equal_the_scalar_row() {
    let mut rng = SplitMix64(5);
    for (channels, [h, w], k, stride) in [
        ([600, 40, 1], [5, 7], 1, 1),
        ([130, 33, 1], [6, 9], 3, 1),
        ([66, 8, 1], [30, 23], 3, 2),
        ([3, 17, 1], [70, 81], 3, 2),
        ([16, 24, 1], [90, 90], 1, 1),
        ([700, 1, 1], [3, 3], 1, 1),
        ([40, 40, 40], [33, 70], 5, 1),
        ([100, 100, 100], [17, 19], 3, 2),
        ([64, 48, 4], [12, 12], 3, 1),
    ] {
        let shape = ConvShape {
            batch: 2,
            in_channels: channels[0],
            out_channels: channels[1],
            groups: channels[2],
            input: [1, h, w],
            output: [1, (h - 1) / stride + 1, (w - 1) / stride + 1],
            kernel: [1, k, k],
            stride: [1, stride, stride],
            dilation: [1; 3],
            pad: [0, k / 2, k / 2],
        };
        check_conv(&mut rng, &shape, false);
    }
    for pixels in 1..26 {
        let shape = ConvShape {
            batch: 1,
            in_channels: 9,
            out_channels: 35,
            groups: 1,
            input: [1, 1, pixels],
            output: [1, 1, pixels],
            kernel: [1, 1, 3],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0, 0, 1],
        };
        check_conv(&mut rng, &shape, false);
    }
}

/// Inputs where an order of operations or a choice by maximum could differ.
fn edges() -> Vec<f32> {
    let mut x: Vec<f32> = (-4000..4000).map(|i| i as f32 * 0.03).collect();
    x.extend([
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MIN_POSITIVE,
        -1e-42,
        1e38,
        0.25,
        -0.25,
        20.0,
        88.73,
        -104.0,
    ]);
    x
}

#[test]
fn activations_equal_their_definition() {
    let x = edges();
    let pool = Pool::new(2);
    for activation in activations(&mut SplitMix64(3)) {
        let want: Vec<f32> = x.iter().map(|&x| activation.apply(x)).collect();
        for isa in Isa::usable() {
            let mut y = x.clone();
            float::activate(&pool, isa, activation, &mut y);
            equal(&format!("{} {activation:?}", isa.name()), &y, &want);
        }
    }
    let of = |f: fn(f32) -> f32, activation: Activation| {
        let want: Vec<f32> = x.iter().map(|&x| f(x)).collect();
        let mut y = x.clone();
        float::activate(&pool, Isa::best(), activation, &mut y);
        equal(&format!("{activation:?}"), &y, &want);
    };
    of(math::exp, Activation::Exp);
    of(math::sigmoid, Activation::Sigmoid);
    of(math::tanh, Activation::Tanh);
    of(math::silu, Activation::Swish { alpha: 1.0 });
    of(math::mish, Activation::Mish);
}

#[test]
fn clamps_keep_nan_and_minus_zero() {
    let relu = |x: f32| Activation::Relu.apply(x);
    assert!(relu(f32::NAN).is_nan());
    assert_eq!(relu(-0.0).to_bits(), (-0.0f32).to_bits());
    let upside_down = Activation::Clip { low: 3.0, high: 1.0 };
    assert_eq!(upside_down.apply(2.0), 1.0);
}

/// Element operators, pools, Softmax, MatMul and Resize on one instruction set.
fn elements(seed: u64, isa: Isa) -> Vec<(&'static str, Vec<f32>)> {
    let rng = &mut SplitMix64(seed);
    let pool = Pool::new(2);
    let mut out = Vec::new();
    let (pixels, c) = (rng.range(1, 30), rng.range(1, 70));
    let whole = [1, 1, 1, pixels, c];
    let other = rng.pick(&[whole, [1, 1, 1, 1, c], [1, 1, 1, pixels, 1], [1; 5]]);
    let shape = Broadcast::new(&whole, &other).expect("shapes broadcast");
    let mut a = numbers(rng, shape.len());
    let b = numbers(rng, other.iter().product());
    a[0] = f32::NAN;
    for op in [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Max,
        BinaryOp::Min,
        BinaryOp::PRelu,
    ] {
        let mut y = vec![0.0; shape.len()];
        float::binary(&pool, isa, op, &shape, &a, &b, &mut y);
        out.push(("binary", y));
    }
    let [h, w] = [rng.range(1, 9), rng.range(1, 9)];
    let x = numbers(rng, 2 * h * w * c);
    let window = PoolShape {
        batch: 2,
        channels: c,
        input: [1, h, w],
        output: [1, h, w.div_ceil(2)],
        kernel: [1, 3, 2],
        stride: [1, 1, 2],
        dilation: [1; 3],
        pad: [0, 1, 0],
    };
    let mut y = vec![0.0; 2 * h * w.div_ceil(2) * c];
    float::max_pool(&pool, isa, &window, &x, &mut y);
    out.push(("max", y.clone()));
    for divisor in [Divisor::Inside, Divisor::Padded([1, h + 2, w])] {
        float::average_pool(&pool, isa, &window, divisor, &x, &mut y);
        out.push(("average", y.clone()));
    }
    let mut y = vec![0.0; 2 * c];
    float::global_average(&pool, isa, [2, h * w, c], &x, &mut y);
    out.push(("global average", y));
    let mut y = x.clone();
    float::softmax(&pool, isa, c, &mut y);
    out.push(("softmax", y));
    let axis = |n: usize, rng: &mut SplitMix64| {
        let tap = |_| {
            let left = rng.range(0, n - 1);
            (left, (left + 1).min(n - 1), rng.pick(&[0.0, 0.25, 0.7]))
        };
        Some(LinearAxis {
            taps: (0..2 * n).map(tap).collect(),
        })
    };
    let linear = Linear {
        axes: [None, axis(h, rng), axis(w, rng)],
        input: [1, h, w],
    };
    let mut y = vec![0.0; 2 * 4 * h * w * c];
    float::resize_linear(&pool, isa, &linear, [2, c], &x, &mut y);
    out.push(("linear resize", y));
    let (m, k, n) = (rng.range(1, 20), rng.range(1, 40), rng.range(1, 50));
    let shape = MatMul {
        batch: 3,
        m,
        k,
        n,
        a_shared: rng.pick(&[true, false]),
        b_shared: rng.pick(&[true, false]),
    };
    let count = |shared: bool| if shared { 1 } else { 3 };
    let a = numbers(rng, count(shape.a_shared) * m * k);
    let b = numbers(rng, count(shape.b_shared) * k * n);
    let mut y = vec![0.0; 3 * m * n];
    float::matmul(&pool, isa, &shape, &a, &b, &mut y);
    out.push(("matmul", y));
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_layers_equal_the_scalar_row(seed in any::<u64>(), transposed in any::<bool>()) {
        let mut rng = SplitMix64(seed);
        let shape = random_shape(&mut rng, transposed);
        check_conv(&mut rng, &shape, transposed);
    }

    #[test]
    fn element_rows_equal_the_scalar_row(seed in any::<u64>()) {
        let want = elements(seed, Isa::Scalar);
        for isa in Isa::usable() {
            for ((what, got), (_, want)) in elements(seed, isa).iter().zip(&want) {
                equal(&format!("{} {what}", isa.name()), got, want);
            }
        }
    }
}
