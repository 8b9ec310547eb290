//! Batch, instance and layer normalization; Softmax.

use super::{Context, Parsed, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::write::NodeWriter;
use crate::op::Op;

pub(super) const ROWS: &[Row] = &[
    row("BatchNormalization", (5, 5), (1, 5), batch_normalization),
    row("InstanceNormalization", (3, 3), (1, 1), |c| {
        let epsilon = c.attrs.float_or("epsilon", 1e-5)?;
        Ok(Op::InstanceNormalization { epsilon }.into())
    }),
    row("LayerNormalization", (2, 3), (1, 1), |c| {
        // The type of intermediate results: everything here is f32 anyway.
        c.attrs.ignore("stash_type");
        Ok(Op::LayerNormalization {
            axis: c.attrs.int_or("axis", -1)?,
            epsilon: c.attrs.float_or("epsilon", 1e-5)?,
        }
        .into())
    }),
    row("Softmax", (1, 1), (1, 1), |c| {
        softmax(c, |axis| Op::Softmax { axis })
    }),
    row("LogSoftmax", (1, 1), (1, 1), |c| {
        softmax(c, |axis| Op::LogSoftmax { axis })
    }),
];

fn batch_normalization(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    // How running statistics would be updated in training.
    c.attrs.ignore("momentum");
    if c.attrs.flag("training_mode", false)? || c.outputs.len() > 1 {
        return Err(
            LoadError::unsupported("this is the training form of BatchNormalization")
                .help("export the model in inference mode (model.eval())"),
        );
    }
    if !c.attrs.flag("spatial", true)? {
        return Err(LoadError::unsupported("spatial = 0 is not supported"));
    }
    let epsilon = c.attrs.float_or("epsilon", 1e-5)?;
    Ok(Op::BatchNormalization { epsilon }.into())
}

/// Before opset 13 the axes from `axis` on were one; that equals the newest meaning when `axis` is the last axis, and is
/// otherwise written out as Flatten, Softmax over the last axis, Reshape.
fn softmax(c: &mut Context<'_, '_, '_>, make: fn(i64) -> Op) -> Load<Parsed> {
    if c.opset >= 13 {
        return Ok(make(c.attrs.int_or("axis", -1)?).into());
    }
    let axis = c.attrs.int_or("axis", 1)?;
    let Some(x) = c.input(0) else {
        return Err(LoadError::bad("the input is left out"));
    };
    let rank = c
        .builder
        .known_rank(x)
        .or_else(|| c.builder.known_rank(*c.outputs.first()?));
    if axis == -1 || rank.is_some_and(|r| r as i64 == axis.saturating_add(1)) {
        return Ok(make(axis).into());
    }
    let shape = c.emit(Op::Shape { start: 0, end: None }, &[x], "shape")?;
    let flat = c.emit(Op::Flatten { axis }, &[x], "flat")?;
    let soft = c.emit(make(-1), &[flat], "softmax")?;
    c.inputs = vec![Some(soft), Some(shape)];
    Ok(Op::Reshape { allow_zero: false }.into())
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    match *op {
        Op::BatchNormalization { epsilon } | Op::InstanceNormalization { epsilon } => {
            node.float("epsilon", epsilon);
        }
        Op::LayerNormalization { axis, epsilon } => {
            node.int("axis", axis);
            node.float("epsilon", epsilon);
        }
        Op::Softmax { axis } | Op::LogSoftmax { axis } => node.int("axis", axis),
        _ => {}
    }
}
