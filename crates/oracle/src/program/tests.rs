//! Each integer rule with numbers small enough for pencil and paper.

use super::*;
use graph::{
    Binary, Conv, ConvTranspose, CoordinateTransform, NearestMode, Op, Padding, Point, Pool, ReduceKind,
    Resize, ResizeMode, Unary,
};

const fn edge(scale: f32, zero_point: u8, bits: u32) -> EdgeQuantizer {
    EdgeQuantizer {
        scale,
        zero_point,
        bits,
    }
}

fn tensor(shape: &[usize], x: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), x.to_vec()).unwrap()
}

/// A graph with one input "x" of a fixed shape and quantizer.
fn graph(shape: &[usize], x: EdgeQuantizer) -> (Graph, ValueId) {
    let mut g = Graph::new("t");
    let shape = shape.iter().map(|&d| Some(d)).collect();
    let v = g.add_value("x", Some(tensor::DType::F32), Some(shape));
    g.inputs.push(v);
    g.edges.insert(v, x);
    (g, v)
}

/// Adds a node, with a quantizer on its output.
fn node(g: &mut Graph, op: Op, inputs: &[ValueId], y: Option<EdgeQuantizer>) -> ValueId {
    let out = g.add_node(op, inputs, "y");
    g.edges.extend(y.map(|y| (out, y)));
    out
}

/// Signed levels as themselves: code = level + 8.
fn weight(g: &mut Graph, shape: &[usize], axis: usize, levels: &[i32], scales: &[f32]) -> ValueId {
    let v = g.add_value("w", None, None);
    let annotation = WeightAnnotation {
        grid: "int4".into(),
        bits: 4,
        shape: shape.to_vec(),
        axis,
        levels: (-8..8).collect(),
        zero_points: None,
        points: vec![Point::whole(
            levels.iter().map(|l| (l + 8) as u8).collect(),
            scales.to_vec(),
        )],
    };
    g.weights.insert(v, annotation);
    v
}

fn conv(kernel: &[usize], group: usize) -> Conv {
    Conv {
        kernel: kernel.to_vec(),
        strides: vec![1; kernel.len()],
        dilations: vec![1; kernel.len()],
        padding: Padding::Explicit(vec![0; 2 * kernel.len()]),
        group,
    }
}

/// Runs the graph with `y` as output and gives what `y` holds; the node that writes it must be integer.
fn held(g: &mut Graph, y: ValueId, x: &Tensor) -> Held {
    g.outputs = vec![y];
    let p = Program::new(g).unwrap();
    p.is_integer(g.producers()[&y]).unwrap();
    let mut found = None;
    p.run(&[("x", x)], &mut |_, v, h| {
        if v == y {
            found = Some(h.clone());
        }
    })
    .unwrap();
    found.unwrap()
}

fn codes(g: &mut Graph, y: ValueId, x: &Tensor) -> Vec<u8> {
    match held(g, y, x) {
        Held::Codes(t) => t.as_u8().unwrap().to_vec(),
        Held::Real(t) | Held::Sums(t) => panic!("no codes: {t:?}"),
    }
}

#[test]
fn a_program_stops_before_the_node_where_it_is_wanted_no_more() {
    let (mut g, x) = graph(&[1, 1, 2], edge(0.5, 0, 8));
    let first = node(&mut g, Op::Unary(Unary::Relu), &[x], Some(edge(0.5, 0, 8)));
    let second = node(&mut g, Op::Unary(Unary::Relu), &[first], Some(edge(0.5, 0, 8)));
    g.outputs = vec![second];
    g.nodes[1].name = "the second".into();
    let program = Program::new(&g).unwrap();
    let asked = std::cell::Cell::new(0);
    let wanted = || {
        asked.set(asked.get() + 1);
        asked.get() < 2
    };
    let mut seen = Vec::new();
    let x = tensor(&[1, 1, 2], &[1.0, 2.0]);
    let stopped = program.run_while(&[("x", &x)], &wanted, &mut |n, _, _| seen.push(n));
    let node = "the second".to_string();
    assert_eq!(stopped.unwrap_err(), ProgramError::Stopped { node });
    assert_eq!(seen, [0]);
}

