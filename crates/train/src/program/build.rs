//! From a graph to forward instructions: one walk over the nodes that the outputs need.

use std::collections::{HashMap, HashSet};

use graph::{Graph, NodeId, ValueId};
use kernels::float::Activation;

use super::activation::activation;
use super::error::Fault;
use super::instr::{Instr, Quantizer, Slot};
use super::{
    AlphaDerivative, FakeQuantizer, Parameter, ParameterKind, Port, ProgramError, ProgramOptions,
    QuantizerGradient, Rounding, lower,
};

/// Order of a value's elements in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As in ONNX.
    Onnx,
    /// `[batch, spatial…, channels]`.
    Last,
}

/// What a slot is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SlotKind {
    /// Memory that others may take over.
    Temporary,
    Constant(Vec<f32>),
    Parameter(usize),
    Gradient(usize),
}

/// A buffer of a program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SlotInfo {
    pub(crate) name: String,
    pub(crate) len: usize,
    pub(crate) kind: SlotKind,
    /// Whether a gradient with respect to it is wanted.
    pub(crate) needs: bool,
}

/// The slots of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Forms {
    onnx: Option<Slot>,
    last: Option<Slot>,
}

/// The state of the walk. Operators see this and nothing else.
pub(super) struct Builder<'g> {
    pub(super) graph: &'g Graph,
    pub(super) options: &'g ProgramOptions,
    pub(super) slots: Vec<SlotInfo>,
    pub(super) instructions: Vec<Instr>,
    pub(super) parameters: Vec<Parameter>,
    /// Slot of each parameter.
    pub(super) parameter_slots: Vec<Slot>,
    /// Masks of dropout.
    pub(super) masks: Vec<(Port, Slot)>,
    by_constant: HashMap<ValueId, Slot>,
    forms: HashMap<ValueId, Forms>,
    consumers: HashMap<ValueId, Vec<NodeId>>,
    outputs: HashSet<ValueId>,
    quantizers: HashMap<ValueId, &'g FakeQuantizer>,
    /// Nodes that an earlier one computes.
    fused: HashSet<NodeId>,
}

impl<'g> Builder<'g> {
    pub(super) fn new(
        graph: &'g Graph,
        options: &'g ProgramOptions,
        outputs: &[ValueId],
    ) -> Result<Self, ProgramError> {
        let mut quantizers = HashMap::new();
        for q in &options.quantizers {
            let no_value = || ProgramError::NoValue {
                name: q.edge.clone(),
                role: "quantized",
            };
            let v = graph.find(&q.edge).ok_or_else(no_value)?;
            let fault = |reason: String| ProgramError::Quantizer {
                edge: q.edge.clone(),
                reason,
            };
            let edge = graph::EdgeQuantizer {
                scale: q.step,
                zero_point: q.zero_point,
                bits: q.bits,
            };
            edge.check().map_err(fault)?;
            if quantizers.insert(v, q).is_some() {
                return Err(fault("there are two".into()));
            }
        }
        Ok(Builder {
            graph,
            options,
            slots: Vec::new(),
            instructions: Vec::new(),
            parameters: Vec::new(),
            parameter_slots: Vec::new(),
            masks: Vec::new(),
            by_constant: HashMap::new(),
            forms: HashMap::new(),
            consumers: graph.consumers(),
            outputs: outputs.iter().copied().collect(),
            quantizers,
            fused: HashSet::new(),
        })
    }

    /// Lowers all nodes that the outputs need.
    pub(super) fn nodes(&mut self) -> Result<(), ProgramError> {
        let needed = needed(self.graph, &self.outputs);
        for (n, node) in self.graph.nodes.iter().enumerate() {
            if needed.contains(&n) && !self.fused.contains(&n) {
                let named = |fault: Fault| ProgramError::Node {
                    node: node.name.clone(),
                    op: node.op.name(),
                    reason: fault.0,
                };
                lower::node(self, n).map_err(named)?;
            }
        }
        Ok(())
    }

