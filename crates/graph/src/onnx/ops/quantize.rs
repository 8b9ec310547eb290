//! QuantizeLinear and DequantizeLinear as plain nodes; `lift` turns them into annotations where it can.

use tensor::{DType, Tensor};

use super::{Context, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::io::ElemType;
use crate::onnx::write::NodeWriter;
use crate::op::Op;

pub(super) const ROWS: &[Row] = &[
    row("QuantizeLinear", (2, 3), (1, 1), |c| {
        scales(c)?;
        // How float8 targets saturate, and the type of the division: both without effect on integers in f32.
        c.attrs.ignore("saturate");
        c.attrs.ignore("precision");
        let axis = axis(c)?;
        if let Some(code) = c.attrs.int("output_dtype")?.filter(|&code| code != 0) {
            let want = ElemType::from_code(code)?;
            let have = c.constant(2).map_or(DType::U8, Tensor::dtype);
            // With a zero point, whose width is known, `lift` judges codes below 8 bits.
            let lost = matches!(want, ElemType::Narrow(..)) && c.constant(2).is_none();
            if want.dtype() != have || lost {
                return Err(LoadError::unsupported(format!(
                    "output_dtype {want} without a zero point of that type"
                ))
                .help("give the node a zero point of the wanted type"));
            }
        }
        Ok(Op::QuantizeLinear { axis }.into())
    }),
    row("DequantizeLinear", (2, 3), (1, 1), |c| {
        scales(c)?;
        let axis = axis(c)?;
        if let Some(code) = c.attrs.int("output_dtype")?.filter(|&code| code != 0) {
            ElemType::from_code(code)?;
        }
        if let (Some(x), Some(&y)) = (c.input(0), c.outputs.first()) {
            c.builder.same_shape(x, y);
        }
        Ok(Op::DequantizeLinear { axis }.into())
    }),
];

/// A scale is a step: finite and above 0.
fn scales(c: &Context<'_, '_, '_>) -> Load<()> {
    let bad = |t: &Tensor| {
        let values = t.as_f32()?;
        values.iter().copied().find(|s| !(s.is_finite() && *s > 0.0))
    };
    match c.constant(1).and_then(bad) {
        Some(s) => Err(LoadError::bad(format!(
            "the scale {s} is not a finite number above 0"
        ))),
        None => Ok(()),
    }
}

fn axis(c: &Context<'_, '_, '_>) -> Load<i64> {
    if c.attrs.int_or("block_size", 0)? != 0 {
        return Err(LoadError::unsupported("quantization in blocks is not supported")
            .help("quantize per tensor or per channel"));
    }
    c.attrs.int_or("axis", 1)
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    if let Op::QuantizeLinear { axis } | Op::DequantizeLinear { axis } = op {
        node.int("axis", *axis);
    }
}
