//! Affine codes in the engine: what commutes with a map, sums over parts of a concatenation, and the largest sums there can be.

use engine::{Held, Numbers, Options, RunControl, compile};
use graph::{
    Conv, CoordinateTransform, EdgeQuantizer, Graph, NearestMode, Op, Padding, Point, Pool, Resize,
    ResizeMode, ValueId, WeightAnnotation,
};
use kernels::Isa;
use oracle::Program;
use tensor::{DType, Tensor};
use testing::SplitMix64;

fn input(graph: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
    let dims = shape.iter().copied().map(Some).collect();
    let x = graph.add_value(name, Some(DType::F32), Some(dims));
    graph.inputs.push(x);
    x
}

fn finish(mut graph: Graph, outputs: &[ValueId]) -> Graph {
    graph.outputs.extend(outputs);
    graph::shape::infer(&mut graph).unwrap();
    graph
}

/// Outputs, and what each value was.
fn run(graph: &Graph, isa: Isa, inputs: &[(&str, &Tensor)]) -> (Vec<Tensor>, Vec<(ValueId, Held)>) {
    let options = Options {
        isa,
        keep_all: true,
        ..Options::default()
    };
    let plan = compile(graph, &options).unwrap();
    let (pool, mut seen) = (kernels::Pool::new(2), Vec::new());
    let outputs = plan
        .run_with(&pool, inputs, &RunControl::default(), &mut |_, v, held| {
            seen.push((v, held.clone()));
        })
        .unwrap();
    (outputs.into_iter().map(|o| o.1).collect(), seen)
}

fn floats(t: &Tensor) -> &[f32] {
    t.as_f32().unwrap()
}

/// Any map, with the real zero inside or at an end.
fn map(random: &mut SplitMix64) -> EdgeQuantizer {
    let bits = 1 + random.below(8) as u32;
    EdgeQuantizer {
        scale: 0.01 + random.unit_f32(),
        zero_point: random.below(1 << bits) as u8,
        bits,
    }
}

/// Numbers over the map's range and beyond it.
fn numbers(random: &mut SplitMix64, map: &EdgeQuantizer, shape: &[usize]) -> Tensor {
    let (low, high) = (map.dequantize(0), map.dequantize(((1u32 << map.bits) - 1) as u8));
    let one = |_| low + (1.4 * random.unit_f32() - 0.2) * (high - low);
    Tensor::new(
        shape.to_vec(),
        (0..shape.iter().product()).map(one).collect::<Vec<f32>>(),
    )
    .unwrap()
}

#[test]
fn largest_values_and_repeated_ones_commute_with_every_map() {
    let mut random = SplitMix64(1);
    for _ in 0..40 {
        let quantizer = map(&mut random);
        let shape = [1, 3, 4, 6, 5];
        let mut graph = Graph::new("volume");
        let x = input(&mut graph, "x", &shape);
        let window = Pool {
            kernel: vec![2; 3],
            strides: vec![2; 3],
            dilations: vec![1; 3],
            padding: Padding::Explicit(vec![0; 6]),
            ceil_mode: false,
            count_include_pad: false,
        };
        let largest = graph.add_node(Op::MaxPool(window), &[x], "largest");
        let twice = Resize {
            mode: ResizeMode::Nearest,
            coordinates: CoordinateTransform::Asymmetric,
            nearest: NearestMode::Floor,
            axes: vec![],
        };
        let scales = graph.add_constant("scales", Tensor::vector(vec![1f32, 1.0, 2.0, 2.0, 2.0]));
        let repeated = graph.add_node(Op::Resize(twice), &[], "repeated");
        graph.nodes.last_mut().unwrap().inputs = vec![Some(x), None, Some(scales)];
        let mut graph = finish(graph, &[largest, repeated]);
        let values = numbers(&mut random, &quantizer, &shape);
        for isa in Isa::usable() {
            graph.edges.clear();
            let (real, _) = run(&graph, isa, &[("x", &values)]);
            graph.edges.extend([x, largest, repeated].map(|v| (v, quantizer)));
            let (_, seen) = run(&graph, isa, &[("x", &values)]);
            for (v, real) in [largest, repeated].into_iter().zip(&real) {
                let Some((_, Held::Codes(codes))) = seen.iter().find(|s| s.0 == v) else {
                    panic!("{} is no code", graph.value(v).name)
                };
                let want: Vec<u8> = floats(real).iter().map(|&r| quantizer.quantize(r)).collect();
                assert_eq!(codes.as_u8().unwrap(), want, "{} {quantizer:?}", isa.name());
            }
        }
    }
}

