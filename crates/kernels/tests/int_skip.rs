//! Groups of ternary weights that were pruned: every row, with lines of zeros left out or not, gives the sums of i64 to the bit.

mod common;

use kernels::int::{self, Conv, Epilogue, KernelOp, Out, Output, Pixels};
use kernels::{ConvShape, Isa, Pool};
use proptest::prelude::*;
use testing::SplitMix64;

/// A layer of random size, and ternary levels of which `share` groups of `group` [outputs, inputs, taps] are pruned; some output channels have nothing left.
fn pruned(rng: &mut SplitMix64, group: [usize; 3], share: f64) -> (ConvShape, Vec<i32>) {
    let shape = loop {
        let shape = common::random_shape(rng, false);
        if !shape.is_depthwise() {
            break shape;
        }
    };
    let (cin, taps) = (
        shape.in_channels / shape.groups,
        shape.kernel.iter().product::<usize>(),
    );
    let of = [shape.out_channels, cin, taps];
    let count: Vec<usize> = (0..3).map(|i| of[i].div_ceil(group[i])).collect();
    let kept: Vec<bool> = (0..count.iter().product()).map(|_| rng.unit() >= share).collect();
    let empty: Vec<bool> = (0..of[0]).map(|_| rng.range(0, 7) == 0).collect();
    let levels = (0..of.iter().product::<usize>()).map(|i| {
        let at = [i / taps / cin, i / taps % cin, i % taps];
        let block = (0..3).fold(0, |block, axis| block * count[axis] + at[axis] / group[axis]);
        let level = rng.range(0, 2) as i32 - 1;
        if kept[block] && !empty[at[0]] { level } else { 0 }
    });
    let levels = levels.collect();
    (shape, levels)
}

/// Sums in i64, channels last, by the definition.
fn sums(s: &ConvShape, levels: &[i32], x: &[u8], zero: u8) -> Vec<i64> {
    let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
    let taps: usize = s.kernel.iter().product();
    let mut y = Vec::new();
    let [depth, height, width] = s.output;
    for (b, z, r, c) in (0..s.batch)
        .flat_map(|b| (0..depth).map(move |z| (b, z)))
        .flat_map(|(b, z)| (0..height).flat_map(move |r| (0..width).map(move |c| (b, z, r, c))))
    {
        for o in 0..s.out_channels {
            let mut sum = 0;
            for t in 0..taps {
                let tap = [
                    t / (s.kernel[1] * s.kernel[2]),
                    t / s.kernel[2] % s.kernel[1],
                    t % s.kernel[2],
                ];
                let at: Vec<usize> = (0..3)
                    .map(|i| ([z, r, c][i] * s.stride[i] + tap[i] * s.dilation[i]).wrapping_sub(s.pad[i]))
                    .collect();
                if (0..3).any(|i| at[i] >= s.input[i]) {
                    continue;
                }
                let pixel = ((b * s.input[0] + at[0]) * s.input[1] + at[1]) * s.input[2] + at[2];
                for i in 0..cin {
                    let q = i64::from(x[pixel * s.in_channels + o / cout * cin + i]) - i64::from(zero);
                    sum += i64::from(levels[(o * cin + i) * taps + t]) * q;
                }
            }
            y.push(sum);
        }
    }
    y
}

