//! Nodes over an arena of values.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tensor::{DType, Tensor};

use crate::annotation::{EdgeQuantizer, WeightAnnotation};
use crate::op::Op;

/// Index of a value in [`Graph`]; stable for the graph's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// Index of a node in [`Graph::nodes`]; valid until nodes are inserted or removed.
pub type NodeId = usize;

/// A tensor that flows: a graph input, a constant, or a node's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name in the file; unique in the graph.
    pub name: String,
    /// Element type, once known.
    pub dtype: Option<DType>,
    /// Shape, once known; a `None` dimension is dynamic.
    pub shape: Option<Vec<Option<usize>>>,
}

impl Value {
    /// The shape, when every dimension is known.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().copied().collect()
    }
}

/// One operator application.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Name in the file, or one made from the first output.
    pub name: String,
    /// Operator with attributes.
    pub op: Op,
    /// Inputs in ONNX's positions; `None` where an optional input is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs; an unused optional output still has a value.
    pub outputs: Vec<ValueId>,
}

/// A structural fault, named by node and value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum GraphError {
    #[error("node \"{node}\": input \"{value}\" is neither a graph input, a constant nor an earlier output")]
    Undefined { node: String, value: String },
    #[error("value \"{value}\" is written twice, the second time by node \"{node}\"")]
    WrittenTwice { node: String, value: String },
    #[error("graph output \"{value}\" is never computed")]
    NoOutput { value: String },
    #[error("the graph has a cycle through node \"{node}\"")]
    Cycle { node: String },
}