/// Weights p ≥ 0 of 4 bits that mean s·(2^3·p − Z), one map per output channel.
fn weight(random: &mut SplitMix64, graph: &mut Graph, name: &str, shape: &[usize]) -> (ValueId, Vec<f64>) {
    let count = shape.iter().product();
    let codes: Vec<u8> = (0..count).map(|_| random.below(16) as u8).collect();
    let annotation = WeightAnnotation {
        grid: "affine4".into(),
        bits: 4,
        shape: shape.to_vec(),
        axis: 0,
        levels: (0..16).map(|p| p << 3).collect(),
        zero_points: Some((0..shape[0]).map(|_| random.below(100) as i32).collect()),
        points: vec![Point::whole(
            codes,
            (0..shape[0]).map(|_| 0.001 + 0.01 * random.unit_f32()).collect(),
        )],
    };
    let levels = annotation.integer_levels(0);
    let value =
        |i: usize| f64::from(annotation.points[0].scales[annotation.channel(i)]) * f64::from(levels[i]);
    let values = (0..count).map(value).collect();
    let id = graph.add_value(
        name,
        Some(DType::F32),
        Some(shape.iter().copied().map(Some).collect()),
    );
    graph.weights.insert(id, annotation);
    (id, values)
}

fn conv3(graph: &mut Graph, x: ValueId, w: ValueId, name: &str) -> ValueId {
    let conv = Conv {
        kernel: vec![3; 3],
        strides: vec![1; 3],
        dilations: vec![1; 3],
        padding: Padding::Explicit(vec![1; 6]),
        group: 1,
    };
    graph.add_node(Op::Conv(conv), &[x, w], name)
}

/// A convolution of 3 × 3 × 3 with zeros around, in float64.
fn exact(x: &[f64], channels: usize, [d, h, w]: [usize; 3], weights: &[f64], out: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for o in 0..out {
        for i in 0..d * h * w {
            let at = [i / (h * w), i / w % h, i % w];
            let mut sum = 0.0;
            for c in 0..channels {
                for tap in 0..27 {
                    let p = [at[0] + tap / 9, at[1] + tap / 3 % 3, at[2] + tap % 3];
                    if (0..3).all(|k| (1..=[d, h, w][k]).contains(&p[k])) {
                        let from = ((c * d + p[0] - 1) * h + p[1] - 1) * w + p[2] - 1;
                        sum += x[from] * weights[(o * channels + c) * 27 + tap];
                    }
                }
            }
            y.push(sum);
        }
    }
    y
}

/// The parts of a concatenation, each with a map of its own, as products whose sums are added; and under one map, concatenated in codes.
#[test]
fn a_concatenation_is_the_sum_of_its_parts() {
    let mut random = SplitMix64(2);
    let (size, channels, out) = ([3, 4, 5], [2, 3], 4);
    let shape = |c: usize| vec![1, c, size[0], size[1], size[2]];
    for round in 0..20 {
        let shared = round % 2 == 0;
        let mut graph = Graph::new("parts");
        let first = map(&mut random);
        let maps = [first, if shared { first } else { map(&mut random) }];
        let parts = [0, 1].map(|k| {
            let x = input(&mut graph, ["a", "b"][k], &shape(channels[k]));
            graph.edges.insert(x, maps[k]);
            x
        });
        let (outputs, weights) = match shared {
            true => {
                let both = graph.add_node(Op::Concat { axis: 1 }, &parts, "both");
                graph.edges.insert(both, first);
                let (w, values) = weight(&mut random, &mut graph, "w", &[out, 5, 3, 3, 3]);
                (vec![conv3(&mut graph, both, w, "y")], vec![values])
            }
            false => {
                let each = [0, 1].map(|k| {
                    let name = ["w0", "w1"][k];
                    let (w, values) = weight(&mut random, &mut graph, name, &[out, channels[k], 3, 3, 3]);
                    (conv3(&mut graph, parts[k], w, ["y0", "y1"][k]), values)
                });
                each.into_iter().map(|e| (e.0, e.1)).unzip()
            }
        };
        let graph = finish(graph, &outputs);
        let values = [0, 1].map(|k| numbers(&mut random, &maps[k], &shape(channels[k])));
        let decoded = [0, 1].map(|k| {
            let all = floats(&values[k]).iter();
            all.map(|&x| f64::from(maps[k].dequantize(maps[k].quantize(x))))
                .collect::<Vec<f64>>()
        });
        // Weights of the concatenated tensor, [out, 2 + 3, 27].
        let joined = match &weights[..] {
            [all] => all.clone(),
            parts => (0..out)
                .flat_map(|o| {
                    let own = |k: usize| parts[k][o * channels[k] * 27..][..channels[k] * 27].to_vec();
                    [own(0), own(1)].concat()
                })
                .collect(),
        };
        let want = exact(&decoded.concat(), 5, size, &joined, out);
        let most = want.iter().fold(0f64, |m, y| m.max(y.abs()));
        for isa in Isa::usable() {
            let (have, seen) = run(&graph, isa, &[("a", &values[0]), ("b", &values[1])]);
            let joined = seen.iter().find(|s| graph.value(s.0).name == "both");
            assert_eq!(
                joined.map(|s| matches!(s.1, Held::Codes(_))),
                shared.then_some(true)
            );
            for (i, want) in want.iter().enumerate() {
                let sum: f64 = have.iter().map(|y| f64::from(floats(y)[i])).sum();
                assert!((sum - want).abs() <= 1e-6 * most, "{}: {sum} {want}", isa.name());
            }
        }
    }
}

