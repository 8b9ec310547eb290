//! Speed of the float convolutions: `cargo run --release -p lowbit-kernels --example float_speed [words of a layer's name]`.
//!
//! One thread, best of several runs, GFLOP/s per instruction set; each result is compared with the scalar row's bits on the
//! way. Best, not mean: other programs on the machine only ever add time.

use std::time::Instant;

use kernels::float::{self, Activation, BinaryOp, Conv, Linear, LinearAxis};
use kernels::{Broadcast, ConvShape, Isa, Out, Pixels, Pool, PoolShape, layout};

/// Name, [in, out, groups], square input, kernel, stride.
const LAYERS: &[(&str, [usize; 3], usize, usize, usize)] = &[
    ("stem 3x3 s2", [3, 16, 1], 320, 3, 2),
    ("dense 3x3", [32, 32, 1], 80, 3, 1),
    ("dense 3x3", [64, 64, 1], 40, 3, 1),
    ("dense 3x3", [128, 128, 1], 20, 3, 1),
    ("dense 3x3", [256, 256, 1], 14, 3, 1),
    ("dense 3x3", [512, 512, 1], 7, 3, 1),
    ("dense 3x3 s2", [32, 64, 1], 160, 3, 2),
    ("pointwise", [16, 96, 1], 80, 1, 1),
    ("pointwise", [24, 144, 1], 56, 1, 1),
    ("pointwise", [144, 24, 1], 56, 1, 1),
    ("pointwise", [96, 96, 1], 40, 1, 1),
    ("pointwise", [256, 128, 1], 40, 1, 1),
    ("pointwise", [512, 256, 1], 20, 1, 1),
    ("pointwise", [320, 1280, 1], 7, 1, 1),
    ("depthwise 3x3", [96, 96, 96], 40, 3, 1),
    ("depthwise 3x3 s2", [96, 96, 96], 80, 3, 2),
    ("depthwise 5x5", [240, 240, 240], 20, 5, 1),
    ("depthwise 3x3", [960, 960, 960], 10, 3, 1),
    ("grouped 3x3", [64, 64, 4], 40, 3, 1),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pool = Pool::new(1);
    for &(name, [cin, cout, groups], side, kernel, stride) in LAYERS {
        let name = format!("{name} {cin}->{cout} at {side}");
        if !words.iter().all(|w| name.contains(w)) {
            continue;
        }
        let out = side.div_ceil(stride);
        let shape = ConvShape {
            batch: 1,
            in_channels: cin,
            out_channels: cout,
            groups,
            input: [1, side, side],
            output: [1, out, out],
            kernel: [1, kernel, kernel],
            stride: [1, stride, stride],
            dilation: [1; 3],
            pad: [0, kernel / 2, kernel / 2],
        };
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7 & 0xFFFF) as f32 / 65536.0 - 0.5;
        let x: Vec<f32> = (0..side * side * cin).map(value).collect();
        let weights: Vec<f32> = (0..cout * kernel * kernel * cin / groups).map(value).collect();
        let mut line = format!("{name:32}");
        let mut want = Vec::new();
        for isa in Isa::usable().into_iter().filter(|&isa| isa != Isa::AvxVnni) {
            let conv = Conv::new(&shape, &weights, None, Activation::Relu, isa).expect("lengths fit");
            let mut y = vec![0f32; out * out * cout];
            let mut run = || {
                let start = Instant::now();
                conv.run(&pool, Pixels::dense(&x, cin), Out::dense(&mut y, cout));
                start.elapsed().as_secs_f64()
            };
            let first = run();
            let rounds = if isa == Isa::Scalar {
                0
            } else {
                (0.2 / first) as usize + 5
            };
            let best = (0..rounds).map(|_| run()).fold(first, f64::min);
            let speed = 2.0 * shape.macs() as f64 / best / 1e9;
            line += &format!("  {} {speed:6.1}", isa.name());
            if isa == Isa::Scalar {
                want = y;
            } else {
                let same = y.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{name}: {} differs from scalar", conv.kernel_name());
            }
        }
        println!("{line}  GFLOP/s");
    }
    elements(&pool, &words);
}

fn once(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Seconds of the best of many runs, or the mean processor time where that is less: on a busy machine no long run is left alone.
fn best(run: &mut dyn FnMut()) -> f64 {
    let first = once(run);
    let rounds = (0.2 / first) as usize + 8;
    let start = processor_time();
    let least = (0..rounds).map(|_| once(run)).fold(first, f64::min);
    match (start, processor_time()) {
        (Some(start), Some(end)) if end > start => least.min((end - start) / rounds as f64),
        _ => least,
    }
}

/// Seconds that this thread ran; Linux only.
fn processor_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? * 1e-9)
}

/// Functions of one element, Softmax, pools and changes of layout, in the second cache.
fn elements(pool: &Pool, words: &[String]) {
    let (pixels, channels) = (1600, 48);
    let x: Vec<f32> = (0..pixels * channels)
        .map(|i| (i % 997) as f32 * 0.01 - 5.0)
        .collect();
    let isas: Vec<Isa> = Isa::usable()
        .into_iter()
        .filter(|&isa| isa != Isa::AvxVnni)
        .collect();
    let table = |name: &str, run: &dyn Fn(Isa, &mut [f32])| {
        if words.iter().all(|w| name.contains(w)) {
            let mut line = format!("{name:32}");
            for &isa in &isas {
                let mut y = x.clone();
                let seconds = best(&mut || run(isa, &mut y));
                line += &format!("  {} {:6.2}", isa.name(), x.len() as f64 / seconds / 1e9);
            }
            println!("{line}  G elements/s");
        }
    };
    for (name, activation) in [
        ("relu", Activation::Relu),
        ("silu", Activation::Swish { alpha: 1.0 }),
        ("mish", Activation::Mish),
        ("tanh", Activation::Tanh),
        ("hard swish", Activation::HardSwish),
    ] {
        table(name, &|isa, y| float::activate(pool, isa, activation, y));
    }
    table("softmax of 16", &|isa, y| float::softmax(pool, isa, 16, y));
    let sum = Broadcast::new(&[x.len()], &[x.len()]).expect("equal shapes");
    table("add", &|isa, y| {
        float::binary(pool, isa, BinaryOp::Add, &sum, &x, &x, y)
    });
    let window = PoolShape {
        batch: 1,
        channels,
        input: [1, 40, 40],
        output: [1, 40, 40],
        kernel: [1, 5, 5],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0, 2, 2],
    };
    table("max pool 5x5", &|isa, y| {
        float::max_pool(pool, isa, &window, &x, y)
    });
    table("to channels last", &|_, y| {
        layout::to_channels_last(pool, [1, channels, pixels], &x, y)
    });
    table("from channels last", &|_, y| {
        layout::from_channels_last(pool, [1, channels, pixels], &x, y)
    });
    table("picture to channels last", &|_, y| {
        layout::to_channels_last(pool, [1, 3, x.len() / 3], &x, y)
    });
    let linear = Linear {
        axes: [1, 20, 20].map(|n: usize| {
            (n > 1).then(|| LinearAxis {
                taps: (0..2 * n)
                    .map(|i| (i / 2, (i / 2 + 1).min(n - 1), 0.25))
                    .collect(),
            })
        }),
        input: [1, 20, 20],
    };
    table("linear resize", &|isa, y| {
        float::resize_linear(pool, isa, &linear, [1, channels], &x, y)
    });
}
