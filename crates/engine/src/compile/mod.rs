//! From a graph to a plan: one walk over the nodes, each lowered to calls of kernels.

mod check;
mod concat;
mod moved;
mod values;

use std::collections::{BTreeMap, HashMap};

use graph::{Graph, Node, NodeId, ValueId};
use kernels::int::{Conv, ConvError, Edge, Epilogue};
use kernels::{ConvShape, Isa};
use tensor::{DType, numel};

use crate::error::{CompileError, Fault};
use crate::memory::{Buffer, Kind, Scratches, place};
use crate::ops;
use crate::plan::{Layer, MemoryUse, Numbers, Options, Plan, Port, Sight};
use crate::run::{Action, Instruction};
use crate::tune::{Choices, Wanted};
use crate::view::{BufferId, View, onnx_order};
pub(crate) use concat::kind;
pub(crate) use values::{Repr, Want};

/// The state of the walk. Operators see this and nothing else of the compiler.
pub(crate) struct Compiler<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) options: &'g Options,
    /// Quantizers, those that operators hand on (`FORMAT.md` 1.8) included.
    pub(crate) edges: BTreeMap<ValueId, Edge>,
    consumers: HashMap<ValueId, Vec<NodeId>>,
    buffers: Vec<Buffer>,
    instructions: Vec<Instruction>,
    forms: HashMap<ValueId, Vec<values::Form>>,
    /// Values that share a buffer.
    residents: HashMap<BufferId, Vec<ValueId>>,
    /// Of values that hold sums.
    pub(crate) sums: HashMap<ValueId, ops::Sums>,
    concats: concat::Concats,
    layers: Vec<Layer>,
    kernels: Vec<Vec<String>>,
    /// Of nodes that an earlier one computes: which.
    fused: Vec<Option<NodeId>>,
    sights: Vec<Sight>,
    node: NodeId,
    temporaries: usize,
    packed: usize,
    choices: Choices,
    /// Memory for the levels of the weight that is packed.
    pub(crate) levels: Vec<i32>,
}

/// Compiles a graph whose shapes are inferred ([`graph::shape`]); quantized or not, the path is the same.
///
/// # Errors
/// A graph that does not hold together, an input without a fixed shape, an operator that cannot run, products in float where
/// [`Options::deny_float`] forbids them, more memory than [`Options::limit_bytes`].
pub fn compile(graph: &Graph, options: &Options) -> Result<Plan, CompileError> {
    if !options.isa.is_available() {
        let usable: Vec<&str> = Isa::usable().iter().map(|isa| isa.name()).collect();
        return Err(CompileError::Isa {
            isa: options.isa.name(),
            usable: usable.join(", "),
        });
    }
    graph.check()?;
    check::annotations(graph)?;
    let mut cx = Compiler::new(graph, options);
    let inputs = cx.inputs()?;
    for n in 0..graph.nodes.len() {
        cx.node = n;
        if cx.fused[n].is_none() {
            let numbers = ops::lower(&mut cx, n).map_err(|fault| named(&graph.nodes[n], fault))?;
            cx.layers[n].numbers = numbers;
        }
        cx.show(n);
    }
    let outputs = cx.outputs()?;
    cx.finish(inputs, outputs)
}

fn named(node: &Node, fault: Fault) -> CompileError {
    CompileError::Node {
        node: node.name.clone(),
        op: node.op.name(),
        reason: fault.0,
    }
}

impl<'g> Compiler<'g> {
    fn new(graph: &'g Graph, options: &'g Options) -> Self {
        let layer = |(n, node): (NodeId, &Node)| Layer {
            node: n,
            name: node.name.clone(),
            op: node.op.name(),
            kernel: String::new(),
            numbers: Numbers::Integer,
            product: false,
            macs: 0,
            stored_bytes: 0,
            packed_bytes: 0,
            moved_bytes: 0,
        };
        let edges = graph.edges.iter().map(|(&v, q)| (v, ops::edge_of(q)));
        Compiler {
            graph,
            options,
            edges: edges.collect(),
            consumers: graph.consumers(),
            buffers: Vec::new(),
            instructions: Vec::new(),
            forms: HashMap::new(),
            residents: HashMap::new(),
            sums: HashMap::new(),
            concats: concat::Concats::find(graph, options),
            layers: graph.nodes.iter().enumerate().map(layer).collect(),
            kernels: vec![Vec::new(); graph.nodes.len()],
            fused: vec![None; graph.nodes.len()],
            sights: Vec::new(),
            node: 0,
            temporaries: 0,
            packed: 0,
            choices: Choices::default(),
            levels: Vec::new(),
        }
    }

