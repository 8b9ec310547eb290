//! What a file declares of its outputs may be wrong; found by fuzzing.

use engine::{Options, compile};
use graph::{Graph, Op};
use kernels::Pool;
use tensor::{DType, Tensor};

/// `op` over x [3, 4, 4] and an input that decides the shape; the output is declared as [3, 4, 1, 5].
fn graph(op: Op) -> Graph {
    let fixed = |s: &[usize]| Some(s.iter().map(|&d| Some(d)).collect());
    let mut g = Graph::new("declared");
    let x = g.add_value("x", Some(DType::F32), fixed(&[3, 4, 4]));
    let decides = g.add_value("decides", Some(DType::I64), fixed(&[1]));
    g.inputs = vec![x, decides];
    let y = g.add_node(op, &[x, decides], "y");
    g.value_mut(y).shape = fixed(&[3, 4, 1, 5]);
    g.outputs.push(y);
    graph::shape::infer(&mut g).unwrap();
    g
}

/// Unsqueeze copied 60 elements out of 48.
#[test]
fn a_declared_size_is_not_believed() {
    let pool = Pool::new(1);
    let x = Tensor::new(vec![3, 4, 4], vec![1f32; 48]).unwrap();
    for op in [Op::Unsqueeze, Op::Expand, Op::Reshape { allow_zero: false }] {
        let name = op.name();
        let plan = compile(&graph(op), &Options::default()).unwrap();
        let decides = Tensor::vector(vec![2i64]);
        let e = plan.run(&pool, &[("x", &x), ("decides", &decides)]).unwrap_err();
        println!("{name}: {e}");
    }
}

#[test]
fn a_true_declaration_runs() {
    let mut g = graph(Op::Unsqueeze);
    let y = g.outputs[0];
    g.value_mut(y).shape = Some([3, 4, 1, 4].map(Some).to_vec());
    let plan = compile(&g, &Options::default()).unwrap();
    let x = Tensor::new(vec![3, 4, 4], (0..48).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    let decides = Tensor::vector(vec![2i64]);
    let outputs = plan
        .run(&Pool::new(1), &[("x", &x), ("decides", &decides)])
        .unwrap();
    assert_eq!(outputs[0].1, x.reshaped(vec![3, 4, 1, 4]).unwrap());
}
