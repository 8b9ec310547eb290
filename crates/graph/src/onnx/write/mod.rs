//! From the graph to a file. The same graph gives the same bytes, always.

mod edges;
mod halves;
mod node;
mod packed;
mod qdq;

use std::collections::{BTreeMap, HashSet};

use tensor::{DType, Tensor};

use super::error::quoted;
use super::lift::before_clamps;
use super::ops;
use super::packed::{
    DIGEST_KEY, DOMAIN, VERSION, add_rows_function, decode_function, decode_planes_function,
    integrate_fire_function, seal,
};
use super::wire::Writer;
use crate::annotation::{EdgeQuantizer, WeightAnnotation};
use crate::graph::{Graph, GraphError, Node, ValueId};
use crate::op::{Binary, Op, Unary};

pub(crate) use node::{NodeWriter, tensor as tensor_message, value_info};

/// Opset that every operator of the graph can be written in unless it needs a newer one.
const BASE_OPSET: i64 = 18;

/// What a file says of quantization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// Codes of b bits each, with the function that decodes them (FORMAT.md, part 2).
    #[default]
    Packed,
    /// Standard QuantizeLinear and DequantizeLinear with 8 bit weights, for other runtimes' integer kernels.
    Qdq,
    /// The same with int4 weights where their levels fit (opset 21).
    Qdq4,
    /// The same with int4 and int2 weights where their levels fit (opset 25).
    Qdq2,
    /// Decoded float weights and no quantizers.
    Float,
}

impl Form {
    /// Bits of the narrowest weights that the form may write as codes of DequantizeLinear; `None` where it has no such codes.
    fn narrowest(self) -> Option<u32> {
        match self {
            Form::Qdq => Some(8),
            Form::Qdq4 => Some(4),
            Form::Qdq2 => Some(2),
            Form::Packed | Form::Float => None,
        }
    }
}

/// How to write a model.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// What the file says of quantization; a graph without annotations is the same in each.
    pub form: Form,
    /// Version of the program, as the file's `producer_version`.
    pub producer_version: String,
}

/// Why a graph could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum WriteError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("graph {what} {}: its element type is not known; infer shapes before writing", quoted(.name))]
    Untyped { what: &'static str, name: String },
    #[error(
        "node {}: neurons over time have no standard operator; only a packed file brings one",
        quoted(.node)
    )]
    Neurons { node: String },
    #[error("{form:?} form: the annotation of {} cannot be written: {why}", quoted(.name))]
    Annotation { form: Form, name: String, why: String },
    #[error("the model takes {0} bytes, a model file holds 2^31 − 1 at most")]
    TooLarge(usize),
}

/// Writes a model; the weights are always inside.
///
/// # Errors
/// [`WriteError`]: a graph that is not whole, an annotation that the form cannot hold, more than 2 GiB.
pub fn write(graph: &Graph, options: &WriteOptions) -> Result<Vec<u8>, WriteError> {
    graph.check()?;
    let neurons = graph.nodes.iter().find(|n| matches!(n.op, Op::IntegrateFire(_)));
    if let Some(node) = neurons.filter(|_| options.form != Form::Packed) {
        return Err(WriteError::Neurons {
            node: node.name.clone(),
        });
    }
    let mut draft = Draft::new(graph, options.form)?;
    draft.constants()?;
    for &v in &graph.inputs {
        draft.edge(v);
    }
    for node in &graph.nodes {
        draft.graph_node(node);
        for &v in &node.outputs {
            draft.edge(v);
        }
    }
    draft.finish(options)
}

/// A model being written.
struct Draft<'g> {
    graph: &'g Graph,
    form: Form,
    opset: i64,
    nodes: Writer,
    initializers: Writer,
    /// Every name that the file uses.
    names: HashSet<String>,
    /// Under which name a value is read, where it is not its own.
    read_as: BTreeMap<ValueId, String>,
    /// Under which name its node writes it, where it is not its own.
    written_as: BTreeMap<ValueId, String>,
    /// Edges whose quantizers the file spells out.
    edges: BTreeMap<ValueId, EdgeQuantizer>,
    quantizers: edges::Quantizers,
    /// Initializers that hold a table of levels.
    tables: BTreeMap<Vec<i32>, String>,
    no_zero: Option<String>,
    /// Constants and scales of weights that were written in 16 bits, the latter with their names.
    halved: BTreeMap<ValueId, String>,
    /// Whether a `Decode` node was written, a `DecodePlanes` node, and an `AddRows` node.
    decodes: bool,
    decodes_planes: bool,
    adds_rows: bool,
}

