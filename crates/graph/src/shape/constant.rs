//! Constants, shapes, casts and the identity.

use tensor::DType;

use super::dims::{MAX_RANK, size};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::Op;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    match op {
        Op::Shape { start, end } => {
            call.input(0)?;
            let length = call.dims(0).map(|d| shape_range(*start, *end, d.len()).len());
            Ok(one(Some(DType::I64), Some(vec![length])))
        }
        Op::Size => {
            call.input(0)?;
            Ok(one(Some(DType::I64), Some(Vec::new())))
        }
        Op::ConstantOfShape { value } => {
            call.input(0)?;
            if value.len() != 1 {
                let n = value.len();
                return Err(ShapeFault::bad(format!("its value holds {n} elements, not one")));
            }
            call.expect_list(0, "the shape")?;
            Ok(one(Some(value.dtype()), shape_from(call, 0)?))
        }
        Op::Range => range(call),
        Op::NonZero => {
            let x = call.input(0)?;
            // A single number counts as a vector of one.
            let rank = x.shape.as_ref().map(|s| s.len().max(1));
            Ok(one(Some(DType::I64), Some(vec![rank, None])))
        }
        Op::Cast { to } => Ok(one(Some(*to), call.input(0)?.shape.clone())),
        _ => Ok(vec![call.input(0)?.clone()]),
    }
}

/// The dimensions that `Shape` gives, as a range of axes; bounds outside are clamped.
pub(super) fn shape_range(start: i64, end: Option<i64>, rank: usize) -> std::ops::Range<usize> {
    let place = |at: i64| {
        let from_start = if at < 0 {
            at.saturating_add(rank as i64)
        } else {
            at
        };
        from_start.clamp(0, rank as i64) as usize
    };
    let (start, end) = (place(start), end.map_or(rank, place));
    start..end.max(start)
}

/// A shape given as the elements of an input.
pub(super) fn shape_from(call: &Call<'_>, i: usize) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let Some(list) = call.ints(i) else {
        return Ok(match call.vector_len(i, "the shape")? {
            Some(n) if n <= MAX_RANK => Some(vec![None; n]),
            _ => None,
        });
    };
    list.into_iter()
        .map(|d| d.map(|d| size(d, "a dimension")).transpose())
        .collect::<Result<Vec<Dim>, _>>()
        .map(Some)
}

fn range(call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    for i in 0..3 {
        call.input(i)?;
        call.expect_one(i, "a bound")?;
    }
    let dtype = call.same_dtype(0..3)?;
    let bounds: Option<Vec<i64>> = (0..3).map(|i| call.all_ints(i)?.first().copied()).collect();
    let length = match bounds.as_deref() {
        Some(&[_, _, 0]) => return Err(ShapeFault::bad("the step is 0")),
        Some(&[start, limit, step]) => {
            let (distance, step) = (i128::from(limit) - i128::from(start), i128::from(step));
            let steps = if step > 0 {
                (distance + step - 1).div_euclid(step)
            } else {
                (-distance - step - 1).div_euclid(-step)
            };
            usize::try_from(steps.max(0)).ok()
        }
        _ => real_range(call)?,
    };
    Ok(one(dtype, Some(vec![length])))
}

fn real_range(call: &Call<'_>) -> Result<Dim, ShapeFault> {
    let bounds: Option<Vec<f32>> = (0..3).map(|i| call.known(i)?.reals()?.first().copied()).collect();
    Ok(match bounds.as_deref() {
        Some(&[_, _, 0.0]) => return Err(ShapeFault::bad("the step is 0")),
        Some(&[start, limit, step]) => {
            let steps = ((f64::from(limit) - f64::from(start)) / f64::from(step)).ceil();
            (steps < 1e15).then_some(if steps > 0.0 { steps as usize } else { 0 })
        }
        _ => None,
    })
}
