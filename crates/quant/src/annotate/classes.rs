//! What an operator is to the integer engine, by the parts of `FORMAT.md`.

use graph::{Graph, IntegerRule, Node, Op, Unary, ValueId};
use tensor::{DType, Data};

/// How an operator takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// 1.3: a product with a constant weight.
    Weighted,
    /// 1.5: Relu and Clip, which may share their output's quantizer with the edge before them.
    Clamp,
    /// 1.5: any other table.
    Table,
    /// 1.6, 1.7, 1.9: new values, hence a quantizer of their own.
    Fresh,
    /// 1.8, and 1.10, whose result stays in its input's range: the input's quantizer.
    Moves,
    /// 1.8: several inputs, one output.
    Concat,
    /// 1.11.
    Float,
}

/// A weighted operator's parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weighted {
    pub(super) input: ValueId,
    pub(super) weight: ValueId,
    pub(super) bias: Option<ValueId>,
    /// Axis of the output channel, or `None` where no axis of the weight is that (grouped ConvTranspose).
    pub(super) axis: Option<usize>,
}

pub(super) fn class(graph: &Graph, node: &Node) -> Class {
    let dynamic = |i: usize| matches!(node.inputs.get(i), Some(Some(v)) if !graph.is_constant(*v));
    let constant_from = |first: usize| {
        node.inputs
            .iter()
            .skip(first)
            .flatten()
            .all(|v| graph.is_constant(*v))
    };
    let floats = node
        .outputs
        .iter()
        .chain(node.inputs.first().into_iter().flatten())
        .all(|v| matches!(graph.value(*v).dtype, None | Some(DType::F32)));
    if !dynamic(0) || !floats {
        return Class::Float;
    }
    let Some(rule) = node.op.integer_rule() else {
        return Class::Float;
    };
    let takes_part = match (rule, &node.op) {
        (IntegerRule::Product, _) => weighted(graph, node).is_ok(),
        (IntegerRule::Table, Op::Clip) => constant_from(1),
        (IntegerRule::Table, _) => true,
        (IntegerRule::Sum | IntegerRule::Times, _) => dynamic(1),
        (IntegerRule::Average, Op::Reduce { .. }) => spatial_mean(graph, node),
        (IntegerRule::Average, _) => true,
        (IntegerRule::Moves, Op::Concat { .. }) => (0..node.inputs.len()).all(dynamic),
        (IntegerRule::Moves, Op::Pad { .. }) => constant_from(1) && zero_constant(graph, node),
        (IntegerRule::Moves, op) => constant_from(1) && moves_all(op, node.outputs.len()),
        (IntegerRule::Interpolates, _) => constant_from(1),
        // Spikes have their quantizer (1.16), which nobody chooses.
        (IntegerRule::Fires, _) => false,
    };
    match (rule, &node.op) {
        _ if !takes_part => Class::Float,
        (IntegerRule::Fires, _) => Class::Float,
        (IntegerRule::Product, _) => Class::Weighted,
        (IntegerRule::Table, Op::Clip | Op::Unary(Unary::Relu)) => Class::Clamp,
        (IntegerRule::Table, _) => Class::Table,
        (IntegerRule::Sum | IntegerRule::Times | IntegerRule::Average, _) => Class::Fresh,
        (IntegerRule::Moves, Op::Concat { .. }) => Class::Concat,
        (IntegerRule::Moves | IntegerRule::Interpolates, _) => Class::Moves,
    }
}

/// MaxPool's second output is indices, which no rule covers.
fn moves_all(op: &Op, outputs: usize) -> bool {
    outputs == 1 || matches!(op, Op::Split { .. })
}

fn zero_constant(graph: &Graph, node: &Node) -> bool {
    match graph.constant_input(node, 2).map(|t| t.data()) {
        None => node.inputs.get(2).is_none_or(Option::is_none),
        Some(Data::F32(v)) => v.iter().all(|&x| x == 0.0),
        Some(_) => false,
    }
}

/// A mean over all axes from the third on: a global average.
fn spatial_mean(graph: &Graph, node: &Node) -> bool {
    let rank = node
        .inputs
        .first()
        .copied()
        .flatten()
        .and_then(|v| graph.value(v).shape.as_ref().map(Vec::len));
    let (Some(rank), Some(axes)) = (rank, graph.constant_input(node, 1).and_then(|t| t.to_i64())) else {
        return false;
    };
    let mut axes: Vec<i64> = axes
        .iter()
        .map(|&a| if a < 0 { a + rank as i64 } else { a })
        .collect();
    axes.sort_unstable();
    rank > 2 && axes.iter().copied().eq(2..rank as i64)
}

/// The parts of a product with a weight, or why it cannot be one in integers.
pub(super) fn weighted(graph: &Graph, node: &Node) -> Result<Weighted, String> {
    let at = |i: usize| node.inputs.get(i).copied().flatten();
    let (Some(input), Some(weight)) = (at(0), at(1)) else {
        return Err("an input is missing".into());
    };
    if graph.is_constant(input) {
        return Err("its first input is a constant".into());
    }
    if graph.weights.contains_key(&weight) {
        return Err("its weight is quantized already".into());
    }
    let Some(tensor) = graph.constants.get(&weight) else {
        return Err("its weight is computed, not a constant".into());
    };
    if tensor.as_f32().is_none() {
        return Err(format!("its weight is {:?}, not F32", tensor.dtype()));
    }
    let rank = tensor.rank();
    let axis = match &node.op {
        Op::Conv(_) if rank >= 3 => Some(0),
        Op::ConvTranspose(t) if rank >= 3 => (t.conv.group == 1).then_some(1),
        Op::Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        } if rank == 2 => {
            if *alpha != 1.0 || *beta != 1.0 || *trans_a {
                return Err("Gemm with alpha, beta other than 1 or a transposed first input".into());
            }
            Some(usize::from(!trans_b))
        }
        Op::MatMul if rank == 2 => Some(1),
        _ => return Err(format!("a weight of rank {rank} has no integer rule")),
    };
    if tensor.is_empty() {
        return Err("its weight is empty".into());
    }
    let bias = at(2);
    if let Some(bias) = bias {
        let channels = axis.map(|a| tensor.shape()[a]);
        match graph.constants.get(&bias) {
            Some(b) if b.as_f32().is_some() && channels.is_none_or(|c| c == b.len()) => {}
            Some(_) => return Err("its bias is not one F32 number per output channel".into()),
            None => return Err("its bias is computed, not a constant".into()),
        }
    }
    Ok(Weighted {
        input,
        weight,
        bias,
        axis,
    })
}
