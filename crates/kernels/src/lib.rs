//! Float32 and integer kernels with run-time dispatch, and the thread pool. The only crate with `unsafe`.
//!
//! All activations are dense channels-last arrays `[batch, depth, height, width, channels]`; one- and two-dimensional
//! pictures have leading spatial axes of 1. Weights come in ONNX order and are packed when a kernel object is made:
//! packed formats are private to this crate.

// Most rows are of x86-64; what only they use is left over elsewhere.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports))]

mod broadcast;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod float;
mod geometry;
pub mod int;
mod isa;
pub mod layout;
mod memory;
pub mod peak;
mod pick;
mod pool;
mod shape;
mod split;
mod view;
mod window;

pub use broadcast::Broadcast;
pub use isa::Isa;
pub use memory::return_large_blocks;
pub use pick::{Picks, pick};
pub use pool::Pool;
pub use shape::{ConvShape, PoolShape, picture, three};
pub use view::{Out, Pixels};
