//! Channels with dead weights: a bias beyond 32 bits must neither change a bit nor send the whole layer to a slow kernel.

mod common;

use common::conv_case;
use kernels::int::{self, Conv, Edge, Epilogue, KernelOp, Out, Output, Pixels, requantize};
use kernels::{ConvShape, Isa, Pool};
use testing::SplitMix64;

/// Exact sums of a 3×3 layer of stride 1 and padding 1, [pixel][channel].
fn sums(shape: &ConvShape, levels: &[i32], e: &Epilogue, x: &[u8]) -> Vec<i64> {
    let [_, h, w] = shape.input;
    let (cin, each) = (shape.in_channels, shape.in_channels / shape.groups);
    let mut out = Vec::new();
    for p in 0..h * w {
        for c in 0..shape.out_channels {
            let first = c / (shape.out_channels / shape.groups) * each;
            let mut acc = e.bias[c];
            for (i, t) in (0..each).flat_map(|i| (0..9).map(move |t| (i, t))) {
                let (y, x0) = ((p / w + t / 3).wrapping_sub(1), (p % w + t % 3).wrapping_sub(1));
                if y < h && x0 < w {
                    let q = x[(y * w + x0) * cin + first + i];
                    let level = levels[(c * each + i) * 9 + t];
                    acc += i64::from(level) * (i64::from(q) - i64::from(e.zero_in));
                }
            }
            out.push(acc);
        }
    }
    out
}

fn code(e: &Epilogue, acc: i64, m: f32) -> u8 {
    match &e.output {
        Output::U8 { zero, hi, table } => {
            let q = requantize(acc, m, *zero, *hi);
            table.as_ref().map_or(q, |t| t[usize::from(q)])
        }
        Output::Function {
            function,
            edge: Edge { scale, zero, hi },
        } => {
            let y = function.apply(acc as f32 * m) / scale;
            (i64::from(y.round_ties_even().clamp(-1e6, 1e6) as i32) + i64::from(*zero))
                .clamp(0, i64::from(*hi)) as u8
        }
        Output::F32 => unreachable!("codes"),
    }
}

#[test]
fn dead_channels_keep_their_value_on_every_row() {
    let mut rng = SplitMix64(9);
    let pool = Pool::new(2);
    let (mut fast, mut layers) = (0, 0);
    for case in 0..120 {
        let channels = if case % 2 == 0 { [20, 20, 20] } else { [12, 24, 1] };
        let (shape, levels, mut e, x) = conv_case(
            &mut rng,
            1,
            channels,
            [1, 5, 7],
            [1, 3, 3],
            [1; 3],
            [1; 3],
            [0, 1, 1],
            127,
            case % 5 != 0,
        );
        // Most are far beyond i32; some are near, where a few of the sums round to another code.
        for c in (case % 3..shape.out_channels).step_by(4) {
            let bits = if rng.range(0, 3) == 0 {
                31
            } else {
                rng.range(33, 56) as u32
            };
            let sign = if rng.range(0, 1) == 0 { 1 } else { -1 };
            e.bias[c] = sign * (1i64 << bits) + rng.range(0, 1 << 20) as i64;
            e.multiplier[c] = (rng.unit_f32() * 300.0) / (1u64 << bits) as f32;
        }
        let want = sums(&shape, &levels, &e, &x);
        for kernel in int::registry().filter(|k| k.op == KernelOp::Conv) {
            let Some(conv) =
                Conv::with_kernel(&shape, false, &levels, e.clone(), kernel).expect("bounds hold")
            else {
                continue;
            };
            let (pixels, m) = (Pixels::dense(&x, shape.in_channels), |i: usize| {
                e.multiplier[i % shape.out_channels]
            });
            if matches!(e.output, Output::F32) {
                let mut y = vec![0f32; want.len()];
                conv.run_f32(&pool, pixels, Out::dense(&mut y, shape.out_channels));
                for (i, y) in y.iter().enumerate() {
                    assert_eq!(
                        y.to_bits(),
                        (want[i] as f32 * m(i)).to_bits(),
                        "{} case {case}: {i}",
                        kernel.name
                    );
                }
            } else {
                let mut y = vec![0u8; want.len()];
                conv.run(&pool, pixels, Out::dense(&mut y, shape.out_channels));
                for (i, &y) in y.iter().enumerate() {
                    assert_eq!(y, code(&e, want[i], m(i)), "{} case {case}: {i}", kernel.name);
                }
            }
        }
        let best = |e: &Epilogue| {
            Conv::new(&shape, &levels, e.clone(), Isa::best())
                .unwrap()
                .kernel_name()
                .to_string()
        };
        let mut plain = e.clone();
        plain.bias.fill(0);
        layers += 1;
        fast += usize::from(best(&e) == best(&plain));
    }
    assert!(
        fast > layers / 3,
        "{fast} of {layers} layers stay on their kernel"
    );
}
