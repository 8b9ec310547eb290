//! Chains of Reshape, Flatten, Squeeze and Unsqueeze become one Reshape to a constant shape.

use tensor::Tensor;

use super::view::{View, input};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::Op;

/// Merges them and gives the number of changed nodes.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = View::new(graph);
    let found: Vec<(NodeId, ValueId, Vec<i64>)> = (0..graph.nodes.len())
        .filter_map(|n| {
            let (x, shape) = merged(&view, &graph.nodes[n])?;
            Some((n, x, shape))
        })
        .collect();
    for (n, x, shape) in &found {
        let name = format!("{}/shape", graph.value(graph.nodes[*n].outputs[0]).name);
        let zero = shape.contains(&0);
        let shape = graph.add_constant(&name, Tensor::vector(shape.clone()));
        let node = &mut graph.nodes[*n];
        node.op = Op::Reshape { allow_zero: zero };
        node.inputs = vec![Some(*x), Some(shape)];
    }
    found.len()
}

/// Whether a node gives its first input another shape and nothing else.
fn reshapes(view: &View<'_>, node: &Node) -> bool {
    match &node.op {
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => true,
        // A permutation that only moves axes of one element.
        Op::Transpose { perm } => {
            let shape = input(node, 0).and_then(|x| view.graph.value(x).shape.as_ref());
            let (Some(shape), Some(perm)) = (shape, perm) else {
                return false;
            };
            let long: Vec<usize> = perm
                .iter()
                .copied()
                .filter(|&p| shape.get(p) != Some(&Some(1)))
                .collect();
            long.is_sorted() && !perm.is_sorted()
        }
        _ => false,
    }
}

/// Nodes followed back at once: a long chain takes a few rounds, not the square of its length.
const MOST_STEPS: usize = 64;

/// Source and target shape of a node that is better written as one Reshape.
fn merged(view: &View<'_>, node: &Node) -> Option<(ValueId, Vec<i64>)> {
    if !reshapes(view, node) {
        return None;
    }
    let y = *node.outputs.first()?;
    let mut x = input(node, 0)?;
    let mut better = match &node.op {
        // A shape that is computed, but known.
        Op::Reshape { .. } => view.constant(input(node, 1)?).is_none(),
        Op::Transpose { .. } => true,
        _ => false,
    };
    for _ in 0..MOST_STEPS {
        let Some(before) = view.producer(x).filter(|n| reshapes(view, n)) else {
            break;
        };
        if view.graph.edges.contains_key(&x) {
            break;
        }
        x = input(before, 0)?;
        better = true;
    }
    if !better {
        return None;
    }
    let shape = view.graph.value(y).shape.as_ref()?;
    let free = shape.iter().filter(|d| d.is_none()).count();
    if free > 1 || (free == 1 && shape.contains(&Some(0))) {
        return None;
    }
    let target = shape
        .iter()
        .map(|d| d.map_or(Some(-1), |d| i64::try_from(d).ok()));
    Some((x, target.collect::<Option<_>>()?))
}
