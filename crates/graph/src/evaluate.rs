//! The seam through which constants are computed: graph itself executes nothing.

use tensor::Tensor;

use crate::op::Op;

/// Computes one operator on tensors. `oracle::Reference` is the implementation; passes take it as an argument.
pub trait Evaluate {
    /// The outputs of `op` for these inputs, in ONNX's positions; `None` where an optional input is left out.
    ///
    /// # Errors
    /// A sentence why the operator has no result for these inputs; the caller then leaves the node as it is.
    fn evaluate(&self, op: &Op, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>, String>;
}

/// Evaluates nothing: for passes that need no constants computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvaluator;

impl Evaluate for NoEvaluator {
    fn evaluate(&self, op: &Op, _: &[Option<&Tensor>], _: usize) -> Result<Vec<Tensor>, String> {
        Err(format!("{} is not evaluated here", op.name()))
    }
}
