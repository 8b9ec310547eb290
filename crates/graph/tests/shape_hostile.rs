//! Whatever a file claims, shape rules and passes answer with a type or a sentence: no panic, no overflow, no endless loop.

use graph::passes::{Budget, PassError, simplify};
use graph::shape::{TensorType, infer, rule};
use graph::{
    Binary, Conv, ConvTranspose, CoordinateTransform, Graph, NearestMode, NoEvaluator, Node, Op, PadMode,
    Padding, Pool, ReduceKind, Resize, ResizeMode, Unary,
};
use proptest::prelude::*;
use tensor::{DType, Data, Tensor};

/// Sizes that break unchecked arithmetic, and a few that do not.
fn hostile_size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0usize..5,
        1 => prop::sample::select(vec![7, 224, 1 << 16, 1 << 31, 1 << 33, isize::MAX as usize, usize::MAX - 1, usize::MAX]),
    ]
}

fn hostile_int() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -4i64..5,
        1 => prop::sample::select(vec![7, 31, 32, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 1]),
    ]
}

fn hostile_float() -> impl Strategy<Value = f32> {
    prop::sample::select(vec![
        0.0,
        -0.0,
        0.5,
        1.0,
        2.0,
        1e-30,
        1e30,
        f32::MAX,
        -1.0,
        f32::NAN,
        f32::INFINITY,
    ])
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(hostile_size(), 0..5)
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        prop::collection::vec(hostile_size(), 0..7).prop_map(Padding::Explicit),
        Just(Padding::SameUpper),
        Just(Padding::SameLower),
        Just(Padding::Valid),
    ]
}

prop_compose! {
    fn conv()(kernel in sizes(), strides in sizes(), dilations in sizes(), padding in padding(), group in hostile_size()) -> Conv {
        Conv { kernel, strides, dilations, padding, group }
    }
}

prop_compose! {
    /// Lists of the right length, so that the arithmetic behind the first check is reached.
    fn fitting_conv()(axes in 1usize..4)(
        kernel in prop::collection::vec(hostile_size(), axes),
        strides in prop::collection::vec(hostile_size(), axes),
        dilations in prop::collection::vec(hostile_size(), axes),
        pads in prop::collection::vec(hostile_size(), 2 * axes),
        auto in prop::option::of(padding()),
        group in 1usize..4,
    ) -> Conv {
        let padding = match auto {
            Some(p) if !matches!(p, Padding::Explicit(_)) => p,
            _ => Padding::Explicit(pads),
        };
        Conv { kernel, strides, dilations, padding, group }
    }
}

fn any_conv() -> impl Strategy<Value = Conv> {
    prop_oneof![conv(), fitting_conv()]
}

fn pool() -> impl Strategy<Value = Pool> {
    (any_conv(), any::<bool>(), any::<bool>()).prop_map(|(c, ceil_mode, count_include_pad)| Pool {
        kernel: c.kernel,
        strides: c.strides,
        dilations: c.dilations,
        padding: c.padding,
        ceil_mode,
        count_include_pad,
    })
}

fn resize() -> impl Strategy<Value = Op> {
    prop::collection::vec(hostile_int(), 0..4).prop_map(|axes| {
        Op::Resize(Resize {
            mode: ResizeMode::Nearest,
            coordinates: CoordinateTransform::Asymmetric,
            nearest: NearestMode::Floor,
            axes,
        })
    })
}

fn windowed() -> impl Strategy<Value = Op> {
    prop_oneof![
        any_conv().prop_map(Op::Conv),
        (any_conv(), sizes(), prop::option::of(sizes())).prop_map(|(conv, output_padding, output_shape)| {
            Op::ConvTranspose(ConvTranspose {
                conv,
                output_padding,
                output_shape,
            })
        }),
        pool().prop_map(Op::MaxPool),
        pool().prop_map(Op::AveragePool),
        resize(),
    ]
}

