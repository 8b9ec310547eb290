//! What a low-bit model rounds: the weights of a layer, the values of an edge.

use graph::{EdgeQuantizer, Graph, NodeId, Op, Unary, ValueId, WeightAnnotation};
use tensor::Tensor;

use crate::quantize::trial::Network;
use crate::side_by_side::Team;
use crate::{Error, Result};

/// One place where numbers are rounded, and the float network's place of that name.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// The node in the float graph; of an edge the one that writes it. `None` for an input of the graph.
    pub(super) node: Option<NodeId>,
    /// What is rounded: the weight, or the edge's value, in the float graph.
    pub(super) value: ValueId,
    pub(super) rounds: Rounds,
    /// All that is read of an edge's value is its part in this range: a Relu or a Clip of the codes is all that follows.
    pub(super) read: (f32, f32),
}

/// All that is read, where nobody clamps it.
const WHOLE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rounds {
    /// A layer's weight, and the bias that was fitted to it.
    Weight {
        weight: WeightAnnotation,
        bias: Option<Tensor>,
    },
    /// An edge.
    Edge(EdgeQuantizer),
}

/// All of them, weights first, in the order in which the network computes; what has no place in the float graph is counted.
pub(super) fn find(float: &Graph, low: &Graph) -> Result<(Vec<Site>, usize)> {
    let (mut sites, mut lost) = (Vec::new(), 0);
    for node in &low.nodes {
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let Some(weight) = input(1).and_then(|v| low.weights.get(&v)) else {
            continue;
        };
        let here = float.nodes.iter().position(|n| n.name == node.name);
        let place = here.and_then(|n| {
            let value = float.nodes[n].inputs.get(1).copied().flatten()?;
            let shape = float.constants.get(&value)?.shape();
            (shape == weight.shape).then_some((n, value))
        });
        let Some((n, value)) = place else {
            lost += 1;
            continue;
        };
        let bias = input(2).and_then(|b| low.constants.get(&b)).cloned();
        sites.push(Site {
            node: Some(n),
            value,
            rounds: Rounds::Weight {
                weight: weight.clone(),
                bias,
            },
            read: WHOLE,
        });
    }
    let producers = float.producers();
    let (writers, readers) = (low.producers(), low.consumers());
    let mut edges = Vec::new();
    for (v, edge) in &low.edges {
        if writers.get(v).is_some_and(|&n| only_moves(low, n, edge)) {
            continue;
        }
        let ranges = readers
            .get(v)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|&n| clamp(low, n));
        let read = match low.outputs.contains(v) {
            true => None,
            false => ranges
                .reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))))
                .flatten(),
        };
        match float.find(&low.value(*v).name).filter(|v| !float.is_constant(*v)) {
            Some(value) => edges.push(Site {
                node: producers.get(&value).copied(),
                value,
                rounds: Rounds::Edge(*edge),
                read: read.unwrap_or(WHOLE),
            }),
            None => lost += 1,
        }
    }
    edges.sort_by_key(|s| (s.node, s.value));
    sites.extend(edges);
    if sites.is_empty() {
        return Err(Error::bad(
            "no rounded weight or edge of the low-bit model has its place in the float model",
        )
        .help("give the float model that the low-bit one was made from"));
    }
    Ok((sites, lost))
}

/// Whether a node's output has the codes of its inputs: it rounds nothing.
fn only_moves(graph: &Graph, n: NodeId, edge: &EdgeQuantizer) -> bool {
    let node = &graph.nodes[n];
    let moves = matches!(
        node.op,
        Op::MaxPool(_)
            | Op::Concat { .. }
            | Op::Reshape { .. }
            | Op::Flatten { .. }
            | Op::Transpose { .. }
            | Op::Slice
            | Op::Split { .. }
            | Op::Squeeze
            | Op::Unsqueeze
    ) || clamp(graph, n).is_some();
    let mut inputs = node.inputs.iter().flatten().filter(|v| !graph.is_constant(**v));
    moves && inputs.all(|v| graph.edges.get(v) == Some(edge))
}

/// The range that a Relu or a Clip with constant limits lets through.
fn clamp(graph: &Graph, n: NodeId) -> Option<(f32, f32)> {
    let node = &graph.nodes[n];
    let limit = |i: usize, none: f32| match node.inputs.get(i).copied().flatten() {
        Some(_) => graph.constant_input(node, i)?.as_f32()?.first().copied(),
        None => Some(none),
    };
    match node.op {
        Op::Unary(Unary::Relu) => Some((0.0, f32::INFINITY)),
        Op::Clip => Some((limit(1, f32::NEG_INFINITY)?, limit(2, f32::INFINITY)?)),
        _ => None,
    }
}

impl Site {
    /// Whether a concatenation reads the edge.
    pub(super) fn is_concatenated(&self, graph: &Graph) -> bool {
        let readers = graph.consumers();
        let mut all = readers.get(&self.value).into_iter().flatten();
        all.any(|&n| matches!(graph.nodes[n].op, Op::Concat { .. }))
    }

    /// Axis of the output channels in what a weighted node computes.
    pub(super) fn channel_axis(graph: &Graph, node: NodeId, rank: usize) -> usize {
        match graph.nodes[node].op {
            Op::MatMul => rank.saturating_sub(1),
            _ => 1.min(rank.saturating_sub(1)),
        }
    }
}