    /// The node that is being lowered, or any other.
    pub(crate) fn node(&self, n: NodeId) -> &'g Node {
        &self.graph.nodes[n]
    }

    /// Name of a value, for sentences.
    pub(crate) fn name(&self, v: ValueId) -> &'g str {
        &self.graph.value(v).name
    }

    /// The instruction set.
    pub(crate) fn isa(&self) -> Isa {
        self.options.isa
    }

    /// An integer convolution of `levels`, by the kernel that the options ask for.
    pub(crate) fn convolution(
        &mut self,
        shape: &ConvShape,
        transposed: bool,
        levels: &[i32],
        epilogue: &Epilogue,
    ) -> Result<Conv, ConvError> {
        let wanted = Wanted {
            shape,
            transposed,
            levels,
            epilogue,
            isa: self.options.isa,
            limit_bytes: self.options.limit_bytes,
        };
        wanted.build(&self.options.tuning, &mut self.choices)
    }

    /// The fixed shape of a value.
    pub(crate) fn shape(&self, v: ValueId) -> Result<Vec<usize>, Fault> {
        let shape = self.graph.value(v).fixed_shape();
        let shape = shape.ok_or_else(|| Fault::unknown(self.graph, v))?;
        numel(&shape).map_err(|e| Fault(e.to_string()))?;
        Ok(shape)
    }

    /// Whether a value is f32 of a fixed shape: what kernels compute with.
    pub(crate) fn is_plain(&self, v: ValueId) -> bool {
        let value = self.graph.value(v);
        matches!(value.dtype, None | Some(DType::F32)) && self.shape(v).is_ok()
    }

    /// The one node that reads a value which is no output of the graph.
    pub(crate) fn sole_reader(&self, v: ValueId) -> Option<NodeId> {
        match self.consumers.get(&v).map(Vec::as_slice) {
            Some(&[n]) if !self.graph.outputs.contains(&v) => Some(n),
            _ => None,
        }
    }

    /// Whether convolutions alone read a value.
    pub(crate) fn feeds_convolutions(&self, v: ValueId) -> bool {
        let readers = self.consumers.get(&v).map_or(&[][..], Vec::as_slice);
        let conv = |&n: &NodeId| matches!(self.node(n).op, graph::Op::Conv(_));
        !readers.is_empty() && readers.iter().all(conv) && !self.graph.outputs.contains(&v)
    }

    /// The reader that may be computed together with the node that writes `v`, unless nothing is to be fused.
    pub(crate) fn fusable(&self, v: ValueId) -> Option<NodeId> {
        let reader = self.sole_reader(v)?;
        let once = self
            .node(reader)
            .inputs
            .iter()
            .flatten()
            .filter(|&&i| i == v)
            .count()
            == 1;
        (once && !self.options.keep_all).then_some(reader)
    }

    /// Says that the node being lowered computes node `n` too.
    pub(crate) fn fuse(&mut self, n: NodeId, numbers: Numbers) {
        self.fused[n] = Some(self.node);
        self.layers[n].numbers = numbers;
    }

    /// A new buffer.
    pub(crate) fn buffer(&mut self, kind: Kind, len: usize) -> BufferId {
        self.buffers.push(Buffer::new(kind, len));
        BufferId(self.buffers.len() - 1)
    }

    /// Appends an instruction.
    pub(crate) fn emit(&mut self, kernel: &str, reads: &[BufferId], writes: &[BufferId], action: Action) {
        let at = self.instructions.len();
        for id in reads.iter().chain(writes) {
            self.buffers[id.0].touch(at);
        }
        self.kernels[self.node].push(kernel.to_string());
        self.instructions.push(Instruction {
            layer: self.node,
            reads: reads.to_vec(),
            writes: writes.to_vec(),
            action,
        });
    }

    /// Describes the node being lowered as a product.
    pub(crate) fn product(&mut self, macs: usize, stored: usize, packed: usize) {
        let layer = &mut self.layers[self.node];
        layer.product = true;
        layer.macs = macs as u64;
        layer.stored_bytes = stored;
        layer.packed_bytes = packed;
        self.packed += packed;
    }

    /// Says that the node being lowered holds that many bytes beside the activations while it runs.
    pub(crate) fn temporary(&mut self, bytes: usize) {
        self.temporaries = self.temporaries.max(bytes);
    }

    /// Makes room for the graph's inputs.
    fn inputs(&mut self) -> Result<Vec<Port>, CompileError> {
        let mut ports = Vec::with_capacity(self.graph.inputs.len());
        for &v in &self.graph.inputs {
            let value = self.graph.value(v);
            let dynamic = || CompileError::DynamicInput {
                input: value.name.clone(),
            };
            let shape = self.shape(v).map_err(|_| dynamic())?;
            let dtype = value.dtype.unwrap_or(DType::F32);
            let kind = if dtype == DType::F32 {
                Kind::Reals
            } else {
                Kind::Tensor
            };
            let buffer = self.buffer(kind, shape.iter().product());
            // Inputs are written before the first instruction.
            self.buffers[buffer.0].touch(0);
            let view = View::dense(buffer, &shape, &onnx_order(shape.len()));
            match dtype {
                DType::F32 => self.hold_float(v, view.clone()),
                _ => self.hold(v, Repr::Tensor, view.clone()),
            }
            ports.push(Port {
                value: v,
                name: value.name.clone(),
                dtype,
                view: Some(view),
                buffer,
                edge: None,
                sums: false,
            });
        }
        Ok(ports)
    }

    /// What can be shown of a node.
    fn show(&mut self, n: NodeId) {
        let after = self.instructions.len();
        for &v in &self.node(n).outputs {
            if let Some(port) = self.port(v)
                && let Some(view) = &port.view
            {
                self.buffers[view.buffer.0].touch(after.saturating_sub(1));
                self.sights.push(Sight { node: n, port, after });
            }
        }
    }

    /// How a computed value can be read without further work.
    fn port(&self, v: ValueId) -> Option<Port> {
        let form = self.forms.get(&v)?.first()?;
        let value = self.graph.value(v);
        Some(Port {
            value: v,
            name: value.name.clone(),
            dtype: value.dtype.unwrap_or(DType::F32),
            view: (form.repr != Repr::Tensor).then(|| form.view.clone()),
            buffer: form.view.buffer,
            edge: self.edges.get(&v).copied(),
            sums: form.repr == Repr::Sums,
        })
    }

    fn outputs(&mut self) -> Result<Vec<Port>, CompileError> {
        let mut ports = Vec::with_capacity(self.graph.outputs.len());
        for &v in &self.graph.outputs {
            if self.graph.is_constant(v) && !self.forms.contains_key(&v) {
                self.constant_output(v);
            }
            let port = self.port(v).ok_or_else(|| graph::GraphError::NoOutput {
                value: self.name(v).to_string(),
            })?;
            self.buffers[port.buffer.0].touch(self.instructions.len());
            ports.push(port);
        }
        Ok(ports)
    }

    /// An output that is a constant.
    fn constant_output(&mut self, v: ValueId) {
        if let Some(tensor) = self.graph.constants.get(&v).cloned() {
            if let Some(values) = tensor.as_f32() {
                let buffer = self.buffer(Kind::Constant(values.to_vec()), values.len());
                let order = onnx_order(tensor.rank());
                self.hold(v, Repr::Real, View::dense(buffer, tensor.shape(), &order));
            } else if !self.layers.is_empty() {
                let buffer = self.buffer(Kind::Tensor, 0);
                self.hold(v, Repr::Tensor, View::dense(buffer, &[], &[]));
                let action: Action = Box::new(move |mut io| {
                    ops::store(&mut io, 0, tensor.clone());
                    Ok(())
                });
                self.emit("constant", &[], &[buffer], action);
            }
        }
    }

    fn finish(mut self, inputs: Vec<Port>, outputs: Vec<Port>) -> Result<Plan, CompileError> {
        let moved = self.moved_bytes();
        for (n, names) in self.kernels.iter().enumerate() {
            self.layers[n].kernel = match names.is_empty() {
                false => names.join(" + "),
                true if self.fused[n].is_some() => "fused".to_string(),
                true => "view".to_string(),
            };
        }
        for (layer, bytes) in self.layers.iter_mut().zip(moved) {
            layer.moved_bytes = bytes;
        }
        if self.options.deny_float {
            let float = |l: &Layer| match &l.numbers {
                Numbers::Float { reason } if l.product => Some((l.name.clone(), reason.clone())),
                _ => None,
            };
            let nodes: Vec<(String, String)> = self.layers.iter().filter_map(float).collect();
            if !nodes.is_empty() {
                return Err(CompileError::FloatProducts { nodes });
            }
        }
        let limit = self.options.limit_bytes.unwrap_or(isize::MAX as usize / 2);
        let upper = crate::memory::upper_bytes(&self.buffers);
        if upper.is_none() {
            return Err(CompileError::Memory {
                need: usize::MAX,
                weights: self.packed,
                activations: usize::MAX,
                limit,
            });
        }
        let words = place(&mut self.buffers);
        let constants: usize = self
            .buffers
            .iter()
            .map(|b| {
                if let Kind::Constant(c) = &b.kind {
                    c.len() * 4
                } else {
                    0
                }
            })
            .sum();
        let memory = MemoryUse {
            weights: self.packed + constants,
            activations: words.saturating_mul(4),
            temporaries: self.temporaries,
        };
        let each_run = memory.activations.saturating_add(memory.temporaries);
        if memory.total() > limit {
            return Err(CompileError::Memory {
                need: memory.total(),
                weights: memory.weights,
                activations: each_run,
                limit,
            });
        }
        let most = (limit - memory.weights) / each_run.max(1);
        Ok(Plan {
            isa: self.options.isa,
            inputs,
            outputs,
            layers: self.layers,
            instructions: self.instructions,
            scratches: Scratches::new(words, self.buffers.len(), most),
            choices: self.choices,
            buffers: self.buffers,
            sights: self.sights,
            memory,
        })
    }
}