    /// A new slot.
    pub(super) fn slot(&mut self, name: &str, len: usize) -> Slot {
        self.add(SlotInfo {
            name: name.into(),
            len,
            kind: SlotKind::Temporary,
            needs: false,
        })
    }

    fn add(&mut self, info: SlotInfo) -> Slot {
        self.slots.push(info);
        Slot(self.slots.len() as u32 - 1)
    }

    /// Appends an instruction; what it writes needs a gradient where something that it reads does.
    pub(super) fn emit(&mut self, instruction: Instr) {
        let needs = instruction.reads().iter().any(|s| self.slots[s.index()].needs);
        for s in instruction.writes() {
            self.slots[s.index()].needs = needs;
        }
        self.instructions.push(instruction);
    }

    /// The fixed shape of a value.
    pub(super) fn shape(&self, v: ValueId) -> Result<Vec<usize>, Fault> {
        let value = self.graph.value(v);
        let shape = value
            .fixed_shape()
            .ok_or_else(|| format!("the shape of \"{}\" is not known before it runs", value.name))?;
        tensor::numel(&shape).map_err(|e| e.to_string())?;
        Ok(shape)
    }

    pub(super) fn name(&self, v: ValueId) -> &'g str {
        &self.graph.value(v).name
    }

    /// Input `i` of a node.
    pub(super) fn input(&self, n: NodeId, i: usize) -> Result<ValueId, Fault> {
        let v = self.graph.nodes[n].inputs.get(i).copied().flatten();
        v.ok_or_else(|| Fault(format!("input {i} is missing")))
    }

    /// A constant as a slot in the wanted order, seen with `rank` axes.
    fn constant(&mut self, v: ValueId, shape: &[usize], order: Order) -> Result<Slot, Fault> {
        let weights = self.graph.weights.get(&v).map(|w| w.decode());
        let values = match (&weights, self.graph.constants.get(&v).and_then(|t| t.as_f32())) {
            (Some(w), _) => w.clone(),
            (None, Some(values)) => values.to_vec(),
            _ => return Err(format!("\"{}\" is no f32 constant", self.name(v)).into()),
        };
        let values = match order {
            Order::Onnx => values,
            Order::Last => permuted(&values, shape, &last_axes(shape.len())),
        };
        Ok(self.add(SlotInfo {
            name: self.name(v).into(),
            len: values.len(),
            kind: SlotKind::Constant(values),
            needs: false,
        }))
    }

    /// A constant that is trained; one that several nodes read is one parameter.
    pub(super) fn parameter(&mut self, v: ValueId, kind: ParameterKind) -> Result<Slot, Fault> {
        if let Some(&slot) = self.by_constant.get(&v) {
            return Ok(slot);
        }
        let shape = self.shape(v)?;
        let tensor = self
            .graph
            .constants
            .get(&v)
            .and_then(|t| t.as_f32().map(<[f32]>::to_vec));
        let initial = tensor.or_else(|| self.graph.weights.get(&v).map(|w| w.decode()));
        let initial = initial.ok_or_else(|| format!("\"{}\" is no f32 constant", self.name(v)))?;
        let slot = self.add_parameter(Parameter {
            name: self.name(v).into(),
            shape,
            kind,
            initial,
        });
        self.by_constant.insert(v, slot);
        Ok(slot)
    }

    fn add_parameter(&mut self, parameter: Parameter) -> Slot {
        let (index, needs) = (self.parameters.len(), parameter.kind.has_gradient());
        let slot = self.add(SlotInfo {
            name: parameter.name.clone(),
            len: parameter.len(),
            kind: SlotKind::Parameter(index),
            needs,
        });
        self.parameters.push(parameter);
        self.parameter_slots.push(slot);
        slot
    }

    /// Orders in which a value is there.
    pub(super) fn has(&self, v: ValueId, order: Order) -> bool {
        let forms = self.forms.get(&v).copied().unwrap_or_default();
        match order {
            Order::Onnx => forms.onnx.is_some(),
            Order::Last => forms.last.is_some(),
        }
    }

    /// The order in which a value is there already.
    pub(super) fn order(&self, v: ValueId) -> Order {
        if self.has(v, Order::Last) {
            Order::Last
        } else {
            Order::Onnx
        }
    }

    /// A value in the wanted order; a copy is made once.
    pub(super) fn form(&mut self, v: ValueId, order: Order) -> Result<Slot, Fault> {
        let shape = self.shape(v)?;
        if self.graph.is_constant(v) {
            return self.constant(v, &shape, order);
        }
        let forms = self.forms.get(&v).copied().unwrap_or_default();
        let (have, other) = match order {
            Order::Onnx => (forms.onnx, forms.last),
            Order::Last => (forms.last, forms.onnx),
        };
        if let Some(slot) = have {
            return Ok(slot);
        }
        let x = other.ok_or_else(|| format!("\"{}\" is not computed before it", self.name(v)))?;
        let axes = match order {
            Order::Last => last_axes(shape.len()),
            Order::Onnx => onnx_axes(shape.len()),
        };
        let y = self.permute(x, &in_order(&shape, opposite(order)), &axes);
        let forms = self.forms.entry(v).or_default();
        match order {
            Order::Onnx => forms.onnx = Some(y),
            Order::Last => forms.last = Some(y),
        }
        Ok(y)
    }

    /// Axis i of the result is axis `axes[i]` of `x`, whose shape is `shape`; the same slot where no element moves.
    pub(super) fn permute(&mut self, x: Slot, shape: &[usize], axes: &[usize]) -> Slot {
        let long: Vec<usize> = axes.iter().copied().filter(|&a| shape[a] != 1).collect();
        if long.is_sorted() {
            return x;
        }
        let name = self.slots[x.index()].name.clone();
        let y = self.slot(&name, shape.iter().product());
        self.emit(Instr::Permute {
            shape: shape.to_vec(),
            axes: axes.to_vec(),
            x,
            y,
        });
        y
    }

    /// Two operands that broadcast: a value seen with `rank` axes in the wanted order, and its shape in that order.
    pub(super) fn operand(
        &mut self,
        v: ValueId,
        rank: usize,
        order: Order,
    ) -> Result<(Slot, Vec<usize>), Fault> {
        let own = self.shape(v)?;
        let mut shape = vec![1; rank - own.len().min(rank)];
        shape.extend(&own);
        let slot = if own.len() == rank || order == Order::Onnx {
            self.form(v, order)?
        } else if self.graph.is_constant(v) {
            self.constant(v, &shape, order)?
        } else {
            let x = self.form(v, Order::Onnx)?;
            self.permute(x, &shape, &last_axes(rank))
        };
        Ok((slot, in_order(&shape, order)))
    }

    /// Says where a value is, behind its quantizer if it has one.
    pub(super) fn define(&mut self, v: ValueId, order: Order, slot: Slot) -> Result<(), Fault> {
        let slot = match self.quantizers.get(&v).copied() {
            None => slot,
            Some(q) => self.quantize(v, q, slot),
        };
        let shape = self.shape(v)?;
        let forms = self.forms.entry(v).or_default();
        let same = last_axes(shape.len())
            .into_iter()
            .filter(|&a| shape[a] != 1)
            .is_sorted();
        if same || order == Order::Onnx {
            forms.onnx = Some(slot);
        }
        if same || order == Order::Last {
            forms.last = Some(slot);
        }
        Ok(())
    }

    fn quantize(&mut self, v: ValueId, q: &FakeQuantizer, x: Slot) -> Slot {
        use kernels::float::backward::StepGradient;
        let gradient = match q.gradient {
            QuantizerGradient::Fixed => StepGradient::Fixed,
            QuantizerGradient::Lsq => StepGradient::Lsq,
            QuantizerGradient::Alpha(AlphaDerivative::AlmostEverywhere) => StepGradient::Code,
            QuantizerGradient::Alpha(AlphaDerivative::ThreeValued) => StepGradient::Mean,
            QuantizerGradient::Alpha(AlphaDerivative::TwoValued) => StepGradient::Zero,
        };
        let (zero, top) = (f32::from(q.zero_point), ((1u32 << q.bits) - 1) as f32);
        let range = kernels::float::backward::FakeQuantizer {
            low: 0.0 - zero,
            high: top - zero,
            up: q.rounding == Rounding::Up,
        };
        let owner = q.step_of.as_ref().unwrap_or(&q.edge);
        let name = format!("{owner}/step");
        let known = self.parameters.iter().position(|p| p.name == name);
        let step = match known {
            Some(index) => self.parameter_slots[index],
            None => self.add_parameter(Parameter {
                name,
                shape: vec![1],
                kind: ParameterKind::Step { edge: owner.clone() },
                initial: vec![q.step],
            }),
        };
        let y = self.slot(self.name(v), self.slots[x.index()].len);
        self.emit(Instr::FakeQuantize {
            op: Quantizer { range, gradient },
            x,
            step,
            y,
        });
        y
    }

    /// The activation behind a value that nothing else reads, and the value that it writes; its node is done with it.
    pub(super) fn fuse(
        &mut self,
        v: ValueId,
        may: impl Fn(Activation) -> bool,
    ) -> Result<(Activation, ValueId), Fault> {
        let readers = self.consumers.get(&v).map_or(&[][..], Vec::as_slice);
        let &[reader] = readers else {
            return Ok((Activation::None, v));
        };
        if self.outputs.contains(&v) || self.quantizers.contains_key(&v) {
            return Ok((Activation::None, v));
        }
        let node = &self.graph.nodes[reader];
        match activation(self.graph, node) {
            Some(f) if may(f) && node.inputs.first() == Some(&Some(v)) => {
                self.fused.insert(reader);
                Ok((f, node.outputs[0]))
            }
            _ => Ok((Activation::None, v)),
        }
    }
}

