//! Each pattern of `passes::simplify`: what is left of it, and that the result stays.

use std::collections::HashMap;

use graph::passes::{Budget, simplify};
use graph::{
    Binary, Conv, ConvTranspose, EdgeQuantizer, Graph, Op, PadMode, Padding, Pool, ReduceKind, Unary, ValueId,
};
use oracle::Reference;
use tensor::{DType, Tensor};

/// A graph of one input `x`, built like a sentence.
struct Net(Graph);

impl Net {
    fn new(shape: &[usize]) -> (Net, ValueId) {
        let mut g = Graph::new("net");
        let shape = shape.iter().map(|&d| Some(d)).collect();
        let x = g.add_value("x", Some(DType::F32), Some(shape));
        g.inputs.push(x);
        (Net(g), x)
    }

    fn op(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.0.add_node(op, inputs, "v")
    }

    fn unary(&mut self, op: Unary, x: ValueId) -> ValueId {
        self.op(Op::Unary(op), &[x])
    }

    fn binary(&mut self, op: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Binary(op), &[a, b])
    }

    fn number(&mut self, x: f32) -> ValueId {
        self.0.add_constant("c", Tensor::scalar(x))
    }

    fn floats(&mut self, shape: &[usize]) -> ValueId {
        let t = noise(shape, self.0.constants.len() as u64);
        self.0.add_constant("c", t)
    }

    fn ints(&mut self, list: &[i64]) -> ValueId {
        self.0.add_constant("i", Tensor::vector(list.to_vec()))
    }

    fn transpose(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        let perm = Some(perm.to_vec());
        self.op(Op::Transpose { perm }, &[x])
    }

    fn conv(&mut self, x: ValueId, weight: &[usize], group: usize, pads: &[usize]) -> ValueId {
        let w = self.floats(weight);
        self.op(Op::Conv(window(&weight[2..], pads, group)), &[x, w])
    }

    /// Simplifies, compares the results, and gives the operators that are left.
    fn check(mut self, y: ValueId) -> (Vec<String>, Graph) {
        self.0.outputs.push(y);
        let before = run(&self.0);
        let mut after = self.0.clone();
        simplify(&mut after, &Reference, &Budget::default()).unwrap();
        let mut again = after.clone();
        simplify(&mut again, &Reference, &Budget::default()).unwrap();
        assert_eq!(after, again);
        assert_eq!(after.value(after.outputs[0]).name, self.0.value(y).name);
        let (want, have) = (before.as_f32().unwrap(), run(&after));
        assert_eq!(before.shape(), have.shape());
        for (a, b) in want.iter().zip(have.as_f32().unwrap()) {
            assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} {b}");
        }
        let left = after.nodes.iter().map(|n| format!("{:?}", n.op)).collect();
        (left, after)
    }

    /// As [`Net::check`], by names.
    fn left(self, y: ValueId) -> Vec<&'static str> {
        self.check(y).1.nodes.iter().map(|n| n.op.name()).collect()
    }
}

fn window(kernel: &[usize], pads: &[usize], group: usize) -> Conv {
    Conv {
        kernel: kernel.to_vec(),
        strides: vec![1; kernel.len()],
        dilations: vec![1; kernel.len()],
        padding: Padding::Explicit(pads.to_vec()),
        group,
    }
}

/// Seeded numbers in −4 … 4.
fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let n = shape.iter().product();
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 21) as f32 - 4.0
    };
    Tensor::new(shape.to_vec(), (0..n).map(|_| next()).collect::<Vec<f32>>()).unwrap()
}

fn run(graph: &Graph) -> Tensor {
    let mut values: HashMap<ValueId, Tensor> = graph.constants.iter().map(|(&v, t)| (v, t.clone())).collect();
    let x = graph.inputs[0];
    values.insert(x, noise(&graph.value(x).fixed_shape().unwrap(), 99));
    for node in &graph.nodes {
        let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|v| v.map(|v| &values[&v])).collect();
        let outputs = oracle::evaluate(&node.op, &inputs, node.outputs.len()).unwrap();
        values.extend(node.outputs.iter().copied().zip(outputs));
    }
    values[&graph.outputs[0]].clone()
}

fn one(left: Vec<String>, want: Unary) {
    assert_eq!(left, [format!("{:?}", Op::Unary(want))]);
}