/// A model: the same type from the first byte read to the last byte written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// Name in the file.
    pub name: String,
    /// Opset of the default domain in the file it came from.
    pub opset: i64,
    /// Inputs that a caller must supply (never constants).
    pub inputs: Vec<ValueId>,
    /// Results, in order.
    pub outputs: Vec<ValueId>,
    /// Nodes in an order in which every input is computed before it is used.
    pub nodes: Vec<Node>,
    values: Vec<Value>,
    names: HashMap<String, ValueId>,
    /// Constant tensors. A quantized weight is in `weights` instead, never in both.
    pub constants: BTreeMap<ValueId, Tensor>,
    /// Quantized weights.
    pub weights: BTreeMap<ValueId, WeightAnnotation>,
    /// Constants, and weights by their scales, that a packed file stores in 16 bits a number where these hold it exactly ([`crate::halves`]).
    pub halves: BTreeSet<ValueId>,
    /// Quantized edges: graph inputs and node outputs.
    pub edges: BTreeMap<ValueId, EdgeQuantizer>,
    /// Metadata strings of the file: head description, class names, preprocessing, digests.
    pub metadata: BTreeMap<String, String>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Graph {
            name: name.into(),
            opset: 18,
            ..Graph::default()
        }
    }

    /// Adds a value; a taken or empty name gets a numeric suffix.
    pub fn add_value(
        &mut self,
        name: &str,
        dtype: Option<DType>,
        shape: Option<Vec<Option<usize>>>,
    ) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        let base = if name.is_empty() { "value" } else { name };
        let mut unique = base.to_string();
        let mut suffix = self.values.len();
        while self.names.contains_key(&unique) {
            unique = format!("{base}_{suffix}");
            suffix += 1;
        }
        self.names.insert(unique.clone(), id);
        self.values.push(Value {
            name: unique,
            dtype,
            shape,
        });
        id
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: &str, value: Tensor) -> ValueId {
        let shape = value.shape().iter().map(|&d| Some(d)).collect();
        let id = self.add_value(name, Some(value.dtype()), Some(shape));
        self.constants.insert(id, value);
        id
    }

    /// Appends a node with one fresh output named `output`, and returns that output.
    pub fn add_node(&mut self, op: Op, inputs: &[ValueId], output: &str) -> ValueId {
        let out = self.add_value(output, None, None);
        let name = self.value(out).name.clone();
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.iter().map(|&v| Some(v)).collect(),
            outputs: vec![out],
        });
        out
    }

    /// The value behind an id of this graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// The value behind an id of this graph, mutable; its name is changed by [`Graph::rename`] only.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// All ids ever made, used or not.
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len() as u32).map(ValueId)
    }

    /// Finds a value by name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// Renames a value; `false` when the name is taken.
    pub fn rename(&mut self, id: ValueId, name: &str) -> bool {
        if self.names.contains_key(name) {
            return false;
        }
        let old = std::mem::replace(&mut self.values[id.0 as usize].name, name.to_string());
        self.names.remove(&old);
        self.names.insert(name.to_string(), id);
        true
    }

    /// Whether a value is a constant or a quantized weight.
    pub fn is_constant(&self, id: ValueId) -> bool {
        self.constants.contains_key(&id) || self.weights.contains_key(&id)
    }

    /// Input `i` of a node as a plain constant.
    pub fn constant_input(&self, node: &Node, i: usize) -> Option<&Tensor> {
        self.constants.get(&(*node.inputs.get(i)?)?)
    }

    /// For every value, the node that writes it.
    pub fn producers(&self) -> HashMap<ValueId, NodeId> {
        self.nodes
            .iter()
            .enumerate()
            .flat_map(|(n, node)| node.outputs.iter().map(move |&v| (v, n)))
            .collect()
    }

    /// For every value, the nodes that read it, in order; graph outputs are not listed.
    pub fn consumers(&self) -> HashMap<ValueId, Vec<NodeId>> {
        let mut out: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
        for (n, node) in self.nodes.iter().enumerate() {
            for &v in node.inputs.iter().flatten() {
                let readers = out.entry(v).or_default();
                if readers.last() != Some(&n) {
                    readers.push(n);
                }
            }
        }
        out
    }

    /// Makes every reader of `from`, and the graph's outputs, read `to` instead.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        for node in &mut self.nodes {
            for input in node.inputs.iter_mut().flatten() {
                if *input == from {
                    *input = to;
                }
            }
        }
        for output in &mut self.outputs {
            if *output == from {
                *output = to;
            }
        }
    }

    /// Sorts nodes so that every input precedes its use, keeping the given order where it can; linear time.
    ///
    /// # Errors
    /// When the nodes form a cycle.
    pub fn sort(&mut self) -> Result<(), GraphError> {
        let producers = self.producers();
        let mut waiting: Vec<usize> = Vec::with_capacity(self.nodes.len());
        let mut readers: Vec<Vec<NodeId>> = vec![Vec::new(); self.nodes.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            let before: HashSet<NodeId> = node
                .inputs
                .iter()
                .flatten()
                .filter_map(|v| producers.get(v).copied())
                .collect();
            waiting.push(before.len());
            for p in before {
                readers[p].push(n);
            }
        }
        let mut ready: std::collections::BTreeSet<NodeId> =
            (0..self.nodes.len()).filter(|&n| waiting[n] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(n) = ready.pop_first() {
            order.push(n);
            for &r in &readers[n] {
                waiting[r] -= 1;
                if waiting[r] == 0 {
                    ready.insert(r);
                }
            }
        }
        if order.len() != self.nodes.len() {
            let stuck = (0..self.nodes.len()).find(|&n| waiting[n] > 0).unwrap_or(0);
            return Err(GraphError::Cycle {
                node: self.nodes[stuck].name.clone(),
            });
        }
        let mut old: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|n| old[n].take()).collect();
        Ok(())
    }

    /// Checks that every input is defined before its use, nothing is written twice and every output exists.
    ///
    /// # Errors
    /// The first fault, in node order.
    pub fn check(&self) -> Result<(), GraphError> {
        let mut defined: HashSet<ValueId> = self.inputs.iter().copied().collect();
        defined.extend(self.constants.keys());
        defined.extend(self.weights.keys());
        for node in &self.nodes {
            for &v in node.inputs.iter().flatten() {
                if !defined.contains(&v) {
                    let value = self.value(v).name.clone();
                    return Err(GraphError::Undefined {
                        node: node.name.clone(),
                        value,
                    });
                }
            }
            for &v in &node.outputs {
                if !defined.insert(v) {
                    let value = self.value(v).name.clone();
                    return Err(GraphError::WrittenTwice {
                        node: node.name.clone(),
                        value,
                    });
                }
            }
        }
        match self.outputs.iter().find(|v| !defined.contains(v)) {
            Some(&v) => Err(GraphError::NoOutput {
                value: self.value(v).name.clone(),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Unary;

    #[test]
    fn sort_mends_a_shuffled_graph_and_names_a_cycle() {
        let mut g = Graph::new("t");
        let x = g.add_value("x", None, None);
        g.inputs.push(x);
        let a = g.add_node(Op::Unary(Unary::Relu), &[x], "a");
        let b = g.add_node(Op::Unary(Unary::Sigmoid), &[a], "b");
        g.outputs.push(b);
        g.nodes.swap(0, 1);
        assert!(g.check().is_err());
        g.sort().unwrap();
        g.check().unwrap();
        g.nodes[0].inputs[0] = Some(b);
        assert!(matches!(g.sort(), Err(GraphError::Cycle { .. })));
    }

    #[test]
    fn names_stay_unique() {
        let mut g = Graph::new("t");
        let a = g.add_value("x", None, None);
        let b = g.add_value("x", None, None);
        assert_ne!(g.value(a).name, g.value(b).name);
        assert!(!g.rename(b, "x"));
        assert!(g.rename(b, "y"));
        assert_eq!(g.find("y"), Some(b));
    }
}
