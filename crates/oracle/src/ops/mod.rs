//! The operators, one file per family.

mod binary;
mod constant;
pub(crate) mod conv;
mod gather;
mod layout;
pub(crate) mod linear;
mod nms;
mod normalization;
pub(crate) mod number;
mod order;
pub(crate) mod pool;
mod quantize;
mod reduce;
mod reshape;
pub(crate) mod resize;
pub(crate) mod spiking;
pub(crate) mod support;
mod unary;
mod variadic;
pub(crate) mod window;

use graph::Op;
use support::{Answer, Inputs};
use tensor::Tensor;

/// Computes one operator: inputs in ONNX's positions, `None` where an optional one is left out.
///
/// Float results follow `FORMAT.md` 1.15 to the bit.
///
/// # Errors
/// The end of a sentence whose begin names the node: a missing input, shapes that do not fit, an element type without a meaning
/// here, a result of more than 2³¹ bytes.
///
/// ```
/// use graph::{Op, Unary};
/// let x = tensor::Tensor::vector(vec![-1f32, 2.0]);
/// let y = oracle::evaluate(&Op::Unary(Unary::Relu), &[Some(&x)], 1).unwrap();
/// assert_eq!(y[0].as_f32().unwrap(), [0.0, 2.0]);
/// ```
pub fn evaluate(op: &Op, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>, String> {
    let want = match op {
        Op::Split { .. } => outputs,
        Op::TopK { .. } => 2,
        _ => 1,
    };
    if outputs == 0 || outputs > want {
        return Err(format!("{outputs} outputs are asked for, {want} are possible"));
    }
    let i = Inputs(inputs);
    let mut results = match op {
        Op::Split { axis } => return layout::split(i, *axis, outputs),
        Op::TopK {
            axis,
            largest,
            sorted: _,
        } => order::top_k(i, *axis, *largest)?,
        _ => vec![single(op, i)?],
    };
    results.truncate(outputs);
    Ok(results)
}

fn single(op: &Op, i: Inputs<'_>) -> Answer {
    match op {
        Op::Conv(c) => conv::conv(i, c),
        Op::ConvTranspose(c) => conv::conv_transpose(i, c),
        Op::Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        } => linear::gemm(i, *alpha, *beta, [*trans_a, *trans_b]),
        Op::MatMul => linear::mat_mul(i),
        Op::BatchNormalization { epsilon } => normalization::batch(i, *epsilon),
        Op::InstanceNormalization { epsilon } => normalization::instance(i, *epsilon),
        Op::LayerNormalization { axis, epsilon } => normalization::layer(i, *axis, *epsilon),
        Op::Softmax { axis } => normalization::softmax(i, *axis, false),
        Op::LogSoftmax { axis } => normalization::softmax(i, *axis, true),
        Op::MaxPool(p) => pool::max(i, p),
        Op::AveragePool(p) => pool::average(i, p),
        Op::GlobalAveragePool => pool::global(i, true),
        Op::GlobalMaxPool => pool::global(i, false),
        Op::Unary(u) => unary::unary(i, *u),
        Op::Binary(b) => binary::binary(i, *b),
        Op::Clip => variadic::clip(i),
        Op::Max | Op::Min | Op::Sum | Op::Mean => variadic::fold(i, op),
        Op::Where => variadic::choose(i),
        Op::Reduce {
            kind,
            keep_dims,
            noop_with_empty_axes,
        } => reduce::reduce(i, *kind, *keep_dims, *noop_with_empty_axes),
        Op::CumSum { exclusive, reverse } => reduce::cum_sum(i, *exclusive, *reverse),
        Op::ArgMax {
            axis,
            keep_dims,
            select_last,
        } => order::arg(i, *axis, *keep_dims, *select_last, true),
        Op::ArgMin {
            axis,
            keep_dims,
            select_last,
        } => order::arg(i, *axis, *keep_dims, *select_last, false),
        Op::NonMaxSuppression { center_point_box } => nms::suppress(i, *center_point_box),
        Op::Concat { axis } => layout::concat(i, *axis),
        Op::Slice => layout::slice(i),
        Op::Pad { mode } => layout::pad(i, *mode),
        Op::Transpose { perm } => layout::transpose(i, perm.as_deref()),
        Op::Expand => layout::expand(i),
        Op::Tile => layout::tile(i),
        Op::DepthToSpace { block, crd } => layout::depth_to_space(i, *block, *crd),
        Op::SpaceToDepth { block } => layout::space_to_depth(i, *block),
        Op::Reshape { allow_zero } => reshape::reshape(i, *allow_zero),
        Op::Flatten { axis } => reshape::flatten(i, *axis),
        Op::Squeeze => reshape::squeeze(i),
        Op::Unsqueeze => reshape::unsqueeze(i),
        Op::Identity | Op::Dropout => Ok(i.need(0)?.clone()),
        Op::Gather { axis } => gather::gather(i, *axis),
        Op::GatherElements { axis } => gather::gather_elements(i, *axis),
        Op::GatherND { batch_dims } => gather::gather_nd(i, *batch_dims),
        Op::ScatterND => gather::scatter_nd(i),
        Op::Resize(r) => resize::resize(i, r),
        Op::Shape { start, end } => constant::shape(i, *start, *end),
        Op::Size => Ok(Tensor::scalar(i.need(0)?.len() as i64)),
        Op::ConstantOfShape { value } => constant::of_shape(i, value),
        Op::Range => constant::range(i),
        Op::NonZero => constant::non_zero(i),
        Op::Cast { to } => constant::cast(i.need(0)?, *to),
        Op::QuantizeLinear { axis } => quantize::quantize(i, *axis),
        Op::DequantizeLinear { axis } => quantize::dequantize(i, *axis),
        Op::IntegrateFire(op) => spiking::integrate_fire(i, op),
        Op::Split { .. } | Op::TopK { .. } => Err("it has several outputs".into()),
    }
}
