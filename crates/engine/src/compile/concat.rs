//! Concat without copies: convolutions write into the channel range that a later Concat gives them.

use std::collections::HashMap;

use graph::{Graph, NodeId, Op, ValueId};

use super::{Compiler, Repr};
use crate::memory::Kind;
use crate::plan::Options;
use crate::view::{BufferId, View, channels_last};

/// Channel ranges that wait for their producers.
#[derive(Debug, Default)]
pub(crate) struct Concats {
    ranges: HashMap<ValueId, Range>,
    /// Buffers of Concats whose first part was written.
    buffers: HashMap<NodeId, BufferId>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    concat: NodeId,
    /// First channel.
    at: usize,
    repr: Repr,
}

impl Concats {
    /// Concats over channels whose inputs all are codes of the output's quantizer, or all f32.
    pub(crate) fn find(graph: &Graph, options: &Options) -> Concats {
        let mut out = Concats::default();
        if options.keep_all {
            return out;
        }
        for (n, node) in graph.nodes.iter().enumerate() {
            let Op::Concat { axis } = node.op else {
                continue;
            };
            let parts: Option<Vec<(ValueId, Vec<usize>)>> = node
                .inputs
                .iter()
                .map(|v| v.and_then(|v| Some((v, graph.value(v).fixed_shape()?))))
                .collect();
            let Some(parts) = parts else {
                continue;
            };
            let rank = parts.first().map_or(0, |(_, shape)| shape.len());
            let channels = axis == 1 || axis == 1 - rank as i64;
            if !channels || !(3..=5).contains(&rank) || parts.iter().any(|(_, s)| s.len() != rank) {
                continue;
            }
            let edges: Vec<_> = parts.iter().map(|(v, _)| graph.edges.get(v)).collect();
            let output = graph.edges.get(&node.outputs[0]);
            let repr = if edges.iter().all(Option::is_none) && output.is_none() {
                Repr::Real
            } else if output.is_some() && edges.iter().all(|e| *e == output) {
                Repr::Codes
            } else {
                continue;
            };
            let mut at = 0;
            for (v, shape) in parts {
                let range = Range { concat: n, at, repr };
                out.ranges.entry(v).or_insert(range);
                at += shape[1];
            }
        }
        out
    }
}

impl Compiler<'_> {
    /// Where a kernel that reads buffer `from` and writes pixels puts a value: into its Concat where one waits that is not read
    /// at the same time, else into a buffer of its own.
    pub(crate) fn pixels_out(&mut self, v: ValueId, repr: Repr, shape: &[usize], from: BufferId) -> View {
        if let Some(&range) = self.concats.ranges.get(&v) {
            let output = self.node(range.concat).outputs[0];
            if range.repr == repr
                && self.started_concat(range.concat) != Some(from)
                && let Ok(whole) = self.shape(output)
            {
                let buffer = self.concat_buffer(range.concat, repr, &whole);
                let view = View::dense(buffer, &whole, &channels_last(whole.len()));
                return view.sliced(1, range.at, 1, shape[1]);
            }
        }
        let buffer = self.buffer(kind(repr), shape.iter().product());
        View::dense(buffer, shape, &channels_last(shape.len()))
    }

    /// The buffer of a Concat that some of its inputs lie in already, if any does.
    pub(crate) fn started_concat(&self, n: NodeId) -> Option<BufferId> {
        self.concats.buffers.get(&n).copied()
    }

    fn concat_buffer(&mut self, n: NodeId, repr: Repr, shape: &[usize]) -> BufferId {
        if let Some(&buffer) = self.concats.buffers.get(&n) {
            return buffer;
        }
        let buffer = self.buffer(kind(repr), shape.iter().product());
        self.concats.buffers.insert(n, buffer);
        buffer
    }
}

pub(crate) fn kind(repr: Repr) -> Kind {
    match repr {
        Repr::Codes => Kind::Codes,
        Repr::Real | Repr::Sums => Kind::Reals,
        Repr::Tensor => Kind::Tensor,
    }
}
