//! What a plan does not do: copies and tables that views, fusion and shared buffers save.

use engine::{CompileError, Options, Plan, compile};
use graph::{Conv, EdgeQuantizer, Graph, Op, Padding, Point, Pool, Unary, ValueId, WeightAnnotation};
use tensor::{DType, Tensor};

const EDGE: EdgeQuantizer = EdgeQuantizer {
    scale: 0.02,
    zero_point: 0,
    bits: 8,
};

fn fixed(shape: &[usize]) -> Option<Vec<Option<usize>>> {
    Some(shape.iter().map(|&d| Some(d)).collect())
}

fn input(shape: &[usize]) -> (Graph, ValueId) {
    let mut g = Graph::new("t");
    let x = g.add_value("x", Some(DType::F32), fixed(shape));
    g.inputs.push(x);
    (g, x)
}

/// A quantized 1×1 convolution.
fn conv(g: &mut Graph, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
    let shape = vec![outputs, inputs, 1, 1];
    let w = g.add_value("w", Some(DType::F32), fixed(&shape));
    let codes = (0..inputs * outputs).map(|i| (i % 4) as u8).collect();
    let annotation = WeightAnnotation {
        grid: "test".into(),
        bits: 2,
        shape,
        axis: 0,
        levels: vec![0, 1, -1, 2],
        zero_points: None,
        points: vec![Point::whole(codes, vec![0.1])],
    };
    g.weights.insert(w, annotation);
    let op = Op::Conv(Conv {
        kernel: vec![1, 1],
        strides: vec![1, 1],
        dilations: vec![1, 1],
        padding: Padding::Valid,
        group: 1,
    });
    g.add_node(op, &[x, w], "conv")
}

fn plan(g: &mut Graph) -> Plan {
    graph::shape::infer(g).unwrap();
    g.check().unwrap();
    compile(g, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn names(plan: &Plan, op: &str) -> Vec<String> {
    let layers = plan.layers().iter().filter(|l| l.op == op);
    layers.map(|l| l.kernel.clone()).collect()
}

#[test]
fn convolutions_write_into_their_concat_and_clamps_of_codes_vanish() {
    let (mut g, x) = input(&[1, 4, 5, 5]);
    let parts: Vec<ValueId> = (0..2)
        .map(|_| {
            let y = conv(&mut g, x, 4, 8);
            g.add_node(Op::Unary(Unary::Relu), &[y], "relu")
        })
        .collect();
    let y = g.add_node(Op::Concat { axis: 1 }, &parts, "y");
    let z = conv(&mut g, y, 16, 3);
    g.outputs.push(z);
    for v in parts.iter().copied().chain([x, y]) {
        g.edges.insert(v, EDGE);
    }
    let plan = plan(&mut g);
    assert_eq!(names(&plan, "Concat"), ["view"], "{plan}");
    assert_eq!(names(&plan, "Relu"), ["fused", "fused"], "{plan}");
    assert_eq!(plan.integer_mac_share(), 1.0);
}

#[test]
fn a_function_that_is_rounded_once_is_part_of_its_convolution() {
    let functions = [
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Swish { alpha: 1.0 },
        Unary::HardSwish,
    ];
    for function in functions {
        for channels in [4, 9, 40] {
            let (mut g, x) = input(&[1, 4, 7, 5]);
            let y = conv(&mut g, x, 4, channels);
            let z = g.add_node(Op::Unary(function), &[y], "z");
            g.outputs.push(z);
            g.edges.insert(x, EDGE);
            let signed = EdgeQuantizer {
                zero_point: 90,
                ..EDGE
            };
            g.edges.insert(z, signed);
            let plan = plan(&mut g);
            assert_eq!(names(&plan, function.name()), ["fused"], "{plan}");
            assert!(!names(&plan, "Conv")[0].ends_with("quantize_f32"), "{plan}");
            let values = (0..140)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 20.0)
                .collect::<Vec<f32>>();
            let values = Tensor::new(vec![1, 4, 7, 5], values).unwrap();
            let program = oracle::Program::new(&g).unwrap();
            let want = program.run(&[("x", &values)], &mut |_, _, _| {}).unwrap();
            let got = plan.run(&kernels::Pool::new(2), &[("x", &values)]).unwrap();
            assert_eq!(got, want, "{function:?}, {channels} channels");
        }
    }
}

/// Pools of several axes are taken axis by axis in codes: whatever the axes, strides, pads and dilations, the same.
#[test]
fn a_maximum_axis_by_axis_is_the_maximum_of_its_windows() {
    for (kernel, stride, pad, dilation) in [
        ([5, 5], [1, 1], [2, 2], [1, 1]),
        ([3, 4], [2, 3], [1, 0], [1, 2]),
        ([7, 2], [1, 2], [3, 1], [2, 1]),
        ([3, 3], [2, 2], [1, 1], [1, 1]),
    ] {
        let (mut g, x) = input(&[1, 6, 17, 20]);
        let y = conv(&mut g, x, 6, 6);
        let op = Pool {
            kernel: kernel.to_vec(),
            strides: stride.to_vec(),
            dilations: dilation.to_vec(),
            padding: Padding::Explicit([pad, pad].concat()),
            ceil_mode: false,
            count_include_pad: false,
        };
        let z = g.add_node(Op::MaxPool(op), &[y], "z");
        g.outputs.push(z);
        g.edges.insert(x, EDGE);
        g.edges.insert(y, EDGE);
        g.edges.insert(z, EDGE);
        let plan = plan(&mut g);
        let values = (0..6 * 17 * 20)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 20.0)
            .collect::<Vec<f32>>();
        let values = Tensor::new(vec![1, 6, 17, 20], values).unwrap();
        let program = oracle::Program::new(&g).unwrap();
        let want = program.run(&[("x", &values)], &mut |_, _, _| {}).unwrap();
        let got = plan.run(&kernels::Pool::new(2), &[("x", &values)]).unwrap();
        assert_eq!(got, want, "{kernel:?} {stride:?} {pad:?} {dilation:?}");
    }
}