#[test]
fn swish_and_its_scaled_form() {
    let (mut n, x) = Net::new(&[2, 3]);
    let s = n.unary(Unary::Sigmoid, x);
    let y = n.binary(Binary::Mul, s, x);
    one(n.check(y).0, Unary::Swish { alpha: 1.0 });

    let (mut n, x) = Net::new(&[2, 3]);
    let a = n.number(1.5);
    let ax = n.binary(Binary::Mul, a, x);
    let s = n.unary(Unary::Sigmoid, ax);
    let y = n.binary(Binary::Mul, x, s);
    one(n.check(y).0, Unary::Swish { alpha: 1.5 });
}

#[test]
fn a_gate_that_others_read_stays() {
    let (mut n, x) = Net::new(&[2, 3]);
    let s = n.unary(Unary::Sigmoid, x);
    let y = n.binary(Binary::Mul, s, x);
    let z = n.binary(Binary::Add, y, s);
    assert_eq!(n.left(z), ["Sigmoid", "Mul", "Add"]);
}

#[test]
fn sigmoid_softplus_and_mish_of_exponentials() {
    let (mut n, x) = Net::new(&[4]);
    let one_ = n.number(1.0);
    let minus = n.unary(Unary::Neg, x);
    let e = n.unary(Unary::Exp, minus);
    let sum = n.binary(Binary::Add, one_, e);
    let y = n.binary(Binary::Div, one_, sum);
    one(n.check(y).0, Unary::Sigmoid);

    let (mut n, x) = Net::new(&[4]);
    let one_ = n.number(1.0);
    let e = n.unary(Unary::Exp, x);
    let sum = n.binary(Binary::Add, e, one_);
    let s = n.unary(Unary::Log, sum);
    let t = n.unary(Unary::Tanh, s);
    let y = n.binary(Binary::Mul, x, t);
    one(n.check(y).0, Unary::Mish);
}

#[test]
fn hard_swish_in_four_spellings() {
    for spelling in 0..4 {
        let (mut n, x) = Net::new(&[2, 5]);
        let (three, zero, six, sixth) = (n.number(3.0), n.number(0.0), n.number(6.0), n.number(1.0 / 6.0));
        let sum = n.binary(Binary::Add, x, three);
        let clip = match spelling {
            3 => {
                let relu = n.unary(Unary::Relu, sum);
                n.op(Op::Min, &[relu, six])
            }
            _ => n.op(Op::Clip, &[sum, zero, six]),
        };
        let y = match spelling {
            0 => {
                let product = n.binary(Binary::Mul, x, clip);
                n.binary(Binary::Div, product, six)
            }
            1 => {
                let scaled = n.binary(Binary::Mul, clip, sixth);
                n.binary(Binary::Mul, scaled, x)
            }
            2 => {
                let scaled = n.binary(Binary::Div, x, six);
                n.binary(Binary::Mul, scaled, clip)
            }
            _ => {
                let product = n.binary(Binary::Mul, clip, x);
                n.binary(Binary::Mul, product, sixth)
            }
        };
        one(n.check(y).0, Unary::HardSwish);
    }
}

#[test]
fn hard_sigmoid_from_a_line() {
    let (mut n, x) = Net::new(&[2, 5]);
    let (a, b, zero, top) = (n.number(0.2), n.number(0.5), n.number(0.0), n.number(1.0));
    let line = n.binary(Binary::Mul, x, a);
    let line = n.binary(Binary::Add, line, b);
    let y = n.op(Op::Clip, &[line, zero, top]);
    one(
        n.check(y).0,
        Unary::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
    );
}

#[test]
fn gelu_whatever_the_order_of_its_factors() {
    for halved_first in [false, true] {
        let (mut n, x) = Net::new(&[2, 5]);
        let (root, top, half) = (n.number(std::f32::consts::SQRT_2), n.number(1.0), n.number(0.5));
        let q = n.binary(Binary::Div, x, root);
        let e = n.unary(Unary::Erf, q);
        let gate = n.binary(Binary::Add, e, top);
        let (first, second) = if halved_first { (half, gate) } else { (gate, half) };
        let product = n.binary(Binary::Mul, x, first);
        let y = n.binary(Binary::Mul, product, second);
        one(n.check(y).0, Unary::Gelu { tanh: false });
    }
}

