//! Edges that share one map of codes: those between which codes only move (FORMAT.md 1.8), and those before a clamp.

use std::collections::{BTreeMap, BTreeSet};

use graph::{EdgeQuantizer, Graph, IntegerRule, Op, Unary, ValueId};

/// Which quantized edge's map each edge has.
pub(super) struct Maps {
    owner: BTreeMap<ValueId, ValueId>,
    /// Edges whose codes are those of others.
    repeats: BTreeSet<ValueId>,
}

impl Maps {
    /// Every edge has its own.
    pub(super) fn apart(edges: &BTreeMap<ValueId, EdgeQuantizer>) -> Maps {
        Maps {
            owner: edges.keys().map(|&v| (v, v)).collect(),
            repeats: BTreeSet::new(),
        }
    }

    /// Edges with the same bits and zero point that a pool, a concatenation, a nearest resize or the like lies between share one, whatever their ranges
    /// are: `edges` gets the widest of them.
    pub(super) fn joined(graph: &Graph, edges: &mut BTreeMap<ValueId, EdgeQuantizer>) -> Maps {
        let mut maps = Maps::apart(edges);
        for node in &graph.nodes {
            let clamps = matches!(node.op, Op::Unary(Unary::Relu) | Op::Clip);
            let moves = node.op.integer_rule() == Some(IntegerRule::Moves);
            let count = if matches!(node.op, Op::Concat { .. }) {
                node.inputs.len()
            } else {
                1
            };
            let data = node.inputs.iter().take(count).flatten();
            let all: Vec<ValueId> = data.chain(&node.outputs).copied().collect();
            let like = |v: &ValueId| edges.get(v).map(|q| (q.bits, q.zero_point));
            let same = all.iter().all(|v| like(v).is_some() && like(v) == like(&all[0]));
            // A clamp that has another range than the edge before it makes new codes.
            let lends = clamps && edges.get(&all[0]) == edges.get(&all[all.len() - 1]);
            if !same || !(moves || lends) {
                continue;
            }
            if moves {
                maps.repeats.extend(&node.outputs);
            }
            let owners: BTreeSet<ValueId> = all.iter().map(|v| maps.owner[v]).collect();
            let first = owners.first().copied();
            for owner in maps.owner.values_mut().filter(|o| owners.contains(o)) {
                *owner = first.unwrap_or(*owner);
            }
        }
        let mut widest: BTreeMap<ValueId, f32> = BTreeMap::new();
        for (v, q) in edges.iter() {
            let scale = widest.entry(maps.owner[v]).or_insert(q.scale);
            *scale = scale.max(q.scale);
        }
        for (v, q) in edges.iter_mut() {
            q.scale = widest[&maps.owner[v]];
        }
        maps
    }

    /// The edge that names the map.
    pub(super) fn owner(&self, v: ValueId) -> ValueId {
        self.owner.get(&v).copied().unwrap_or(v)
    }

    /// Whether rounding this edge would change nothing.
    pub(super) fn repeats(&self, v: ValueId) -> bool {
        self.repeats.contains(&v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::DType;

    #[test]
    fn parts_of_a_concatenation_share_the_widest_range_and_it_repeats_them() {
        let mut graph = Graph::new("joined");
        let [a, b] = ["a", "b"].map(|name| graph.add_value(name, Some(DType::F32), None));
        let c = graph.add_node(Op::Concat { axis: 1 }, &[a, b], "c");
        let relu = graph.add_node(Op::Unary(Unary::Relu), &[c], "d");
        let edge = |scale| EdgeQuantizer {
            scale,
            zero_point: 0,
            bits: 4,
        };
        let mut edges = BTreeMap::from([(a, edge(0.1)), (b, edge(0.4)), (c, edge(0.4)), (relu, edge(0.2))]);
        let maps = Maps::joined(&graph, &mut edges);
        assert_eq!([a, b, c, relu].map(|v| maps.owner(v)), [a, a, a, relu]);
        assert_eq!(
            [a, b, c, relu].map(|v| maps.repeats(v)),
            [false, false, true, false]
        );
        assert_eq!([a, b, c, relu].map(|v| edges[&v].scale), [0.4, 0.4, 0.4, 0.2]);
        edges.insert(b, EdgeQuantizer { bits: 8, ..edge(0.4) });
        assert_eq!(Maps::joined(&graph, &mut edges).owner(b), b);
    }
}
