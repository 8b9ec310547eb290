//! QuantizeLinear and DequantizeLinear as plain nodes.

use tensor::DType;

use super::dims::{normalize_axis, show, unify};
use super::{Call, ShapeFault, TensorType, one};
use crate::op::Op;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let (dtype, axis) = match op {
        Op::QuantizeLinear { axis } => {
            let without_zero_point = if call.has(2) { None } else { Some(DType::U8) };
            (call.dtype(2).or(without_zero_point), *axis)
        }
        Op::DequantizeLinear { axis } => {
            call.same_dtype([0, 2])?;
            (scale.dtype, *axis)
        }
        _ => return Ok(one(None, None)),
    };
    let list = |i: usize| call.dims(i).filter(|d| !d.iter().all(|n| *n == Some(1)));
    for i in [1, 2] {
        match (list(i), call.dims(0)) {
            (Some([n]), Some(x)) => {
                let axis = normalize_axis(axis, x.len())?;
                unify(
                    x.get(axis).copied().flatten(),
                    *n,
                    "elements of the axis and number of scales",
                )?;
            }
            (Some([_]) | None, _) => {}
            (Some(other), _) => {
                let shape = show(other);
                return Err(ShapeFault::unsupported(format!(
                    "input {i} has shape {shape}: quantization in blocks"
                ))
                .help("quantize per tensor or per channel"));
            }
        }
    }
    Ok(one(dtype, x.shape.clone()))
}
