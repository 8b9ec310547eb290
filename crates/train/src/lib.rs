//! Training in low bits.
//!
//! A graph becomes a training program: a flat list of instructions, forward and backward, derived once for a graph and a batch size.
//! An [`exec::Exec`] runs it. All numbers that go in and out (parameters, gradients, inputs, outputs) are f32 in ONNX's order, so
//! optimizers, losses and weight methods know neither layouts nor devices.

pub mod checkpoint;
pub mod dropout;
pub mod exchange;
pub mod exec;
pub mod export;
pub mod loss;
pub mod method;
pub mod optimizer;
pub mod program;
pub mod recipe;
pub mod trainer;
pub mod zoo;