/// Nodes that some outputs depend on.
fn needed(graph: &Graph, outputs: &HashSet<ValueId>) -> HashSet<NodeId> {
    let producers = graph.producers();
    let mut open: Vec<ValueId> = outputs.iter().copied().collect();
    let mut found = HashSet::new();
    while let Some(v) = open.pop() {
        if let Some(&n) = producers.get(&v)
            && found.insert(n)
        {
            open.extend(graph.nodes[n].inputs.iter().flatten());
        }
    }
    found
}

fn opposite(order: Order) -> Order {
    match order {
        Order::Onnx => Order::Last,
        Order::Last => Order::Onnx,
    }
}

/// Axes of channels-last in ONNX's: 0, 2, 3, …, 1.
pub(super) fn last_axes(rank: usize) -> Vec<usize> {
    if rank < 3 {
        return (0..rank).collect();
    }
    [0].into_iter().chain(2..rank).chain([1]).collect()
}

/// Axes of ONNX in channels-last's.
fn onnx_axes(rank: usize) -> Vec<usize> {
    if rank < 3 {
        return (0..rank).collect();
    }
    [0, rank - 1].into_iter().chain(1..rank - 1).collect()
}

/// A shape in an order.
pub(super) fn in_order(shape: &[usize], order: Order) -> Vec<usize> {
    match order {
        Order::Onnx => shape.to_vec(),
        Order::Last => last_axes(shape.len()).iter().map(|&a| shape[a]).collect(),
    }
}

/// Where ONNX's axis `axis` is in an order.
pub(super) fn axis_in(axis: usize, rank: usize, order: Order) -> usize {
    match order {
        Order::Onnx => axis,
        Order::Last => last_axes(rank).iter().position(|&a| a == axis).unwrap_or(axis),
    }
}

/// Row-major elements with permuted axes.
fn permuted(values: &[f32], shape: &[usize], axes: &[usize]) -> Vec<f32> {
    let steps = tensor::strides(shape);
    let to: Vec<usize> = axes.iter().map(|&a| shape[a]).collect();
    (0..values.len())
        .map(|i| {
            let (mut rest, mut at) = (i, 0);
            for (k, &n) in to.iter().enumerate().rev() {
                at += rest % n * steps[axes[k]];
                rest /= n;
            }
            values[at]
        })
        .collect()
}
