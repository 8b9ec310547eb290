//! One float node alone, for calibration that goes layer by layer.

use graph::{Graph, Node, NodeId, ValueId};
use kernels::{Isa, Pool};
use tensor::Tensor;

use crate::compile::compile;
use crate::error::{CompileError, RunError};
use crate::plan::{Options, Plan};

/// A node of a graph with its constants, in f32 whatever annotations say; a quantized weight is decoded.
#[derive(Debug)]
pub struct Step {
    plan: Plan,
    inputs: Vec<String>,
}

impl Step {
    /// Packs one node. Shapes of its inputs and outputs must be fixed.
    ///
    /// # Errors
    /// As [`compile`](crate::compile()).
    pub fn new(graph: &Graph, node: NodeId, isa: Isa) -> Result<Step, CompileError> {
        let mut alone = Graph::new(graph.name.clone());
        let from = &graph.nodes[node];
        let mut copy = |v: ValueId, given: bool| {
            let value = graph.value(v);
            if let Some(id) = alone.find(&value.name) {
                return id;
            }
            let id = alone.add_value(&value.name, value.dtype, value.shape.clone());
            match (graph.constants.get(&v), graph.weights.get(&v)) {
                (Some(tensor), _) => drop(alone.constants.insert(id, tensor.clone())),
                (None, Some(weight)) => drop(alone.weights.insert(id, weight.clone())),
                (None, None) if given => alone.inputs.push(id),
                (None, None) => alone.outputs.push(id),
            }
            id
        };
        let inputs = from.inputs.iter().map(|v| v.map(|v| copy(v, true))).collect();
        let outputs = from.outputs.iter().map(|&v| copy(v, false)).collect();
        alone.nodes.push(Node {
            name: from.name.clone(),
            op: from.op.clone(),
            inputs,
            outputs,
        });
        let options = Options {
            isa,
            ..Options::default()
        };
        Ok(Step {
            plan: compile(&alone, &options)?,
            inputs: alone
                .inputs
                .iter()
                .map(|&v| alone.value(v).name.clone())
                .collect(),
        })
    }

    /// Outputs of the node from its inputs that are no constants, each once, in the node's order; all in ONNX order.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run(&self, pool: &Pool, inputs: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
        let named: Vec<(&str, &Tensor)> = self
            .inputs
            .iter()
            .map(String::as_str)
            .zip(inputs.iter().copied())
            .collect();
        let outputs = self.plan.run(pool, &named)?;
        Ok(outputs.into_iter().map(|(_, tensor)| tensor).collect())
    }
}
