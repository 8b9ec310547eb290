//! What an operator is to the integer engine, by the parts of `FORMAT.md`.

use graph::{Binary, Graph, Node, Op, PadMode, ReduceKind, ResizeMode, Unary, ValueId};
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
    match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } | Op::MatMul => match weighted(graph, node) {
            Ok(_) => Class::Weighted,
            Err(_) => Class::Float,
        },
        Op::Unary(Unary::Relu) => Class::Clamp,
        Op::Clip if constant_from(1) => Class::Clamp,
        Op::Unary(Unary::Not | Unary::IsNaN) => Class::Float,
        Op::Unary(_) => Class::Table,
        Op::Binary(Binary::Add | Binary::Sub | Binary::Mul) if dynamic(1) => Class::Fresh,
        Op::AveragePool(_) | Op::GlobalAveragePool => Class::Fresh,
        Op::Reduce {
            kind: ReduceKind::Mean,
            ..
        } if spatial_mean(graph, node) => Class::Fresh,
        Op::Concat { .. } if (0..node.inputs.len()).all(dynamic) => Class::Concat,
        Op::Slice
        | Op::Split { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::Gather { .. }
        | Op::Expand
        | Op::Tile
        | Op::MaxPool(_)
        | Op::GlobalMaxPool
        | Op::Identity
            if constant_from(1) && node.outputs.len() == moved_outputs(&node.op, node.outputs.len()) =>
        {
            Class::Moves
        }
        Op::Resize(r) if matches!(r.mode, ResizeMode::Nearest | ResizeMode::Linear) && constant_from(1) => {
            Class::Moves
        }
        Op::Pad {
            mode: PadMode::Constant,
        } if constant_from(1) && zero_constant(graph, node) => Class::Moves,
        _ => Class::Float,
    }
}

/// MaxPool's second output is indices, which no rule covers.
fn moved_outputs(op: &Op, outputs: usize) -> usize {
    match op {
        Op::Split { .. } => outputs,
        _ => 1,
    }
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
