//! Integer kernels; the rules are in `FORMAT.md` part 1.
//!
//! Codes are u8, accumulators exact integers, and every step from an accumulator to a code is one IEEE operation, so
//! every row of the [`registry`] gives the same bytes. The scalar row of each operator is its meaning; the
//! others are chosen by [`Isa`](crate::Isa) when an object is made and never change a result.

mod binary;
mod conv;
mod convert;
mod copy;
mod events;
mod neurons;
mod registry;
mod resize;
mod rule;
mod simd;
mod table;
mod window;

/// Quads whose sums of products wait in 16 bits where levels are small.
pub(crate) const RUN: usize = 8;

pub use crate::{Broadcast, Out, Picks, Pixels, pick};
pub use binary::{Add, Mul};
pub use conv::{Conv, ConvError, Epilogue, Output, is_fused};
pub use convert::{PLANES, dequantize, quantize, quantize_planes};
pub use copy::copy_channels;
pub use events::{Events, active};
pub use neurons::Neurons;
pub use registry::{Kernel, KernelOp, Parts, registry};
pub use resize::{Linear, LinearAxis};
pub use rule::{BoundError, Edge, bias_level, requantize, rescale_table, scale_ratio};
#[cfg(target_arch = "x86_64")]
pub(crate) use simd::amx;
pub use table::table;
pub use window::{Average, Divisor, average_pool, global_average, max_pool};
