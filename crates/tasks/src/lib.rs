//! Boxes, heads, NMS and average precision: pure functions without input or output.
//!
//! Anything that yields tensors can be decoded and scored here, also the outputs of other runtimes. Ground truth
//! *files* are read by the `data` crate, which fills the types of [`detect`].

pub mod detect;
pub mod scene;
pub mod segment;
