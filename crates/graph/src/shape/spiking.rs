//! IntegrateFire.

use tensor::DType;

use super::dims::{overflow, product};
use super::{Call, Known, ShapeFault, TensorType, one};
use crate::op::IntegrateFire;

pub(super) fn rule(op: &IntegrateFire, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    if !(1..=IntegrateFire::MOST_STEPS).contains(&op.steps) {
        let (steps, most) = (op.steps, IntegrateFire::MOST_STEPS);
        return Err(ShapeFault::bad(format!(
            "it has {steps} steps, 1 to {most} are possible"
        )));
    }
    let x = call.input(0)?;
    if let Some(other) = (0..3).filter_map(|i| call.dtype(i)).find(|d| *d != DType::F32) {
        return Err(ShapeFault::bad(format!(
            "its inputs must be F32, one is {other:?}"
        )));
    }
    for (i, name, low, high) in [
        (1, "threshold", f32::MIN_POSITIVE, f32::MAX),
        (2, "leak", 0.0, 1.0),
    ] {
        call.input(i)?;
        if let Some(other) = call
            .dims(i)
            .map(product)
            .transpose()?
            .flatten()
            .filter(|n| *n != 1)
        {
            return Err(ShapeFault::bad(format!(
                "its {name} is {other} numbers, it must be one"
            )));
        }
        let known = call.known(i).and_then(Known::reals).unwrap_or_default();
        if let Some(bad) = known.into_iter().find(|v| !(low..=high).contains(v)) {
            return Err(ShapeFault::bad(match i {
                1 => format!("its threshold is {bad}, it must be finite and above 0"),
                _ => format!("its leak is {bad}, it must be within 0 … 1"),
            }));
        }
    }
    let Some(mut shape) = x.shape.clone() else {
        return Ok(one(Some(DType::F32), None));
    };
    let Some(first) = shape.first_mut() else {
        return Err(ShapeFault::bad("its input has no axis for steps and samples"));
    };
    let [from, to] = op.ends();
    if let Some(n) = *first {
        if n % from != 0 {
            return Err(ShapeFault::bad(format!(
                "its first axis has {n} elements, which are no {from} steps"
            )));
        }
        *first = Some((n / from).checked_mul(to).ok_or_else(overflow)?);
    }
    Ok(one(Some(DType::F32), Some(shape)))
}
