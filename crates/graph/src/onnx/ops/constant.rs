//! Constants, shapes, casts and the identity.

use tensor::Tensor;

use super::{Context, Parsed, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::io::{ElemType, type_code};
use crate::onnx::write::NodeWriter;
use crate::op::Op;

pub(super) const ROWS: &[Row] = &[
    row("Constant", (0, 0), (1, 1), constant),
    row("ConstantOfShape", (1, 1), (1, 1), constant_of_shape),
    row("Shape", (1, 1), (1, 1), |c| {
        Ok(Op::Shape {
            start: c.attrs.int_or("start", 0)?,
            end: c.attrs.int("end")?,
        }
        .into())
    }),
    row("Size", (1, 1), (1, 1), |_| Ok(Op::Size.into())),
    row("Range", (3, 3), (1, 1), |_| Ok(Op::Range.into())),
    row("NonZero", (1, 1), (1, 1), |_| Ok(Op::NonZero.into())),
    row("Cast", (1, 1), (1, 1), cast),
    row("Identity", (1, 1), (1, 1), |_| Ok(Op::Identity.into())),
    row("Dropout", (1, 3), (1, 2), dropout),
];

fn constant(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    let (value, bits) = if let Some(t) = c.attrs.tensor("value")? {
        let loaded = c.builder.tensor(t)?;
        (loaded.tensor, Some(loaded.bits))
    } else if let Some(v) = c.attrs.float("value_float")? {
        (Tensor::scalar(v), None)
    } else if let Some(v) = c.attrs.int("value_int")? {
        (Tensor::scalar(v), None)
    } else if let Some(v) = c.attrs.floats("value_floats")? {
        (Tensor::vector(v.to_vec()), None)
    } else if let Some(v) = c.attrs.ints("value_ints")? {
        (Tensor::vector(v.to_vec()), None)
    } else if ["value_string", "value_strings", "sparse_value"]
        .iter()
        .any(|n| c.attrs.has(n))
    {
        return Err(LoadError::unsupported(
            "strings and sparse tensors are not supported",
        ));
    } else {
        return Err(LoadError::bad("the constant has no value"));
    };
    if let Some(&out) = c.outputs.first() {
        c.builder.set_constant(out, value, bits.unwrap_or(8));
    }
    Ok(Parsed::Constant)
}

fn constant_of_shape(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    let value = match c.attrs.tensor("value")? {
        None => Tensor::vector(vec![0f32]),
        Some(t) => c.builder.tensor(t)?.tensor,
    };
    if value.len() != 1 {
        let n = value.len();
        return Err(LoadError::bad(format!("value holds {n} elements, not one")));
    }
    Ok(Op::ConstantOfShape { value }.into())
}

fn cast(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    // They speak of float8 targets, which are refused.
    c.attrs.ignore("saturate");
    c.attrs.ignore("round_mode");
    let to = c
        .attrs
        .int("to")?
        .ok_or_else(|| LoadError::bad("attribute to is missing"))?;
    let to = ElemType::from_code(to)?;
    if let ElemType::Narrow(..) = to {
        return Err(LoadError::unsupported(
            "casts to integers below 8 bits are not supported",
        ));
    }
    if let (Some(x), Some(&y)) = (c.input(0), c.outputs.first()) {
        c.builder.same_shape(x, y);
    }
    Ok(Op::Cast { to: to.dtype() }.into())
}

fn dropout(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    c.attrs.ignore("ratio");
    c.attrs.ignore("seed");
    if let Some(mode) = c.input(2) {
        let off = c
            .builder
            .graph
            .constants
            .get(&mode)
            .is_some_and(|t| *t.data() == tensor::Data::Bool(vec![false]));
        if !off {
            return Err(LoadError::unsupported("this is the training form of Dropout")
                .help("export the model in inference mode (model.eval())"));
        }
    }
    // The mask: whoever reads it gets an error that names it.
    c.outputs.truncate(1);
    c.keep_inputs(1);
    Ok(Op::Dropout.into())
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    match op {
        Op::ConstantOfShape { value } => node.tensor("value", value),
        Op::Shape { start, end } => {
            node.int("start", *start);
            if let Some(end) = end {
                node.int("end", *end);
            }
        }
        Op::Cast { to } => node.int("to", type_code(*to)),
        _ => {}
    }
}
