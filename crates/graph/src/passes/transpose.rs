//! Transposes move towards the outputs until they meet their inverse.
//!
//! Converters from channels-last frameworks put a transpose before and after every convolution; what lies between them is applied to each
//! element, joins tensors, or names axes, and can be done before the transpose as well.

use std::collections::{HashMap, HashSet};

use tensor::Tensor;

use super::view::input;
use crate::graph::{Graph, Node, ValueId};
use crate::op::{Binary, Op};
use crate::shape::normalize_axis;

/// Moves and merges them and gives the number of changes.
pub(super) fn run(graph: &mut Graph) -> usize {
    let view = super::view::View::new(graph);
    let single = graph.value_ids().map(|v| (v, view.may_vanish(v))).collect();
    drop(view);
    let meets = meets_transpose(graph);
    let old = std::mem::take(&mut graph.nodes);
    let mut sweep = Sweep {
        graph,
        single,
        meets,
        done: Vec::with_capacity(old.len()),
        written: HashMap::new(),
        changes: 0,
    };
    for node in old {
        sweep.visit(node);
    }
    let Sweep { done, changes, .. } = sweep;
    graph.nodes = done;
    changes
}

/// Values behind which a transpose waits. Without one, moving gains nothing, and may part a Pad from its convolution.
fn meets_transpose(graph: &Graph) -> HashSet<ValueId> {
    let mut meets = HashSet::new();
    for node in graph.nodes.iter().rev() {
        let leads = match &node.op {
            Op::Transpose { .. } => true,
            Op::Unary(_)
            | Op::Clip
            | Op::Binary(_)
            | Op::Max
            | Op::Min
            | Op::Sum
            | Op::Mean
            | Op::Concat { .. }
            | Op::Softmax { .. }
            | Op::Reduce { .. }
            | Op::Pad { .. } => node.outputs.iter().any(|v| meets.contains(v)),
            _ => false,
        };
        if leads {
            meets.extend(node.inputs.iter().flatten().copied());
        }
    }
    meets
}

struct Sweep<'g> {
    graph: &'g mut Graph,
    /// Whether a value is computed for one reader alone.
    single: HashMap<ValueId, bool>,
    /// Values that lead to another transpose through operators that one can move across.
    meets: HashSet<ValueId>,
    done: Vec<Node>,
    /// Position in `done` of the transpose that writes a value.
    written: HashMap<ValueId, usize>,
    changes: usize,
}

