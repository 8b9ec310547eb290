//! What is trained: options, parameters, and what a program gives.

mod options;
mod parameter;

pub use options::{
    AlphaDerivative, BatchNormMode, FakeQuantizer, ProgramOptions, QuantizerGradient, Rounding,
};
pub use parameter::{Parameter, ParameterKind, Port};
