//! Plain scalar meaning of every operator, float and integer.
//!
//! [`evaluate`] computes one operator on tensors in ONNX order, with the exact steps of `FORMAT.md` 1.15.
//! [`Program`] runs a quantized graph by the integer rules of part 1, over i64.
//! Speed is no aim, agreement is: the fast kernels must give the same bytes.

mod ops;
mod program;

use graph::Op;
use tensor::Tensor;

pub use ops::evaluate;
pub use program::{Held, Program, ProgramError};

/// [`evaluate`] as what the passes of `graph` fold constants with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

impl graph::Evaluate for Reference {
    fn evaluate(&self, op: &Op, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>, String> {
        evaluate(op, inputs, outputs)
    }
}
