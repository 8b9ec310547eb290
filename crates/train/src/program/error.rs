//! Why no program could be derived.

/// A graph that cannot be trained, with what stands in the way.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProgramError {
    #[error("node \"{node}\" ({op}) cannot be trained: {reason}")]
    Node {
        node: String,
        op: &'static str,
        reason: String,
    },
    #[error("there is no value \"{name}\" in the graph to be {role}")]
    NoValue { name: String, role: &'static str },
    #[error("the quantizer on \"{edge}\" is none: {reason}")]
    Quantizer { edge: String, reason: String },
    #[error(
        "input \"{input}\" has the shape {shape}; training wants f32 with all dimensions but the batch fixed"
    )]
    Input { input: String, shape: String },
    #[error("a batch of {batch} does not fit the graph: {reason}")]
    Batch { batch: usize, reason: String },
    #[error(transparent)]
    Shape(#[from] graph::shape::ShapeError),
    #[error(transparent)]
    Structure(#[from] graph::GraphError),
    #[error("a value of {elements} elements is too large")]
    TooLarge { elements: usize },
}

/// What an operator's lowering says; the node is added by the caller.
pub(super) struct Fault(pub(super) String);

impl From<graph::shape::ShapeFault> for Fault {
    fn from(fault: graph::shape::ShapeFault) -> Self {
        Fault(fault.message().to_string())
    }
}

impl From<&str> for Fault {
    fn from(s: &str) -> Self {
        Fault(s.into())
    }
}

impl From<String> for Fault {
    fn from(s: String) -> Self {
        Fault(s)
    }
}
