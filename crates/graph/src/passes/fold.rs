//! What depends on constants and shapes alone is computed now.

use std::collections::{HashMap, HashSet};

use tensor::Tensor;

use super::{Budget, view::View};
use crate::evaluate::Evaluate;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::Op;
use crate::shape::{Known, macs};

/// What folding has cost so far.
#[derive(Debug)]
pub(super) struct Account {
    bytes: usize,
    nodes: usize,
    work: u64,
}

impl Account {
    /// The allowance of a graph as it came.
    pub(super) fn new(graph: &Graph, budget: &Budget) -> Self {
        let have: usize = graph.constants.values().map(Tensor::bytes).sum();
        // A graph of few constants still folds its anchor grids: one picture's worth, not a bomb.
        let base = have.max(SMALL_MODEL);
        Account {
            bytes: base.saturating_mul(budget.growth).min(budget.constant_bytes),
            nodes: budget.nodes,
            work: budget.work,
        }
    }
}

/// Bytes of constants below which a model's own size is no measure.
const SMALL_MODEL: usize = 64 << 10;

/// Replaces nodes by constants and gives their number. The graph's outputs stay computed, so that each has a node.
pub(super) fn run(
    graph: &mut Graph,
    known: &HashMap<ValueId, Known>,
    evaluator: &dyn Evaluate,
    account: &mut Account,
) -> usize {
    let outputs: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let view = View::new(graph);
    let mut single: HashMap<ValueId, bool> = HashMap::new();
    for &v in graph.constants.keys() {
        single.insert(v, view.uses(v) == 1);
    }
    for v in graph.nodes.iter().flat_map(|n| &n.outputs) {
        single.insert(*v, view.uses(*v) == 1);
    }
    drop(view);
    let mut folded = vec![false; graph.nodes.len()];
    for (n, folded) in folded.iter_mut().enumerate() {
        let Some(results) = results(graph, n, known, evaluator, (&single, &outputs), account) else {
            continue;
        };
        let node = &graph.nodes[n];
        let (inputs, written) = (node.inputs.clone(), node.outputs.clone());
        for v in inputs.into_iter().flatten() {
            if single.get(&v) == Some(&true) && !outputs.contains(&v) {
                graph.constants.remove(&v);
            }
        }
        graph.constants.extend(written.into_iter().zip(results));
        *folded = true;
    }
    let count = folded.iter().filter(|&&f| f).count();
    let mut folded = folded.into_iter();
    graph.nodes.retain(|_| folded.next() != Some(true));
    count
}

fn results(
    graph: &Graph,
    n: NodeId,
    known: &HashMap<ValueId, Known>,
    evaluator: &dyn Evaluate,
    (single, bound): (&HashMap<ValueId, bool>, &HashSet<ValueId>),
    account: &mut Account,
) -> Option<Vec<Tensor>> {
    let node = &graph.nodes[n];
    let bound = |v: &ValueId| bound.contains(v) || graph.edges.contains_key(v);
    if node.outputs.iter().any(bound) || account.nodes == 0 {
        return None;
    }
    let from_shapes: Option<Vec<Tensor>> = node
        .outputs
        .iter()
        .map(|v| known.get(v).and_then(Known::to_tensor))
        .collect();
    if from_shapes.is_some() {
        return from_shapes;
    }
    let inputs: Vec<Option<&Tensor>> = node
        .inputs
        .iter()
        .map(|v| match v {
            None => Some(None),
            Some(v) => graph.constants.get(v).map(Some),
        })
        .collect::<Option<_>>()?;
    let bytes = output_bytes(graph, node, &inputs)?;
    let owned: usize = node
        .inputs
        .iter()
        .flatten()
        .filter(|v| single.get(v) == Some(&true))
        .filter_map(|v| graph.constants.get(v))
        .map(Tensor::len)
        .sum();
    // A constant that only changes its type or form replaces the one it was made of; what grows or is shared is charged.
    let elements = node
        .outputs
        .iter()
        .map(|&v| elements(graph, v))
        .sum::<Option<usize>>();
    let charge = if elements.is_some_and(|e| e <= owned) {
        0
    } else {
        bytes
    };
    let work = work(graph, node, &inputs, bytes);
    if charge > account.bytes || work > account.work {
        return None;
    }
    account.nodes -= 1;
    account.work -= work;
    let results = evaluator.evaluate(&node.op, &inputs, node.outputs.len()).ok()?;
    let agree = results.len() == node.outputs.len()
        && node.outputs.iter().zip(&results).all(|(&v, t)| fits(graph, v, t));
    if !agree {
        return None;
    }
    account.bytes -= charge;
    Some(results)
}

/// Whether a result is what the operator's rule says.
fn fits(graph: &Graph, v: ValueId, t: &Tensor) -> bool {
    let value = graph.value(v);
    let shape = value.shape.as_ref().is_none_or(|s| {
        s.len() == t.rank() && s.iter().zip(t.shape()).all(|(d, n)| d.is_none_or(|d| d == *n))
    });
    shape && value.dtype.is_none_or(|d| d == t.dtype())
}

fn elements(graph: &Graph, v: ValueId) -> Option<usize> {
    tensor::numel(&graph.value(v).fixed_shape()?).ok()
}

/// Most bytes that the outputs can have; `None` where that cannot be said before computing them.
fn output_bytes(graph: &Graph, node: &Node, inputs: &[Option<&Tensor>]) -> Option<usize> {
    if node.op == Op::NonZero {
        let x = inputs.first().copied().flatten()?;
        return x.len().checked_mul(x.rank())?.checked_mul(8);
    }
    node.outputs.iter().try_fold(0usize, |total, &v| {
        let size = graph.value(v).dtype.map_or(8, tensor::DType::size);
        total.checked_add(elements(graph, v)?.checked_mul(size)?)
    })
}

/// Steps that evaluation takes, roughly.
fn work(graph: &Graph, node: &Node, inputs: &[Option<&Tensor>], bytes: usize) -> u64 {
    let read: usize = inputs.iter().flatten().map(|t| t.len()).sum();
    let taps = |kernel: &[usize]| kernel.iter().fold(1u64, |n, &k| n.saturating_mul(k as u64));
    let window = match &node.op {
        Op::MaxPool(p) | Op::AveragePool(p) => taps(&p.kernel),
        // Every tap is looked at for every output, though few of them meet an input.
        Op::ConvTranspose(t) => {
            let channels = inputs.first().copied().flatten().and_then(|x| x.shape().get(1));
            taps(&t.conv.kernel).saturating_mul(channels.map_or(1, |&c| c as u64))
        }
        _ => 1,
    };
    (read as u64)
        .saturating_add((bytes as u64).saturating_mul(window))
        .saturating_add(macs(graph, node))
}
