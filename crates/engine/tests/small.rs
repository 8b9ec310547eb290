//! A small net by hand: the first path through the compiler.

use graph::{Binary, Conv, Graph, Op, Padding, Unary};
use kernels::Pool;
use tensor::{DType, Tensor};

#[test]
fn a_float_block_runs() {
    let mut g = Graph::new("block");
    let fixed = |s: &[usize]| Some(s.iter().map(|&d| Some(d)).collect());
    let x = g.add_value("x", Some(DType::F32), fixed(&[1, 2, 3, 3]));
    g.inputs.push(x);
    let w = g.add_constant(
        "w",
        Tensor::new(vec![2, 2, 1, 1], vec![1f32, 0.0, 0.0, -1.0]).unwrap(),
    );
    let conv = Op::Conv(Conv {
        kernel: vec![1, 1],
        strides: vec![1, 1],
        dilations: vec![1, 1],
        padding: Padding::Valid,
        group: 1,
    });
    let y = g.add_node(conv, &[x, w], "y");
    let r = g.add_node(Op::Unary(Unary::Relu), &[y], "r");
    let s = g.add_node(Op::Binary(Binary::Add), &[r, x], "s");
    g.outputs.push(s);
    graph::shape::infer(&mut g).unwrap();
    let plan = engine::compile(&g, &engine::Options::default()).unwrap();
    println!("{plan}");
    let values: Vec<f32> = (0..18).map(|i| i as f32 - 9.0).collect();
    let input = Tensor::new(vec![1, 2, 3, 3], values.clone()).unwrap();
    let out = plan.run(&Pool::new(1), &[("x", &input)]).unwrap();
    let want: Vec<f32> = values
        .iter()
        .enumerate()
        .map(|(i, &v)| v + if i < 9 { v.max(0.0) } else { (-v).max(0.0) })
        .collect();
    assert_eq!(out[0].1.as_f32().unwrap(), want);
}
