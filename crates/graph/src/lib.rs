//! The one graph of lowbit: what an ONNX file means, what quantization adds to it, and nothing of how it runs.
//!
//! A [`Graph`] is a list of nodes in execution order over an arena of values. Operators ([`Op`]) are a closed set in
//! the form of ONNX's newest opset: older forms are lifted when a file is read. Quantization adds
//! [annotations](crate::annotation): a grid with codes and scales on a weight, a quantizer on an edge.

pub mod annotation;
mod evaluate;
mod function;
mod graph;
pub mod halves;
pub mod onnx;
mod op;
pub mod passes;
pub mod planes;
mod resize;
mod rule;
pub mod shape;

pub use annotation::{EdgeQuantizer, Merged, Point, WeightAnnotation};
pub use evaluate::{Evaluate, NoEvaluator};
pub use function::real_function;
pub use graph::{Graph, GraphError, Node, NodeId, Value, ValueId};
pub use op::*;
pub use planes::Planes;
pub use resize::{ResizeAxis, resize_axes};
pub use rule::IntegerRule;