/// One product over `n` inputs, all codes and all weights at their tops: codes of 8 bits, levels of 255.
fn full(n: usize, scale_out: f32) -> Graph {
    let mut graph = Graph::new("full");
    let x = input(&mut graph, "x", &[1, n]);
    let edge = |scale: f32| EdgeQuantizer {
        scale,
        zero_point: 0,
        bits: 8,
    };
    graph.edges.insert(x, edge(1.0));
    let annotation = WeightAnnotation {
        grid: "affine8".into(),
        bits: 8,
        shape: vec![1, n],
        axis: 0,
        levels: (0..256).collect(),
        zero_points: Some(vec![0]),
        points: vec![Point::whole(vec![255; n], vec![1.0])],
    };
    let w = graph.add_value("w", Some(DType::F32), Some(vec![Some(1), Some(n)]));
    graph.weights.insert(w, annotation);
    let op = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    let y = graph.add_node(op, &[x, w], "y");
    graph.edges.insert(y, edge(scale_out));
    finish(graph, &[y])
}

/// FORMAT.md 1.13: the largest sum times the multiplier stays within 2^31 − 1024. The last number of inputs that does gives the exact sum, though the sum
/// itself is wider than 32 bits; one input more is no integer layer, and is refused where float products are not allowed.
#[test]
fn the_longest_sum_is_exact_and_one_input_more_is_refused() {
    // 2^31 − 1024 over 255 · 255 products is 33 025 inputs: the page's table.
    let (most, unit) = (33_025, 1.0);
    assert_eq!((2f64.powi(31) - 1024.0) as u64 / (255 * 255), most as u64);
    let strict = |isa: Isa| Options {
        isa,
        deny_float: true,
        ..Options::default()
    };
    for (n, scale_out, integer) in [
        (most, unit, true),
        (most + 1, unit, false),
        // A multiplier of a quarter: four times as many, and sums of 33 bits.
        (4 * most, 4.0, true),
        (4 * most + 4, 4.0, false),
    ] {
        let graph = full(n, scale_out);
        let program = Program::new(&graph).unwrap();
        assert_eq!(program.is_integer(0).is_ok(), integer, "{n}");
        let x = Tensor::new(vec![1, n], vec![255f32; n]).unwrap();
        for isa in Isa::usable() {
            let plan = compile(&graph, &strict(isa));
            if !integer {
                let refused = plan.err().unwrap().to_string();
                assert!(refused.contains('y'), "{refused}");
                let plan = compile(
                    &graph,
                    &Options {
                        isa,
                        ..Options::default()
                    },
                )
                .unwrap();
                assert_ne!(plan.layers()[0].numbers, Numbers::Integer);
                continue;
            }
            drop(plan.unwrap());
            // The sum itself: without the edge behind it.
            let mut open = graph.clone();
            open.edges.remove(&open.outputs[0]);
            let (sum, _) = run(&open, isa, &[("x", &x)]);
            assert_eq!(floats(&sum[0]), [(n as u64 * 255 * 255) as f32], "{}", isa.name());
            let (code, _) = run(&graph, isa, &[("x", &x)]);
            assert_eq!(floats(&code[0]), [255.0 * scale_out]);
        }
    }
}