#[test]
fn convolution_1_3() {
    // x = 0.5 · (q − 10): codes 12, 8, 14 are levels 2, −2, 4.
    let (mut g, x) = graph(&[1, 1, 3], edge(0.5, 10, 8));
    let w = weight(&mut g, &[2, 1, 2], 0, &[3, -1, 7, 7], &[0.25, 1.0]);
    let bias = g.add_constant("b", tensor(&[2], &[0.25, -1.0]));
    let y = node(
        &mut g,
        Op::Conv(conv(&[2], 1)),
        &[x, w, bias],
        Some(edge(0.5, 100, 8)),
    );
    // Channel 0: unit 0.125, bias 2; sums 2 + 6 + 2 = 10 and 2 − 6 − 4 = −8; m = 0.25: 2.5 → 2, −2.
    // Channel 1: unit 0.5, bias −2; sums −2 + 0 = −2 and −2 + 14 = 12; m = 1.
    let x = tensor(&[1, 1, 3], &[1.0, -1.0, 2.0]);
    assert_eq!(codes(&mut g, y, &x), [102, 98, 98, 112]);
}

#[test]
fn convolution_with_float_output_1_4() {
    let (mut g, x) = graph(&[1, 1, 2], edge(0.5, 0, 8));
    let w = weight(&mut g, &[1, 1, 1], 0, &[-3], &[0.25]);
    let y = node(&mut g, Op::Conv(conv(&[1], 1)), &[x, w], None);
    let Held::Real(t) = held(&mut g, y, &tensor(&[1, 1, 2], &[1.0, 2.0])) else {
        panic!("codes without a quantizer")
    };
    assert_eq!(t.as_f32().unwrap(), [-0.75, -1.5]);
}

#[test]
fn transposed_convolution_gemm_and_matmul_1_3() {
    let op = ConvTranspose {
        conv: Conv {
            strides: vec![2],
            ..conv(&[2], 1)
        },
        output_padding: vec![0],
        output_shape: None,
    };
    let (mut g, x) = graph(&[1, 1, 2], edge(1.0, 5, 8));
    let w = weight(&mut g, &[1, 2, 2], 1, &[1, 2, 3, 4], &[1.0, 0.5]);
    let y = node(&mut g, Op::ConvTranspose(op), &[x, w], Some(edge(1.0, 0, 8)));
    // x = 1, 3: channel 0 is 1, 2, 3, 6; channel 1 half of 3, 4, 9, 12.
    let two = tensor(&[1, 1, 2], &[1.0, 3.0]);
    assert_eq!(codes(&mut g, y, &two), [1, 2, 3, 6, 2, 2, 4, 6]);

    let (mut g, x) = graph(&[1, 2], edge(1.0, 5, 8));
    let w = weight(&mut g, &[2, 2], 0, &[1, 2, 3, 4], &[1.0, 0.5]);
    let bias = g.add_constant("b", tensor(&[2], &[1.0, 1.0]));
    let gemm = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    let y = node(&mut g, gemm, &[x, w, bias], Some(edge(1.0, 0, 8)));
    // 1·1 + 2·3 + 1 = 8; (3·1 + 4·3 + 2) / 2 = 8.5 → 8.
    let row = tensor(&[1, 2], &[1.0, 3.0]);
    assert_eq!(codes(&mut g, y, &row), [8, 8]);

    let (mut g, x) = graph(&[1, 2], edge(1.0, 5, 8));
    let w = weight(&mut g, &[2, 2], 1, &[1, 2, 3, 4], &[1.0, 0.5]);
    let y = node(&mut g, Op::MatMul, &[x, w], Some(edge(1.0, 0, 8)));
    // 1·1 + 3·3 = 10; (1·2 + 3·4) / 2 = 7.
    assert_eq!(codes(&mut g, y, &row), [10, 7]);
}

#[test]
fn tables_and_clamps_1_5() {
    let (mut g, x) = graph(&[4], edge(1.0, 2, 8));
    let y = node(
        &mut g,
        Op::Unary(Unary::LeakyRelu { alpha: 0.5 }),
        &[x],
        Some(edge(0.5, 4, 8)),
    );
    let v = tensor(&[4], &[-2.0, -1.0, 0.0, 3.0]);
    assert_eq!(codes(&mut g, y, &v), [2, 3, 4, 10]);

    let (mut g, x) = graph(&[4], edge(1.0, 2, 8));
    let (low, high) = (
        g.add_constant("l", Tensor::scalar(-1f32)),
        g.add_constant("h", Tensor::scalar(2f32)),
    );
    let y = node(&mut g, Op::Clip, &[x, low, high], Some(edge(1.0, 2, 8)));
    assert_eq!(codes(&mut g, y, &v), [1, 1, 2, 4]);
}