#[test]
fn clamps_become_one() {
    let (mut n, x) = Net::new(&[2, 5]);
    let (six, low) = (n.number(6.0), n.number(-1.0));
    let relu = n.unary(Unary::Relu, x);
    let y = n.op(Op::Min, &[relu, six]);
    let y = n.op(Op::Max, &[y, low]);
    let (_, g) = n.check(y);
    let [node] = &g.nodes[..] else {
        panic!("{:?}", g.nodes)
    };
    assert_eq!(node.op, Op::Clip);
    let bound = |i| g.constant_input(node, i).unwrap().as_f32().unwrap()[0];
    assert_eq!((bound(1), bound(2)), (0.0, 6.0));

    let (mut n, x) = Net::new(&[2, 5]);
    let zero = n.number(0.0);
    let y = n.op(Op::Max, &[zero, x]);
    one(n.check(y).0, Unary::Relu);
}

#[test]
fn leaky_relu_of_max_and_of_prelu() {
    let (mut n, x) = Net::new(&[2, 5]);
    let a = n.number(0.1);
    let scaled = n.binary(Binary::Mul, x, a);
    let y = n.op(Op::Max, &[scaled, x]);
    one(n.check(y).0, Unary::LeakyRelu { alpha: 0.1 });

    let (mut n, x) = Net::new(&[1, 3, 2, 2]);
    let slope =
        n.0.add_constant("s", Tensor::new(vec![3, 1, 1], vec![0.25f32; 3]).unwrap());
    let y = n.binary(Binary::PRelu, x, slope);
    one(n.check(y).0, Unary::LeakyRelu { alpha: 0.25 });
}

#[test]
fn batch_norm_folds_into_each_kind_of_product() {
    for kind in 0..4 {
        let (mut n, x) = if kind == 3 {
            Net::new(&[2, 4])
        } else {
            Net::new(&[1, 4, 5, 5])
        };
        let (y, channels) = match kind {
            0 => (n.conv(x, &[6, 2, 3, 3], 2, &[1, 1, 1, 1]), 6),
            1 => {
                let w = n.floats(&[4, 3, 2, 2]);
                let t = ConvTranspose {
                    conv: window(&[2, 2], &[0; 4], 2),
                    output_padding: vec![0, 0],
                    output_shape: None,
                };
                (n.op(Op::ConvTranspose(t), &[x, w]), 6)
            }
            2 => {
                let (w, b) = (n.floats(&[5, 4, 1, 1]), n.floats(&[5]));
                (n.op(Op::Conv(window(&[1, 1], &[0; 4], 1)), &[x, w, b]), 5)
            }
            _ => {
                let (w, b) = (n.floats(&[3, 4]), n.floats(&[3]));
                let gemm = Op::Gemm {
                    alpha: 1.0,
                    beta: 1.0,
                    trans_a: false,
                    trans_b: true,
                };
                (n.op(gemm, &[x, w, b]), 3)
            }
        };
        let (scale, bias, mean) = (
            n.floats(&[channels]),
            n.floats(&[channels]),
            n.floats(&[channels]),
        );
        let variance: Vec<f32> = (0..channels).map(|i| 0.5 + i as f32).collect();
        let variance = n.0.add_constant("variance", Tensor::vector(variance));
        let y = n.op(
            Op::BatchNormalization { epsilon: 1e-3 },
            &[y, scale, bias, mean, variance],
        );
        assert_eq!(n.left(y).len(), 1, "{kind}");
    }
}

#[test]
fn a_batch_norm_whose_variance_is_no_number_stays() {
    let (mut n, x) = Net::new(&[1, 2, 3, 3]);
    let y = n.conv(x, &[2, 2, 1, 1], 1, &[0; 4]);
    let p = n.floats(&[2]);
    let v = n.0.add_constant("v", Tensor::vector(vec![1.0f32, -1.0]));
    let y = n.op(Op::BatchNormalization { epsilon: 1e-5 }, &[y, p, p, p, v]);
    n.0.outputs.push(y);
    simplify(&mut n.0, &Reference, &Budget::default()).unwrap();
    assert_eq!(n.0.nodes.len(), 2);
}

#[test]
fn scales_per_channel_fold_and_others_stay() {
    let (mut n, x) = Net::new(&[1, 2, 3, 3]);
    let y = n.conv(x, &[3, 2, 3, 3], 1, &[1; 4]);
    let (a, b, c) = (n.floats(&[3, 1, 1]), n.floats(&[1, 3, 1, 1]), n.number(2.0));
    let y = n.binary(Binary::Mul, a, y);
    let y = n.binary(Binary::Sub, b, y);
    let y = n.binary(Binary::Div, y, c);
    assert_eq!(n.left(y), ["Conv"]);

    let (mut n, x) = Net::new(&[1, 2, 3, 3]);
    let y = n.conv(x, &[3, 2, 3, 3], 1, &[1; 4]);
    let along_width = n.floats(&[3]);
    let y = n.binary(Binary::Mul, y, along_width);
    assert_eq!(n.left(y), ["Conv", "Mul"]);
}

