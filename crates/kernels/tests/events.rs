//! Products by events and integer neurons beside what they mean.

use kernels::float::spiking::Steps;
use kernels::int::{Conv, Epilogue, Events, Neurons, Output, active};
use kernels::{ConvShape, Isa, Out, Pixels, Pool};
use testing::SplitMix64;

fn shapes() -> Vec<ConvShape> {
    let one =
        |channels: [usize; 2], input: [usize; 3], kernel: [usize; 3], stride: [usize; 3], pad: usize| {
            let pad = [0, 1, 2].map(|a| pad.min(kernel[a] - 1));
            ConvShape {
                batch: 3,
                in_channels: channels[0],
                out_channels: channels[1],
                groups: 1,
                input,
                output: [0, 1, 2].map(|a| (input[a] + 2 * pad[a] - kernel[a]) / stride[a] + 1),
                kernel,
                stride,
                dilation: [1; 3],
                pad,
            }
        };
    vec![
        one([8, 16], [12, 5, 5], [3; 3], [1; 3], 0),
        one([16, 24], [1, 7, 9], [1, 3, 3], [1, 2, 1], 1),
        one([160, 64], [1, 3, 3], [1, 3, 3], [1; 3], 0),
        one([64, 13], [1, 1, 5], [1; 3], [1; 3], 0),
        one([5, 7], [6, 4, 4], [2, 1, 3], [2, 1, 1], 2),
    ]
}

#[test]
fn events_give_the_sums_of_the_dense_kernels() {
    let (pool, mut random) = (Pool::new(2), SplitMix64(5));
    for shape in shapes() {
        let taps: usize = shape.kernel.iter().product();
        let count = shape.out_channels * shape.in_channels * taps;
        let levels: Vec<i32> = (0..count).map(|_| random.below(63) as i32 - 31).collect();
        let bias: Vec<i64> = (0..shape.out_channels)
            .map(|_| random.below(99) as i64 - 49)
            .collect();
        let events = Events::new(&shape, &levels, &bias).unwrap();
        let pixels = shape.batch * shape.input.iter().product::<usize>();
        let outputs = shape.batch * shape.output.iter().product::<usize>() * shape.out_channels;
        // Nothing, one in 64, a half, everything; and counts up to 5.
        for (part, most) in [(0, 1), (1, 1), (32, 1), (64, 1), (32, 5)] {
            let mut draw = || {
                if random.below(64) < part {
                    1 + random.below(most) as u8
                } else {
                    0
                }
            };
            let x: Vec<u8> = (0..pixels * shape.in_channels).map(|_| draw()).collect();
            assert_eq!(active(&x), x.iter().filter(|&&q| q != 0).count());
            let mut all = Vec::new();
            for isa in Isa::usable() {
                let epilogue = Epilogue {
                    zero_in: 0,
                    hi_in: 7,
                    bias: bias.clone(),
                    multiplier: vec![1.0; shape.out_channels],
                    output: Output::F32,
                };
                let dense = Conv::new(&shape, &levels, epilogue, isa).unwrap();
                let (mut want, mut have) = (vec![0f32; outputs], vec![f32::NAN; outputs]);
                dense.run_f32(
                    &pool,
                    Pixels::dense(&x, shape.in_channels),
                    Out::dense(&mut want, shape.out_channels),
                );
                events.run(&pool, isa, &x, &mut have);
                assert_eq!(have, want, "{} {shape:?} {part}/64 active", isa.name());
                all.push(want);
            }
            assert!(all.windows(2).all(|w| w[0] == w[1]));
        }
    }
}

/// The rule, one neuron at a time.
fn fires(steps: Steps, threshold: i64, leak: i64, sums: &[f32], n: usize, i: usize) -> Vec<u8> {
    let mut u = 0i64;
    let mut one = |t: usize| {
        let sum = sums[if steps.constant { i } else { t * n + i }] as i64;
        u = ((u * leak + 16_384) >> 15) + sum * 256;
        let fired = u > threshold;
        u -= if fired { threshold } else { 0 };
        u8::from(fired)
    };
    (0..steps.steps).map(&mut one).collect()
}

#[test]
fn integer_neurons_follow_the_rule_on_every_instruction_set() {
    let (pool, mut random) = (Pool::new(2), SplitMix64(6));
    let (channels, n) = (7, 7 * 23);
    for (reach, wide) in [(2000, false), (1 << 23, true)] {
        for leak in [1.0f32, 0.83, 0.0] {
            for (constant, count) in [(false, false), (true, false), (false, true), (true, true)] {
                let steps = Steps {
                    steps: 5,
                    constant,
                    count,
                };
                let len = if constant { n } else { 5 * n };
                let sums: Vec<f32> = (0..len)
                    .map(|_| (random.below(2 * reach) as f32) - (reach as f32) * 0.8)
                    .collect();
                for units in [vec![0.25], (1..=channels).map(|c| 0.1 * c as f64).collect()] {
                    let threshold = 0.11 * reach as f32;
                    let neurons = Neurons::new(steps, threshold, leak, &units, 2 * reach as i64);
                    assert_eq!(neurons.kernel_name() == "neurons_i64", wide);
                    let mut want = vec![0u8; if count { n } else { 5 * n }];
                    for i in 0..n {
                        let v =
                            (f64::from(threshold) * 256.0 / units[i % units.len()]).round_ties_even() as i64;
                        let l = (f64::from(leak) * 32_768.0).round_ties_even() as i64;
                        let fired = fires(steps, v, l, &sums, n, i);
                        match count {
                            true => want[i] = fired.iter().sum(),
                            false => fired.iter().enumerate().for_each(|(t, &s)| want[t * n + i] = s),
                        }
                    }
                    assert!(want.iter().any(|&s| s > 0) && want.contains(&0));
                    for isa in Isa::usable() {
                        let mut have = vec![9u8; want.len()];
                        neurons.run(&pool, isa, &sums, &mut have);
                        assert_eq!(have, want, "{} leak {leak} {steps:?}", isa.name());
                    }
                }
            }
        }
    }
}
