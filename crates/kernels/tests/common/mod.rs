//! Random layers.
#![allow(dead_code, unreachable_pub)]

use kernels::float::Activation;
use kernels::int::{self, Broadcast, Edge, Epilogue, Output};
use kernels::{ConvShape, Isa, Pool};
use testing::SplitMix64;

/// Codes 0 … hi.
pub fn codes(rng: &mut SplitMix64, count: usize, hi: u8) -> Vec<u8> {
    (0..count).map(|_| rng.range(0, usize::from(hi)) as u8).collect()
}

/// A layer with levels up to ±`limit`, an epilogue whose outputs spread over all codes, and an input.
#[allow(clippy::too_many_arguments)]
pub fn conv_case(
    rng: &mut SplitMix64,
    batch: usize,
    [in_channels, out_channels, groups]: [usize; 3],
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    pad: [usize; 3],
    limit: i64,
    to_codes: bool,
) -> (ConvShape, Vec<i32>, Epilogue, Vec<u8>) {
    let output = std::array::from_fn(|i| {
        (input[i] + 2 * pad[i])
            .saturating_sub(dilation[i] * (kernel[i] - 1))
            .saturating_sub(1)
            / stride[i]
            + 1
    });
    let shape = ConvShape {
        batch,
        in_channels,
        out_channels,
        groups,
        input,
        output,
        kernel,
        stride,
        dilation,
        pad,
    };
    let (levels, epilogue, x) = fill(rng, &shape, limit, to_codes);
    (shape, levels, epilogue, x)
}

fn fill(
    rng: &mut SplitMix64,
    shape: &ConvShape,
    limit: i64,
    to_codes: bool,
) -> (Vec<i32>, Epilogue, Vec<u8>) {
    let depth = shape.kernel.iter().product::<usize>() * shape.in_channels / shape.groups;
    let hi_in = rng.pick(&[255, 255, 127, 15]);
    let zero_in = codes(rng, 1, hi_in)[0];
    let mut level = || (rng.next() % (2 * limit as u64 + 1)) as i64 - limit;
    let levels: Vec<i32> = (0..depth * shape.out_channels).map(|_| level() as i32).collect();
    let spread = (depth as f32).sqrt() * f32::from(hi_in) * limit as f32 * 0.3;
    let scale = 60.0 / spread;
    let bias = (0..shape.out_channels)
        .map(|_| ((rng.unit_f32() - 0.5) * spread) as i64)
        .collect();
    let multiplier = (0..shape.out_channels)
        .map(|_| (0.2 + rng.unit_f32()) * scale)
        .collect();
    let hi = rng.pick(&[255u8, 255, 63, 1]);
    let table: Box<[u8; 256]> = Box::new(std::array::from_fn(|_| rng.next() as u8));
    let output = if to_codes && rng.range(0, 3) == 0 {
        let alpha = rng.unit_f32();
        Output::Function {
            // All that rows over patches have, and one that they have not.
            function: rng.pick(&[
                Activation::LeakyRelu { alpha },
                Activation::Swish { alpha: 1.0 },
                Activation::HardSwish,
                Activation::Tanh,
            ]),
            edge: Edge {
                scale: 0.01 + rng.unit_f32(),
                zero: codes(rng, 1, hi)[0],
                hi,
            },
        }
    } else if to_codes {
        Output::U8 {
            zero: codes(rng, 1, hi)[0],
            hi,
            table: rng.pick(&[true, false]).then_some(table),
        }
    } else {
        Output::F32
    };
    let pixels = shape.batch * shape.input.iter().product::<usize>();
    // Full-range inputs: saturation inside a product would show.
    let mut x = codes(rng, pixels * shape.in_channels, hi_in);
    x.iter_mut().step_by(3).for_each(|q| *q = hi_in);
    (
        levels,
        Epilogue {
            zero_in,
            hi_in,
            bias,
            multiplier,
            output,
        },
        x,
    )
}