#[test]
fn dense_layers_of_tensorflow_become_gemm() {
    let (mut n, x) = Net::new(&[2, 4]);
    let (w, b) = (n.floats(&[4, 3]), n.floats(&[3]));
    let y = n.op(Op::MatMul, &[x, w]);
    let y = n.binary(Binary::Add, y, b);
    assert_eq!(n.left(y), ["Gemm"]);
}

#[test]
fn pads_fold_where_the_sums_stay() {
    let pad = Op::Pad {
        mode: PadMode::Constant,
    };
    let list = [0, 0, 1, 0, 0, 0, 1, 2];
    let (mut n, x) = Net::new(&[1, 2, 4, 4]);
    let p = n.ints(&list);
    let y = n.op(pad.clone(), &[x, p]);
    let y = n.conv(y, &[2, 2, 3, 3], 1, &[0; 4]);
    assert_eq!(n.left(y), ["Conv"]);

    let pool = |include: bool| Pool {
        kernel: vec![3, 3],
        strides: vec![1, 1],
        dilations: vec![1, 1],
        padding: Padding::Explicit(vec![0; 4]),
        ceil_mode: false,
        count_include_pad: include,
    };
    for include in [false, true] {
        let (mut n, x) = Net::new(&[1, 2, 4, 4]);
        let p = n.ints(&list);
        let y = n.op(pad.clone(), &[x, p]);
        let y = n.op(Op::AveragePool(pool(include)), &[y]);
        assert_eq!(n.left(y), ["AveragePool"]);
    }
    // Zeros win against what is negative, so only what is not may take a pool's own padding.
    for (relu, want) in [(false, vec!["Pad", "MaxPool"]), (true, vec!["Relu", "MaxPool"])] {
        let (mut n, mut x) = Net::new(&[1, 2, 4, 4]);
        if relu {
            x = n.unary(Unary::Relu, x);
        }
        let p = n.ints(&list);
        let y = n.op(pad.clone(), &[x, p]);
        let y = n.op(Op::MaxPool(pool(false)), &[y]);
        assert_eq!(n.left(y), want);
    }
    // A border of ones is no padding.
    let (mut n, x) = Net::new(&[1, 2, 4, 4]);
    let (p, value) = (n.ints(&list), n.number(1.0));
    let y = n.op(pad, &[x, p, value]);
    let y = n.conv(y, &[2, 2, 3, 3], 1, &[0; 4]);
    assert_eq!(n.left(y), ["Pad", "Conv"]);
}

#[test]
fn channels_last_islands_disappear() {
    let (to, back) = ([0, 2, 3, 1], [0, 3, 1, 2]);
    let (mut n, x) = Net::new(&[1, 3, 4, 5]);
    let a = n.conv(x, &[4, 3, 1, 1], 1, &[0; 4]);
    let b = n.conv(x, &[4, 3, 3, 3], 1, &[1; 4]);
    let (a, b) = (n.transpose(a, &to), n.transpose(b, &to));
    let bias = n.floats(&[4]);
    let a = n.binary(Binary::Add, a, bias);
    let a = n.unary(Unary::Relu, a);
    let sum = n.binary(Binary::Add, a, b);
    let both = n.unary(Unary::Sigmoid, sum);
    let both = n.op(Op::Concat { axis: 3 }, &[both]);
    let axes = n.ints(&[1, 2]);
    let mean = Op::Reduce {
        kind: ReduceKind::Mean,
        keep_dims: true,
        noop_with_empty_axes: false,
    };
    let y = n.op(mean, &[both, axes]);
    let y = n.transpose(y, &back);
    assert_eq!(
        n.left(y),
        ["Conv", "Conv", "Relu", "Add", "Sigmoid", "ReduceMean"]
    );
}

#[test]
fn a_transpose_that_meets_none_stays_where_it_is() {
    let (mut n, x) = Net::new(&[1, 4, 4, 3]);
    let y = n.transpose(x, &[0, 3, 1, 2]);
    let p = n.ints(&[0, 0, 1, 1, 0, 0, 1, 1]);
    let y = n.op(
        Op::Pad {
            mode: PadMode::Constant,
        },
        &[y, p],
    );
    let y = n.conv(y, &[2, 3, 3, 3], 1, &[0; 4]);
    assert_eq!(n.left(y), ["Transpose", "Conv"]);
}