impl<'g> Draft<'g> {
    fn new(graph: &'g Graph, form: Form) -> Result<Self, WriteError> {
        let fault = |v: ValueId, why: String| {
            let name = graph.value(v).name.clone();
            WriteError::Annotation { form, name, why }
        };
        for (&v, w) in &graph.weights {
            w.check().map_err(|why| fault(v, why))?;
        }
        let written: HashSet<ValueId> = graph
            .inputs
            .iter()
            .chain(graph.nodes.iter().flat_map(|n| &n.outputs))
            .copied()
            .collect();
        let lent = before_clamps(graph, &|w| form == Form::Packed || qdq::bytes(w).is_some());
        let mut edges = BTreeMap::new();
        // Passes may leave the edge of a value that nothing writes any more.
        for (&v, &q) in graph.edges.iter().filter(|(v, _)| written.contains(v)) {
            q.check().map_err(|why| fault(v, why))?;
            if graph.inputs.contains(&v) && graph.outputs.contains(&v) {
                return Err(fault(
                    v,
                    "a graph input that is a graph output cannot be quantized".into(),
                ));
            }
            if form != Form::Float && lent.get(&v) != Some(&q) {
                edges.insert(v, q);
            }
        }
        let mut draft = Draft {
            graph,
            form,
            opset: BASE_OPSET,
            nodes: Writer::default(),
            initializers: Writer::default(),
            names: written
                .iter()
                .chain(graph.nodes.iter().flat_map(|n| n.inputs.iter().flatten()))
                .chain(&graph.outputs)
                .map(|&v| graph.value(v).name.clone())
                .collect(),
            read_as: BTreeMap::new(),
            written_as: BTreeMap::new(),
            edges,
            quantizers: BTreeMap::new(),
            tables: BTreeMap::new(),
            no_zero: None,
            halved: BTreeMap::new(),
            decodes: false,
            decodes_planes: false,
            adds_rows: false,
        };
        draft.name_edges();
        Ok(draft)
    }

