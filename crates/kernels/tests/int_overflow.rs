//! No accumulator overflows: the worst weights and the worst inputs, on every integer row, against sums in i64.
//!
//! A row that adds pairs of products in 16 bits, or all of them in 32, differs here from the first case on that it cannot hold.

use kernels::int::{self, Conv, Epilogue, KernelOp, Out, Output, Pixels};
use kernels::{ConvShape, Pool};

const ZERO_OUT: u8 = 128;

/// FORMAT.md 1.2, written again.
fn code(acc: i64, m: f32) -> u8 {
    let r = ((acc as f32 * m).round_ties_even() as i32).clamp(-32_768, 32_767);
    (r + i32::from(ZERO_OUT)).clamp(0, 255) as u8
}

/// One output pixel that sees all of the input: `groups` × `depth` input channels, kernel = input.
fn shape(groups: usize, depth: usize, out: usize, kernel: [usize; 3]) -> ConvShape {
    ConvShape {
        batch: 3,
        in_channels: groups * depth,
        out_channels: groups * out,
        groups,
        input: kernel,
        output: [1; 3],
        kernel,
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    }
}

/// Levels of one output channel that drive the sum to an end, with different signs of neighbours.
fn level(channel: usize, k: usize, most: i32) -> i32 {
    match channel % 4 {
        0 => most,
        1 => -most,
        // Pairs of one sign: a saturating sum of two products would show although the total is small.
        2 if (k / 2).is_multiple_of(2) => most,
        2 => -most,
        _ if k < 3 => most,
        _ => -most,
    }
}

fn check(shape: &ConvShape, most: i32, hi_in: u8, bias: i64) -> usize {
    let (taps, depth) = (
        shape.kernel.iter().product::<usize>(),
        shape.in_channels / shape.groups,
    );
    let out = shape.out_channels / shape.groups;
    let k_of = |c: usize, tap: usize| c * taps + tap;
    let levels: Vec<i32> = (0..shape.out_channels)
        .flat_map(|o| (0..depth * taps).map(move |k| level(o, k, most)))
        .collect();
    let mut ran = 0;
    for zero_in in [0, hi_in] {
        let reach = (depth * taps) as f32 * most as f32 * f32::from(hi_in) + bias.abs() as f32;
        let multiplier = 100.0 / reach;
        for full in [hi_in, 0] {
            let x = vec![full; shape.batch * taps * shape.in_channels];
            let swing = i64::from(full) - i64::from(zero_in);
            let accs: Vec<i64> = (0..shape.out_channels)
                .map(|o| {
                    let all = (0..depth).flat_map(|c| (0..taps).map(move |t| (c, t)));
                    let sum: i64 = all.map(|(c, t)| i64::from(level(o, k_of(c, t), most))).sum();
                    sum * swing + bias
                })
                .collect();
            for codes in [true, false] {
                let output = if codes {
                    Output::U8 {
                        zero: ZERO_OUT,
                        hi: 255,
                        table: None,
                    }
                } else {
                    Output::F32
                };
                let epilogue = Epilogue {
                    zero_in,
                    hi_in,
                    bias: vec![bias; shape.out_channels],
                    multiplier: vec![multiplier; shape.out_channels],
                    output,
                };
                for kernel in int::registry().filter(|k| k.op == KernelOp::Conv) {
                    let conv = Conv::with_kernel(shape, false, &levels, epilogue.clone(), kernel)
                        .expect("the bounds hold");
                    let Some(conv) = conv else { continue };
                    let (pool, n) = (Pool::new(1), shape.batch * shape.out_channels);
                    let pixels = Pixels::dense(&x, shape.in_channels);
                    let at = |i: usize| accs[i % shape.out_channels];
                    let say = |i: usize| {
                        format!(
                            "{} K {} most {most} zero {zero_in} x {full} out {i} of {out}",
                            kernel.name,
                            depth * taps
                        )
                    };
                    if codes {
                        let mut y = vec![0u8; n];
                        conv.run(&pool, pixels, Out::dense(&mut y, shape.out_channels));
                        for (i, &q) in y.iter().enumerate() {
                            assert_eq!(q, code(at(i), multiplier), "{}", say(i));
                        }
                    } else {
                        let mut y = vec![0f32; n];
                        conv.run_f32(&pool, pixels, Out::dense(&mut y, shape.out_channels));
                        for (i, &v) in y.iter().enumerate() {
                            assert_eq!(v.to_bits(), (at(i) as f32 * multiplier).to_bits(), "{}", say(i));
                        }
                    }
                    ran += 1;
                }
            }
        }
    }
    ran
}

#[test]
fn the_worst_weights_and_inputs_give_the_sums_of_i64() {
    let mut ran = 0;
    // Depths around every block of four, of 32 and of 64, up to 2^16; levels of all storage widths up to 16 bits.
    for depth in [1, 3, 4, 5, 63, 64, 65, 257, 4096, 65_536] {
        for most in [1, 7, 64, 127, 128, 255, 16_384, 32_767, 32_768] {
            let out = if depth > 5000 { 4 } else { 20 };
            ran += check(&shape(1, depth, out, [1, 1, 1]), most, 255, 0);
        }
    }
    for most in [127, 128, 32_768] {
        ran += check(&shape(1, 7, 18, [1, 3, 3]), most, 255, i64::from(i32::MAX));
        ran += check(&shape(1, 64, 18, [2, 2, 3]), most, 127, -(1 << 40));
        ran += check(&shape(1, 64, 18, [1, 3, 3]), most, 1, 12_345);
    }
    println!("{ran} runs");
}

#[test]
fn the_worst_depthwise_weights_give_the_sums_of_i64() {
    for kernel in [[1, 1, 1], [1, 3, 3], [1, 5, 5], [1, 7, 7], [1, 15, 15], [3, 3, 3]] {
        for most in [1, 127, 128, 255, 16_384, 32_767, 32_768] {
            for groups in [1, 15, 16, 37, 64] {
                check(&shape(groups, 1, 1, kernel), most, 255, 0);
            }
            check(&shape(64, 1, 1, kernel), most, 255, i64::from(i32::MIN));
        }
    }
}

#[test]
fn what_could_leave_the_bounds_is_refused_before_it_runs() {
    let shape = shape(1, 65_536, 1, [1, 1, 1]);
    let levels = vec![32_768; 65_536];
    let epilogue = |bias, multiplier| Epilogue {
        zero_in: 0,
        hi_in: 255,
        bias: vec![bias],
        multiplier: vec![multiplier],
        output: Output::U8 {
            zero: 0,
            hi: 255,
            table: None,
        },
    };
    let refused = |bias, m| Conv::new(&shape, &levels, epilogue(bias, m), kernels::Isa::Scalar).is_err();
    assert!(!refused(0, 1e-3));
    // 2^31 · 255 · 1 is beyond i32 after scaling.
    assert!(refused(0, 1.0));
    assert!(refused(1 << 62, 1e-12));
    assert!(refused(i64::MIN, 1e-12));
    for m in [f32::NAN, f32::INFINITY, -1.0] {
        assert!(refused(0, m), "{m}");
    }
}
