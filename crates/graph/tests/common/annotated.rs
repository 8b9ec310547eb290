//! Random annotated graphs: every grid width, scales per tensor and per channel, zero points, several points.

use graph::{
    Binary, Conv, ConvTranspose, EdgeQuantizer, Graph, Op, Padding, Point, Unary, ValueId, WeightAnnotation,
};
use tensor::{DType, Tensor};
use testing::SplitMix64;

/// Gives weights points of some of their channels, where their grid and scales allow it.
pub(crate) fn with_rows(mut g: Graph, seed: u64) -> Graph {
    let r = &mut SplitMix64(seed ^ 0x5eed);
    for w in g.weights.values_mut() {
        let channels = w.shape[w.axis];
        let inner: usize = w.shape[w.axis + 1..].iter().product();
        if w.zero_points.is_some() || w.levels[0] != 0 || w.points[0].scales.len() != channels {
            continue;
        }
        for shift in 0..r.below(3) {
            let point = of_some_rows(r, &w.points[0], (channels, inner), w.bits, shift as i32 + 1);
            w.points.push(point);
        }
    }
    g
}

/// A point of some of the channels, its scales 2^(−shift) of the first point's.
fn of_some_rows(
    r: &mut SplitMix64,
    first: &Point,
    (channels, inner): (usize, usize),
    bits: u32,
    shift: i32,
) -> Point {
    let mut rows: Vec<u32> = (0..channels as u32).filter(|_| r.below(3) == 0).collect();
    if rows.is_empty() {
        rows.push(r.below(channels) as u32);
    }
    let has = |c: usize| rows.contains(&(c as u32));
    let codes = (0..first.codes.len()).map(|i| match has(i / inner % channels) {
        true => r.below(1 << bits) as u8,
        false => 0,
    });
    let scale = |c: usize| {
        if has(c) {
            first.scales[c] * 2f32.powi(-shift)
        } else {
            1.0
        }
    };
    Point {
        codes: codes.collect(),
        scales: (0..channels).map(scale).collect(),
        rows: Some(rows),
    }
}

/// A weight of random codes. `wide` levels leave int8.
pub(crate) fn weight(
    r: &mut SplitMix64,
    shape: &[usize],
    axis: usize,
    bits: u32,
    points: usize,
) -> WeightAnnotation {
    let count: usize = shape.iter().product();
    let scales = if r.below(2) == 0 { 1 } else { shape[axis] };
    let affine = r.below(3) == 0;
    let half = 1 << (bits - 1);
    let (grid, levels): (String, Vec<i32>) = match r.below(3) {
        _ if affine => (format!("affine{bits}"), (0..1 << bits).collect()),
        0 if (2..=5).contains(&bits) => {
            let power = |c: i32| {
                if c == 0 || c == half {
                    0
                } else {
                    c.signum() << (c.abs() - 1)
                }
            };
            let signed = |c: i32| if c > half { c - 2 * half } else { c };
            (
                format!("pow2-{bits}"),
                (0..1 << bits).map(|c| power(signed(c))).collect(),
            )
        }
        _ => {
            let signed = |c: i32| if c > half { c - 2 * half } else { c % half };
            (format!("int{bits}"), (0..1 << bits).map(signed).collect())
        }
    };
    let points = (0..points)
        .map(|_| {
            Point::whole(
                (0..count).map(|_| r.below(1 << bits) as u8).collect(),
                (0..scales).map(|_| 0.001 + 0.01 * r.unit_f32()).collect(),
            )
        })
        .collect();
    WeightAnnotation {
        grid,
        bits,
        shape: shape.to_vec(),
        axis,
        levels,
        zero_points: affine.then(|| (0..scales).map(|_| r.below(1 << bits) as i32).collect()),
        points,
    }
}

fn edge(r: &mut SplitMix64) -> EdgeQuantizer {
    let bits = if r.below(2) == 0 { 8 } else { 1 + r.below(8) as u32 };
    EdgeQuantizer {
        scale: 0.01 + 0.05 * r.unit_f32(),
        zero_point: r.below(1 << bits) as u8,
        bits,
    }
}