    /// A name that nothing else in the file has.
    fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_string();
        let mut suffix = 1;
        while !self.names.insert(name.clone()) {
            suffix += 1;
            name = format!("{base}_{suffix}");
        }
        name
    }

    fn read_name(&self, v: ValueId) -> &str {
        self.read_as.get(&v).unwrap_or(&self.graph.value(v).name)
    }

    fn write_name(&self, v: ValueId) -> &str {
        self.written_as.get(&v).unwrap_or(&self.graph.value(v).name)
    }

    fn initializer(&mut self, name: &str, value: &Tensor) {
        self.initializers.message(5, |t| node::tensor(name, value, t));
    }

    /// An initializer under a name of its own.
    fn named(&mut self, base: &str, value: &Tensor) -> String {
        let name = self.fresh(base);
        self.initializer(&name, value);
        name
    }

    /// The constants and weights that something reads, in the order in which they are first read.
    fn constants(&mut self) -> Result<(), WriteError> {
        let graph = self.graph;
        let mut read = Vec::new();
        for node in &graph.nodes {
            let int_bias = self.form.narrowest().is_some() && self.bias_codes(node).is_some();
            let inputs = node.inputs.iter().enumerate();
            read.extend(
                inputs
                    .filter(|(i, _)| *i != 2 || !int_bias)
                    .filter_map(|(_, v)| *v),
            );
        }
        read.extend(&graph.outputs);
        let mut seen = HashSet::new();
        read.retain(|&v| seen.insert(v));
        if self.form == Form::Packed {
            self.halves(&read);
        }
        for v in read {
            let name = &graph.value(v).name;
            if let Some(value) = graph.constants.get(&v) {
                if !self.halved.contains_key(&v) {
                    self.initializer(name, value);
                }
            } else if let Some(w) = graph.weights.get(&v) {
                self.weight(v, w).map_err(|why| WriteError::Annotation {
                    form: self.form,
                    name: name.clone(),
                    why,
                })?;
            }
        }
        Ok(())
    }

    fn weight(&mut self, v: ValueId, w: &WeightAnnotation) -> Result<(), String> {
        let name = &self.graph.value(v).name;
        match (self.form, self.form.narrowest(), qdq::bytes(w)) {
            (Form::Packed, ..) => self.packed_weight(v, w),
            (_, Some(narrowest), Some(bytes)) => self.qdq_weight(name, w, bytes, narrowest),
            _ => {
                let value = Tensor::new(w.shape.clone(), w.decode()).map_err(|e| e.to_string())?;
                self.initializer(name, &value);
                Ok(())
            }
        }
    }

    /// A node of the graph: one node of the file, or the pair that stands for Swish.
    fn graph_node(&mut self, node: &Node) {
        let mut inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|v| v.map_or(String::new(), |v| self.read_name(v).to_string()))
            .collect();
        let outputs: Vec<String> = node
            .outputs
            .iter()
            .map(|&v| self.write_name(v).to_string())
            .collect();
        if self.form.narrowest().is_some()
            && let Some(bias) = self.qdq_bias(node)
            && let Some(slot) = inputs.get_mut(2)
        {
            *slot = bias;
        }
        // An optional input that is left out at the end is not there at all.
        while inputs.last().is_some_and(String::is_empty) {
            inputs.pop();
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        match (&node.op, &inputs[..], &outputs[..]) {
            (Op::Unary(Unary::Swish { alpha }), [x], [y]) => self.swish(&node.name, *alpha, x, y),
            (Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. }, ..) => {
                let wide = |v: &Option<ValueId>| {
                    let dtype = v.and_then(|v| self.graph.value(v).dtype);
                    matches!(dtype, Some(DType::I16 | DType::U16))
                };
                if node.inputs.iter().any(wide) {
                    self.opset = self.opset.max(21);
                }
                self.node(&node.name, &node.op, &inputs, &outputs);
            }
            _ => self.node(&node.name, &node.op, &inputs, &outputs),
        }
    }

    /// `x · sigmoid(alpha · x)`, since most runtimes have no `Swish` (opset 24).
    fn swish(&mut self, name: &str, alpha: f32, x: &str, y: &str) {
        let mut inner = x.to_string();
        if alpha != 1.0 {
            let factor = self.fresh(&format!("{y}/alpha"));
            self.initializer(&factor, &Tensor::scalar(alpha));
            inner = self.fresh(&format!("{y}/scaled"));
            self.node(
                &format!("{name}/scaled"),
                &Op::Binary(Binary::Mul),
                &[x, &factor],
                &[&inner],
            );
        }
        let sigmoid = self.fresh(&format!("{y}/sigmoid"));
        let op = Op::Unary(Unary::Sigmoid);
        self.node(&format!("{name}/sigmoid"), &op, &[&inner], &[&sigmoid]);
        self.node(name, &Op::Binary(Binary::Mul), &[x, &sigmoid], &[y]);
    }

    fn node(&mut self, name: &str, op: &Op, inputs: &[&str], outputs: &[&str]) {
        let mut attributes = NodeWriter::new(inputs.len(), outputs.len(), &mut self.opset);
        ops::write(op, &mut attributes);
        let attributes = attributes.into_attributes();
        self.nodes.message(1, |n| {
            inputs.iter().for_each(|i| n.string(1, i));
            outputs.iter().for_each(|o| n.string(2, o));
            n.string(3, name);
            n.string(4, op.name());
            n.append(attributes);
            if let Op::IntegrateFire(_) = op {
                n.string(7, DOMAIN);
            }
        });
    }

    fn finish(self, options: &WriteOptions) -> Result<Vec<u8>, WriteError> {
        let graph = self.graph;
        let mut ends = Writer::default();
        for (field, what, list) in [(11, "input", &graph.inputs), (12, "output", &graph.outputs)] {
            for &v in list {
                let value = graph.value(v);
                let name = value.name.clone();
                let dtype = value.dtype.ok_or(WriteError::Untyped { what, name })?;
                ends.message(field, |m| {
                    node::value_info(&value.name, dtype, value.shape.as_deref(), m)
                });
            }
        }
        let mut model = Writer::default();
        model.int(1, ir_version(self.opset));
        model.string(2, "lowbit");
        model.string(3, &options.producer_version);
        model.message(7, |g| {
            g.append(self.nodes);
            g.string(
                2,
                if graph.name.is_empty() {
                    "graph"
                } else {
                    &graph.name
                },
            );
            g.append(self.initializers);
            g.append(ends);
        });
        model.message(8, |o| {
            o.string(1, "");
            o.int(2, self.opset);
        });
        if options.form == Form::Packed {
            model.message(8, |o| {
                o.string(1, DOMAIN);
                o.int(2, VERSION);
            });
        }
        if self.decodes {
            model.bytes(25, &decode_function());
        }
        if self.decodes_planes {
            model.bytes(25, &decode_planes_function());
        }
        if self.adds_rows {
            model.bytes(25, &add_rows_function());
        }
        if graph.nodes.iter().any(|n| matches!(n.op, Op::IntegrateFire(_))) {
            model.bytes(25, &integrate_fire_function());
        }
        for (key, value) in graph.metadata.iter().filter(|(key, _)| *key != DIGEST_KEY) {
            model.message(14, |m| {
                m.string(1, key);
                m.string(2, value);
            });
        }
        let mut bytes = model.into_bytes();
        if options.form == Form::Packed {
            seal(&mut bytes);
        }
        if bytes.len() > i32::MAX as usize {
            return Err(WriteError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }
}

/// The oldest IR version that allows an opset.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        _ => 13,
    }
}
