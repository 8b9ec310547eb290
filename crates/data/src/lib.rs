//! Data sets, pictures, letterbox, training batches, drawing, synthetic scenes.
//!
//! ```text
//! bytes ─picture::decode─▶ Picture ─prepare─▶ (Tensor, Placement) … ─▶ [Detection] ─draw, write─▶ Picture, text
//! DIR   ─read::open─▶ Dataset { names, pictures: [Entry { path, objects }], notes }
//! .nii .nii.gz .npy .npz ─volume::read─▶ Volume { shape, values } … ─▶ mask ─volume::encode─▶ bytes
//! ```
//!
//! Pictures and annotation files are untrusted: sizes are checked before anything is allocated, every error says
//! which file and where, nothing panics. This crate writes no file: [`mod@write`] and [`picture`] return text and bytes.

pub mod augment;
pub mod cube;
pub mod draw;
pub mod picture;
mod plain;
mod prepare;
pub mod read;
pub mod resize;
mod rng;
pub mod synth;
pub mod volume;
pub mod write;

pub use picture::Picture;
pub use prepare::{PrepareError, prepare, prepare_into};