/// Any layer: groups, depthwise, strides, dilations, pads, 1 to 3 spatial axes.
pub fn random_shape(rng: &mut SplitMix64, transposed: bool) -> ConvShape {
    let depthwise = rng.range(0, 3) == 0;
    let groups = if depthwise {
        rng.range(1, 140)
    } else {
        rng.pick(&[1, 1, 1, 2, 3])
    };
    let (cin, cout) = if depthwise {
        (1, 1)
    } else {
        (rng.range(1, 40), rng.range(1, 70))
    };
    let volume = rng.range(0, 3) == 0;
    let mut axis = |on: bool, most: usize| if on { rng.range(1, most) } else { 1 };
    let input = [axis(volume, 4), axis(true, 11), axis(true, 14)];
    let kernel = [axis(volume, 3), axis(true, 4), axis(true, 4)];
    let stride = [axis(volume, 2), axis(true, 3), axis(true, 3)];
    let dilation = [axis(volume, 2), axis(true, 2), axis(true, 3)];
    let pad: [usize; 3] = std::array::from_fn(|i| rng.range(0, kernel[i] - 1));
    let output = std::array::from_fn(|i| {
        let reach = dilation[i] * (kernel[i] - 1);
        if transposed {
            ((input[i] - 1) * stride[i] + reach + 1).saturating_sub(2 * pad[i]) + rng.range(0, 1)
        } else {
            (input[i] + 2 * pad[i]).saturating_sub(reach + 1) / stride[i] + 1
        }
    });
    ConvShape {
        batch: rng.range(1, 2),
        in_channels: groups * cin,
        out_channels: groups * cout,
        groups,
        input,
        output,
        kernel,
        stride,
        dilation,
        pad,
    }
}

/// A [`random_shape`] with levels, an epilogue and an input.
pub fn random_conv(rng: &mut SplitMix64, transposed: bool) -> (ConvShape, Vec<i32>, Epilogue, Vec<u8>) {
    let shape = random_shape(rng, transposed);
    let limit = rng.pick(&[1, 8, 64, 127, 127, 255, 32_768]);
    let to_codes = rng.range(0, 3) > 0;
    let (levels, epilogue, x) = fill(rng, &shape, limit, to_codes);
    (shape, levels, epilogue, x)
}

fn random_edge(rng: &mut SplitMix64) -> Edge {
    let hi = rng.pick(&[255u8, 255, 15]);
    Edge {
        scale: 0.001 + rng.unit_f32(),
        zero: codes(rng, 1, hi)[0],
        hi,
    }
}

/// Add, Mul, table, pools on every instruction set, against the scalar rows.
pub fn element_rows(rng: &mut SplitMix64) {
    let pool = Pool::new(2);
    let (pixels, channels) = (rng.range(1, 30), rng.range(1, 150));
    let (a, b, y) = (random_edge(rng), random_edge(rng), random_edge(rng));
    let whole = [1, 1, 1, pixels, channels];
    let other = rng.pick(&[whole, [1, 1, 1, 1, channels], [1, 1, 1, pixels, 1], [1; 5]]);
    let shape = Broadcast::new(&whole, &other).expect("shapes broadcast");
    let x = codes(rng, shape.len(), a.hi);
    let z = codes(rng, other.iter().product(), b.hi);
    let table: [u8; 256] = std::array::from_fn(|_| rng.next() as u8);
    let subtract = rng.pick(&[true, false]);
    let window = kernels::PoolShape {
        batch: 1,
        channels,
        input: [1, 1, pixels],
        output: [1, 1, pixels],
        kernel: [1, 1, 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0, 0, 1],
    };
    let run = |isa: Isa| -> Vec<Vec<u8>> {
        let mut out = vec![vec![0u8; shape.len()]; 5];
        int::Add::new(a, b, y, subtract, isa)
            .expect("bounds")
            .run(&pool, &shape, &x, &z, &mut out[0]);
        int::Mul::new(a, b, y, isa)
            .expect("bounds")
            .run(&pool, &shape, &x, &z, &mut out[1]);
        int::table(&pool, isa, &table, &x, &mut out[2]);
        int::max_pool(&pool, isa, &window, &x, &mut out[3]);
        out[4].truncate(channels);
        int::global_average(&pool, isa, [1, pixels, channels], a, y, &x, &mut out[4]).expect("bounds");
        out
    };
    let want = run(Isa::Scalar);
    for isa in Isa::usable() {
        assert!(run(isa) == want, "{} differs from scalar", isa.name());
    }
}
