//! What passes ask of a graph again and again.

use std::collections::{HashMap, HashSet};

use tensor::Tensor;

use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::{Op, Unary};

/// A graph with its producers and the number of uses of each value.
pub(super) struct View<'g> {
    pub graph: &'g Graph,
    producers: HashMap<ValueId, NodeId>,
    uses: HashMap<ValueId, usize>,
    outputs: HashSet<ValueId>,
}

impl<'g> View<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let mut uses: HashMap<ValueId, usize> = HashMap::new();
        let read = graph.nodes.iter().flat_map(|n| n.inputs.iter().flatten());
        for &v in read.chain(&graph.outputs) {
            *uses.entry(v).or_default() += 1;
        }
        View {
            graph,
            producers: graph.producers(),
            uses,
            outputs: graph.outputs.iter().copied().collect(),
        }
    }

    /// The node that writes a value.
    pub(super) fn producer(&self, v: ValueId) -> Option<&'g Node> {
        self.producer_id(v).map(|n| &self.graph.nodes[n])
    }

    pub(super) fn producer_id(&self, v: ValueId) -> Option<NodeId> {
        self.producers.get(&v).copied()
    }

    /// Whether a value is computed for one reader alone: it may vanish with it. Outputs and annotated edges may not.
    pub(super) fn may_vanish(&self, v: ValueId) -> bool {
        self.uses.get(&v) == Some(&1)
            && !self.outputs.contains(&v)
            && !self.graph.edges.contains_key(&v)
            && self.producers.contains_key(&v)
    }

    /// Uses of a value, the graph's outputs counted.
    pub(super) fn uses(&self, v: ValueId) -> usize {
        self.uses.get(&v).copied().unwrap_or(0)
    }

    /// The node that writes a value which may vanish.
    pub(super) fn inner(&self, v: ValueId) -> Option<&'g Node> {
        self.may_vanish(v).then(|| self.producer(v)).flatten()
    }

    /// Input of a unary operator whose output may vanish.
    pub(super) fn inner_unary(&self, v: ValueId, op: Unary) -> Option<ValueId> {
        let node = self.inner(v)?;
        (node.op == Op::Unary(op)).then(|| input(node, 0)).flatten()
    }

    pub(super) fn constant(&self, v: ValueId) -> Option<&'g Tensor> {
        self.graph.constants.get(&v)
    }

    /// The number of which an f32 constant consists, where combining it with `x` keeps the shape of `x`.
    pub(super) fn uniform(&self, v: ValueId, x: ValueId) -> Option<f32> {
        let t = self.constant(v)?;
        let (&first, rest) = t.as_f32()?.split_first()?;
        let rank = self.graph.value(x).shape.as_ref().map(Vec::len);
        let keeps = if t.len() == 1 {
            t.rank() == 0 || rank.is_some_and(|r| r >= t.rank())
        } else {
            let x = self.graph.value(x).fixed_shape()?;
            let offset = x.len().checked_sub(t.rank())?;
            t.shape()
                .iter()
                .zip(&x[offset..])
                .all(|(&d, &n)| d == 1 || d == n)
        };
        (keeps && rest.iter().all(|&r| r == first)).then_some(first)
    }

    /// The other operand and the number of a commutative operator with a uniform constant.
    pub(super) fn with_uniform(&self, node: &Node) -> Option<(ValueId, f32)> {
        let (a, b) = (input(node, 0)?, input(node, 1)?);
        self.uniform(b, a)
            .map(|c| (a, c))
            .or_else(|| self.uniform(a, b).map(|c| (b, c)))
    }
}

/// Input of a node at a position, where it is given.
pub(super) fn input(node: &Node, i: usize) -> Option<ValueId> {
    node.inputs.get(i).copied().flatten()
}

/// Whether two numbers are the same but for float rounding.
pub(super) fn near(a: f32, b: f32) -> bool {
    (f64::from(a) - f64::from(b)).abs() <= 1e-6 * f64::from(b).abs().max(1e-6)
}
