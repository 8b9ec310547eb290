//! Where programs run.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

pub use cpu::Cpu;
#[cfg(feature = "cuda")]
pub use cuda::Cuda;

use crate::exchange::ExchangeError;
use crate::program::{Normalization, Program};

/// Which of its forms a program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics where the program has them; backward may follow.
    Train,
    /// Running statistics, which stay; backward may follow.
    TrainFrozen,
    /// Running statistics; nothing is changed, no backward follows.
    Evaluate,
}

impl Mode {
    /// The mode that a backward pass behind a forward one has.
    fn goes_back(self) -> Option<Mode> {
        (self != Mode::Evaluate).then_some(self)
    }
}

/// Why a step did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExecError {
    #[error("{what} has {have} elements, the program wants {want}")]
    Length { what: String, have: usize, want: usize },
    #[error("{have} {what} are given, the program wants {want}")]
    Count {
        what: &'static str,
        have: usize,
        want: usize,
    },
    #[error("backward needs a forward in training mode before it")]
    NoForward,
    #[error("there is no parameter {index}")]
    NoParameter { index: usize },
    #[error("{bytes} bytes of memory could not be had")]
    Memory { bytes: usize },
    #[error("{what}")]
    Device { what: String },
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// Runs a program on some device. Numbers are f32 in ONNX's order.
///
/// The same parameters and inputs give the same bits, for any number of threads; another executor rounds otherwise.
pub trait Exec: Send {
    /// Replaces a parameter: a weight method gives its projected weights here, before [`Exec::forward`].
    ///
    /// # Errors
    /// A wrong number of elements.
    fn set_parameter(&mut self, index: usize, values: &[f32]) -> Result<(), ExecError>;

    /// Reads a parameter back: running statistics change by themselves.
    ///
    /// # Errors
    /// A wrong number of elements.
    fn parameter(&self, index: usize, into: &mut [f32]) -> Result<(), ExecError>;

    /// Computes the outputs of one batch into `outputs`, each made as long as it must be.
    ///
    /// # Errors
    /// Inputs whose number or length is not the program's.
    fn forward(
        &mut self,
        inputs: &[&[f32]],
        mode: Mode,
        outputs: &mut Vec<Vec<f32>>,
    ) -> Result<(), ExecError>;

    /// Computes the gradients of all parameters from those of the outputs of the last [`Exec::forward`].
    ///
    /// # Errors
    /// Gradients whose number or length is not the outputs', or no forward in a training mode before.
    fn backward(&mut self, output_gradients: &[Vec<f32>]) -> Result<(), ExecError>;

    /// Gradient of a parameter after [`Exec::backward`]: zero where no output depends on it.
    ///
    /// # Errors
    /// A wrong number of elements.
    fn gradient(&self, index: usize, into: &mut [f32]) -> Result<(), ExecError>;
}

impl Normalization {
    /// The momentum, where statistics are the batch's and running ones follow.
    fn moving(&self, mode: Mode) -> Option<f32> {
        self.momentum.filter(|_| mode == Mode::Train)
    }
}

fn length(what: impl Into<String>, have: usize, want: usize) -> Result<(), ExecError> {
    match have == want {
        true => Ok(()),
        false => Err(ExecError::Length {
            what: what.into(),
            have,
            want,
        }),
    }
}

fn count(what: &'static str, have: usize, want: usize) -> Result<(), ExecError> {
    match have == want {
        true => Ok(()),
        false => Err(ExecError::Count { what, have, want }),
    }
}

/// Whether a buffer of `have` numbers is one for this parameter.
fn check_parameter(program: &Program, index: usize, have: usize) -> Result<(), ExecError> {
    let parameter = program.parameters().get(index);
    let parameter = parameter.ok_or(ExecError::NoParameter { index })?;
    length(format!("parameter \"{}\"", parameter.name), have, parameter.len())
}

fn check_inputs(program: &Program, inputs: &[&[f32]]) -> Result<(), ExecError> {
    count("inputs", inputs.len(), program.inputs().len())?;
    for (port, x) in program.inputs().iter().zip(inputs) {
        length(format!("input \"{}\"", port.name), x.len(), port.len())?;
    }
    Ok(())
}

fn check_output_gradients(program: &Program, gradients: &[Vec<f32>]) -> Result<(), ExecError> {
    count("output gradients", gradients.len(), program.outputs().len())?;
    for (port, d) in program.outputs().iter().zip(gradients) {
        length(format!("gradient of \"{}\"", port.name), d.len(), port.len())?;
    }
    Ok(())
}
