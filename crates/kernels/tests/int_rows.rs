//! Every integer kernel row against the scalar meaning, byte for byte.
//!
//! A row whose instruction set this CPU lacks prints `SKIPPED <isa>`; `LOWBIT_REQUIRE=<isa,…>` makes that a failure. Where the
//! CPU supports CPUID faulting, a preloaded shim that hides features runs the same tests on an older CPU's
//! path; elsewhere `LOWBIT_ISA` chooses the path of the whole program, and these tests call each row directly.

mod common;

use common::{conv_case, element_rows};
use kernels::int::{self, Conv, Epilogue, KernelOp, Out, Output, Pixels};
use kernels::{ConvShape, Isa, Pool};
use proptest::prelude::*;
use testing::SplitMix64;

fn run_conv(conv: &Conv, shape: &ConvShape, x: &[u8]) -> Vec<u32> {
    // Into a wider picture, so that strides are tested and neighbours must stay untouched; and into one of their own.
    let wide = run_codes(conv, shape, x, 2, (shape.out_channels + 5, 3));
    let own = run_codes(conv, shape, x, 5, (shape.out_channels, 0));
    assert_eq!(
        wide,
        own,
        "{}: where pixels stand, or 2 and 5 threads",
        conv.kernel_name()
    );
    own
}

fn run_codes(
    conv: &Conv,
    shape: &ConvShape,
    x: &[u8],
    threads: usize,
    (stride, offset): (usize, usize),
) -> Vec<u32> {
    let pool = Pool::new(threads);
    let pixels = shape.batch * shape.output.iter().product::<usize>();
    let code = |i: usize| (i * 7 % 256) as u8;
    let keep = |i: usize| i % stride < offset || i % stride >= offset + shape.out_channels;
    let mut y: Vec<u8> = (0..pixels * stride).map(code).collect();
    conv.run(
        &pool,
        Pixels::dense(x, shape.in_channels),
        Out {
            data: &mut y,
            stride,
            offset,
        },
    );
    for (i, &q) in y.iter().enumerate().filter(|&(i, _)| keep(i)) {
        assert_eq!(q, code(i), "{} wrote outside of its channels", conv.kernel_name());
    }
    y.iter()
        .enumerate()
        .filter(|&(i, _)| !keep(i))
        .map(|(_, &q)| u32::from(q))
        .collect()
}

fn run_f32(conv: &Conv, shape: &ConvShape, x: &[u8]) -> Vec<u32> {
    let count = shape.batch * shape.output.iter().product::<usize>() * shape.out_channels;
    let mut y = vec![0f32; count];
    conv.run_f32(
        &Pool::new(2),
        Pixels::dense(x, shape.in_channels),
        Out::dense(&mut y, shape.out_channels),
    );
    y.iter().map(|v| v.to_bits()).collect()
}

/// Runs one layer on every row that accepts it; returns how many SIMD rows ran.
fn check_rows(shape: &ConvShape, transposed: bool, levels: &[i32], epilogue: &Epilogue, x: &[u8]) -> usize {
    let run = match epilogue.output {
        Output::U8 { .. } | Output::Function { .. } => run_conv,
        Output::F32 => run_f32,
    };
    let mut rows = int::registry().filter(|k| k.op == KernelOp::Conv);
    let make =
        |kernel| Conv::with_kernel(shape, transposed, levels, epilogue.clone(), kernel).expect("bounds hold");
    let scalar = make(rows.next().expect("a scalar row")).expect("the scalar row takes every layer");
    let want = run(&scalar, shape, x);
    let mut ran = 0;
    for kernel in rows {
        if let Some(conv) = make(kernel) {
            let got = run(&conv, shape, x);
            if got != want {
                let i = got.iter().zip(&want).position(|(a, b)| a != b).unwrap_or(0);
                panic!(
                    "{} differs at {i}: {} not {}\n{shape:?}",
                    kernel.name, got[i], want[i]
                );
            }
            ran += 1;
        }
    }
    ran
}

