//! Backward of float operators, and what only training needs.
//!
//! Every sum over pixels is cut into parts that depend on the shape alone, and the parts are added in their order: the same bits for
//! any number of threads. Unlike the forward kernels, instruction sets may differ in the last bits. Scratch memory is the caller's.

mod activation;
mod copies;
mod depthwise;
mod normalization;
mod plain;
mod pool;
mod quantizer;
mod reduce;
mod softmax;
pub(crate) mod vector;
mod weight;

pub use activation::{activation_backward, derivative_from_output};
pub use copies::{Gather, gather, gather_backward};
pub use normalization::{
    BatchNorm, batch_norm, batch_norm_backward, batch_norm_backward_sums, batch_norm_moments,
    batch_norm_sums, batch_norm_takes,
};
pub use pool::{average_pool_backward, max_pool_backward, resize_linear_backward};
pub use quantizer::{FakeQuantizer, StepGradient, fake_quantize, fake_quantize_backward};
pub use reduce::{Reduce, add_into, channel_sums, expand, reduce, scale, sums_scratch};
pub use softmax::softmax_backward;
pub use weight::WeightGradient;

pub(crate) use depthwise::RunCall;
#[cfg(feature = "cuda")]
pub(crate) use normalization::Ramp;
pub(crate) use plain::GRADIENT as PLAIN;
pub(crate) use reduce::{PARTS, combine};
pub(crate) use weight::{TileCall, part_of};

/// Code of one number of rows of a tile.
pub(crate) struct GradientSize {
    pub(crate) rows: usize,
    pub(crate) tile: unsafe fn(&TileCall),
}

/// The weight gradients of an instruction set.
pub(crate) struct GradientRow {
    pub(crate) dense_name: &'static str,
    pub(crate) depthwise_name: &'static str,
    /// Elements of a register; a panel is two.
    pub(crate) lanes: usize,
    /// Largest first, down to 1.
    pub(crate) sizes: &'static [GradientSize],
    pub(crate) run: unsafe fn(&RunCall),
}