#[test]
fn the_edge_before_a_clamp_takes_its_quantizer_1_5() {
    let make = |also_output: bool| {
        let (mut g, x) = graph(&[1, 1, 1], edge(1.0, 128, 8));
        let w = weight(&mut g, &[1, 1, 1], 0, &[1], &[1.0]);
        let c = node(&mut g, Op::Conv(conv(&[1], 1)), &[x, w], None);
        let y = node(&mut g, Op::Unary(Unary::Relu), &[c], Some(edge(0.5, 3, 8)));
        g.outputs = if also_output { vec![y, c] } else { vec![y] };
        let p = Program::new(&g).unwrap();
        (p.quantizer(c), p.is_integer(1))
    };
    assert_eq!(make(false), (Some(edge(0.5, 3, 8)), Ok(())));
    let (quantizer, relu) = make(true);
    assert_eq!(quantizer, None);
    assert!(relu.unwrap_err().contains("carries no quantizer"));
}

#[test]
fn sums_and_products_of_edges_1_6_1_7() {
    let two = |op: Op, y: EdgeQuantizer| {
        let (mut g, x) = graph(&[3], edge(1.0, 10, 8));
        let b = g.add_node(Op::Unary(Unary::Neg), &[x], "b");
        g.edges.insert(b, edge(0.5, 20, 8));
        let y = node(&mut g, op, &[x, b], Some(y));
        codes(&mut g, y, &tensor(&[3], &[1.0, -3.0, 4.0]))
    };
    // b = −x. x − (−x) = 2x; in steps of 4: 0.5 → 0, −1.5 → −2, 2.
    assert_eq!(two(Op::Binary(Binary::Add), edge(1.0, 7, 8)), [7, 7, 7]);
    assert_eq!(two(Op::Binary(Binary::Sub), edge(4.0, 7, 8)), [7, 5, 9]);
    // −x² in steps of 2: −0.5 → 0, −4.5 → −4, −8.
    assert_eq!(two(Op::Binary(Binary::Mul), edge(2.0, 50, 8)), [50, 46, 42]);
}

#[test]
fn codes_move_and_are_rescaled_1_8() {
    let (mut g, x) = graph(&[1, 2], edge(1.0, 1, 8));
    let perm = Op::Transpose {
        perm: Some(vec![1, 0]),
    };
    let moved = node(&mut g, perm.clone(), &[x], None);
    // Codes 3 and 7 are 2 and 6; in steps of 4: 0.5 → 0, 1.5 → 2.
    let y = node(&mut g, perm, &[moved], Some(edge(4.0, 9, 4)));
    let v = tensor(&[1, 2], &[2.0, 6.0]);
    assert_eq!(codes(&mut g, moved, &v), [3, 7]);
    assert_eq!(codes(&mut g, y, &v), [9, 11]);

    // Concat: each input by itself; padding is the code of 0.
    let (mut g, x) = graph(&[1], edge(1.0, 1, 8));
    let b = node(&mut g, Op::Unary(Unary::Neg), &[x], Some(edge(2.0, 6, 8)));
    let joined = node(&mut g, Op::Concat { axis: 0 }, &[x, b], Some(edge(2.0, 6, 8)));
    let pads = g.add_constant("p", Tensor::vector(vec![1i64, 0]));
    let mode = graph::PadMode::Constant;
    let y = node(&mut g, Op::Pad { mode }, &[joined, pads], None);
    assert_eq!(codes(&mut g, y, &tensor(&[1], &[4.0])), [6, 8, 4]);
}

#[test]
fn averages_1_9() {
    let pool = Pool {
        kernel: vec![2],
        strides: vec![2],
        dilations: vec![1],
        padding: Padding::Explicit(vec![1, 0]),
        ceil_mode: false,
        count_include_pad: false,
    };
    let v = tensor(&[1, 1, 3], &[3.0, 1.0, 2.0]);
    let run = |op: Op, constant: Option<Tensor>| {
        let (mut g, x) = graph(&[1, 1, 3], edge(1.0, 4, 8));
        let axes = constant.map(|t| g.add_constant("a", t));
        let inputs: Vec<_> = [x].into_iter().chain(axes).collect();
        let y = node(&mut g, op, &inputs, Some(edge(0.5, 0, 8)));
        codes(&mut g, y, &v)
    };
    // Windows (pad, 3) and (1, 2): 3 and 1.5, or 1.5 and 1.5 with the padding counted.
    assert_eq!(run(Op::AveragePool(pool.clone()), None), [6, 3]);
    let counted = Pool {
        count_include_pad: true,
        ..pool
    };
    assert_eq!(run(Op::AveragePool(counted), None), [3, 3]);
    assert_eq!(run(Op::GlobalAveragePool, None), [4]);
    let mean = Op::Reduce {
        kind: ReduceKind::Mean,
        keep_dims: false,
        noop_with_empty_axes: false,
    };
    assert_eq!(run(mean, Some(Tensor::vector(vec![-1i64]))), [4]);
}

