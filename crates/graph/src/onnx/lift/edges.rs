//! QuantizeLinear followed by DequantizeLinear with the same numbers: the quantizer of an edge.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tensor::{DType, Data};

use super::{parameters, remove, substitute};
use crate::annotation::EdgeQuantizer;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::Op;

/// A pair, or a fan of pairs, on one value.
struct Pair {
    quantizer: EdgeQuantizer,
    nodes: Vec<NodeId>,
    results: Vec<ValueId>,
}

pub(super) fn run(graph: &mut Graph, narrow: &HashMap<ValueId, u32>) {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    let inputs: BTreeSet<ValueId> = graph.inputs.iter().copied().collect();
    let mut to = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for (&x, readers) in &consumers {
        let first = readers.first().map(|&n| &graph.nodes[n].op);
        if !matches!(first, Some(Op::QuantizeLinear { .. })) || graph.is_constant(x) || outputs.contains(&x) {
            continue;
        }
        // What a quantizer of other numbers left is quantized again: that stays a node.
        let writer = producers.get(&x).copied();
        if writer.is_some_and(|n| matches!(graph.nodes[n].op, Op::DequantizeLinear { .. })) {
            continue;
        }
        let Some(pair) = pair(graph, narrow, &consumers, &outputs, x, readers) else {
            continue;
        };
        let named: Vec<ValueId> = pair
            .results
            .iter()
            .copied()
            .filter(|v| outputs.contains(v))
            .collect();
        // A graph output keeps its name, so it becomes what the writer writes.
        let edge = match (&named[..], writer) {
            ([], _) => x,
            (&[y], Some(n)) if !inputs.contains(&x) => {
                for out in &mut graph.nodes[n].outputs {
                    if *out == x {
                        *out = y;
                    }
                }
                let (dtype, shape) = (graph.value(x).dtype, graph.value(x).shape.clone());
                let value = graph.value_mut(y);
                value.dtype = value.dtype.or(dtype);
                value.shape = value.shape.take().or(shape);
                y
            }
            _ => continue,
        };
        to.extend(pair.results.iter().filter(|&&v| v != edge).map(|&v| (v, edge)));
        graph.edges.insert(edge, pair.quantizer);
        gone.extend(pair.nodes);
    }
    remove(graph, &gone);
    substitute(graph, &to);
}

fn pair(
    graph: &Graph,
    narrow: &HashMap<ValueId, u32>,
    consumers: &HashMap<ValueId, Vec<NodeId>>,
    outputs: &BTreeSet<ValueId>,
    x: ValueId,
    readers: &[NodeId],
) -> Option<Pair> {
    let single = |n: NodeId| {
        let node = &graph.nodes[n];
        let &[out] = &node.outputs[..] else { return None };
        Some((node, out))
    };
    let next = |v: ValueId| (!outputs.contains(&v)).then(|| consumers.get(&v).map_or(&[][..], Vec::as_slice));
    let mut found: Option<EdgeQuantizer> = None;
    let (mut nodes, mut results) = (Vec::new(), Vec::new());
    for &n in readers {
        let (quantize, codes) = single(n)?;
        if !matches!(quantize.op, Op::QuantizeLinear { .. }) || quantize.inputs.first() != Some(&Some(x)) {
            return None;
        }
        let mut quantizer = read(graph, narrow, quantize)?;
        nodes.push(n);
        let mut after = next(codes)?;
        if let &[clamp] = after
            && graph.nodes[clamp].op == Op::Clip
        {
            let (clip, clamped) = single(clamp)?;
            quantizer.bits = clamp_bits(graph, clip, codes)?;
            quantizer.check().ok()?;
            nodes.push(clamp);
            after = next(clamped)?;
        }
        if found.is_some_and(|q| q != quantizer) || after.is_empty() {
            return None;
        }
        found = Some(quantizer);
        for &m in after {
            let (dequantize, y) = single(m)?;
            let same = read(graph, narrow, dequantize).is_some_and(|q| {
                q == EdgeQuantizer {
                    bits: q.bits,
                    ..quantizer
                }
            });
            if !matches!(dequantize.op, Op::DequantizeLinear { .. }) || !same {
                return None;
            }
            nodes.push(m);
            results.push(y);
        }
    }
    Some(Pair {
        quantizer: found?,
        nodes,
        results,
    })
}

/// The quantizer of one node; signed codes are shifted to start at 0.
fn read(graph: &Graph, narrow: &HashMap<ValueId, u32>, node: &Node) -> Option<EdgeQuantizer> {
    let p = parameters(graph, narrow, node)?;
    let &[scale] = p.scales else { return None };
    let (dtype, bits) = p.codes.unwrap_or((DType::U8, 8));
    let shift = match dtype {
        DType::U8 => 0,
        DType::I8 => 1 << (bits - 1),
        _ => return None,
    };
    let zero_point = u8::try_from(p.zero_points.first().copied().unwrap_or(0) + shift).ok()?;
    let q = EdgeQuantizer {
        scale,
        zero_point,
        bits,
    };
    q.check().is_ok().then_some(q)
}

/// Bits that a Clip of u8 codes to 0 … 2^bits − 1 leaves.
fn clamp_bits(graph: &Graph, clip: &Node, codes: ValueId) -> Option<u32> {
    let bound = |i: usize| match clip.inputs.get(i).copied().flatten() {
        None => Some(None),
        Some(v) => match graph.constants.get(&v)?.data() {
            Data::U8(v) if v.len() == 1 => Some(v.first().copied()),
            _ => None,
        },
    };
    let (low, high) = (bound(1)?, bound(2)??);
    let bits = 8 - high.leading_zeros();
    (clip.inputs.first() == Some(&Some(codes))
        && low.unwrap_or(0) == 0
        && bits > 0
        && u32::from(high) == (1 << bits) - 1)
        .then_some(bits)
}
