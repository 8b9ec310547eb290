//! Quantizers of a file become annotations: DequantizeLinear of a constant weight, pairs of QuantizeLinear and
//! DequantizeLinear on an edge. What no annotation can say stays a node.

mod clamps;
mod edges;
mod pairs;
mod weights;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tensor::{DType, Data, Tensor};

use super::error::{Load, LoadError};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::Op;

pub(super) use clamps::before_clamps;

/// Lifts a sorted graph; `narrow` holds the bits of constants that the file stores as int4 or int2.
pub(super) fn run(graph: &mut Graph, narrow: &HashMap<ValueId, u32>) -> Load<()> {
    weights::run(graph, narrow);
    edges::run(graph, narrow);
    no_lost_width(graph, narrow)?;
    pairs::run(graph);
    let lent = before_clamps(graph, &|_| true);
    for (v, q) in lent {
        graph.edges.entry(v).or_insert(q);
    }
    prune(graph);
    Ok(())
}

/// Codes below 8 bits have no element type of their own here: a QuantizeLinear that stays a node, and whose zero point comes from
/// such codes, would write 8-bit codes.
fn no_lost_width(graph: &Graph, narrow: &HashMap<ValueId, u32>) -> Load<()> {
    let mut codes: BTreeSet<ValueId> = narrow.keys().copied().collect();
    for node in &graph.nodes {
        let read = |v: &Option<ValueId>| v.is_some_and(|v| codes.contains(&v));
        match node.op {
            Op::QuantizeLinear { .. } if node.inputs.get(2).is_some_and(read) => {
                return Err(LoadError::unsupported(
                    "a quantizer below 8 bits is supported only as a pair QuantizeLinear, DequantizeLinear with one scale",
                )
                .help("put a DequantizeLinear with the same scale and zero point behind it, or quantize to uint8")
                .at_node(&node.name, node.op.name(), graph.opset));
            }
            Op::QuantizeLinear { .. }
            | Op::DequantizeLinear { .. }
            | Op::Cast { .. }
            | Op::Shape { .. }
            | Op::Size => {}
            _ if node.inputs.iter().any(read) => codes.extend(&node.outputs),
            _ => {}
        }
    }
    Ok(())
}

/// Drops constants that nothing reads.
fn prune(graph: &mut Graph) {
    let read: BTreeSet<ValueId> = graph
        .nodes
        .iter()
        .flat_map(|n| n.inputs.iter().flatten())
        .chain(&graph.outputs)
        .copied()
        .collect();
    graph.constants.retain(|v, _| read.contains(v));
    graph.weights.retain(|v, _| read.contains(v));
    graph.halves.retain(|v| read.contains(v));
}

/// Scale and zero point of a quantizer node, one each or one per channel.
struct Parameters<'g> {
    scales: &'g [f32],
    /// Empty where the file gives none: 0.
    zero_points: Vec<i32>,
    /// Type and width of the codes, where a zero point tells them.
    codes: Option<(DType, u32)>,
}

fn parameters<'g>(graph: &'g Graph, narrow: &HashMap<ValueId, u32>, node: &Node) -> Option<Parameters<'g>> {
    let scales = graph.constant_input(node, 1)?;
    if scales.rank() > 1 {
        return None;
    }
    let scales = scales.as_f32()?;
    if scales.is_empty() || !scales.iter().all(|s| s.is_finite() && *s > 0.0) {
        return None;
    }
    let Some(id) = node.inputs.get(2).copied().flatten() else {
        return Some(Parameters {
            scales,
            zero_points: Vec::new(),
            codes: None,
        });
    };
    let zero = graph.constants.get(&id)?;
    let zero_points = integers(zero)?;
    let codes = Some((zero.dtype(), width(zero, id, narrow)));
    (zero.rank() <= 1 && zero_points.len() == scales.len()).then_some(Parameters {
        scales,
        zero_points,
        codes,
    })
}

/// Bits of the codes that a constant holds.
fn width(value: &Tensor, id: ValueId, narrow: &HashMap<ValueId, u32>) -> u32 {
    narrow
        .get(&id)
        .copied()
        .unwrap_or(value.dtype().size() as u32 * 8)
}

fn integers(value: &Tensor) -> Option<Vec<i32>> {
    if matches!(value.data(), Data::I64(_) | Data::U64(_) | Data::U32(_)) {
        return None;
    }
    Some(value.to_i64()?.into_iter().map(|v| v as i32).collect())
}

/// Removes nodes, keeping the order of the rest.
fn remove(graph: &mut Graph, gone: &BTreeSet<NodeId>) {
    let mut index = 0;
    graph.nodes.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
}

/// Makes readers and outputs of each key read its value instead.
fn substitute(graph: &mut Graph, to: &BTreeMap<ValueId, ValueId>) {
    let inputs = graph.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut().flatten());
    for v in inputs.chain(&mut graph.outputs) {
        if let Some(&new) = to.get(v) {
            *v = new;
        }
    }
}
