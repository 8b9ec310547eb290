//! Gathers and scatters.

use super::{Row, row};
use crate::onnx::error::LoadError;
use crate::onnx::write::NodeWriter;
use crate::op::Op;

pub(super) const ROWS: &[Row] = &[
    row("Gather", (2, 2), (1, 1), |c| {
        let axis = c.attrs.int_or("axis", 0)?;
        Ok(Op::Gather { axis }.into())
    }),
    row("GatherElements", (2, 2), (1, 1), |c| {
        let axis = c.attrs.int_or("axis", 0)?;
        Ok(Op::GatherElements { axis }.into())
    }),
    row("GatherND", (2, 2), (1, 1), |c| {
        let dims = c.attrs.int_or("batch_dims", 0)?;
        let batch_dims = usize::try_from(dims)
            .ok()
            .filter(|&d| d < 32)
            .ok_or_else(|| LoadError::bad(format!("batch_dims is {dims}; only 0 … 31 are possible")))?;
        Ok(Op::GatherND { batch_dims }.into())
    }),
    row("ScatterND", (3, 3), (1, 1), |c| {
        c.attrs.choice("reduction", "none", &[("none", ())])?;
        Ok(Op::ScatterND.into())
    }),
];

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    match *op {
        Op::Gather { axis } | Op::GatherElements { axis } => node.int("axis", axis),
        Op::GatherND { batch_dims } => node.int("batch_dims", batch_dims as i64),
        _ => {}
    }
}
