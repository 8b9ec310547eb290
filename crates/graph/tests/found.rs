//! What fuzzing found in reading and simplifying, in its smallest form.

mod common;

use common::proto::{Graph as Proto, Message, ints, tensor, value};
use graph::onnx::{ReadOptions, WriteOptions, read, write};
use graph::passes::{Budget, simplify};
use graph::{Conv, ConvTranspose, Evaluate, Graph, Op, Padding};
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