#[test]
fn linear_resize_1_10() {
    let op = Resize {
        mode: ResizeMode::Linear,
        coordinates: CoordinateTransform::HalfPixel,
        nearest: NearestMode::RoundPreferFloor,
        axes: vec![2],
    };
    let (mut g, x) = graph(&[1, 1, 2], edge(1.0, 4, 8));
    let scales = g.add_constant("s", Tensor::vector(vec![2f32]));
    let y = g.add_node(Op::Resize(op), &[x, x, scales], "y");
    g.nodes[0].inputs[1] = None;
    g.edges.insert(y, edge(0.5, 0, 8));
    // 0, 8 at −0.25, 0.25, 0.75, 1.25: 0, 2, 6, 8.
    assert_eq!(codes(&mut g, y, &tensor(&[1, 1, 2], &[0.0, 8.0])), [0, 4, 12, 16]);
}

#[test]
fn float_operators_between_codes_1_12() {
    let (mut g, x) = graph(&[2], edge(1.0, 0, 8));
    let one = g.add_constant("c", Tensor::vector(vec![0.25f32, 0.75]));
    let y = node(&mut g, Op::Binary(Binary::Add), &[x, one], Some(edge(0.5, 1, 8)));
    g.outputs = vec![y];
    let p = Program::new(&g).unwrap();
    assert!(p.is_integer(0).unwrap_err().contains("constant"));
    let out = p
        .run(&[("x", &tensor(&[2], &[1.0, 2.0]))], &mut |_, _, _| {})
        .unwrap();
    // 1.25 → 2.5 steps → 2; 2.75 → 5.5 → 6.
    assert_eq!(out[0].1.as_f32().unwrap(), [1.0, 3.0]);
}

#[test]
fn what_the_bounds_refuse_runs_in_float_1_13() {
    let (mut g, x) = graph(&[1, 1, 1], edge(1.0, 0, 8));
    let w = weight(&mut g, &[1, 1, 1], 0, &[7], &[1.0]);
    let y = node(&mut g, Op::Conv(conv(&[1], 1)), &[x, w], Some(edge(1e-7, 0, 8)));
    g.outputs = vec![y];
    let p = Program::new(&g).unwrap();
    assert!(p.is_integer(0).unwrap_err().contains("1.13"));
    assert!(
        p.run(&[("x", &tensor(&[1, 1, 1], &[1.0]))], &mut |_, _, _| {})
            .is_ok()
    );
}

#[test]
fn contradictory_annotations_are_refused() {
    let (mut g, x) = graph(&[1, 1, 1], edge(1.0, 0, 8));
    let w = weight(&mut g, &[1, 1, 1], 0, &[7], &[1.0]);
    let y = node(&mut g, Op::Conv(conv(&[1], 1)), &[x, w], None);
    g.outputs = vec![y];
    for spoil in [
        |w: &mut WeightAnnotation| w.points[0].codes[0] = 16,
        |w: &mut WeightAnnotation| w.points[0].scales[0] = f32::NAN,
        |w: &mut WeightAnnotation| w.points.clear(),
        |w: &mut WeightAnnotation| w.axis = 7,
        |w: &mut WeightAnnotation| w.levels.truncate(3),
        |w: &mut WeightAnnotation| w.shape[0] = usize::MAX,
        |w: &mut WeightAnnotation| w.zero_points = Some(vec![]),
    ] {
        let mut bad = g.clone();
        spoil(bad.weights.get_mut(&w).unwrap());
        assert!(matches!(Program::new(&bad), Err(ProgramError::Annotation { .. })));
    }
    let mut bad = g.clone();
    bad.edges.insert(x, edge(1.0, 9, 2));
    assert!(Program::new(&bad).is_err());
}
