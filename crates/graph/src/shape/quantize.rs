//! QuantizeLinear and DequantizeLinear as plain nodes.

use tensor::DType;

use super::dims::{normalize_axis, product, show, unify};
use super::{Call, Known, ShapeFault, TensorType, one};
use crate::op::Op;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let (dtype, axis) = match op {
        Op::QuantizeLinear { axis } => {
            let without_zero_point = if call.has(2) { None } else { Some(DType::U8) };
            if let Some(other) = x.dtype.filter(|d| !matches!(d, DType::F32 | DType::I32)) {
                return Err(ShapeFault::bad(format!(
                    "its input must be F32 or I32, it is {other:?}"
                )));
            }
            if let Some(other) = call
                .dtype(2)
                .filter(|d| !matches!(d, DType::U8 | DType::I8 | DType::U16 | DType::I16))
            {
                return Err(ShapeFault::bad(format!(
                    "its codes must be integers of 8 or 16 bits, they are {other:?}"
                )));
            }
            (call.dtype(2).or(without_zero_point), *axis)
        }
        Op::DequantizeLinear { axis } => {
            if let Some(other) = x
                .dtype
                .filter(|d| matches!(d, DType::F32 | DType::F64 | DType::Bool))
            {
                return Err(ShapeFault::bad(format!(
                    "its codes must be integers, they are {other:?}"
                )));
            }
            call.same_dtype([0, 2])?;
            (scale.dtype, *axis)
        }
        _ => return Ok(one(None, None)),
    };
    if let Some(other) = scale.dtype.filter(|d| *d != DType::F32) {
        return Err(ShapeFault::bad(format!(
            "the scales must be F32, they are {other:?}"
        )));
    }
    if let Some(known) = call.known(1).and_then(Known::reals)
        && let Some(bad) = known.into_iter().find(|s| !(s.is_finite() && *s > 0.0))
    {
        return Err(ShapeFault::bad(format!(
            "the scale {bad} is not a finite number above 0"
        )));
    }
    if let (Some(scales), Some(zeros)) = (call.dims(1), call.dims(2)) {
        unify(
            product(scales)?,
            product(zeros)?,
            "numbers of scales and of zero points",
        )?;
    }
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
