//! Passes: each one file, each a function from graph to graph; [`simplify`] runs them until nothing changes.

mod activations;
mod affine;
mod batch_norm;
mod bypass;
mod clamps;
mod dead;
mod fold;
mod identity;
mod linear;
mod pad;
mod reshape;
mod scale;
mod transpose;
mod unfold;
mod view;

use crate::evaluate::Evaluate;
use crate::graph::{Graph, GraphError};
use crate::onnx::ErrorKind;
use crate::shape::{self, ShapeError};

pub use unfold::unfold_batch_norm;

/// What folding may cost: a small file must not unfold to a large model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Bytes that folding may add to the model's constants.
    pub constant_bytes: usize,
    /// … and at most this many times the constants that the model came with.
    pub growth: usize,
    /// Nodes that may be evaluated.
    pub nodes: usize,
    /// Steps (elements read, written or multiplied) that evaluation may take in all.
    pub work: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            constant_bytes: 64 << 20,
            growth: 10,
            nodes: 100_000,
            work: 1 << 28,
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
    run(graph, evaluator, budget, true)
}

/// As [`simplify`], but BatchNormalization stays where the model has it: it is trained unfolded.
///
/// # Errors
/// As [`simplify`].
pub fn simplify_for_training(
    graph: &mut Graph,
    evaluator: &dyn Evaluate,
    budget: &Budget,
) -> Result<(), PassError> {
    run(graph, evaluator, budget, false)
}

fn run(
    graph: &mut Graph,
    evaluator: &dyn Evaluate,
    budget: &Budget,
    fold_batch_norm: bool,
) -> Result<(), PassError> {
    graph.check()?;
    let mut account = fold::Account::new(graph, budget);
    for _ in 0..MOST_ROUNDS {
        let known = shape::infer_known(graph)?;
        let folded = fold::run(graph, &known, evaluator, &mut account);
        let mut changes = folded + PASSES.iter().map(|pass| pass(graph)).sum::<usize>();
        if fold_batch_norm {
            changes += batch_norm::run(graph);
        }
        if changes == 0 {
            break;
        }
    }
    shape::infer(graph)?;
    Ok(())
}

/// Passes that need nothing but the graph, in the order in which they prepare each other.
const PASSES: [fn(&mut Graph) -> usize; 10] = [
    dead::run,
    identity::run,
    transpose::run,
    reshape::run,
    linear::run,
    scale::run,
    pad::run,
    clamps::run,
    activations::run,
    dead::run,
];

/// Rounds after which a graph is left as it is: patterns nest a few deep, a file made to nest deeper loses only speed.
const MOST_ROUNDS: usize = 64;

/// Takes nodes out and gives their number.
fn remove(graph: &mut Graph, gone: &[bool]) -> usize {
    let mut flags = gone.iter();
    graph.nodes.retain(|_| flags.next() != Some(&true));
    gone.iter().filter(|&&g| g).count()
}
