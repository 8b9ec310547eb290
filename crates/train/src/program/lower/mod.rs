//! Each operator's forward instructions, one file per family.

mod elementwise;
mod index;
mod layout;
mod product;
mod resize;
mod spiking;
mod window;

use graph::{NodeId, Op};

use super::build::{Builder, Order};
use super::error::Fault;
pub(super) use product::flipped;

/// What is said of an operator that has none.
const NO_BACKWARD: &str = "it has no backward; put other operators in its place, end the loss before it, or quantize without training";

/// Lowers node `n`.
pub(super) fn node(b: &mut Builder<'_>, n: NodeId) -> Result<(), Fault> {
    match &b.graph.nodes[n].op {
        Op::Conv(op) => product::conv(b, n, op),
        Op::ConvTranspose(op) => product::transposed(b, n, op),
        Op::Gemm { .. } => product::gemm(b, n),
        Op::MatMul => product::mat_mul(b, n),
        Op::BatchNormalization { epsilon } => elementwise::batch_norm(b, n, *epsilon),
        Op::Unary(_) | Op::Clip => elementwise::unary(b, n),
        Op::Binary(op) => elementwise::binary(b, n, *op),
        Op::Sum => elementwise::sum(b, n, false),
        Op::Mean => elementwise::sum(b, n, true),
        Op::Softmax { axis } => elementwise::softmax(b, n, *axis),
        Op::MaxPool(op) => window::max_pool(b, n, op),
        Op::AveragePool(op) => window::average_pool(b, n, op),
        Op::GlobalAveragePool => window::global(b, n, false),
        Op::GlobalMaxPool => window::global(b, n, true),
        Op::Reduce { kind, keep_dims, .. } => window::reduce(b, n, *kind, *keep_dims),
        Op::Resize(op) => resize::resize(b, n, op),
        Op::Concat { axis } => layout::concat(b, n, *axis),
        Op::Split { axis } => layout::split(b, n, *axis),
        Op::Slice => index::slice(b, n),
        Op::Pad { mode } => index::pad(b, n, *mode),
        Op::Gather { axis } => index::gather(b, n, *axis),
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => layout::reshape(b, n),
        Op::Identity | Op::Dropout => layout::identity(b, n),
        Op::Transpose { perm } => layout::transpose(b, n, perm.as_deref()),
        Op::DepthToSpace { block, crd } => layout::depth_to_space(b, n, *block, *crd),
        Op::SpaceToDepth { block } => layout::space_to_depth(b, n, *block),
        Op::IntegrateFire(op) => spiking::integrate_fire(b, n, op),
        _ => Err(NO_BACKWARD.into()),
    }
}

/// The integers of a constant input; `None` where it is left out.
fn integers(b: &Builder<'_>, n: NodeId, i: usize) -> Result<Option<Vec<i64>>, Fault> {
    let Some(v) = b.graph.nodes[n].inputs.get(i).copied().flatten() else {
        return Ok(None);
    };
    let list = b
        .graph
        .constants
        .get(&v)
        .and_then(|t| t.as_i64().map(<[i64]>::to_vec));
    list.map(Some)
        .ok_or_else(|| format!("its input \"{}\" is computed", b.name(v)).into())
}

/// An axis that may count from the end.
fn axis_of(axis: i64, rank: usize) -> Result<usize, Fault> {
    graph::shape::normalize_axis(axis, rank).map_err(|e| e.message().to_string().into())
}

/// Elements before, on and behind an axis.
fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (
        shape[..axis].iter().product(),
        shape[axis],
        shape[axis + 1..].iter().product(),
    )
}

/// The order of a node that moves elements along axes: that of its inputs, channels-last where one of them is.
fn common_order(b: &Builder<'_>, n: NodeId) -> Order {
    let last = b.graph.nodes[n]
        .inputs
        .iter()
        .flatten()
        .any(|&v| b.order(v) == Order::Last);
    if last { Order::Last } else { Order::Onnx }
}