fn window(kernel: usize, group: usize) -> Conv {
    Conv {
        kernel: vec![kernel; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        padding: Padding::Explicit(vec![kernel / 2; 4]),
        group,
    }
}

/// A small network with every place an annotation can stand: [1, 3, 6, 6] → [1, 5] quantized, [1, 7] float.
pub(crate) fn graph(seed: u64) -> Graph {
    let r = &mut SplitMix64(seed);
    let mut g = Graph::new("annotated");
    g.metadata.insert("names".into(), "[\"cat\", \"dög\"]".into());
    g.metadata.insert("seed".into(), seed.to_string());
    let x = g.add_value("x", Some(DType::F32), Some([1, 3, 6, 6].map(Some).to_vec()));
    g.inputs.push(x);
    g.edges.insert(x, edge(r));
    let layer = |g: &mut Graph, r: &mut SplitMix64, op: Op, from: ValueId, name: &str, shape: &[usize]| {
        let axis = match &op {
            Op::Conv(_) => 0,
            Op::Gemm { trans_b: true, .. } => 0,
            _ => 1,
        };
        let channels = shape[axis];
        let id = g.add_value(
            &format!("{name}.w"),
            Some(DType::F32),
            Some(shape.iter().map(|&d| Some(d)).collect()),
        );
        let (bits, points) = (1 + r.below(8) as u32, if name == "last" { 3 } else { 1 });
        g.weights.insert(id, weight(r, shape, axis, bits, points));
        let bias: Vec<f32> = (0..channels).map(|_| r.unit_f32() - 0.5).collect();
        if matches!(op, Op::MatMul) {
            return g.add_node(op, &[from, id], name);
        }
        let bias = g.add_constant(&format!("{name}.b"), Tensor::vector(bias));
        g.add_node(op, &[from, id, bias], name)
    };
    let a = layer(&mut g, r, Op::Conv(window(3, 1)), x, "a", &[4, 3, 3, 3]);
    let relu = g.add_node(Op::Unary(Unary::Relu), &[a], "a.relu");
    let q = edge(r);
    // FORMAT.md 1.5: the edge before the clamp has the clamp's quantizer.
    g.edges.insert(a, q);
    g.edges.insert(relu, q);
    let b = layer(&mut g, r, Op::Conv(window(3, 4)), relu, "b", &[4, 1, 3, 3]);
    g.edges.insert(b, edge(r));
    let swish = g.add_node(
        Op::Unary(Unary::Swish {
            alpha: [1.0, 1.5][r.below(2)],
        }),
        &[b],
        "b.swish",
    );
    g.edges.insert(swish, edge(r));
    let sum = g.add_node(Op::Binary(Binary::Add), &[relu, swish], "sum");
    g.edges.insert(sum, edge(r));
    let op = Op::ConvTranspose(ConvTranspose {
        conv: window(3, 1),
        output_padding: vec![0; 2],
        output_shape: None,
    });
    let c = layer(&mut g, r, op, sum, "c", &[4, 5, 3, 3]);
    g.edges.insert(c, edge(r));
    let mean = g.add_node(Op::GlobalAveragePool, &[c], "mean");
    g.edges.insert(mean, edge(r));
    let flat = g.add_node(Op::Flatten { axis: 1 }, &[mean], "flat");
    g.edges.insert(flat, g.edges[&mean]);
    let gemm = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    let y = layer(&mut g, r, gemm, flat, "y", &[5, 5]);
    g.edges.insert(y, edge(r));
    let z = layer(&mut g, r, Op::MatMul, y, "last", &[5, 7]);
    for (v, n) in [(y, 5), (z, 7)] {
        g.value_mut(v).dtype = Some(DType::F32);
        g.value_mut(v).shape = Some(vec![Some(1), Some(n)]);
        g.outputs.push(v);
    }
    g
}

/// One convolution of ternary weights [outputs, inputs, kernel²] of which groups are all zeros, each with a chance of `share`; the first one never is.
pub(crate) fn pruned(seed: u64, shape: [usize; 4], group: [usize; 3], share: f64) -> Graph {
    let r = &mut SplitMix64(seed);
    let mut g = Graph::new("pruned");
    let [outputs, inputs, kernel, _] = shape;
    let x = g.add_value("x", Some(DType::F32), Some([1, inputs, 6, 6].map(Some).to_vec()));
    g.inputs.push(x);
    let taps = kernel * kernel;
    let count = [outputs, inputs, taps]
        .into_iter()
        .zip(group)
        .map(|(n, size)| n.div_ceil(size));
    let count: Vec<usize> = count.collect();
    let kept: Vec<bool> = (0..count.iter().product())
        .map(|b| b == 0 || r.unit() >= share)
        .collect();
    let code = |i: usize| {
        let at = [i / taps / inputs, i / taps % inputs, i % taps];
        let block = (0..3).fold(0, |block, axis| block * count[axis] + at[axis] / group[axis]);
        let code = [0, 1, 3, 1, 3][r.below(5)];
        if kept[block] { code } else { 0 }
    };
    let codes: Vec<u8> = (0..outputs * inputs * taps).map(code).collect();
    let scales = if seed.is_multiple_of(2) { 1 } else { outputs };
    let annotation = WeightAnnotation {
        grid: "ternary".into(),
        bits: 2,
        shape: shape.to_vec(),
        axis: 0,
        levels: vec![0, 1, 0, -1],
        zero_points: None,
        points: vec![Point::whole(
            codes,
            (0..scales).map(|c| 0.25 + c as f32).collect(),
        )],
    };
    let w = g.add_value("w", Some(DType::F32), Some(shape.map(Some).to_vec()));
    g.weights.insert(w, annotation);
    let y = g.add_node(Op::Conv(window(kernel, 1)), &[x, w], "y");
    g.value_mut(y).dtype = Some(DType::F32);
    g.value_mut(y).shape = Some([1, outputs, 6, 6].map(Some).to_vec());
    g.outputs.push(y);
    g
}

/// One convolution of N = 37·5·3·3 weights.
pub(crate) fn one_layer(bits: u32, points: usize) -> Graph {
    let mut g = Graph::new("one");
    let x = g.add_value("x", Some(DType::F32), Some([1, 5, 4, 4].map(Some).to_vec()));
    g.inputs.push(x);
    let shape = [37, 5, 3, 3];
    let w = g.add_value("w", Some(DType::F32), Some(shape.map(Some).to_vec()));
    let mut w0 = weight(&mut SplitMix64(7), &shape, 0, bits, points);
    w0.zero_points = None;
    for p in &mut w0.points {
        p.scales = (0..37).map(|c| 0.25 + c as f32).collect();
    }
    g.weights.insert(w, w0);
    let op = Op::Conv(Conv {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        padding: Padding::Valid,
        group: 1,
    });
    let y = g.add_node(op, &[x, w], "y");
    g.value_mut(y).dtype = Some(DType::F32);
    g.value_mut(y).shape = Some([1, 37, 2, 2].map(Some).to_vec());
    g.outputs.push(y);
    g
}
