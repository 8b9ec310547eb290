//! Where products by events and dense ones break even: both timed by turns over activities. `cargo run --release -p lowbit-kernels --example spike_speed`

use std::time::Instant;

use kernels::int::{Conv, Epilogue, Events, Output};
use kernels::{ConvShape, Isa, Out, Pixels, Pool};

/// Samples of a batch, times the steps.
const BATCH: usize = 160;

fn main() {
    let (pool, isa) = (Pool::new(1), Isa::best());
    println!(
        "{} 1 thread, microseconds per sample and step, medians of 15",
        isa.name()
    );
    let layers = [
        ("conv 3D 8→16", [8, 16], [12, 5, 5], [3, 3, 3], [10, 3, 3]),
        ("conv 2D 160→64", [160, 64], [1, 3, 3], [1, 3, 3], [1, 1, 1]),
        ("fc 64→64", [64, 64], [1, 1, 1], [1, 1, 1], [1, 1, 1]),
    ];
    for (name, [c, m], input, kernel, output) in layers {
        let shape = ConvShape {
            batch: BATCH,
            in_channels: c,
            out_channels: m,
            groups: 1,
            input,
            output,
            kernel,
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        };
        let levels: Vec<i32> = (0..c * m * kernel.iter().product::<usize>())
            .map(|i| (i * 7 % 63) as i32 - 31)
            .collect();
        let events = Events::new(&shape, &levels, &vec![0; m]).expect("one group");
        let epilogue = Epilogue {
            zero_in: 0,
            hi_in: 1,
            bias: vec![0; m],
            multiplier: vec![1.0; m],
            output: Output::F32,
        };
        let dense = Conv::new(&shape, &levels, epilogue, isa).expect("small sums");
        let len = BATCH * input.iter().product::<usize>() * c;
        let mut y = vec![0f32; BATCH * output.iter().product::<usize>() * m];
        for part in [0, 1, 2, 4, 8, 16, 32, 64, 128] {
            let x: Vec<u8> = (0..len)
                .map(|i| u8::from(((i * 2_654_435_761) >> 8) % 256 < part))
                .collect();
            let mut times = [Vec::new(), Vec::new()];
            for _ in 0..15 {
                let start = Instant::now();
                dense.run_f32(&pool, Pixels::dense(&x, c), Out::dense(&mut y, m));
                times[0].push(start.elapsed());
                let start = Instant::now();
                events.run(&pool, isa, &x, &mut y);
                times[1].push(start.elapsed());
            }
            let [dense, events] = times.map(|mut t| {
                t.sort();
                t[7].as_secs_f64() * 1e6 / BATCH as f64
            });
            println!(
                "{name:<16} active {part:>3}/256  dense {dense:8.3}  events {events:8.3}  {:5.2}×",
                dense / events
            );
        }
    }
}