impl Sweep<'_> {
    fn visit(&mut self, node: Node) {
        match &node.op {
            Op::Transpose { .. } => self.merge(node),
            _ => match self.below(&node) {
                Some((moved, perm)) => {
                    self.changes += 1;
                    self.push(moved.clone());
                    let x = moved.outputs.first().copied();
                    self.push(Node {
                        name: format!("{}/transpose", node.name),
                        op: Op::Transpose { perm: Some(perm) },
                        inputs: vec![x],
                        outputs: node.outputs,
                    });
                }
                None => self.push(node),
            },
        }
    }

    fn push(&mut self, node: Node) {
        if let (Op::Transpose { perm: Some(_) }, Some(&y)) = (&node.op, node.outputs.first()) {
            self.written.insert(y, self.done.len());
        }
        self.done.push(node);
    }

    /// Source and permutation of the transpose that writes a value.
    fn transpose(&self, v: ValueId) -> Option<(ValueId, &[usize])> {
        let node = self.done.get(*self.written.get(&v)?)?;
        match &node.op {
            Op::Transpose { perm: Some(perm) } if !self.graph.edges.contains_key(&v) => {
                Some((input(node, 0)?, perm))
            }
            _ => None,
        }
    }

    fn alone(&self, v: ValueId) -> bool {
        self.single.get(&v) == Some(&true)
    }

    /// Two transposes are one.
    fn merge(&mut self, mut node: Node) {
        let rank = input(&node, 0).and_then(|x| Some(self.graph.value(x).shape.as_ref()?.len()));
        if let (Op::Transpose { perm: none @ None }, Some(rank)) = (&mut node.op, rank) {
            *none = Some((0..rank).rev().collect());
            self.changes += 1;
        }
        if let (Op::Transpose { perm: Some(outer) }, Some(x)) = (&mut node.op, node.inputs.first_mut())
            && let Some((source, inner)) = x.and_then(|x| self.transpose(x))
            && let Some(both) = composed(inner, outer)
            && (both.is_sorted() || x.is_some_and(|x| self.alone(x)))
        {
            *outer = both;
            *x = Some(source);
            self.changes += 1;
        }
        self.push(node);
    }

    /// The node applied before the transposes that feed it, writing a new value, and the permutation that then gives its output.
    fn below(&mut self, node: &Node) -> Option<(Node, Vec<usize>)> {
        let [y] = node.outputs[..] else { return None };
        if self.graph.edges.contains_key(&y) || !self.meets.contains(&y) {
            return None;
        }
        let mut perm = node
            .inputs
            .iter()
            .flatten()
            .find_map(|&v| Some(self.transpose(v)?.1.to_vec()))?;
        let mut moved = match &node.op {
            Op::Unary(_) => self.sources(node, &perm, 1)?,
            Op::Clip => {
                let scalar = |v: &ValueId| self.graph.constants.get(v).is_some_and(|t| t.len() == 1);
                if !node.inputs.iter().skip(1).flatten().all(scalar) {
                    return None;
                }
                self.sources(node, &perm, 1)?
            }
            Op::Binary(Binary::PRelu) => return None,
            Op::Binary(_) | Op::Max | Op::Min | Op::Sum | Op::Mean => {
                let rank = self.graph.value(y).shape.as_ref()?.len();
                if rank != perm.len() {
                    return None;
                }
                self.sources(node, &perm, node.inputs.len())?
            }
            Op::Concat { axis } => {
                let axis = *perm.get(normalize_axis(*axis, perm.len()).ok()?)? as i64;
                Node {
                    op: Op::Concat { axis },
                    ..self.sources(node, &perm, node.inputs.len())?
                }
            }
            Op::Softmax { axis } => {
                let axis = *perm.get(normalize_axis(*axis, perm.len()).ok()?)? as i64;
                Node {
                    op: Op::Softmax { axis },
                    ..self.sources(node, &perm, 1)?
                }
            }
            Op::Reduce { keep_dims, .. } => {
                let axes = self.graph.constant_input(node, 1)?.to_i64()?;
                let axes: Vec<usize> = axes
                    .iter()
                    .map(|&a| perm.get(normalize_axis(a, perm.len()).ok()?).copied())
                    .collect::<Option<_>>()?;
                let moved = self.with_list(node, &perm, 1, axes.iter().map(|&a| a as i64).collect())?;
                if !keep_dims {
                    let kept: Vec<usize> = perm.iter().copied().filter(|p| !axes.contains(p)).collect();
                    let rank = |p: &usize| kept.iter().filter(|&k| k < p).count();
                    perm = kept.iter().map(rank).collect();
                }
                moved
            }
            Op::Pad { .. } if input(node, 3).is_none() => self.pad(node, &perm)?,
            _ => return None,
        };
        let name = format!("{}/moved", self.graph.value(y).name);
        let value = self.graph.value(y);
        let shape = value.shape.as_ref().and_then(|s| unpermuted(s, &perm));
        let dtype = value.dtype;
        let x = self.graph.add_value(&name, dtype, shape);
        self.single.insert(x, true);
        moved.outputs = vec![x];
        Some((moved, perm))
    }

    /// The node with the sources of its first `count` inputs, each a transpose by `perm` for this node alone or a constant.
    fn sources(&mut self, node: &Node, perm: &[usize], count: usize) -> Option<Node> {
        let mut moved = node.clone();
        let mut constants = Vec::new();
        for (i, slot) in moved.inputs.iter_mut().enumerate().take(count) {
            let v = (*slot)?;
            if let Some((source, p)) = self.transpose(v) {
                if p != perm || !self.alone(v) {
                    return None;
                }
                *slot = Some(source);
            } else {
                constants.push((i, v, permuted_constant(self.graph.constants.get(&v)?, perm)?));
            }
        }
        for (i, v, t) in constants {
            if t.len() > 1 {
                let name = self.graph.value(v).name.clone();
                moved.inputs[i] = Some(self.graph.add_constant(&name, t));
            }
        }
        Some(moved)
    }

    /// The node over the source of its transposed first input, with another list at input `i`.
    fn with_list(&mut self, node: &Node, perm: &[usize], i: usize, list: Vec<i64>) -> Option<Node> {
        let mut moved = self.sources(node, perm, 1)?;
        let name = self.graph.value(input(node, i)?).name.clone();
        moved.inputs[i] = Some(self.graph.add_constant(&name, Tensor::vector(list)));
        Some(moved)
    }

    fn pad(&mut self, node: &Node, perm: &[usize]) -> Option<Node> {
        let pads = self.graph.constant_input(node, 1)?.to_i64()?;
        let rank = perm.len();
        if pads.len() != 2 * rank {
            return None;
        }
        let mut back = vec![0i64; 2 * rank];
        for (i, &p) in perm.iter().enumerate() {
            back[p] = pads[i];
            back[p + rank] = pads[i + rank];
        }
        self.with_list(node, perm, 1, back)
    }
}

/// One permutation for two: first `inner`, then `outer`.
fn composed(inner: &[usize], outer: &[usize]) -> Option<Vec<usize>> {
    (inner.len() == outer.len())
        .then(|| outer.iter().map(|&o| inner.get(o).copied()).collect())
        .flatten()
}

/// The shape before a transpose by `perm` gave `shape`.
fn unpermuted<T: Copy>(shape: &[T], perm: &[usize]) -> Option<Vec<T>> {
    (0..perm.len())
        .map(|axis| shape.get(perm.iter().position(|&p| p == axis)?).copied())
        .collect()
}

/// The constant that broadcasts before a transpose as `t` does after it; only one long axis is moved, so elements keep their order.
fn permuted_constant(t: &Tensor, perm: &[usize]) -> Option<Tensor> {
    let offset = perm.len().checked_sub(t.rank())?;
    if t.len() == 1 {
        return Some(t.clone());
    }
    let mut shape = vec![1; perm.len()];
    shape[offset..].copy_from_slice(t.shape());
    if shape.iter().filter(|&&d| d != 1).count() > 1 {
        return None;
    }
    t.clone().reshaped(unpermuted(&shape, perm)?).ok()
}
