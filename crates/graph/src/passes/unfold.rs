//! A BatchNormalization that changes nothing behind every convolution that has none: what [`simplify`](super::simplify) folds back.
//!
//! A network whose file has them folded can then be trained like one that has them: the gains of its channels, which a grid of fixed scale does not
//! have, are parameters again.

use crate::graph::{Graph, Node};
use crate::op::Op;
use tensor::Tensor;

/// Puts them (γ = 1, β = the convolution's bias, mean 0, variance 1, ε = 0) and gives their number. Convolutions whose weight or bias is no constant stay.
pub fn unfold_batch_norm(graph: &mut Graph) -> usize {
    let consumers = graph.consumers();
    let mut norms = Vec::new();
    for n in 0..graph.nodes.len() {
        let node = &graph.nodes[n];
        let y = node.outputs[0];
        let norm = |r: &usize| matches!(graph.nodes[*r].op, Op::BatchNormalization { .. });
        let has_one = consumers.get(&y).is_some_and(|readers| readers.iter().any(norm));
        let weight = graph
            .constant_input(node, 1)
            .filter(|w| w.as_f32().is_some() && !w.shape().is_empty());
        let (Op::Conv(_), Some(weight), false) = (&node.op, weight, has_one) else {
            continue;
        };
        let channels = weight.shape()[0];
        let bias = match node.inputs.get(2).copied().flatten() {
            None => vec![0.0; channels],
            Some(v) => match graph.constants.get(&v).and_then(Tensor::as_f32) {
                Some(bias) if bias.len() == channels => bias.to_vec(),
                _ => continue,
            },
        };
        norms.push((n, y, bias));
    }
    let count = norms.len();
    // From the last on, so that indices of those before stay.
    for (n, y, bias) in norms.into_iter().rev() {
        let (name, channels) = (graph.nodes[n].name.clone(), bias.len());
        let (dtype, shape) = (graph.value(y).dtype, graph.value(y).shape.clone());
        let sums = graph.add_value(&format!("{name}.sums"), dtype, shape);
        let mut inputs = vec![Some(sums)];
        let parts = [
            ("gamma", vec![1.0; channels]),
            ("beta", bias),
            ("mean", vec![0.0; channels]),
            ("variance", vec![1.0; channels]),
        ];
        for (part, values) in parts {
            inputs.push(Some(
                graph.add_constant(&format!("{name}.{part}"), Tensor::vector(values)),
            ));
        }
        let conv = &mut graph.nodes[n];
        conv.inputs.truncate(2);
        conv.outputs[0] = sums;
        graph.nodes.insert(
            n + 1,
            Node {
                name: format!("{name}.norm"),
                op: Op::BatchNormalization { epsilon: 0.0 },
                inputs,
                outputs: vec![y],
            },
        );
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::NoEvaluator;
    use crate::op::{Conv, Padding, Unary};
    use crate::passes::{simplify, simplify_for_training};

    #[test]
    fn what_is_unfolded_folds_back_to_the_same_network() {
        let conv = || {
            Op::Conv(Conv {
                kernel: vec![1, 1],
                strides: vec![1, 1],
                dilations: vec![1, 1],
                padding: Padding::Valid,
                group: 1,
            })
        };
        let mut graph = Graph::new("t");
        let shape = [1, 2, 3, 3].map(Some).to_vec();
        let x = graph.add_value("x", Some(tensor::DType::F32), Some(shape));
        graph.inputs.push(x);
        let w = graph.add_constant(
            "w",
            Tensor::new(vec![2, 2, 1, 1], vec![1.0f32, -2.0, 0.1, 3.0]).unwrap(),
        );
        let b = graph.add_constant("b", Tensor::vector(vec![0.3f32, -0.7]));
        let a = graph.add_node(conv(), &[x, w, b], "a");
        let r = graph.add_node(Op::Unary(Unary::Relu), &[a], "r");
        let v = graph.add_constant("v", Tensor::new(vec![1, 2, 1, 1], vec![0.7f32, 0.2]).unwrap());
        let y = graph.add_node(conv(), &[r, v], "y");
        graph.outputs.push(y);
        simplify(&mut graph, &NoEvaluator, &Default::default()).unwrap();

        let mut unfolded = graph.clone();
        assert_eq!(unfold_batch_norm(&mut unfolded), 2);
        simplify_for_training(&mut unfolded, &NoEvaluator, &Default::default()).unwrap();
        let names = |g: &Graph| -> Vec<String> { g.nodes.iter().map(|n| n.op.name().to_string()).collect() };
        assert_eq!(
            names(&unfolded),
            ["Conv", "BatchNormalization", "Relu", "Conv", "BatchNormalization"]
        );
        assert_eq!(unfolded.outputs, graph.outputs);
        assert_eq!(unfold_batch_norm(&mut unfolded), 0);

        simplify(&mut unfolded, &NoEvaluator, &Default::default()).unwrap();
        assert_eq!(names(&unfolded), names(&graph));
        for (a, b) in graph.nodes.iter().zip(&unfolded.nodes) {
            let numbers = |g: &Graph, n: &Node, i: usize| {
                let found = g.constant_input(n, i).and_then(Tensor::as_f32);
                found.map(<[f32]>::to_vec)
            };
            assert_eq!(numbers(&graph, a, 1), numbers(&unfolded, b, 1), "{}", a.name);
            if numbers(&graph, a, 2).is_some() {
                assert_eq!(numbers(&graph, a, 2), numbers(&unfolded, b, 2), "{}", a.name);
            }
        }
    }
}