#[test]
fn computed_shapes_become_one_reshape() {
    let (mut n, x) = Net::new(&[2, 3, 4, 1]);
    let shape = n.op(Op::Shape { start: 0, end: None }, &[x]);
    let (zero, minus) = (n.ints(&[0]), n.ints(&[-1]));
    let batch = n.op(Op::Gather { axis: 0 }, &[shape, zero]);
    let target = n.op(Op::Concat { axis: 0 }, &[batch, minus]);
    let y = n.op(Op::Reshape { allow_zero: false }, &[x, target]);
    let y = n.op(Op::Unsqueeze, &[y, zero]);
    let y = n.op(Op::Squeeze, &[y, zero]);
    let y = n.op(Op::Flatten { axis: 1 }, &[y]);
    let (_, g) = n.check(y);
    assert_eq!(g.nodes.len(), 1);
    assert_eq!(
        g.constant_input(&g.nodes[0], 1).unwrap().as_i64(),
        Some(&[2i64, 12][..])
    );
}

#[test]
fn a_dynamic_batch_still_gives_constant_shapes() {
    let (mut n, x) = Net::new(&[1, 3, 4, 4]);
    n.0.value_mut(x).shape.as_mut().unwrap()[0] = None;
    let shape = n.op(Op::Shape { start: 0, end: None }, &[x]);
    let zero = n.ints(&[0]);
    let batch = n.op(Op::Gather { axis: 0 }, &[shape, zero]);
    let rest = n.ints(&[3, 16]);
    let target = n.op(Op::Concat { axis: 0 }, &[batch, rest]);
    let y = n.op(Op::Reshape { allow_zero: false }, &[x, target]);
    n.0.outputs.push(y);
    simplify(&mut n.0, &Reference, &Budget::default()).unwrap();
    assert_eq!(n.0.nodes.len(), 1);
    assert_eq!(n.0.value(y).shape, Some(vec![None, Some(3), Some(16)]));
}

#[test]
fn what_does_nothing_goes_and_outputs_keep_their_names() {
    let (mut n, x) = Net::new(&[2, 3]);
    let (zero, one_) = (n.number(0.0), n.number(1.0));
    let y = n.unary(Unary::Tanh, x);
    let y = n.op(Op::Identity, &[y]);
    let y = n.op(Op::Dropout, &[y]);
    let y = n.op(Op::Cast { to: DType::F32 }, &[y]);
    let y = n.op(Op::Cast { to: DType::F64 }, &[y]);
    let y = n.op(Op::Cast { to: DType::F32 }, &[y]);
    let y = n.binary(Binary::Mul, y, one_);
    let y = n.binary(Binary::Add, zero, y);
    let y = n.op(Op::Identity, &[y]);
    one(n.check(y).0, Unary::Tanh);

    // An input that is an output needs a node between.
    let (mut n, x) = Net::new(&[2, 3]);
    let y = n.op(Op::Identity, &[x]);
    assert_eq!(n.left(y), ["Identity"]);
}

#[test]
fn quantized_edges_are_left_alone() {
    let (mut n, x) = Net::new(&[2, 3]);
    let s = n.unary(Unary::Sigmoid, x);
    let y = n.binary(Binary::Mul, s, x);
    let y = n.op(Op::Identity, &[y]);
    n.0.outputs.push(y);
    let q = EdgeQuantizer {
        scale: 0.1,
        zero_point: 0,
        bits: 8,
    };
    n.0.edges.insert(s, q);
    n.0.edges.insert(y, q);
    simplify(&mut n.0, &Reference, &Budget::default()).unwrap();
    assert_eq!(n.0.nodes.len(), 3);
    assert_eq!(n.0.edges.len(), 2);
}

#[test]
fn a_small_file_does_not_unfold_to_a_large_constant() {
    let (mut n, x) = Net::new(&[1]);
    let shape = n.ints(&[1 << 14, 1 << 14]);
    let value = Tensor::vector(vec![1.0f32]);
    let big = n.op(Op::ConstantOfShape { value }, &[shape]);
    let y = n.binary(Binary::Mul, big, x);
    n.0.outputs.push(y);
    simplify(&mut n.0, &Reference, &Budget::default()).unwrap();
    assert_eq!(n.0.nodes.len(), 2, "1 GiB was computed from 16 bytes");
}
