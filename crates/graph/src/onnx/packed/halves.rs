//! Scales and biases of 16 bits (FORMAT.md 2.3) become constants, marked as such.

use tensor::{DType, Data, Tensor};

use super::super::attributes::Attributes;
use super::super::error::Load;
use super::super::functions::Call;
use super::super::io::type_code;
use super::super::read::Builder;
use crate::graph::ValueId;

/// Takes a Cast to float of a constant of 16 bits, or a Split of that along the one axis on which it is longer than 1, as the constants that it gives; `false` for
/// any other node.
pub(in super::super) fn fold(builder: &mut Builder<'_, '_>, call: &Call<'_, '_>) -> Load<bool> {
    let constant = |i: usize| builder.graph.constants.get(&(*call.inputs.get(i)?)?);
    if !call
        .inputs
        .first()
        .is_some_and(|x| x.is_some_and(|x| builder.halves.contains(&x)))
    {
        return Ok(false);
    }
    let Some((shape, values)) = constant(0).and_then(|t| Some((t.shape(), t.as_f32()?))) else {
        return Ok(false);
    };
    let attrs = Attributes::new(call.attributes.clone())?;
    let parts = match (call.node.op_type, &call.inputs[..]) {
        ("Cast", [_]) if attrs.int("to")? == Some(type_code(DType::F32)) => {
            vec![(shape.to_vec(), values.to_vec())]
        }
        ("Split", [_, _]) => {
            let axis = usize::try_from(attrs.int_or("axis", 0)?).ok();
            let sizes = constant(1).and_then(Tensor::as_i64);
            let (Some(axis), Some(sizes)) = (axis.filter(|&a| shape.get(a) == Some(&values.len())), sizes)
            else {
                return Ok(false);
            };
            let mut rest = values;
            let mut parts = Vec::new();
            for &size in sizes {
                let Some((part, behind)) = usize::try_from(size).ok().and_then(|n| rest.split_at_checked(n))
                else {
                    return Ok(false);
                };
                let mut shape = shape.to_vec();
                shape[axis] = part.len();
                parts.push((shape, part.to_vec()));
                rest = behind;
            }
            if !rest.is_empty() {
                return Ok(false);
            }
            parts
        }
        _ => return Ok(false),
    };
    if parts.len() != call.outputs.len() {
        return Ok(false);
    }
    attrs.finish()?;
    builder.count_constant(parts.iter().map(|(_, values)| values.len() * 4).sum())?;
    for (&output, (shape, values)) in call.outputs.iter().zip(parts) {
        let Ok(value) = Tensor::new(shape, Data::F32(values)) else {
            return Ok(false);
        };
        builder.set_constant(output, value, 32);
        match call.node.op_type {
            "Cast" => builder.halves.insert(output),
            _ => builder.graph.halves.insert(output),
        };
    }
    Ok(true)
}

/// A weight whose scales are stored in 16 bits is marked by itself.
pub(super) fn inherit(builder: &mut Builder<'_, '_>, scale: ValueId, weight: ValueId) {
    if builder.graph.halves.contains(&scale) {
        builder.graph.halves.insert(weight);
    }
}
