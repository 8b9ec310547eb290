//! Shapes, element types, dense tensors and bit packing: what every other crate shares.
//!
//! A [`Tensor`] is a dense row-major array in the *logical* order of ONNX (NCHW for pictures). Layouts that
//! a processor likes (channels-last, packed panels) belong to `kernels` and `engine` and never appear here.

pub mod bits;
pub mod math;
pub mod planes;
pub mod radix;
mod shape;
mod tensor;
mod window;

pub use shape::{ShapeError, numel, strides};
pub use tensor::{DType, Data, Tensor, TensorError};
pub use window::Window;
