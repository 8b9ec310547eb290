//! Gemm and MatMul.

use super::{Row, row};
use crate::onnx::write::NodeWriter;
use crate::op::Op;

pub(super) const ROWS: &[Row] = &[
    row("Gemm", (2, 3), (1, 1), |c| {
        Ok(Op::Gemm {
            alpha: c.attrs.float_or("alpha", 1.0)?,
            beta: c.attrs.float_or("beta", 1.0)?,
            trans_a: c.attrs.flag("transA", false)?,
            trans_b: c.attrs.flag("transB", false)?,
        }
        .into())
    }),
    row("MatMul", (2, 2), (1, 1), |_| Ok(Op::MatMul.into())),
];

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    if let Op::Gemm {
        alpha,
        beta,
        trans_a,
        trans_b,
    } = op
    {
        node.float("alpha", *alpha);
        node.float("beta", *beta);
        node.flag("transA", *trans_a);
        node.flag("transB", *trans_b);
    }
}
