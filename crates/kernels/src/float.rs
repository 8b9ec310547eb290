//! Float32 kernels; the rules are in `FORMAT.md` 1.15.
//!
//! Every output has one f32 accumulator and a fixed order of terms, each a fused multiply-add or one IEEE operation, so every
//! instruction set and thread count gives the same bytes (a NaN is any NaN). The scalar row of each operator is its meaning.

mod activation;
pub mod backward;
mod binary;
mod conv;
mod element;
mod matmul;
mod rare;
mod resize;
pub(crate) mod rows;
mod simd;
mod softmax;
pub mod spiking;
mod window;

pub use crate::int::{Divisor, Edge, Linear, LinearAxis, dequantize, quantize};
pub use activation::{Activation, activate};
pub use binary::{BinaryOp, binary};
pub use conv::{Conv, LengthError};
pub use matmul::{MatMul, matmul};
pub use rare::Rare;
pub use resize::resize_linear;
pub use softmax::softmax;
pub use window::{average_pool, global_average, max_pool};
