//! What a compiled graph is.

use std::fmt;

use graph::{NodeId, ValueId};
use kernels::Isa;
use tensor::DType;

use crate::memory::{Buffer, Scratches};
use crate::run::Instruction;
use crate::tune::{Choices, Tuning};
use crate::view::View;
use kernels::int::Edge;

/// How a graph is compiled.
#[derive(Debug, Clone)]
pub struct Options {
    /// Instruction set of the kernels. Results do not depend on it.
    pub isa: Isa,
    /// Refuse plans in which a convolution, Gemm or MatMul runs in float.
    pub deny_float: bool,
    /// Most bytes of packed weights and the activations of one run; `None` for no limit.
    pub limit_bytes: Option<usize>,
    /// Fuse nothing and overwrite nothing, so that [`Plan::run_with`] can show the outputs of all nodes.
    pub keep_all: bool,
    /// How kernels are chosen. Results do not depend on it.
    pub tuning: Tuning,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            isa: Isa::best(),
            deny_float: false,
            limit_bytes: None,
            keep_all: false,
            tuning: Tuning::Rules,
        }
    }
}

/// In which numbers a node computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numbers {
    /// By the integer rules of `FORMAT.md` part 1.
    Integer,
    /// In f32.
    Float {
        /// Why not in integers: `input "x" carries no quantizer`.
        reason: String,
    },
}

/// One node of the graph, as it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The node in the graph.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its operator.
    pub op: &'static str,
    /// Kernels that run, in order; `view` where nothing is computed, `fused` where the node before does it.
    pub kernel: String,
    /// Integer or float.
    pub numbers: Numbers,
    /// A convolution, Gemm or MatMul.
    pub product: bool,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of its weight in a model file.
    pub stored_bytes: usize,
    /// Bytes of its weight as packed for the kernel.
    pub packed_bytes: usize,
    /// Bytes of the activations that it reads and writes, each once.
    pub moved_bytes: usize,
}

/// Bytes that a plan holds and needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Packed weights, constants, tables: once per plan.
    pub weights: usize,
    /// Activations: once per run at the same time.
    pub activations: usize,
    /// Most bytes that operators without a kernel hold beside the activations.
    pub temporaries: usize,
}

impl MemoryUse {
    /// Everything, with one run at a time.
    pub fn total(&self) -> usize {
        self.weights
            .saturating_add(self.activations)
            .saturating_add(self.temporaries)
    }
}

/// Where and as what a value can be read.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) value: ValueId,
    pub(crate) name: String,
    pub(crate) dtype: DType,
    /// `None` for tensors whose shape is known when they are computed.
    pub(crate) view: Option<View>,
    pub(crate) buffer: crate::view::BufferId,
    /// Codes of this quantizer.
    pub(crate) edge: Option<Edge>,
    /// Sums of a product.
    pub(crate) sums: bool,
}

/// A node's output that can be shown.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) node: NodeId,
    pub(crate) port: Port,
    /// Instructions that must have run.
    pub(crate) after: usize,
}

/// A graph compiled for the shape of its inputs and one instruction set. Immutable: any number of threads may run it at
/// the same time, each run takes its own scratch memory.
pub struct Plan {
    pub(crate) isa: Isa,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) sights: Vec<Sight>,
    pub(crate) memory: MemoryUse,
    pub(crate) scratches: Scratches,
    pub(crate) choices: Choices,
}

impl Plan {
    /// Every node in execution order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Share of the multiply-accumulates of convolutions, Gemm and MatMul that run in integers; 0 without any.
    pub fn integer_mac_share(&self) -> f64 {
        let products = || self.layers.iter().filter(|l| l.product);
        let all: u64 = products().map(|l| l.macs).sum();
        let integer: u64 = products()
            .filter(|l| l.numbers == Numbers::Integer)
            .map(|l| l.macs)
            .sum();
        if all == 0 {
            0.0
        } else {
            integer as f64 / all as f64
        }
    }

    /// Bytes held and needed.
    pub fn memory(&self) -> MemoryUse {
        self.memory
    }

    /// What [`Tuning::Measured`] found, for [`Tuning::Chosen`]; empty otherwise.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The instruction set it was compiled for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Name, type and shape of every input.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, DType, &[usize])> {
        self.inputs.iter().map(|p| {
            (
                p.name.as_str(),
                p.dtype,
                p.view.as_ref().map_or(&[][..], |v| &v.shape),
            )
        })
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("isa", &self.isa)
            .field("layers", &self.layers.len())
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Plan {
    /// One line per node.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.integer_mac_share();
        writeln!(
            f,
            "plan for {}: {} nodes, {} instructions, {share:.1} % of MACs in integers, {} KiB weights, {} KiB activations",
            self.isa.name(),
            self.layers.len(),
            self.instructions.len(),
            self.memory.weights.div_ceil(1024),
            self.memory.activations.div_ceil(1024),
        )?;
        for layer in &self.layers {
            let (numbers, reason) = match &layer.numbers {
                Numbers::Integer => ("integer", ""),
                Numbers::Float { reason } => ("float", reason.as_str()),
            };
            write!(
                f,
                "{:>4} {:<20} {:<8} {:>12} MACs {:>9} B  {}  {}",
                layer.node, layer.op, numbers, layer.macs, layer.packed_bytes, layer.kernel, layer.name
            )?;
            if layer.product && !reason.is_empty() {
                write!(f, "  ({reason})")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
