//! CUDA kernels, compiled as C++ for the host, against those of the CPU: what training programs seldom use. The rest is compared by the tests of `train`.
#![cfg(feature = "cuda")]

use std::path::PathBuf;
use std::sync::OnceLock;

use kernels::cuda::{CudaError, Device, MOST_ELEMENTS, Memory, Span};
use kernels::float::{self, Activation, BinaryOp, MatMul, Rare};
use kernels::{Broadcast, ConvShape, Isa, Out, Pixels, Pool};
use testing::SplitMix64;

fn host(words: usize) -> Option<Memory> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    match Device::host(FOLDER.get_or_init(|| testing::scratch("cuda-kernels"))) {
        Ok(device) => Some(device.memory(words, &[]).unwrap()),
        Err(e) => {
            testing::skip("CUDA kernels on the host", "cxx", &e.to_string());
            None
        }
    }
}

fn random(rng: &mut SplitMix64, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.unit_f32() * 2.0 - 1.0).collect()
}

/// Puts operands into a memory, runs, and gives the result.
fn run(
    inputs: &[&[f32]],
    len: usize,
    scratch: usize,
    with: impl Fn(&Memory, &[Span], Span, Span),
) -> Option<Vec<f32>> {
    let mut start = 0;
    let mut spans: Vec<Span> = Vec::new();
    for length in inputs.iter().map(|x| x.len()).chain([len, scratch]) {
        spans.push(Span::new(start, length));
        start += length.next_multiple_of(16);
    }
    let mut memory = host(start)?;
    for (span, x) in spans.iter().zip(inputs) {
        memory.write(*span, x).unwrap();
    }
    let (y, scratch) = (spans[inputs.len()], spans[inputs.len() + 1]);
    with(&memory, &spans[..inputs.len()], y, scratch);
    let mut result = vec![0.0; len];
    memory.read(y, &mut result).unwrap();
    Some(result)
}

#[test]
fn every_binary_operator_broadcasts() {
    let (pool, mut rng) = (Pool::new(1), SplitMix64(1));
    let shapes: [(&[usize], &[usize]); 4] = [
        (&[2, 3, 4, 5], &[2, 3, 4, 5]),
        (&[2, 3, 1, 5], &[2, 1, 4, 5]),
        (&[1], &[7]),
        (&[3, 1, 2, 1, 5], &[1, 4, 2, 3, 1]),
    ];
    for (a_shape, b_shape) in shapes {
        let shape = Broadcast::new(a_shape, b_shape).unwrap();
        let mut a = random(&mut rng, a_shape.iter().product());
        let b = random(&mut rng, b_shape.iter().product());
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
            let mut want = vec![0.0; shape.len()];
            float::binary(&pool, Isa::Scalar, op, &shape, &a, &b, &mut want);
            let have = run(&[&a, &b], shape.len(), 0, |m, x, y, _| {
                m.binary(op, &shape, x[0], x[1], y).unwrap();
            });
            let Some(have) = have else { return };
            let same = |(h, w): (&f32, &f32)| h == w || (h.is_nan() && w.is_nan());
            assert!(have.iter().zip(&want).all(same), "{op:?} {a_shape:?} {b_shape:?}");
        }
    }
}

#[test]
fn matrices_that_stand_for_the_batch() {
    let (pool, mut rng) = (Pool::new(1), SplitMix64(2));
    for (a_shared, b_shared) in [(false, false), (true, false), (false, true)] {
        let op = MatMul {
            batch: 3,
            m: 5,
            k: 9,
            n: 4,
            a_shared,
            b_shared,
        };
        let each = |shared: bool| if shared { 1 } else { 3 };
        let (a, b) = (
            random(&mut rng, each(a_shared) * 45),
            random(&mut rng, each(b_shared) * 36),
        );
        let mut want = vec![0.0; 60];
        float::matmul(&pool, Isa::Scalar, &op, &a, &b, &mut want);
        let have = run(&[&a, &b], 60, 0, |m, x, y, _| {
            m.matmul(&op, x[0], x[1], y).unwrap()
        });
        assert!(have.is_none_or(|have| have == want), "{op:?}");
    }
}