fn epilogue(channels: usize, zero_in: u8, hi_in: u8) -> Epilogue {
    Epilogue {
        zero_in,
        hi_in,
        bias: (0..channels as i64).map(|c| 7 * c - 20).collect(),
        multiplier: vec![1.0; channels],
        output: Output::F32,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_row_gives_the_sums_of_i64_over_random_masks(
        seed: u64,
        group in prop::sample::select(vec![[16, 4, 1], [32, 8, 1], [16, 4, 64], [1, 16, 1], [8, 16, 1], [1, 8, 64]]),
        share in prop::sample::select(vec![0.0, 0.3, 0.5, 0.9, 1.0]),
    ) {
        let mut rng = SplitMix64(seed);
        let (shape, levels) = pruned(&mut rng, group, share);
        let hi = [255, 15][rng.range(0, 1)];
        let zero = common::codes(&mut rng, 1, hi)[0];
        let x = common::codes(&mut rng, shape.batch * shape.input.iter().product::<usize>() * shape.in_channels, hi);
        let epilogue = epilogue(shape.out_channels, zero, hi);
        let biases = epilogue.bias.iter().cycle();
        let want: Vec<f32> = sums(&shape, &levels, &x, zero).iter().zip(biases).map(|(s, b)| (s + b) as f32).collect();
        for kernel in int::registry().filter(|k| k.op == KernelOp::Conv) {
            let conv = Conv::with_kernel(&shape, false, &levels, epilogue.clone(), kernel).unwrap();
            let Some(conv) = conv else { continue };
            let mut y = vec![0f32; want.len()];
            conv.run_f32(&Pool::new(2), Pixels::dense(&x, shape.in_channels), Out::dense(&mut y, shape.out_channels));
            prop_assert!(y == want, "{} {shape:?}", kernel.name);
        }
    }
}

/// A layer of kernel 1 with 64 input and 32 output channels; groups of [16, 4, 1] for which `kept` holds have levels.
fn pointwise(kept: impl Fn(usize, usize) -> bool) -> (ConvShape, Vec<i32>) {
    let shape = ConvShape {
        batch: 1,
        in_channels: 64,
        out_channels: 32,
        groups: 1,
        input: [1, 9, 9],
        output: [1, 9, 9],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    let level = |i: usize| {
        if kept(i / 64 / 16, i % 64 / 4) {
            [1, -1][i % 2]
        } else {
            0
        }
    };
    (shape, (0..32 * 64).map(level).collect())
}

#[test]
fn pruned_groups_are_not_stored_and_others_are() {
    let bytes = |isa: Isa, kept: fn(usize, usize) -> bool| {
        let (shape, levels) = pointwise(kept);
        Conv::new(&shape, &levels, epilogue(32, 3, 255), isa)
            .unwrap()
            .packed_bytes()
    };
    // Rows that multiply tiles at once skip nothing.
    for isa in Isa::usable()
        .into_iter()
        .filter(|i| ![Isa::Scalar, Isa::Amx].contains(i))
    {
        let all = bytes(isa, |_, _| true);
        let half = bytes(isa, |_, quad| quad % 2 == 0);
        let none = bytes(isa, |_, _| false);
        assert!(half < all * 3 / 4, "{}: {half} of {all}", isa.name());
        assert!(none < half, "{}: {none} of {half}", isa.name());
        // One group in sixteen is not worth a list.
        assert_eq!(bytes(isa, |_, quad| quad != 5), all, "{}", isa.name());
    }
}

/// 2184 codes of 4 bits, all 15, all levels 1: the most that 16 bits hold.
#[test]
fn all_ones_over_the_longest_sum_of_16_bits_are_exact() {
    for (n, hi) in [(2184, 15), (128, 255), (2185, 15), (129, 255)] {
        for level in [1, -1] {
            let shape = ConvShape {
                in_channels: n,
                out_channels: 20,
                input: [1, 1, 3],
                output: [1, 1, 3],
                ..pointwise(|_, _| true).0
            };
            let levels = vec![level; 20 * n];
            let x = vec![hi; 3 * n];
            for kernel in int::registry().filter(|k| k.op == KernelOp::Conv) {
                let epilogue = Epilogue {
                    bias: vec![0; 20],
                    ..epilogue(20, 0, hi)
                };
                let Some(conv) = Conv::with_kernel(&shape, false, &levels, epilogue, kernel).unwrap() else {
                    continue;
                };
                let mut y = vec![0f32; 60];
                conv.run_f32(&Pool::new(1), Pixels::dense(&x, n), Out::dense(&mut y, 20));
                let want = (level * n as i32 * i32::from(hi)) as f32;
                assert!(
                    y.iter().all(|&v| v == want),
                    "{}: {} not {want}",
                    kernel.name,
                    y[0]
                );
            }
        }
    }
}
