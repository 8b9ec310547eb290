//! Swish, written as the pair Sigmoid, Mul (FORMAT.md 2.6), comes back as one operator. The nodes' names tell the pair.

use std::collections::{BTreeSet, HashMap};

use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::{Binary, Op, Unary};

pub(super) fn run(graph: &mut Graph) {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let mut gone = BTreeSet::new();
    for n in 0..graph.nodes.len() {
        if let Some((alpha, helpers)) = swish(graph, &producers, &consumers, &graph.nodes[n]) {
            let node = &mut graph.nodes[n];
            node.op = Op::Unary(Unary::Swish { alpha });
            node.inputs.truncate(1);
            gone.extend(helpers);
        }
    }
    super::remove(graph, &gone);
}

fn swish(
    graph: &Graph,
    producers: &HashMap<ValueId, NodeId>,
    consumers: &HashMap<ValueId, Vec<NodeId>>,
    node: &Node,
) -> Option<(f32, Vec<NodeId>)> {
    let (Op::Binary(Binary::Mul), &[Some(x), Some(s)]) = (&node.op, &node.inputs[..]) else {
        return None;
    };
    // A helper is named after the node, and nothing else reads what it makes.
    let helper = |v: ValueId, what: &str| {
        let n = *producers.get(&v)?;
        let alone = consumers.get(&v).is_some_and(|r| r.len() == 1)
            && !graph.outputs.contains(&v)
            && !graph.edges.contains_key(&v);
        let named = graph.nodes[n].name.strip_prefix(&node.name) == Some(what);
        (alone && named).then_some((n, &graph.nodes[n]))
    };
    let (sigmoid, found) = helper(s, "/sigmoid")?;
    if found.op != Op::Unary(Unary::Sigmoid) {
        return None;
    }
    let inner = found.inputs.first().copied().flatten()?;
    if inner == x {
        return Some((1.0, vec![sigmoid]));
    }
    let (scaled, found) = helper(inner, "/scaled")?;
    let (Op::Binary(Binary::Mul), &[Some(of), Some(_)]) = (&found.op, &found.inputs[..]) else {
        return None;
    };
    match graph.constant_input(found, 1).filter(|t| t.rank() == 0)?.as_f32() {
        Some(&[alpha]) if of == x => Some((alpha, vec![sigmoid, scaled])),
        _ => None,
    }
}
