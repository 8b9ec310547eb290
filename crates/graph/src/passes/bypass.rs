//! Taking nodes out whose output equals their input.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, NodeId, ValueId};

/// Nodes to take out, applied to the graph in one sweep.
pub(super) struct Bypass {
    producers: HashMap<ValueId, NodeId>,
    outputs: HashSet<ValueId>,
    alias: HashMap<ValueId, ValueId>,
    /// Values that take the name of a graph output, with the node that writes them.
    renamed: Vec<(NodeId, ValueId, ValueId)>,
    claimed: HashSet<ValueId>,
    removed: HashSet<NodeId>,
}

impl Bypass {
    pub(super) fn new(graph: &Graph) -> Self {
        Bypass {
            producers: graph.producers(),
            outputs: graph.outputs.iter().copied().collect(),
            alias: HashMap::new(),
            renamed: Vec::new(),
            claimed: HashSet::new(),
            removed: HashSet::new(),
        }
    }

    /// The value that stands for `v` once the sweep is done.
    pub(super) fn resolve(&self, mut v: ValueId) -> ValueId {
        while let Some(&to) = self.alias.get(&v) {
            v = to;
        }
        v
    }

    /// Makes readers of `y`, the only output of node `n`, read `x` instead. A graph output keeps its name, so there the node that writes
    /// `x` writes `y`; `false` where that cannot be, or where `y` has a quantizer of its own.
    pub(super) fn take_out(&mut self, graph: &Graph, n: NodeId, x: ValueId, y: ValueId) -> bool {
        let x = self.resolve(x);
        let own = graph.edges.get(&y);
        if own.is_some() && own != graph.edges.get(&x) {
            return false;
        }
        if !self.outputs.contains(&y) {
            self.alias.insert(y, x);
            self.removed.insert(n);
            return true;
        }
        let Some(&p) = self.producers.get(&x) else {
            return false;
        };
        if self.outputs.contains(&x) || graph.edges.contains_key(&x) || self.claimed.contains(&y) {
            return false;
        }
        self.alias.insert(x, y);
        self.renamed.push((p, x, y));
        self.claimed.insert(y);
        self.removed.insert(n);
        true
    }

    /// Applies all changes and gives the number of nodes taken out.
    pub(super) fn finish(self, graph: &mut Graph) -> usize {
        if self.removed.is_empty() {
            return 0;
        }
        for &(p, x, y) in &self.renamed {
            for output in &mut graph.nodes[p].outputs {
                if *output == x {
                    *output = y;
                }
            }
        }
        let mut at = 0;
        graph.nodes.retain(|_| {
            at += 1;
            !self.removed.contains(&(at - 1))
        });
        for input in graph.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut().flatten()) {
            *input = self.resolve(*input);
        }
        self.removed.len()
    }
}