#[test]
fn every_required_instruction_set_ran() {
    for isa in Isa::ALL.iter().filter(|isa| !isa.is_available()) {
        println!("SKIPPED {}: this CPU lacks it", isa.name());
        assert!(
            !testing::required(isa.name()),
            "LOWBIT_REQUIRE asks for {}, this CPU lacks it",
            isa.name()
        );
    }
}

/// Large enough to be cut into lines, parts of a line, and panels of channels.
#[test]
fn layers_are_the_same_on_any_number_of_threads() {
    let mut rng = SplitMix64(3);
    // [in, out, groups], input, side of the kernel, stride
    let layers = [
        ([24, 48, 1], [1, 40, 40], 3, 1),
        ([3, 16, 1], [1, 61, 64], 3, 2),
        ([40, 72, 1], [1, 19, 21], 1, 1),
        ([256, 200, 1], [1, 7, 7], 1, 1),
        ([128, 96, 1], [1, 7, 7], 3, 1),
        ([72, 72, 72], [1, 40, 31], 3, 1),
        ([120, 120, 120], [1, 20, 20], 5, 2),
    ];
    for (channels, input, side, stride) in layers {
        let pad = [0, side / 2, side / 2];
        let (shape, levels, epilogue, x) = conv_case(
            &mut rng,
            1,
            channels,
            input,
            [1, side, side],
            [1, stride, stride],
            [1; 3],
            pad,
            127,
            true,
        );
        for kernel in int::registry().filter(|k| k.op == KernelOp::Conv) {
            let conv = Conv::with_kernel(&shape, false, &levels, epilogue.clone(), kernel);
            let Some(conv) = conv.expect("bounds hold") else {
                continue;
            };
            let run = |threads| run_codes(&conv, &shape, &x, threads, (shape.out_channels, 0));
            let one = run(1);
            for threads in 2..=8 {
                assert_eq!(run(threads), one, "{}, {threads} threads, {shape:?}", kernel.name);
            }
        }
    }
}