/// Those of the CPU, but for the last bit where the two libraries round otherwise.
#[test]
fn functions_that_few_networks_have() {
    let mut x = random(&mut SplitMix64(4), 300);
    x.iter_mut().for_each(|x| *x *= 6.0);
    (x[0], x[1]) = (0.0, 40.0);
    let dy = random(&mut SplitMix64(5), x.len());
    for f in [
        Rare::Elu {
            alpha: 0.7,
            gamma: 1.1,
        },
        Rare::Softplus,
        Rare::Softsign,
        Rare::Gelu { tanh: false },
        Rare::Gelu { tanh: true },
        Rare::Erf,
        Rare::Log,
        Rare::Sqrt,
        Rare::Reciprocal,
        Rare::Abs,
        Rare::Sin,
        Rare::Cos,
    ] {
        let positive = matches!(f, Rare::Log | Rare::Sqrt | Rare::Reciprocal);
        let x: Vec<f32> = match positive {
            true => x.iter().map(|x| x.abs() + 0.01).collect(),
            false => x.clone(),
        };
        let function = Activation::Rare(f);
        let forward = run(&[&x], x.len(), 0, |m, x, y, _| {
            m.activate(function, x[0], y).unwrap();
        });
        let Some(forward) = forward else { return };
        let backward = run(&[&x, &dy], x.len(), 0, |m, x, y, _| {
            m.activation_backward(function, false, x[0], x[1], y).unwrap();
        });
        let backward = backward.unwrap_or_default();
        let near = |a: f32, b: f32| (a - b).abs() <= 2.4e-7 * a.abs().max(b.abs()).max(1e-6);
        for (i, &x) in x.iter().enumerate() {
            let want = [f.value(x), dy[i] * f.slope(x)];
            assert!(near(forward[i], want[0]), "{f:?} at {x}: {} {want:?}", forward[i]);
            assert!(
                near(backward[i], want[1]),
                "{f:?} at {x}: {} {want:?}",
                backward[i]
            );
        }
    }
}

/// Three axes, groups, strides, dilations, both directions, every activation: the bits of the CPU.
#[test]
fn convolutions_have_the_bits_of_the_cpu() {
    let (pool, mut rng) = (Pool::new(1), SplitMix64(3));
    let activations = [
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Clip { low: -0.5, high: 0.7 },
        Activation::Sigmoid,
        Activation::Swish { alpha: 1.0 },
        Activation::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Activation::HardSwish,
        Activation::Mish,
        Activation::Tanh,
        Activation::Exp,
    ];
    for case in 0..44 {
        let transposed = case % 2 == 1;
        let groups = [1, 1, 2, 5][case / 2 % 4];
        let (ins, outs) = match groups {
            5 => (5, 5),
            g => (g * rng.range(1, 20), g * rng.range(1, 40)),
        };
        let axis = |low: usize, high: usize, rng: &mut SplitMix64| [0; 3].map(|_| rng.range(low, high));
        let (kernel, stride, dilation) = (axis(1, 3, &mut rng), axis(1, 2, &mut rng), axis(1, 2, &mut rng));
        let input = axis(5, 7, &mut rng);
        let pad: [usize; 3] = std::array::from_fn(|i| rng.below(kernel[i]));
        let output = std::array::from_fn(|i| {
            let reach = dilation[i] * (kernel[i] - 1);
            match transposed {
                true => (input[i] - 1) * stride[i] + reach + 1 - pad[i],
                false => (input[i] + pad[i] - reach.min(input[i] + pad[i] - 1) - 1) / stride[i] + 1,
            }
        });
        let shape = ConvShape {
            batch: 2,
            in_channels: ins,
            out_channels: outs,
            groups,
            input,
            output,
            kernel,
            stride,
            dilation,
            pad,
        };
        let f = activations[case % activations.len()];
        let x = random(&mut rng, 2 * input.iter().product::<usize>() * ins);
        let w = random(&mut rng, kernel.iter().product::<usize>() * ins / groups * outs);
        let b = random(&mut rng, outs);
        let mut want = vec![0.0; 2 * output.iter().product::<usize>() * outs];
        let build = if transposed {
            float::Conv::transposed
        } else {
            float::Conv::new
        };
        let conv = build(&shape, &w, Some(&b), f, Isa::Scalar).unwrap();
        conv.run(&pool, Pixels::dense(&x, ins), Out::dense(&mut want, outs));
        let scratch = Memory::convolve_scratch(&shape);
        let have = run(&[&x, &w, &b], want.len(), scratch, |m, s, y, scratch| {
            m.convolve(&shape, transposed, f, s[0], s[1], Some(s[2]), y, scratch)
                .unwrap();
        });
        assert!(
            have.is_none_or(|have| have == want),
            "{shape:?} transposed {transposed} {f:?}"
        );
    }
}

/// More than kernels count is an error, and elements outside of the memory a panic, not a read.
#[test]
fn limits_are_kept() {
    let Some(memory) = host(16) else { return };
    let long = Span::new(0, 16);
    assert!(memory.scale(2.0, long, long).is_ok());
    let outside = std::panic::AssertUnwindSafe(|| memory.fill(0.0, Span::new(8, 16)));
    assert!(std::panic::catch_unwind(outside).is_err());
    let huge = memory.fill(0.0, Span::new(0, 257 * MOST_ELEMENTS));
    assert!(matches!(huge, Err(CudaError::TooLarge { .. })));
}
