//! Rules by family, where the ONNX project's node tests (crates/oracle/tests) say nothing: unknown dimensions and refusals.

use tensor::{DType, Tensor};

use super::*;
use crate::op::{Conv, ConvTranspose, Padding, Pool, Resize};
use crate::op::{CoordinateTransform, NearestMode, ResizeMode};

fn f32(shape: &[Option<usize>]) -> TensorType {
    TensorType {
        dtype: Some(DType::F32),
        shape: Some(shape.to_vec()),
    }
}

/// Shape of the first output; constants are inputs too.
fn shape(op: &Op, x: &TensorType, constants: &[Tensor]) -> Result<Option<Vec<Dim>>, String> {
    let types: Vec<TensorType> = constants.iter().map(TensorType::from).collect();
    let mut inputs = vec![Some(x)];
    inputs.extend(types.iter().map(Some));
    let mut known = vec![None];
    known.extend(constants.iter().map(Some));
    rule(op, &inputs, &known, 1)
        .map(|t| t[0].shape.clone())
        .map_err(|e| e.to_string())
}

fn ints(list: &[i64]) -> Tensor {
    Tensor::vector(list.to_vec())
}

fn pool(kernel: usize, stride: usize, pads: [usize; 2], ceil_mode: bool) -> Op {
    Op::MaxPool(Pool {
        kernel: vec![kernel],
        strides: vec![stride],
        dilations: vec![1],
        padding: Padding::Explicit(pads.to_vec()),
        ceil_mode,
        count_include_pad: false,
    })
}

#[test]
fn windows() {
    let x = f32(&[None, Some(3), Some(6)]);
    let length = |op: &Op| shape(op, &x, &[]).map(|s| s.unwrap()[2]);
    assert_eq!(length(&pool(3, 2, [0, 0], false)), Ok(Some(2)));
    assert_eq!(length(&pool(3, 2, [0, 0], true)), Ok(Some(3)));
    // The fourth window would start in the padding at the end.
    assert_eq!(length(&pool(2, 2, [0, 1], true)), Ok(Some(3)));
    assert!(
        length(&pool(9, 1, [1, 1], false))
            .unwrap_err()
            .contains("spans 9 elements, the padded input has 8")
    );
    assert!(
        length(&pool(2, 0, [0, 0], false))
            .unwrap_err()
            .contains("none may be 0")
    );
    assert!(
        length(&pool(2, 1, [usize::MAX, 1], false))
            .unwrap_err()
            .contains("beyond")
    );
    let pads = explicit_pads(&Padding::SameLower, &[6], &[3], &[2], &[1]).unwrap();
    assert_eq!(pads, [1, 0]);
    assert_eq!(
        explicit_pads(&Padding::SameUpper, &[6], &[3], &[2], &[1]).unwrap(),
        [0, 1]
    );
}

#[test]
fn transposed_convolutions_cut_and_extend() {
    let mut t = ConvTranspose {
        conv: Conv {
            kernel: vec![3],
            strides: vec![2],
            dilations: vec![1],
            padding: Padding::Explicit(vec![1, 1]),
            group: 1,
        },
        output_padding: vec![1],
        output_shape: None,
    };
    assert_eq!(transposed_window(&t, &[1, 2, 4]).unwrap().pad, [1]);
    let w = Tensor::new(vec![2, 5, 3], vec![0f32; 30]).unwrap();
    let x = f32(&[Some(1), Some(2), Some(4)]);
    let of = |t: &ConvTranspose| shape(&Op::ConvTranspose(t.clone()), &x, std::slice::from_ref(&w));
    assert_eq!(of(&t).unwrap(), Some(vec![Some(1), Some(5), Some(8)]));
    t.output_shape = Some(vec![12]);
    assert_eq!(transposed_window(&t, &[1, 2, 4]).unwrap().pad, [0]);
    assert_eq!(of(&t).unwrap(), Some(vec![Some(1), Some(5), Some(12)]));
    t.conv.group = 3;
    assert!(of(&t).unwrap_err().contains("not a multiple of 3 groups"));
}

