//! Reductions, arg-reductions, TopK, non-maximum suppression, running sums.

use tensor::Tensor;

use super::{Context, Parsed, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::write::NodeWriter;
use crate::op::{Op, ReduceKind};

pub(super) const ROWS: &[Row] = &[
    row("ReduceSum", (1, 2), (1, 1), |c| reduce(c, ReduceKind::Sum)),
    row("ReduceMean", (1, 2), (1, 1), |c| reduce(c, ReduceKind::Mean)),
    row("ReduceMax", (1, 2), (1, 1), |c| reduce(c, ReduceKind::Max)),
    row("ReduceMin", (1, 2), (1, 1), |c| reduce(c, ReduceKind::Min)),
    row("ReduceProd", (1, 2), (1, 1), |c| reduce(c, ReduceKind::Prod)),
    row("ReduceL1", (1, 2), (1, 1), |c| reduce(c, ReduceKind::L1)),
    row("ReduceL2", (1, 2), (1, 1), |c| reduce(c, ReduceKind::L2)),
    row("ReduceSumSquare", (1, 2), (1, 1), |c| {
        reduce(c, ReduceKind::SumSquare)
    }),
    row("ReduceLogSumExp", (1, 2), (1, 1), |c| {
        reduce(c, ReduceKind::LogSumExp)
    }),
    row("ArgMax", (1, 1), (1, 1), |c| {
        Ok(Op::ArgMax {
            axis: c.attrs.int_or("axis", 0)?,
            keep_dims: c.attrs.flag("keepdims", true)?,
            select_last: c.attrs.flag("select_last_index", false)?,
        }
        .into())
    }),
    row("ArgMin", (1, 1), (1, 1), |c| {
        Ok(Op::ArgMin {
            axis: c.attrs.int_or("axis", 0)?,
            keep_dims: c.attrs.flag("keepdims", true)?,
            select_last: c.attrs.flag("select_last_index", false)?,
        }
        .into())
    }),
    row("TopK", (1, 2), (2, 2), top_k),
    row("NonMaxSuppression", (2, 5), (1, 1), |c| {
        let center_point_box = c.attrs.flag("center_point_box", false)?;
        Ok(Op::NonMaxSuppression { center_point_box }.into())
    }),
    row("CumSum", (2, 2), (1, 1), |c| {
        Ok(Op::CumSum {
            exclusive: c.attrs.flag("exclusive", false)?,
            reverse: c.attrs.flag("reverse", false)?,
        }
        .into())
    }),
];

/// Axes became an input in opset 13 (ReduceSum) and 18 (the others).
fn reduce(c: &mut Context<'_, '_, '_>, kind: ReduceKind) -> Load<Parsed> {
    let since = if kind == ReduceKind::Sum { 13 } else { 18 };
    if c.opset < since {
        if c.inputs.len() > 1 {
            return Err(LoadError::bad(format!(
                "axes are an input only from opset {since} on"
            )));
        }
        if let Some(axes) = c.attrs.ints("axes")?.map(<[i64]>::to_vec) {
            c.set_constant(1, "axes", Tensor::vector(axes));
        }
    }
    Ok(Op::Reduce {
        kind,
        keep_dims: c.attrs.flag("keepdims", true)?,
        noop_with_empty_axes: c.opset >= since && c.attrs.flag("noop_with_empty_axes", false)?,
    }
    .into())
}

/// k became an input in opset 10.
fn top_k(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    if c.opset < 10 {
        let k = c.attrs.int("k")?.filter(|k| *k >= 0);
        let k = k.ok_or_else(|| LoadError::bad("attribute k is missing or negative"))?;
        c.set_constant(1, "k", Tensor::vector(vec![k]));
    } else if c.input(1).is_none() {
        return Err(LoadError::bad("input k is missing"));
    }
    Ok(Op::TopK {
        axis: c.attrs.int_or("axis", -1)?,
        largest: c.attrs.flag("largest", true)?,
        sorted: c.attrs.flag("sorted", true)?,
    }
    .into())
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    match *op {
        Op::Reduce {
            keep_dims,
            noop_with_empty_axes,
            ..
        } => {
            node.flag("keepdims", keep_dims);
            node.flag("noop_with_empty_axes", noop_with_empty_axes);
        }
        Op::ArgMax {
            axis,
            keep_dims,
            select_last,
        }
        | Op::ArgMin {
            axis,
            keep_dims,
            select_last,
        } => {
            node.int("axis", axis);
            node.flag("keepdims", keep_dims);
            node.flag("select_last_index", select_last);
        }
        Op::TopK {
            axis,
            largest,
            sorted,
        } => {
            node.int("axis", axis);
            node.flag("largest", largest);
            node.flag("sorted", sorted);
        }
        Op::NonMaxSuppression { center_point_box } => node.flag("center_point_box", center_point_box),
        Op::CumSum { exclusive, reverse } => {
            node.flag("exclusive", exclusive);
            node.flag("reverse", reverse);
        }
        _ => {}
    }
}