fn with_axis() -> impl Strategy<Value = Op> {
    (hostile_int(), any::<bool>(), any::<bool>(), hostile_size()).prop_flat_map(|(axis, a, b, block)| {
        let list = vec![
            Op::Softmax { axis },
            Op::LogSoftmax { axis },
            Op::LayerNormalization { axis, epsilon: 1e-5 },
            Op::Concat { axis },
            Op::Split { axis },
            Op::Gather { axis },
            Op::GatherElements { axis },
            Op::GatherND { batch_dims: block },
            Op::Flatten { axis },
            Op::TopK {
                axis,
                largest: a,
                sorted: b,
            },
            Op::ArgMax {
                axis,
                keep_dims: a,
                select_last: b,
            },
            Op::ArgMin {
                axis,
                keep_dims: a,
                select_last: b,
            },
            Op::QuantizeLinear { axis },
            Op::DequantizeLinear { axis },
            Op::DepthToSpace { block, crd: a },
            Op::SpaceToDepth { block },
            Op::Shape {
                start: axis,
                end: a.then_some(axis.wrapping_mul(3)),
            },
            Op::Reduce {
                kind: ReduceKind::Prod,
                keep_dims: a,
                noop_with_empty_axes: b,
            },
            Op::Reduce {
                kind: ReduceKind::Mean,
                keep_dims: b,
                noop_with_empty_axes: a,
            },
        ];
        prop::sample::select(list)
    })
}

fn plain() -> impl Strategy<Value = Op> {
    let value = Tensor::vector(vec![0i64]);
    prop::sample::select(vec![
        Op::Unary(Unary::Relu),
        Op::Unary(Unary::Neg),
        Op::Unary(Unary::Abs),
        Op::Unary(Unary::Floor),
        Op::Unary(Unary::Not),
        Op::Binary(Binary::Add),
        Op::Binary(Binary::Sub),
        Op::Binary(Binary::Mul),
        Op::Binary(Binary::Div),
        Op::Binary(Binary::Mod { fmod: false }),
        Op::Binary(Binary::Mod { fmod: true }),
        Op::Binary(Binary::PRelu),
        Op::Binary(Binary::Equal),
        Op::Clip,
        Op::Max,
        Op::Min,
        Op::Sum,
        Op::Where,
        Op::MatMul,
        Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: true,
            trans_b: false,
        },
        Op::BatchNormalization { epsilon: 1e-5 },
        Op::InstanceNormalization { epsilon: 1e-5 },
        Op::GlobalAveragePool,
        Op::NonMaxSuppression {
            center_point_box: false,
        },
        Op::Slice,
        Op::Pad {
            mode: PadMode::Constant,
        },
        Op::Pad {
            mode: PadMode::Reflect,
        },
        Op::Pad { mode: PadMode::Wrap },
        Op::ScatterND,
        Op::Reshape { allow_zero: false },
        Op::Reshape { allow_zero: true },
        Op::Squeeze,
        Op::Unsqueeze,
        Op::Transpose { perm: None },
        Op::Transpose {
            perm: Some(vec![1, 0, 7]),
        },
        Op::Transpose {
            perm: Some(vec![0, 2, 3, 1]),
        },
        Op::Transpose {
            perm: Some(vec![usize::MAX]),
        },
        Op::Expand,
        Op::Tile,
        Op::Size,
        Op::ConstantOfShape { value },
        Op::Range,
        Op::NonZero,
        Op::CumSum {
            exclusive: true,
            reverse: true,
        },
        Op::Cast { to: DType::I64 },
        Op::Cast { to: DType::F32 },
        Op::Cast { to: DType::U8 },
        Op::Identity,
        Op::Dropout,
    ])
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![2 => windowed(), 2 => with_axis(), 3 => plain()]
}

/// An input: its type, and its elements where it is a constant.
type Input = Option<(TensorType, Option<Tensor>)>;

fn constant() -> impl Strategy<Value = Tensor> {
    let data = prop_oneof![
        4 => prop::collection::vec(hostile_int(), 0..9).prop_map(Data::from),
        1 => prop::collection::vec(hostile_float(), 0..9).prop_map(Data::from),
        1 => prop::collection::vec(any::<i32>(), 0..3).prop_map(Data::from),
        1 => prop::collection::vec(any::<bool>(), 0..3).prop_map(Data::from),
    ];
    (data, any::<bool>()).prop_map(|(data, scalar)| {
        let shape = if scalar && data.len() == 1 {
            vec![]
        } else {
            vec![data.len()]
        };
        Tensor::new(shape, data).unwrap()
    })
}

