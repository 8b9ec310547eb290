//! Quantize any ONNX detector to 2-8 bits and run it in integers.

pub mod control;
pub mod doctor;
mod error;
pub mod output;
pub mod provenance;
pub mod text;

pub use control::{Control, Progress};
pub use doctor::doctor;
pub use error::{Error, ErrorKind, Result};
pub use provenance::{Provenance, SCHEMA_VERSION, TOOL_VERSION};