#[test]
fn a_channel_shuffle_is_one_copy_and_a_split_none() {
    let (mut g, x) = input(&[1, 4, 5, 5]);
    let y = conv(&mut g, x, 4, 12);
    let five = g.add_constant("five", Tensor::vector(vec![1i64, 2, 6, 5, 5]));
    let back = g.add_constant("back", Tensor::vector(vec![1i64, 12, 5, 5]));
    let parts = g.add_constant("parts", Tensor::vector(vec![6i64, 6]));
    let a = g.add_node(Op::Reshape { allow_zero: false }, &[y, five], "a");
    let perm = Some(vec![0, 2, 1, 3, 4]);
    let b = g.add_node(Op::Transpose { perm }, &[a], "b");
    let c = g.add_node(Op::Reshape { allow_zero: false }, &[b, back], "c");
    let left = g.add_node(Op::Split { axis: 1 }, &[c, parts], "left");
    let right = g.add_value("right", None, None);
    g.nodes.last_mut().unwrap().outputs.push(right);
    let z = conv(&mut g, right, 6, 2);
    g.outputs.extend([z, left]);
    for v in [x, y, a, b, c, left, right] {
        g.edges.insert(v, EDGE);
    }
    let plan = plan(&mut g);
    assert_eq!(names(&plan, "Reshape"), ["view", "copy"], "{plan}");
    assert_eq!(names(&plan, "Transpose"), ["view"], "{plan}");
    assert_eq!(names(&plan, "Split"), ["view"], "{plan}");
    assert!(
        names(&plan, "Conv").iter().skip(1).all(|k| !k.contains("copy")),
        "{plan}"
    );
}

#[test]
fn damaged_annotations_are_refused() {
    let (mut g, x) = input(&[1, 4, 5, 5]);
    let y = conv(&mut g, x, 4, 8);
    g.outputs.push(y);
    g.edges.insert(x, EDGE);
    graph::shape::infer(&mut g).unwrap();
    let w = *g.weights.keys().next().unwrap();
    type Harm = fn(&mut WeightAnnotation);
    let harms: [Harm; 6] = [
        |w| w.points[0].codes.truncate(3),
        |w| w.points[0].codes[3] = 9,
        |w| w.points[0].scales = vec![1.0; 3],
        |w| w.points[0].scales[0] = f32::NAN,
        |w| w.zero_points = Some(vec![0; 2]),
        |w| w.axis = 7,
    ];
    for harm in harms {
        let mut bad = g.clone();
        harm(bad.weights.get_mut(&w).unwrap());
        let error = compile(&bad, &Options::default()).unwrap_err();
        assert!(matches!(error, CompileError::Annotation { .. }), "{error}");
    }
    for edge in [
        EdgeQuantizer { scale: 0.0, ..EDGE },
        EdgeQuantizer { bits: 9, ..EDGE },
        EdgeQuantizer {
            bits: 2,
            zero_point: 9,
            ..EDGE
        },
    ] {
        let mut bad = g.clone();
        bad.edges.insert(x, edge);
        let error = compile(&bad, &Options::default()).unwrap_err();
        assert!(matches!(error, CompileError::Annotation { .. }), "{error}");
    }
}
