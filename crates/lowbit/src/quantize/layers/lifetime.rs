//! How long values live, and what they take.

use std::collections::HashMap;

use graph::{Graph, Node, NodeId, ValueId};

/// How many nodes still read each value.
pub(super) fn uses(graph: &Graph) -> HashMap<ValueId, usize> {
    graph.consumers().into_iter().map(|(v, c)| (v, c.len())).collect()
}

/// Takes out what no later node reads.
pub(super) fn release<T>(
    graph: &Graph,
    n: NodeId,
    values: &mut HashMap<ValueId, T>,
    left: &mut HashMap<ValueId, usize>,
) -> Vec<T> {
    let node = &graph.nodes[n];
    let mut read: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    read.sort_unstable();
    read.dedup();
    for v in read {
        if let Some(count) = left.get_mut(&v) {
            *count = count.saturating_sub(1);
        }
    }
    let gone = |v: &ValueId| left.get(v).copied().unwrap_or(0) == 0 && !graph.outputs.contains(v);
    let all = node.inputs.iter().flatten().chain(&node.outputs);
    all.filter(|v| gone(v)).filter_map(|v| values.remove(v)).collect()
}

/// Bytes of a value in both networks.
fn value_bytes(graph: &Graph, v: ValueId) -> usize {
    let shape = graph.value(v).fixed_shape().unwrap_or_default();
    tensor::numel(&shape).unwrap_or(usize::MAX / 64).saturating_mul(8)
}

/// Bytes that a node reads and writes for one picture, in both networks.
pub(super) fn node_bytes(graph: &Graph, node: &Node) -> usize {
    let bytes = |v: &ValueId| match graph.is_constant(*v) {
        true => 0,
        false => value_bytes(graph, *v),
    };
    let all = node.inputs.iter().flatten().chain(&node.outputs).map(bytes);
    all.fold(0usize, usize::saturating_add)
}

/// The most of a node.
pub(super) fn step_bytes(graph: &Graph) -> usize {
    let nodes = graph.nodes.iter();
    nodes.map(|n| node_bytes(graph, n)).max().unwrap_or(0)
}

/// Most bytes that one picture's values take at a time, in both networks.
pub(super) fn peak_bytes(graph: &Graph) -> usize {
    let bytes = |v: &ValueId| value_bytes(graph, *v);
    let mut left = uses(graph);
    let mut live: HashMap<ValueId, usize> = graph.inputs.iter().map(|v| (*v, bytes(v))).collect();
    let mut peak = 0usize;
    for (n, node) in graph.nodes.iter().enumerate() {
        live.extend(node.outputs.iter().map(|v| (*v, bytes(v))));
        peak = peak.max(live.values().fold(0usize, |a, b| a.saturating_add(*b)));
        release(graph, n, &mut live, &mut left);
    }
    peak
}
