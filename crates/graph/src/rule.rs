//! Which part of `FORMAT.md` an operator belongs to.

use crate::op::{Binary, Op, PadMode, ReduceKind, ResizeMode, Unary};

/// An integer rule of `FORMAT.md`, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntegerRule {
    /// 1.3, 1.4: a product with a quantized weight.
    Product,
    /// 1.5: a table.
    Table,
    /// 1.6: the sum or difference of two edges.
    Sum,
    /// 1.7: the product of two edges.
    Times,
    /// 1.8: codes move.
    Moves,
    /// 1.9: an average.
    Average,
    /// 1.10: interpolation.
    Interpolates,
    /// 1.16: neurons over the sums of a product.
    Fires,
}

impl Op {
    /// The rule by the kind of the operator alone. Whether a node follows it depends on its inputs, attributes and quantizers;
    /// `None` is a float operator in any case (1.11).
    ///
    /// ```
    /// use graph::{IntegerRule, Op};
    /// assert_eq!(Op::Transpose { perm: None }.integer_rule(), Some(IntegerRule::Moves));
    /// assert_eq!(Op::Softmax { axis: 1 }.integer_rule(), None);
    /// ```
    pub fn integer_rule(&self) -> Option<IntegerRule> {
        Some(match self {
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } | Op::MatMul => IntegerRule::Product,
            Op::Unary(Unary::Not | Unary::IsNaN) => return None,
            Op::Unary(_) | Op::Clip => IntegerRule::Table,
            Op::Binary(Binary::Add | Binary::Sub) => IntegerRule::Sum,
            Op::Binary(Binary::Mul) => IntegerRule::Times,
            Op::AveragePool(_)
            | Op::GlobalAveragePool
            | Op::Reduce {
                kind: ReduceKind::Mean,
                ..
            } => IntegerRule::Average,
            Op::Resize(r) => match r.mode {
                ResizeMode::Nearest => IntegerRule::Moves,
                ResizeMode::Linear => IntegerRule::Interpolates,
            },
            Op::Concat { .. } | Op::MaxPool(_) | Op::GlobalMaxPool => IntegerRule::Moves,
            Op::IntegrateFire(_) => IntegerRule::Fires,
            op if op.only_moves() => IntegerRule::Moves,
            _ => return None,
        })
    }

    /// Whether every element of the outputs is one of the first input at another place, or a constant: for such operators 1.8 is all
    /// there is, in integers and in float.
    pub fn only_moves(&self) -> bool {
        matches!(
            self,
            Op::Slice
                | Op::Split { .. }
                | Op::Pad {
                    mode: PadMode::Constant
                }
                | Op::Transpose { .. }
                | Op::Reshape { .. }
                | Op::Flatten { .. }
                | Op::Squeeze
                | Op::Unsqueeze
                | Op::DepthToSpace { .. }
                | Op::SpaceToDepth { .. }
                | Op::Gather { .. }
                | Op::Expand
                | Op::Tile
                | Op::Identity
        )
    }
}
