//! Pools.

use super::window::{Axis, output};
use super::{Call, ShapeFault, TensorType, one};
use crate::op::Op;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let x = call.input(0)?;
    let dims = call.dims(0);
    if let Some(dims) = dims.filter(|d| d.len() < 3) {
        return Err(ShapeFault::bad(format!(
            "its input has {} dimensions, a pool wants 3 or more",
            dims.len()
        )));
    }
    let global = matches!(op, Op::GlobalAveragePool | Op::GlobalMaxPool);
    if global && dims.is_some_and(|d| d.iter().skip(2).any(|n| *n == Some(0))) {
        return Err(ShapeFault::bad("its input has no pixels"));
    }
    call.expect_number(0)?;
    if !matches!(op, Op::MaxPool(_)) {
        call.expect_float(0)?;
    }
    let shape = match op {
        Op::MaxPool(pool) | Op::AveragePool(pool) => {
            let axes = Axis::list(&pool.kernel, &pool.strides, &pool.dilations, &pool.padding)?;
            let (batch, channels, spatial) = match dims {
                Some([n, c, rest @ ..]) => (*n, *c, output(&axes, &pool.padding, rest, pool.ceil_mode)?),
                _ => (None, None, vec![None; axes.len()]),
            };
            Some([vec![batch, channels], spatial].concat())
        }
        _ => dims.map(|d| {
            d.iter()
                .enumerate()
                .map(|(i, &n)| if i < 2 { n } else { Some(1) })
                .collect()
        }),
    };
    Ok(one(x.dtype, shape))
}
