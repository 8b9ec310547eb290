//! Operators of two elements with numpy broadcasting.

use super::rows::rows;
use crate::{Broadcast, Isa, Pool};

/// A function of two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    /// `b` where it is larger; `a` where either is NaN.
    Max,
    /// `b` where it is smaller; `a` where either is NaN.
    Min,
    /// `a · b` where a < 0.
    PRelu,
}

impl BinaryOp {
    /// The scalar meaning.
    #[inline(always)]
    pub fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
            BinaryOp::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            BinaryOp::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
        }
    }
}

/// Writes `op` of `a` and `b`, broadcast to the shape of `y`.
pub fn binary(pool: &Pool, isa: Isa, op: BinaryOp, shape: &Broadcast, a: &[f32], b: &[f32], y: &mut [f32]) {
    let row = rows(isa).binary;
    // SAFETY: `rows` gives only what this CPU runs.
    shape.for_rows(pool, a, b, y, |a, b, y| unsafe { row(op, a, b, y) });
}
