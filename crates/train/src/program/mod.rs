//! Training programs: derived once for a graph and a batch size, then run step by step.
//!
//! These operators of [`graph::Op`] have a backward; where a limit is named, it is part of the error:
//!
//! | family | operators |
//! |---|---|
//! | products | Conv and ConvTranspose of one to three axes, Gemm, MatMul |
//! | of one element | Relu, LeakyRelu, PRelu, Elu, Selu, Sigmoid, HardSigmoid, HardSwish, Swish, Mish, Softplus, Softsign, Tanh, Erf, Gelu, Exp, Log, Sqrt, Reciprocal, Neg, Abs, Sin, Cos, Clip |
//! | of several | Add, Sub, Mul, Div, Pow with exponent 2; Sum and Mean of equal shapes |
//! | windows | MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool, ReduceMean, ReduceSum, Resize (nearest and linear) |
//! | what moves elements | Concat, Split, Slice, Pad with constants, Gather of constant indices, Reshape, Flatten, Squeeze, Unsqueeze, Transpose, DepthToSpace, SpaceToDepth, Identity, Dropout |
//! | others | BatchNormalization, Softmax, IntegrateFire |
//!
//! These have none: InstanceNormalization, LayerNormalization, LogSoftmax, Max, Min, Where, Mod, other exponents and reductions, Expand, Tile, CumSum, Cast, ArgMax,
//! ArgMin, TopK, NonMaxSuppression, GatherElements, GatherND, ScatterND, and steps such as Floor. What lies behind the outputs of the loss may be any operator.

mod activation;
mod batch;
mod build;
mod error;
mod instr;
mod lower;
mod options;
mod parameter;
mod place;
mod vjp;

use graph::{Graph, ValueId};

pub(crate) use build::SlotKind;
use build::{Builder, Order};
pub use error::ProgramError;
pub use instr::{Instr, Normalization, Quantizer, Slot};
pub use options::{
    AlphaDerivative, BatchNormMode, FakeQuantizer, ProgramOptions, QuantizerGradient, Rounding,
};
pub use parameter::{Parameter, ParameterKind, Port};
pub(crate) use place::Place;

/// A flat list of instructions, forward then backward, over slots of memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub(crate) slots: Vec<build::SlotInfo>,
    pub(crate) places: Vec<Place>,
    /// Elements of the arena.
    pub(crate) arena: usize,
    pub(crate) forward: Vec<Instr>,
    pub(crate) backward: Vec<Instr>,
    parameters: Vec<Parameter>,
    pub(crate) parameter_slots: Vec<Slot>,
    /// `None` where no output depends on a parameter.
    pub(crate) gradient_slots: Vec<Option<Slot>>,
    inputs: Vec<Port>,
    pub(crate) input_slots: Vec<Slot>,
    /// How many of the inputs, the last ones, are masks of dropout.
    mask_count: usize,
    /// `None` where they are not wanted, or no output depends on an input.
    pub(crate) input_gradient_slots: Vec<Option<Slot>>,
    outputs: Vec<Port>,
    pub(crate) output_slots: Vec<Slot>,
    pub(crate) output_gradient_slots: Vec<Slot>,
}

