//! What fuzzing found in reading and simplifying, in its smallest form.

mod common;

use common::proto::{Graph as Proto, Message, ints, tensor, value};
use graph::onnx::{ReadOptions, WriteOptions, read, write};
use graph::passes::{Budget, simplify};
use graph::shape::{TensorType, rule};
use graph::{Binary, Conv, ConvTranspose, Evaluate, Graph, Op, Padding, ReduceKind, Unary};
use tensor::{DType, Tensor};

/// A node with neither a name nor a named output got another name each time it was written and read.
#[test]
fn a_node_that_nothing_names_keeps_its_name() {
    let nameless = Message::default().bytes(1, "x").bytes(2, "").bytes(4, "Identity");
    let proto = Proto::default()
        .input(value("x", 1, &[3]))
        .output(value("x", 1, &[3]));
    let model = Proto(proto.0.message(1, nameless)).model(18);
    let mut graph = read(&model, &ReadOptions::default()).unwrap();
    graph::shape::infer(&mut graph).unwrap();
    let first = write(&graph, &WriteOptions::default()).unwrap();
    let again = read(&first, &ReadOptions::default()).unwrap();
    assert_eq!(again.nodes[0].name, "Identity");
    assert_eq!(write(&again, &WriteOptions::default()).unwrap(), first);
}

/// A value with two quantizers, one of which only dead code reads: once that is gone, the other is the edge's, and the file read back has it so.
#[test]
fn a_pair_that_dead_code_frees_is_the_edge_from_the_next_reading_on() {
    let mut g = Graph::new("freed");
    let x = g.add_value("x", Some(DType::F32), Some(vec![Some(3)]));
    g.inputs.push(x);
    let a = g.add_node(Op::Unary(Unary::Sigmoid), &[x], "a");
    let zero = g.add_constant("zero", Tensor::scalar(0u8));
    let mut results = Vec::new();
    for (k, scale) in [0.25f32, 0.125].into_iter().enumerate() {
        let scale = g.add_constant(&format!("scale{k}"), Tensor::scalar(scale));
        let codes = g.add_node(
            Op::QuantizeLinear { axis: 0 },
            &[a, scale, zero],
            &format!("codes{k}"),
        );
        results.push(g.add_node(
            Op::DequantizeLinear { axis: 0 },
            &[codes, scale, zero],
            &format!("real{k}"),
        ));
    }
    g.add_node(Op::Binary(Binary::Mul), &[x, results[0]], "dead");
    let y = g.add_node(Op::Unary(Unary::Relu), &[results[1]], "y");
    g.outputs.push(y);
    graph::shape::infer(&mut g).unwrap();
    let again = |g: &Graph| {
        let file = write(g, &WriteOptions::default()).unwrap();
        let mut back = read(&file, &ReadOptions::default()).unwrap();
        graph::shape::infer(&mut back).unwrap();
        (file, back)
    };
    let (_, mut read_once) = again(&g);
    assert_eq!(read_once.edges.len(), 0);
    simplify(&mut read_once, &Never, &Budget::default()).unwrap();
    let (_, settled) = again(&read_once);
    assert_eq!((settled.edges.len(), settled.nodes.len()), (1, 2));
    let (second, back) = again(&settled);
    assert_eq!(again(&back).0, second);
}

/// Refuses to be asked.
struct Never;

impl Evaluate for Never {
    fn evaluate(&self, op: &Op, _: &[Option<&Tensor>], _: usize) -> Result<Vec<Tensor>, String> {
        panic!("{} costs too much to be folded", op.name());
    }
}

/// Few products, but every output looks at every tap: folding it took minutes.
#[test]
fn a_transposed_convolution_with_a_long_kernel_is_not_folded() {
    let mut g = Graph::new("long");
    let kernel = 65_535;
    let w = g.add_constant("w", Tensor::new(vec![1, 1, kernel], vec![1f32; kernel]).unwrap());
    let x = g.add_constant("x", Tensor::new(vec![1, 1, 3], vec![1f32; 3]).unwrap());
    let conv = Conv {
        kernel: vec![kernel],
        strides: vec![1],
        dilations: vec![1],
        padding: Padding::Valid,
        group: 1,
    };
    let op = Op::ConvTranspose(ConvTranspose {
        conv,
        output_padding: vec![0],
        output_shape: None,
    });
    let y = g.add_node(op, &[x, w], "y");
    g.outputs.push(y);
    simplify(&mut g, &Never, &Budget::default()).unwrap();
    assert_eq!(g.nodes.len(), 1);
    assert_eq!(g.value(y).dtype, Some(DType::F32));
}

fn refused(model: &[u8]) -> String {
    let mut g = read(model, &ReadOptions::default()).unwrap();
    graph::shape::infer(&mut g).unwrap_err().to_string()
}