/// A layer of the float graph alone, node 0, with other weights: no other constant is copied.
pub(super) fn layer_with(
    graph: &Graph,
    node: NodeId,
    weight: &WeightAnnotation,
    bias: Option<&Tensor>,
) -> Result<Graph> {
    let from = &graph.nodes[node];
    let mut alone = Graph::new(graph.name.clone());
    let mut inputs = Vec::new();
    for (i, input) in from.inputs.iter().enumerate() {
        let Some(v) = input.filter(|_| i != 1 && !(i == 2 && bias.is_some())) else {
            inputs.push(None);
            continue;
        };
        let value = graph.value(v);
        let id = alone.add_value(&value.name, value.dtype, value.shape.clone());
        match graph.constants.get(&v) {
            Some(tensor) => drop(alone.constants.insert(id, tensor.clone())),
            None => alone.inputs.push(id),
        }
        inputs.push(Some(id));
    }
    let mut outputs = Vec::new();
    for &v in &from.outputs {
        let value = graph.value(v);
        outputs.push(alone.add_value(&value.name, value.dtype, value.shape.clone()));
    }
    alone.outputs.clone_from(&outputs);
    alone.nodes.push(graph::Node {
        name: from.name.clone(),
        op: from.op.clone(),
        inputs,
        outputs,
    });
    change(&mut alone, 0, weight, bias)?;
    Ok(alone)
}

/// The float graph with the weights of one layer changed.
fn with_weight(
    graph: &Graph,
    node: NodeId,
    weight: &WeightAnnotation,
    bias: Option<&Tensor>,
) -> Result<Graph> {
    let mut graph = graph.clone();
    change(&mut graph, node, weight, bias)?;
    Ok(graph)
}

/// Gives a layer other weights, and another bias where there is one.
fn change(graph: &mut Graph, node: NodeId, weight: &WeightAnnotation, bias: Option<&Tensor>) -> Result<()> {
    let decoded =
        Tensor::new(weight.shape.clone(), weight.decode()).map_err(|e| Error::bad(e.to_string()))?;
    // A copy of its own: others may read the constant too.
    let copy = graph.add_constant("weight", decoded);
    let bias = bias.map(|b| graph.add_constant("bias", b.clone()));
    let inputs = &mut graph.nodes[node].inputs;
    inputs[1] = Some(copy);
    if bias.is_some() {
        inputs.resize(inputs.len().max(3), None);
        inputs[2] = bias;
    }
    Ok(())
}

/// The float network with one place rounded.
pub(super) struct Alone<'a> {
    pub(super) graph: &'a Graph,
    pub(super) site: &'a Site,
}

impl Network for Alone<'_> {
    fn graph(&self, _: Team<'_>) -> Result<Graph> {
        match (&self.site.rounds, self.site.node) {
            (Rounds::Weight { weight, bias }, Some(n)) => with_weight(self.graph, n, weight, bias.as_ref()),
            (Rounds::Weight { .. }, None) => Err(Error::bad("a weight without a layer")),
            (Rounds::Edge(edge), _) => {
                let mut graph = self.graph.clone();
                graph.edges.insert(self.site.value, *edge);
                Ok(graph)
            }
        }
    }
}

/// The low-bit network with one place as it is in the float one.
pub(super) struct Repaired<'a> {
    pub(super) float: &'a Graph,
    pub(super) low: &'a Graph,
    pub(super) site: &'a Site,
    /// The float bias too: the low-bit one is fitted to the low-bit weight as well as to what comes before.
    pub(super) bias: bool,
}

impl Network for Repaired<'_> {
    fn graph(&self, _: Team<'_>) -> Result<Graph> {
        let mut graph = self.low.clone();
        match (&self.site.rounds, self.site.node) {
            (Rounds::Weight { .. }, Some(n)) => {
                let name = &self.float.nodes[n].name;
                let node = graph.nodes.iter().position(|node| node.name == *name);
                let weight = self.float.constants.get(&self.site.value);
                if let (Some(node), Some(weight)) = (node, weight) {
                    let copy = graph.add_constant("weight", weight.clone());
                    graph.nodes[node].inputs[1] = Some(copy);
                    let bias = self.float.constant_input(&self.float.nodes[n], 2);
                    if let (true, Some(bias)) = (self.bias, bias) {
                        let bias = graph.add_constant("bias", bias.clone());
                        let inputs = &mut graph.nodes[node].inputs;
                        inputs.resize(inputs.len().max(3), None);
                        inputs[2] = Some(bias);
                    }
                }
            }
            (Rounds::Edge(edge), _) => {
                // What only moves the codes on would round again.
                let consumers = graph.consumers();
                let mut open: Vec<ValueId> = graph
                    .find(&self.float.value(self.site.value).name)
                    .into_iter()
                    .collect();
                while let Some(v) = open.pop() {
                    for &n in consumers.get(&v).into_iter().flatten() {
                        if only_moves(self.low, n, edge) {
                            let next = graph.nodes[n]
                                .outputs
                                .iter()
                                .filter(|o| graph.edges.get(o) == Some(edge));
                            open.extend(next);
                        }
                    }
                    graph.edges.remove(&v);
                }
            }
            (Rounds::Weight { .. }, None) => {}
        }
        Ok(graph)
    }
}