impl Program {
    /// Derives the program of a graph that has been simplified, with BatchNormalization left where it is to be trained
    /// ([`graph::passes::simplify_for_training`]).
    ///
    /// # Errors
    /// A node that cannot be trained, named; names in the options that the graph does not have; a batch that does not fit.
    pub fn new(graph: &Graph, options: &ProgramOptions) -> Result<Program, ProgramError> {
        let mut graph = graph.clone();
        graph.check()?;
        batch::set(&mut graph, options.batch)?;
        let outputs: Vec<ValueId> = match options.outputs.is_empty() {
            true => graph.outputs.clone(),
            false => {
                let find = |name: &String| {
                    graph.find(name).ok_or_else(|| ProgramError::NoValue {
                        name: name.clone(),
                        role: "an output",
                    })
                };
                options.outputs.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        let mut b = Builder::new(&graph, options, &outputs)?;
        let (mut inputs, mut input_slots) = (Vec::new(), Vec::new());
        for &v in &graph.inputs {
            let port = port(&b, v)?;
            let slot = b.slot(&port.name, port.len());
            b.slots[slot.index()].needs = options.input_gradients;
            b.define(v, Order::Onnx, slot)
                .map_err(|f| output_fault(&graph, v, f))?;
            inputs.push(port);
            input_slots.push(slot);
        }
        b.nodes()?;
        let masks = std::mem::take(&mut b.masks);
        let mask_count = masks.len();
        for (port, slot) in masks {
            inputs.push(port);
            input_slots.push(slot);
        }
        let (mut ports, mut output_slots) = (Vec::new(), Vec::new());
        for &v in &outputs {
            ports.push(port(&b, v)?);
            output_slots.push(b.form(v, Order::Onnx).map_err(|f| output_fault(&graph, v, f))?);
        }
        let Builder {
            mut slots,
            instructions: forward,
            parameters,
            parameter_slots,
            ..
        } = b;
        let mut output_gradient_slots = Vec::new();
        for port in &ports {
            let len = port.len();
            slots.push(build::SlotInfo {
                name: format!("d {}", port.name),
                len,
                kind: SlotKind::Temporary,
                needs: false,
            });
            output_gradient_slots.push(Slot(slots.len() as u32 - 1));
        }
        let pairs: Vec<(Slot, Slot)> = output_slots
            .iter()
            .copied()
            .zip(output_gradient_slots.iter().copied())
            .collect();
        let vjp::Derived {
            backward,
            gradients,
            input_gradients,
        } = vjp::derive(&mut slots, &forward, &pairs, &input_slots);
        let gradient_slots = (0..parameters.len())
            .map(|i| gradients.get(&i).copied())
            .collect();
        // Inputs are written before the first instruction, outputs read and their gradients written between the two lists.
        let middle = forward.len();
        let mut alive: Vec<(Slot, usize)> = input_slots.iter().map(|&s| (s, 0)).collect();
        alive.extend(output_slots.iter().map(|&s| (s, middle)));
        alive.extend(output_gradient_slots.iter().map(|&s| (s, middle)));
        alive.extend(
            input_gradients
                .iter()
                .flatten()
                .map(|&s| (s, middle + backward.len())),
        );
        let all: Vec<Instr> = forward.iter().chain(&backward).cloned().collect();
        let (places, arena) = place::place(&slots, &all, &alive);
        if arena > isize::MAX as usize / 8 {
            return Err(ProgramError::TooLarge { elements: arena });
        }
        Ok(Program {
            slots,
            places,
            arena,
            forward,
            backward,
            parameters,
            parameter_slots,
            gradient_slots,
            inputs,
            input_slots,
            mask_count,
            input_gradient_slots: input_gradients,
            outputs: ports,
            output_slots,
            output_gradient_slots,
        })
    }

    /// What training changes, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What a step takes.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// Which inputs, the last ones, are masks of dropout.
    pub fn masks(&self) -> &[Port] {
        &self.inputs[self.inputs.len() - self.mask_count..]
    }

    /// What a step gives.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Forward instructions, then backward ones.
    pub fn instructions(&self) -> impl Iterator<Item = &Instr> {
        self.forward.iter().chain(&self.backward)
    }

    /// Bytes of the memory that all values and their gradients share.
    pub fn arena_bytes(&self) -> usize {
        self.arena * 4
    }
}

impl std::fmt::Display for Program {
    /// A line per instruction.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "forward")?;
        for instruction in &self.forward {
            writeln!(f, "  {instruction}")?;
        }
        writeln!(f, "backward")?;
        for instruction in &self.backward {
            writeln!(f, "  {instruction}")?;
        }
        Ok(())
    }
}

fn port(b: &Builder<'_>, v: ValueId) -> Result<Port, ProgramError> {
    let shape = b.shape(v).map_err(|f| output_fault(b.graph, v, f))?;
    Ok(Port {
        name: b.name(v).to_string(),
        shape,
    })
}

fn output_fault(graph: &Graph, v: ValueId, fault: error::Fault) -> ProgramError {
    ProgramError::Node {
        node: graph.value(v).name.clone(),
        op: "value",
        reason: fault.0,
    }
}