/// The shape rule and the engine took bounds of shape [1, 1], the oracle did not.
#[test]
fn bounds_of_a_slice_have_one_dimension() {
    let model = Proto::x_to_y()
        .initializer(tensor("from", 7, &[1], &0i64.to_le_bytes()))
        .initializer(tensor("to", 7, &[1, 1], &1i64.to_le_bytes()))
        .node("Slice", &["x", "from", "to"], &["y"], &[]);
    let why = refused(&model.model(18));
    assert!(why.contains("ends must be a list, it has 2 dimensions"), "{why}");
}

/// Padding takes part in a convolution: 100 bytes asked for years of work.
#[test]
fn endless_padding_is_a_limit() {
    let model = Proto::x_to_y()
        .initializer(tensor("w", 1, &[4, 3, 1, 1], &[0; 48]))
        .node("Conv", &["x", "w"], &["y"], &[ints("pads", &[1 << 30; 4])]);
    let why = refused(&model.model(18));
    assert!(why.contains("multiplications, at most"), "{why}");
}

/// The rule gave the coordinates of a single number no row, the oracle one, as onnxruntime does.
#[test]
fn the_place_of_a_single_number_is_one_row() {
    let x = TensorType::fixed(DType::F32, &[]);
    let y = rule(&Op::NonZero, &[Some(&x)], &[], 1).unwrap();
    assert_eq!(y[0].shape, Some(vec![Some(1), None]));
}

/// A pass may leave out the last input of a node; the file named it, once read back it did not.
#[test]
fn inputs_left_out_at_the_end_are_not_written() {
    let mut g = Graph::new("clamp");
    let x = g.add_value("x", Some(DType::F32), Some(vec![Some(3)]));
    g.inputs.push(x);
    let low = g.add_constant("low", Tensor::scalar(0f32));
    let y = g.add_node(Op::Clip, &[x, low], "y");
    g.nodes[0].inputs.push(None);
    g.outputs.push(y);
    graph::shape::infer(&mut g).unwrap();
    let first = write(&g, &WriteOptions::default()).unwrap();
    let again = read(&first, &ReadOptions::default()).unwrap();
    assert_eq!(write(&again, &WriteOptions::default()).unwrap(), first);
}

/// The sum of squares of a single 2 was followed as 2: a range up to it had the wrong length.
#[test]
fn a_reduction_of_one_number_is_followed_only_where_it_is_that_number() {
    for (kind, length) in [
        (ReduceKind::Sum, Some(2)),
        (ReduceKind::SumSquare, None),
        (ReduceKind::L1, None),
        (ReduceKind::LogSumExp, None),
    ] {
        let mut g = Graph::new("reduce");
        let [zero, one, two] = [0i64, 1, 2].map(|n| g.add_constant(&format!("c{n}"), Tensor::scalar(n)));
        let op = Op::Reduce {
            kind,
            keep_dims: false,
            noop_with_empty_axes: false,
        };
        let limit = g.add_node(op, &[two], "limit");
        let y = g.add_node(Op::Range, &[zero, limit, one], "y");
        g.outputs.push(y);
        graph::shape::infer(&mut g).unwrap();
        assert_eq!(g.value(y).shape, Some(vec![length]), "{kind:?}");
    }
}

/// What the reader refuses must not be written: more dimensions than it takes, a scale that is no step.
#[test]
fn the_rules_refuse_what_the_reader_refuses() {
    let mut wide = Graph::new("wide");
    let x = wide.add_value("x", Some(DType::F32), Some(vec![Some(1)]));
    wide.inputs.push(x);
    let axes = wide.add_constant("axes", Tensor::vector((0..32i64).collect::<Vec<_>>()));
    let y = wide.add_node(Op::Unsqueeze, &[x, axes], "y");
    wide.outputs.push(y);
    let shape = wide.add_constant("shape", Tensor::vector(vec![1i64; 40]));
    let z = wide.add_node(Op::Reshape { allow_zero: false }, &[x, shape], "z");
    wide.outputs.push(z);
    let why = graph::shape::infer(&mut wide).unwrap_err().to_string();
    assert!(why.contains("dimensions"), "{why}");
    wide.nodes.remove(0);
    wide.outputs.remove(0);
    let why = graph::shape::infer(&mut wide).unwrap_err().to_string();
    assert!(why.contains("40 dimensions"), "{why}");

    let (x, s) = (
        TensorType::fixed(DType::F32, &[2]),
        TensorType::fixed(DType::F32, &[]),
    );
    let scale = Tensor::scalar(-0.5f32);
    let op = Op::QuantizeLinear { axis: 0 };
    let why = rule(&op, &[Some(&x), Some(&s)], &[None, Some(&scale)], 1).unwrap_err();
    assert!(why.to_string().contains("the scale -0.5"), "{why}");
}