fn input() -> impl Strategy<Value = Input> {
    let dtype = prop::option::of(prop::sample::select(vec![
        DType::F32,
        DType::F32,
        DType::I64,
        DType::U8,
        DType::Bool,
    ]));
    let shape = prop::option::of(prop::collection::vec(prop::option::of(hostile_size()), 0..6));
    prop_oneof![
        1 => Just(None),
        5 => (dtype, shape).prop_map(|(dtype, shape)| Some((TensorType { dtype, shape }, None))),
        5 => constant().prop_map(|t| Some((TensorType::from(&t), Some(t)))),
    ]
}

fn graph_of(ops: &[(Op, Vec<Input>, usize)], chained: bool) -> Graph {
    let mut g = Graph::new("hostile");
    let mut last = None;
    for (op, inputs, outputs) in ops {
        let mut ids = Vec::new();
        for (i, input) in inputs.iter().enumerate() {
            ids.push(match (input, last) {
                (_, Some(v)) if chained && i == 0 => Some(v),
                (None, _) => None,
                (Some((_, Some(t))), _) => Some(g.add_constant("c", t.clone())),
                (Some((t, None)), _) => {
                    let v = g.add_value("x", t.dtype, t.shape.clone());
                    g.inputs.push(v);
                    Some(v)
                }
            });
        }
        let outputs: Vec<_> = (0..*outputs).map(|_| g.add_value("y", None, None)).collect();
        last = outputs.first().copied().or(last);
        g.nodes.push(Node {
            name: "n".into(),
            op: op.clone(),
            inputs: ids,
            outputs,
        });
    }
    g.outputs.extend(last);
    g
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_operator(op in op(), inputs in prop::collection::vec(input(), 0..6), outputs in prop_oneof![6 => Just(1usize), 1 => 0usize..5]) {
        let types: Vec<Option<&TensorType>> = inputs.iter().map(|i| i.as_ref().map(|(t, _)| t)).collect();
        let constants: Vec<Option<&Tensor>> = inputs.iter().map(|i| i.as_ref().and_then(|(_, c)| c.as_ref())).collect();
        match rule(&op, &types, &constants, outputs) {
            Ok(results) => {
                prop_assert_eq!(results.len(), outputs);
                for shape in results.iter().filter_map(TensorType::fixed_shape) {
                    prop_assert!(tensor::numel(&shape).is_ok());
                }
            }
            Err(e) => prop_assert!(!e.message().is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_chain(ops in prop::collection::vec((op(), prop::collection::vec(input(), 1..5), prop_oneof![6 => Just(1usize), 1 => 0usize..5]), 1..6)) {
        let mut g = graph_of(&ops, true);
        if infer(&mut g).is_ok() && g.check().is_ok() {
            let outputs = g.outputs.clone();
            let types: Vec<_> = outputs.iter().map(|&v| g.value(v).clone()).collect();
            // A node that does nothing may hide a constant that the next operator cannot take, so simplify may be the first
            // to see it: any other failure is ours.
            match simplify(&mut g, &NoEvaluator, &Budget::default()) {
                Ok(()) => {}
                Err(PassError::Shape(e)) => {
                    prop_assert!(!e.fault.message().is_empty());
                    return Ok(());
                }
                Err(e) => panic!("{e}"),
            }
            g.check().unwrap();
            // What is known of the outputs only grows.
            for (&v, before) in outputs.iter().zip(types) {
                let after = g.value(v);
                prop_assert_eq!(&before.name, &after.name);
                prop_assert!(before.dtype.is_none() || before.dtype == after.dtype);
                if let Some(fixed) = before.fixed_shape() {
                    prop_assert_eq!(Some(fixed), after.fixed_shape());
                }
            }
        }
    }
}

/// A Clip without bounds is dropped; only then is the length it hid seen to be negative.
#[test]
fn a_bad_constant_behind_a_node_without_effect_is_told_by_simplify() {
    let length = Tensor::new(vec![1], vec![-1i64]).unwrap();
    let value = Tensor::new(vec![1], vec![0i64]).unwrap();
    let ops = [
        (Op::Clip, vec![Some((TensorType::from(&length), Some(length)))], 1),
        (Op::ConstantOfShape { value }, vec![None], 1),
    ];
    let mut g = graph_of(&ops, true);
    infer(&mut g).unwrap();
    let message = simplify(&mut g, &NoEvaluator, &Budget::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("a dimension is -1, which is negative"),
        "{message}"
    );
}
