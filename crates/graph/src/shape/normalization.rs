//! Batch, instance and layer normalization; Softmax.

use super::dims::{broadcast, normalize_axis, show, unify};
use super::{Call, ShapeFault, TensorType, one};
use crate::op::Op;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let x = call.input(0)?;
    call.expect_float(0)?;
    let dims = call.dims(0);
    match op {
        Op::BatchNormalization { .. } | Op::InstanceNormalization { .. } => {
            let count = if matches!(op, Op::BatchNormalization { .. }) {
                5
            } else {
                3
            };
            call.same_dtype(0..count)?;
            let mut channels = match dims {
                Some(d) if d.len() < 2 => {
                    let shape = show(d);
                    return Err(ShapeFault::bad(format!(
                        "its input of shape {shape} has no channels"
                    )));
                }
                Some(d) => d.get(1).copied().flatten(),
                None => None,
            };
            for i in 1..count {
                call.input(i)?;
                channels = match call.dims(i) {
                    None => channels,
                    Some([n]) => unify(channels, *n, "channels of the input and of its parameters")?,
                    Some(other) => {
                        let shape = show(other);
                        return Err(ShapeFault::bad(format!(
                            "parameter {i} has shape {shape}, not one dimension"
                        )));
                    }
                };
            }
            let mut out = x.clone();
            if let Some(slot) = out.shape.as_mut().and_then(|s| s.get_mut(1)) {
                *slot = channels;
            }
            Ok(vec![out])
        }
        Op::LayerNormalization { axis, .. } => {
            call.input(1)?;
            call.same_dtype(0..3)?;
            if let Some(dims) = dims {
                let axis = normalize_axis(*axis, dims.len())?;
                let inner = dims.get(axis..).unwrap_or_default();
                for i in [1, 2] {
                    let Some(parameter) = call.dims(i) else { continue };
                    let both = broadcast(inner, parameter)?;
                    let grows = inner.iter().zip(&both).any(|(n, b)| n.is_some() && n != b);
                    if both.len() != inner.len() || grows {
                        let (p, inner) = (show(parameter), show(inner));
                        return Err(ShapeFault::bad(format!(
                            "parameter {i} of shape {p} does not broadcast to {inner}"
                        )));
                    }
                }
            }
            Ok(vec![x.clone()])
        }
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            if let Some(dims) = dims {
                normalize_axis(*axis, dims.len())?;
            }
            Ok(vec![x.clone()])
        }
        _ => Ok(one(x.dtype, None)),
    }
}