#[test]
fn unknown_dimensions_pass_through_what_does_not_touch_them() {
    let x = f32(&[None, Some(4), Some(6)]);
    let target = |list: &[i64]| shape(&Op::Reshape { allow_zero: false }, &x, &[ints(list)]).unwrap();
    // 0 keeps the batch; -1 beside an unknown batch stays unknown.
    assert_eq!(target(&[0, 24]), Some(vec![None, Some(24)]));
    assert_eq!(target(&[-1, 24]), Some(vec![None, Some(24)]));
    assert_eq!(
        shape(&Op::Flatten { axis: 1 }, &x, &[]).unwrap(),
        Some(vec![None, Some(24)])
    );
    // Without its axes Squeeze may remove the batch too.
    assert_eq!(shape(&Op::Squeeze, &x, &[]).unwrap(), None);
    assert_eq!(
        shape(&Op::Tile, &x, &[ints(&[2, 2, 1])]).unwrap(),
        Some(vec![None, Some(8), Some(6)])
    );
}

#[test]
fn slices_clamp_as_numpy_does() {
    let x = f32(&[Some(5)]);
    let length = |start: i64, end: i64, step: i64| {
        let lists = [ints(&[start]), ints(&[end]), ints(&[0]), ints(&[step])];
        shape(&Op::Slice, &x, &lists).unwrap().unwrap()[0].unwrap()
    };
    assert_eq!(length(1, i64::MAX, 2), 2);
    assert_eq!(length(-1, i64::MIN, -1), 5);
    assert_eq!(length(i64::MAX, i64::MIN, i64::MIN), 1);
    assert_eq!(length(3, 1, 1), 0);
    assert_eq!(length(-3, -1, 1), 2);
}

#[test]
fn refusals_say_what_and_where() {
    let x = f32(&[Some(2), Some(3)]);
    let says = |op: &Op, constants: &[Tensor]| shape(op, &x, constants).unwrap_err();
    assert_eq!(
        says(&Op::Softmax { axis: 2 }, &[]),
        "axis 2 is given, the tensor has 2 dimensions"
    );
    assert_eq!(
        says(&Op::Reshape { allow_zero: false }, &[ints(&[4, -1])]),
        "the elements of shape [2, 3] do not fit shape [4, ?]"
    );
    assert_eq!(
        says(&Op::Gather { axis: 0 }, &[ints(&[5])]),
        "index 5 is outside axis 0 with 2 elements"
    );
    assert_eq!(
        says(&Op::Binary(crate::Binary::Add), &[ints(&[1])]),
        "input 0 is F32 and input 1 is I64, they must have one type; put a Cast before one of them"
    );
    let huge = ints(&[i64::MAX, i64::MAX]);
    assert!(says(&Op::Expand, std::slice::from_ref(&huge)).contains("do not broadcast"));
    assert!(says(&Op::Tile, &[huge]).contains("more elements than this machine can address"));
    assert!(says(&Op::Unary(crate::Unary::Not), &[]).contains("must be Bool"));
}

#[test]
fn resizes_round_down() {
    let resize = Op::Resize(Resize {
        mode: ResizeMode::Nearest,
        coordinates: CoordinateTransform::Asymmetric,
        nearest: NearestMode::Floor,
        axes: vec![-1],
    });
    let x = f32(&[None, Some(10)]);
    let (x_type, scales) = (Some(&x), Tensor::vector(vec![0.79f32]));
    let scale_type = TensorType::from(&scales);
    let y = rule(
        &resize,
        &[x_type, None, Some(&scale_type)],
        &[None, None, Some(&scales)],
        1,
    )
    .unwrap();
    assert_eq!(y[0].shape, Some(vec![None, Some(7)]));
    let bad = Tensor::vector(vec![f32::NAN]);
    let e = rule(
        &resize,
        &[x_type, None, Some(&scale_type)],
        &[None, None, Some(&bad)],
        1,
    )
    .unwrap_err();
    assert!(e.message().contains("not a positive number"));
}

#[test]
fn faults_name_node_and_operator() {
    let mut g = crate::Graph::new("g");
    let a = g.add_value("a", Some(DType::F32), Some(vec![Some(2)]));
    let b = g.add_value("b", Some(DType::F32), Some(vec![Some(3)]));
    g.inputs.extend([a, b]);
    let y = g.add_node(Op::Binary(crate::Binary::Add), &[a, b], "sum\u{1b}[0m");
    g.outputs.push(y);
    let e = infer(&mut g).unwrap_err();
    assert_eq!(
        e.to_string(),
        "node \"sum\\u{1b}[0m\" (Add): shapes [2] and [3] do not broadcast"
    );
    assert_eq!(e.kind(), crate::onnx::ErrorKind::BadInput);
}
