//! `Program` on random convolutions, against a second computation that scatters each input element to the outputs it reaches.

use graph::{Conv, ConvTranspose, EdgeQuantizer, Graph, Op, Padding, Point, WeightAnnotation};
use oracle::{Held, Program};
use proptest::prelude::*;
use tensor::{DType, Tensor};

#[derive(Debug, Clone)]
struct Case {
    transposed: bool,
    group: usize,
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let small = || prop::array::uniform2(1usize..4);
    (
        (any::<bool>(), 1usize..3, 1usize..4, 1usize..4),
        prop::array::uniform2(3usize..8),
        (small(), small(), prop::array::uniform2(1usize..3)),
        prop::array::uniform4(0usize..3),
        any::<u64>(),
    )
        .prop_map(
            |((transposed, group, inputs, outputs), size, (kernel, stride, dilation), pads, seed)| Case {
                transposed,
                group,
                inputs,
                outputs,
                size,
                kernel,
                stride,
                dilation,
                pads,
                seed,
            },
        )
        .prop_filter("an output", |c| (0..2).all(|a| output(c, a) > 0))
}

/// Length of an output axis, 0 where there is none.
fn output(c: &Case, a: usize) -> i64 {
    let [n, k, s, d] = [c.size[a], c.kernel[a], c.stride[a], c.dilation[a]].map(|v| v as i64);
    let (pads, span) = ((c.pads[a] + c.pads[a + 2]) as i64, d * (k - 1) + 1);
    if c.transposed {
        s * (n - 1) + span - pads
    } else if n + pads < span {
        0
    } else {
        (n + pads - span) / s + 1
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// `rne` of an exact rational x = acc · m, as f64: acc is small here, so acc and the f32 product rounding are what they are.
fn to_code(acc: i64, m: f32, zero: i64) -> u8 {
    let scaled = acc as f32 * m;
    let floor = f64::from(scaled).floor();
    let rest = f64::from(scaled) - floor;
    let up = rest > 0.5 || (rest == 0.5 && floor % 2.0 != 0.0);
    let r = floor as i64 + i64::from(up);
    (r.clamp(-32_768, 32_767) + zero).clamp(0, 255) as u8
}

fn check(c: &Case) -> Result<(), TestCaseError> {
    let mut random = Random(c.seed);
    let (x_edge, y_edge) = (
        EdgeQuantizer {
            scale: 0.5,
            zero_point: random.below(256) as u8,
            bits: 8,
        },
        EdgeQuantizer {
            scale: 3.7,
            zero_point: random.below(256) as u8,
            bits: 8,
        },
    );
    let (all_in, all_out) = (c.group * c.inputs, c.group * c.outputs);
    let taps = c.kernel[0] * c.kernel[1];
    let pixels = c.size[0] * c.size[1];
    let x: Vec<u8> = (0..2 * all_in * pixels)
        .map(|_| random.below(256) as u8)
        .collect();
    let levels: Vec<i64> = (0..all_in * c.outputs * taps)
        .map(|_| random.below(15) as i64 - 7)
        .collect();
    let bias: Vec<f32> = (0..all_out).map(|_| random.below(100) as f32 - 50.0).collect();

    // Where scales are one per output channel, an axis of the weight must be that.
    let per_channel = !c.transposed || c.group == 1;
    let scales: Vec<f32> = (0..if per_channel { all_out } else { 1 })
        .map(|m| 0.1 + 0.03 * m as f32)
        .collect();
    let scale = |m: usize| scales[if per_channel { m } else { 0 }];
    let (weight_shape, axis) = match c.transposed {
        true => (vec![all_in, c.outputs, c.kernel[0], c.kernel[1]], 1),
        false => (vec![all_out, c.inputs, c.kernel[0], c.kernel[1]], 0),
    };
    let mut g = Graph::new("conv");
    let shape = vec![2, all_in, c.size[0], c.size[1]];
    let v = g.add_value(
        "x",
        Some(DType::F32),
        Some(shape.iter().map(|&d| Some(d)).collect()),
    );
    g.inputs.push(v);
    g.edges.insert(v, x_edge);
    let w = g.add_value("w", None, None);
    g.weights.insert(
        w,
        WeightAnnotation {
            grid: "int4".into(),
            bits: 4,
            shape: weight_shape,
            axis,
            levels: (-8..8).collect(),
            zero_points: None,
            points: vec![Point::whole(
                levels.iter().map(|l| (l + 8) as u8).collect(),
                scales.clone(),
            )],
        },
    );
    let b = g.add_constant("b", Tensor::vector(bias.clone()));
    let conv = Conv {
        kernel: c.kernel.to_vec(),
        strides: c.stride.to_vec(),
        dilations: c.dilation.to_vec(),
        padding: Padding::Explicit(c.pads.to_vec()),
        group: c.group,
    };
    let op = match c.transposed {
        true => Op::ConvTranspose(ConvTranspose {
            conv,
            output_padding: vec![0, 0],
            output_shape: None,
        }),
        false => Op::Conv(conv),
    };
    let y = g.add_node(op, &[v, w, b], "y");
    g.edges.insert(y, y_edge);
    g.outputs.push(y);

    // Element by element of the input, to every output it reaches.
    let size = [output(c, 0), output(c, 1)];
    let mut acc = vec![0i64; 2 * all_out * (size[0] * size[1]) as usize];
    for (i, &q) in x.iter().enumerate() {
        let (n, ch) = (i / pixels / all_in, i / pixels % all_in);
        let at = [(i % pixels / c.size[1]) as i64, (i % c.size[1]) as i64];
        let (group, within) = (ch / c.inputs, ch % c.inputs);
        for m in 0..c.outputs {
            for tap in 0..taps {
                let k = [(tap / c.kernel[1]) as i64, (tap % c.kernel[1]) as i64];
                let place = |a: usize| {
                    let (s, d, p) = (c.stride[a] as i64, c.dilation[a] as i64, c.pads[a] as i64);
                    if c.transposed {
                        return Some(at[a] * s + k[a] * d - p).filter(|o| (0..size[a]).contains(o));
                    }
                    let o = at[a] + p - k[a] * d;
                    (o % s == 0).then_some(o / s).filter(|&q| o >= 0 && q < size[a])
                };
                let (Some(oy), Some(ox)) = (place(0), place(1)) else {
                    continue;
                };
                let out = group * c.outputs + m;
                let level = match c.transposed {
                    true => levels[(ch * c.outputs + m) * taps + tap],
                    false => levels[(out * c.inputs + within) * taps + tap],
                };
                let y = (((n * all_out + out) as i64 * size[0] + oy) * size[1] + ox) as usize;
                acc[y] += level * (i64::from(q) - i64::from(x_edge.zero_point));
            }
        }
    }
    let per_channel_pixels = (size[0] * size[1]) as usize;
    let want: Vec<u8> = acc
        .iter()
        .enumerate()
        .map(|(i, &acc)| {
            let m = i / per_channel_pixels % all_out;
            let unit = f64::from(x_edge.scale) * f64::from(scale(m));
            let bias = (f64::from(bias[m]) / unit).round_ties_even() as i64;
            to_code(
                acc + bias,
                (unit / f64::from(y_edge.scale)) as f32,
                i64::from(y_edge.zero_point),
            )
        })
        .collect();

    let program = Program::new(&g).unwrap();
    prop_assert_eq!(program.is_integer(0), Ok(()));
    let real: Vec<f32> = x.iter().map(|&q| x_edge.dequantize(q)).collect();
    let mut have = None;
    let input = Tensor::new(shape, real).unwrap();
    program
        .run(&[("x", &input)], &mut |_, _, held| have = Some(held.clone()))
        .unwrap();
    let Some(Held::Codes(have)) = have else {
        return Err(TestCaseError::fail("no codes"));
    };
    prop_assert_eq!(have.shape(), &[2, all_out, size[0] as usize, size[1] as usize]);
    prop_assert_eq!(have.as_u8().unwrap(), &want[..]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn program_equals_scattering(case in cases()) {
        check(&case)?;
    }
}