#[test]
fn rows_equal_the_scalar_row_on_named_shapes() {
    let mut rng = SplitMix64(1);
    // [in, out, groups], input, kernel, stride, dilation, pad
    let shapes: &[[[usize; 3]; 6]] = &[
        [
            [3, 16, 1],
            [1, 17, 19],
            [1, 3, 3],
            [1, 2, 2],
            [1, 1, 1],
            [0, 1, 1],
        ],
        [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0]],
        [[64, 80, 1], [1, 7, 9], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0]],
        [
            [32, 48, 1],
            [1, 12, 13],
            [1, 3, 3],
            [1, 1, 1],
            [1, 1, 1],
            [0, 1, 1],
        ],
        [[5, 33, 1], [1, 9, 9], [1, 5, 3], [1, 3, 1], [1, 1, 2], [0, 2, 2]],
        [
            [24, 24, 3],
            [1, 6, 11],
            [1, 3, 3],
            [1, 1, 1],
            [1, 2, 1],
            [0, 2, 1],
        ],
        [
            [64, 64, 64],
            [1, 15, 15],
            [1, 3, 3],
            [1, 1, 1],
            [1, 1, 1],
            [0, 1, 1],
        ],
        [
            [24, 24, 24],
            [1, 16, 9],
            [1, 3, 3],
            [1, 2, 2],
            [1, 1, 1],
            [0, 1, 1],
        ],
        [
            [96, 96, 96],
            [1, 11, 10],
            [1, 5, 5],
            [1, 1, 1],
            [1, 1, 1],
            [0, 2, 2],
        ],
        [
            [100, 100, 100],
            [1, 8, 40],
            [1, 3, 3],
            [1, 1, 1],
            [1, 1, 1],
            [0, 1, 1],
        ],
        [
            [16, 16, 16],
            [1, 9, 9],
            [1, 7, 1],
            [1, 1, 1],
            [1, 1, 1],
            [0, 3, 0],
        ],
        [[7, 18, 1], [4, 5, 6], [3, 3, 3], [1, 2, 1], [1, 1, 1], [1, 1, 1]],
        [
            [512, 10, 1],
            [1, 1, 1],
            [1, 1, 1],
            [1, 1, 1],
            [1, 1, 1],
            [0, 0, 0],
        ],
    ];
    let mut ran = 0;
    for &[channels, input, kernel, stride, dilation, pad] in shapes {
        for (limit, codes) in [
            (1, true),
            (8, true),
            (64, true),
            (127, true),
            (128, true),
            (300, false),
            (127, false),
            (32_768, true),
        ] {
            let (shape, levels, epilogue, x) = conv_case(
                &mut rng, 2, channels, input, kernel, stride, dilation, pad, limit, codes,
            );
            ran += check_rows(&shape, false, &levels, &epilogue, &x);
            if limit == 32_768 {
                // Powers of two, hardly any of them odd: rows hold their halves, and the odd ones in a list.
                for each in [23, 311, usize::MAX] {
                    let odd = |i: usize| i % each == each / 2;
                    let power = |(i, &level): (usize, &i32)| {
                        let sign = if level < 0 { -1 } else { 1 };
                        let exponent = if odd(i) { 0 } else { 1 + level.unsigned_abs() % 15 };
                        sign << exponent
                    };
                    let levels: Vec<i32> = levels.iter().enumerate().map(power).collect();
                    ran += check_rows(&shape, false, &levels, &epilogue, &x);
                }
            }
        }
    }
    println!("{ran} layers ran on SIMD rows");
    assert!(ran > 0 || Isa::usable().len() == 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_equal_the_scalar_row_on_random_layers(seed in any::<u64>(), transposed in any::<bool>()) {
        let mut rng = SplitMix64(seed);
        let (shape, levels, epilogue, x) = common::random_conv(&mut rng, transposed);
        check_rows(&shape, transposed, &levels, &epilogue, &x);
    }

    #[test]
    fn element_rows_equal_the_scalar_row(seed in any::<u64>()) {
        element_rows(&mut SplitMix64(seed));
    }
}

/// Multipliers that bring a Swish as near to a tie as f32 allows, from both sides: where the quick form must give way.
#[test]
fn rows_equal_the_scalar_row_next_to_ties_of_a_swish() {
    let swish = |x: f64| x / (1.0 + (-x).exp());
    let channels = 64;
    let shape = ConvShape {
        batch: 1,
        in_channels: 1,
        out_channels: channels,
        groups: 1,
        input: [1, 1, 40],
        output: [1, 1, 40],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    let mut ran = 0;
    for step in [0.002f32, 0.0137, 0.031, 0.5] {
        for first in [0, 64, 128] {
            // x with swish(x) = (k + ½) · step, by halving: Swish rises above 0.
            let tie = |c: usize| {
                let want = ((first + c) as f64 + 0.5) * f64::from(step);
                let (mut low, mut high) = (0.0, want + 2.0);
                for _ in 0..80 {
                    let middle = 0.5 * (low + high);
                    if swish(middle) < want {
                        low = middle
                    } else {
                        high = middle
                    }
                }
                f32::from_bits(((low / 100.0) as f32).to_bits() + (c % 3) as u32 - 1)
            };
            let epilogue = Epilogue {
                zero_in: 0,
                hi_in: 255,
                bias: vec![0; channels],
                multiplier: (0..channels).map(tie).collect(),
                output: Output::Function {
                    function: kernels::float::Activation::Swish { alpha: 1.0 },
                    edge: int::Edge {
                        scale: step,
                        zero: 20,
                        hi: 255,
                    },
                },
            };
            let x: Vec<u8> = (80..120).collect();
            ran += check_rows(&shape, false, &vec![1; channels], &epilogue, &x);
        }
    }
    assert!(ran > 0 || Isa::usable() == [Isa::Scalar]);
}
