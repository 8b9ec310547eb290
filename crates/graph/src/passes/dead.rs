//! Nodes and constants that no output depends on.

use std::collections::HashSet;

use crate::graph::{Graph, ValueId};

/// Removes them and gives their number.
pub(super) fn run(graph: &mut Graph) -> usize {
    let mut needed: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let before = graph.nodes.len() + graph.constants.len() + graph.weights.len();
    let mut keep = vec![false; graph.nodes.len()];
    for (node, keep) in graph.nodes.iter().zip(&mut keep).rev() {
        *keep = node.outputs.iter().any(|v| needed.contains(v));
        if *keep {
            needed.extend(node.inputs.iter().flatten());
        }
    }
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
    graph.constants.retain(|v, _| needed.contains(v));
    graph.weights.retain(|v, _| needed.contains(v));
    let computed: HashSet<ValueId> = graph
        .nodes
        .iter()
        .flat_map(|n| n.outputs.iter().copied())
        .chain(graph.inputs.iter().copied())
        .collect();
    graph.edges.retain(|v, _| computed.contains(v));
    before - (graph.nodes.len() + graph.constants.len() + graph.weights.len())
}
