//! What can go wrong, each with node, operator and a way out.

use graph::ValueId;
use tensor::DType;

/// Why no plan was made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CompileError {
    #[error(transparent)]
    Graph(#[from] graph::GraphError),
    #[error(
        "input \"{input}\": its shape is not fixed; give every dimension a number (`--dim NAME=N`, `ReadOptions::dimensions`)"
    )]
    DynamicInput { input: String },
    #[error("node \"{node}\" ({op}): {reason}")]
    Node {
        node: String,
        op: &'static str,
        reason: String,
    },
    #[error(
        "{} products of this plan run in float: {}; quantize these layers, or run without --deny-float",
        .nodes.len(), list(.nodes)
    )]
    FloatProducts {
        /// (node, reason), in node order.
        nodes: Vec<(String, String)>,
    },
    #[error(
        "the plan needs {need} bytes ({weights} of weights, {activations} of activations), the limit is {limit}; \
         raise --limit-mem or compile for a smaller input"
    )]
    Memory {
        need: usize,
        weights: usize,
        activations: usize,
        limit: usize,
    },
    #[error("annotation of \"{value}\": {reason}; the file that it came from is damaged")]
    Annotation { value: String, reason: String },
    #[error("this CPU does not run {isa}; usable: {usable}")]
    Isa { isa: &'static str, usable: String },
}

fn list(nodes: &[(String, String)]) -> String {
    let mut out: Vec<String> = nodes
        .iter()
        .take(8)
        .map(|(node, reason)| format!("\"{node}\" ({reason})"))
        .collect();
    if nodes.len() > 8 {
        out.push(format!("{} more", nodes.len() - 8));
    }
    out.join(", ")
}

/// Why a run gave no result. The plan stays usable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum RunError {
    #[error("input \"{input}\" is missing; the plan's inputs are {inputs}")]
    MissingInput { input: String, inputs: String },
    #[error("there is no input \"{input}\"; the plan's inputs are {inputs}")]
    UnknownInput { input: String, inputs: String },
    #[error(
        "input \"{input}\" is {have:?} {have_shape:?}, the plan was compiled for {want:?} {want_shape:?}"
    )]
    InputType {
        input: String,
        have: DType,
        have_shape: Vec<usize>,
        want: DType,
        want_shape: Vec<usize>,
    },
    #[error("cancelled before node \"{node}\"")]
    Cancelled { node: String },
    #[error("the time limit was reached before node \"{node}\"")]
    Deadline { node: String },
    #[error("no memory for {bytes} bytes of activations")]
    Memory { bytes: usize },
    #[error("node \"{node}\" ({op}): {reason}")]
    Node {
        node: String,
        op: &'static str,
        reason: String,
    },
}

/// A fault inside of a lowering, before the node is named.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Fault(reason)
    }
}

impl From<graph::shape::ShapeFault> for Fault {
    fn from(fault: graph::shape::ShapeFault) -> Self {
        Fault(fault.message().to_string())
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Fault(reason.to_string())
    }
}

impl Fault {
    /// A value whose shape or type inference did not find.
    pub(crate) fn unknown(graph: &graph::Graph, value: ValueId) -> Fault {
        let name = &graph.value(value).name;
        Fault(format!(
            "the shape of \"{name}\" is not known before the model runs; fix the input's dimensions and simplify the graph first"
        ))
    }
}
