//! Bytes that layers must read and write at least: values that enter and leave them, not those between fused nodes.

use std::collections::BTreeSet;

use graph::{NodeId, ValueId};

use super::Compiler;

impl Compiler<'_> {
    /// Per node, bytes of activations of it and those fused behind it; 0 where nothing is computed.
    pub(super) fn moved_bytes(&self) -> Vec<usize> {
        let mut groups = vec![Vec::new(); self.fused.len()];
        for (n, owner) in self.fused.iter().enumerate() {
            groups[owner.unwrap_or(n)].push(n);
        }
        let each = |(n, group): (NodeId, &Vec<NodeId>)| match self.kernels[n].is_empty() {
            true => 0,
            false => self.crossing(group),
        };
        groups.iter().enumerate().map(each).collect()
    }

    /// Bytes of the values that enter or leave a group of nodes, in order.
    fn crossing(&self, group: &[NodeId]) -> usize {
        let nodes = || group.iter().map(|&m| self.node(m));
        let written: BTreeSet<ValueId> = nodes().flat_map(|n| n.outputs.iter().copied()).collect();
        let read: BTreeSet<ValueId> = nodes()
            .flat_map(|n| n.inputs.iter().flatten().copied())
            .filter(|v| !self.graph.is_constant(*v) && !written.contains(v))
            .collect();
        let leaves = |v: &&ValueId| {
            let readers = self.consumers.get(v).map_or(&[][..], Vec::as_slice);
            self.graph.outputs.contains(v) || readers.iter().any(|m| group.binary_search(m).is_err())
        };
        let all = read.iter().chain(written.iter().filter(leaves));
        all.map(|&v| self.bytes(v)).fold(0, usize::saturating_add)
    }

    /// Bytes of a value: codes where it carries a quantizer, f32 elsewhere; 0 where its shape is not known.
    fn bytes(&self, v: ValueId) -> usize {
        let count: usize = self.shape(v).map_or(0, |shape| shape.iter().product());
        count.saturating_mul(if self.edges.contains_key(&v) { 1 } else { 4 })
    }
}
