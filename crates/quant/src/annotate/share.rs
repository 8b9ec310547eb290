//! Which edges share a quantizer, and the quantizers once their values were seen.

use std::collections::BTreeMap;

use graph::{EdgeQuantizer, Graph, Unary, ValueId};

use crate::calibrate::{Observer, ObserverKind};

/// Edges with one quantizer.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeGroup {
    /// All edges that take the quantizer.
    pub members: Vec<ValueId>,
    /// Those whose values an observer must see; the others repeat or clamp them.
    pub observe: Vec<ValueId>,
    /// 1…8.
    pub bits: u32,
    /// How the range is chosen.
    pub observer: ObserverKind,
    /// The only reader is this operator: the error of its result is what counts.
    pub through: Option<Unary>,
}

/// A Concat, whose inputs take its output's quantizer where that costs them little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Groups of the inputs.
    pub inputs: Vec<usize>,
    /// Group of the output.
    pub output: usize,
}

/// An input of a Concat keeps its own quantizer where the common step is more than this many times its own: one bit.
pub const JOIN_FACTOR: f32 = 2.0;

/// Union–find.
#[derive(Debug, Clone)]
pub(super) struct Sets(Vec<usize>);

impl Sets {
    pub(super) fn new(n: usize) -> Self {
        Sets((0..n).collect())
    }

    pub(super) fn find(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    /// The root of the union is b's.
    pub(super) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a] = b;
    }
}

/// The quantizer of one group.
pub fn finish(group: &EdgeGroup, observer: &Observer) -> EdgeQuantizer {
    match group.through.and_then(graph::real_function) {
        Some(f) => observer.finish_through(group.bits, Some(&*f)),
        None => observer.finish(group.bits),
    }
}

/// Quantizers of all edges from one observer per group; Concats join what they may.
pub(super) fn resolve(
    groups: &[EdgeGroup],
    joins: &[Join],
    observers: &[Observer],
) -> BTreeMap<ValueId, EdgeQuantizer> {
    let mut sets = Sets::new(groups.len());
    let mut seen: Vec<Observer> = observers.to_vec();
    let mut quantizers: Vec<EdgeQuantizer> = groups.iter().zip(&seen).map(|(g, o)| finish(g, o)).collect();
    for join in joins {
        for &input in &join.inputs {
            let (a, b) = (sets.find(input), sets.find(join.output));
            let apart = groups[a].bits != groups[b].bits || groups[a].through.is_some();
            if a == b || apart || quantizers[b].scale > JOIN_FACTOR * quantizers[a].scale {
                continue;
            }
            // What the input group saw beyond this Concat must still fit.
            let mut union = seen[b].clone();
            union.merge(&seen[a]);
            let common = finish(&groups[b], &union);
            if common.scale > JOIN_FACTOR * quantizers[a].scale
                || common.scale > JOIN_FACTOR * quantizers[b].scale
            {
                continue;
            }
            sets.join(a, b);
            seen[b] = union;
            quantizers[b] = common;
        }
    }
    let mut out = BTreeMap::new();
    for (g, group) in groups.iter().enumerate() {
        let q = quantizers[sets.find(g)];
        out.extend(group.members.iter().map(|&v| (v, q)));
    }
    out
}

/// Names of a group's edges, for messages.
pub(super) fn names(graph: &Graph, group: &EdgeGroup) -> String {
    let names: Vec<&str> = group
        .members
        .iter()
        .take(3)
        .map(|&v| graph.value(v).name.as_str())
        .collect();
    names.join(", ")
}
