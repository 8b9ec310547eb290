//! The operators, one file per family: how a node's attributes are read and lifted, and how they are written.
//!
//! To add an operator: a variant in [`Op`](crate::Op), a row and a `read` in the family's file, and an arm in the
//! `write` of the same file. The row's arity is checked before any operator code runs.

mod constant;
mod conv;
mod elementwise;
mod gather;
mod layout;
mod linear;
mod normalization;
mod pool;
mod quantize;
mod reduce;
mod resize;

use std::collections::HashMap;
use std::sync::LazyLock;

use tensor::Tensor;

use super::attributes::Attributes;
use super::error::{Load, LoadError};
use super::packed::VERSION;
use super::read::Builder;
use crate::graph::{Node, ValueId};
use crate::op::Op;

/// One node on its way into the graph.
pub(crate) struct Context<'b, 'a, 'o> {
    pub name: String,
    pub attrs: Attributes<'a>,
    /// Opset of the node's domain.
    pub opset: i64,
    /// Inputs in ONNX's positions; lifting may add some.
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: Vec<ValueId>,
    pub builder: &'b mut Builder<'a, 'o>,
}

impl Context<'_, '_, '_> {
    /// The input at a position, when it is given.
    pub(crate) fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    /// The constant at an input, when it is one.
    pub(crate) fn constant(&self, i: usize) -> Option<&Tensor> {
        self.builder.graph.constants.get(&self.input(i)?)
    }

    /// Puts a constant at an input that older forms gave as an attribute.
    pub(crate) fn set_constant(&mut self, i: usize, what: &str, value: Tensor) {
        let id = self.add_constant(what, value);
        while self.inputs.len() <= i {
            self.inputs.push(None);
        }
        if let Some(slot) = self.inputs.get_mut(i) {
            *slot = Some(id);
        }
    }

    /// A constant named after the node.
    pub(crate) fn add_constant(&mut self, what: &str, value: Tensor) -> ValueId {
        let name = format!("{}/{what}", self.output_name());
        self.builder.graph.add_constant(&name, value)
    }

    /// A helper node before or after this one.
    pub(crate) fn emit(&mut self, op: Op, inputs: &[ValueId], what: &str) -> Load<ValueId> {
        let name = format!("{}/{what}", self.output_name());
        let out = self.builder.graph.add_value(&name, None, None);
        self.builder.push(Node {
            name: format!("{}/{what}", self.name),
            op,
            inputs: inputs.iter().map(|&v| Some(v)).collect(),
            outputs: vec![out],
        })?;
        Ok(out)
    }

    fn output_name(&self) -> String {
        self.outputs.first().map_or_else(
            || self.name.clone(),
            |&v| self.builder.graph.value(v).name.clone(),
        )
    }

    /// Inputs beyond `n` are dropped.
    pub(crate) fn keep_inputs(&mut self, n: usize) {
        self.inputs.truncate(n);
    }
}

/// What became of a node.
pub(crate) enum Parsed {
    /// A node with this operator over the context's inputs and outputs.
    Node(Op),
    /// Its output is a constant now; no node remains.
    Constant,
}

impl From<Op> for Parsed {
    fn from(op: Op) -> Self {
        Parsed::Node(op)
    }
}

type ReadFn = fn(&mut Context<'_, '_, '_>) -> Load<Parsed>;

/// How an operator of ONNX is read.
pub(crate) struct Row {
    pub name: &'static str,
    /// Fewest and most inputs over all opsets; the first `inputs.0` must be present.
    pub inputs: (usize, usize),
    pub outputs: (usize, usize),
    pub read: ReadFn,
}

const MANY: usize = usize::MAX;

const fn row(name: &'static str, inputs: (usize, usize), outputs: (usize, usize), read: ReadFn) -> Row {
    Row {
        name,
        inputs,
        outputs,
        read,
    }
}

static FAMILIES: &[&[Row]] = &[
    constant::ROWS,
    conv::ROWS,
    elementwise::ROWS,
    gather::ROWS,
    layout::ROWS,
    linear::ROWS,
    normalization::ROWS,
    pool::ROWS,
    quantize::ROWS,
    reduce::ROWS,
    resize::ROWS,
];

/// All rows by operator name.
static TABLE: LazyLock<HashMap<&'static str, &'static Row>> = LazyLock::new(|| {
    FAMILIES
        .iter()
        .flat_map(|f| f.iter())
        .map(|r| (r.name, r))
        .collect()
});

/// The row of an operator of the default domain.
pub(crate) fn find(op_type: &str) -> Option<&'static Row> {
    TABLE.get(op_type).copied()
}

/// Names of all operators that are read, sorted.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE.keys().copied().collect();
    names.sort_unstable();
    names
}

impl Row {
    /// Checks the number of inputs and outputs.
    pub(crate) fn check_arity(&self, inputs: &[Option<ValueId>], outputs: usize) -> Load<()> {
        let range = |(low, high): (usize, usize)| match high {
            MANY => format!("at least {low}"),
            high if high == low => format!("{low}"),
            high => format!("{low} to {high}"),
        };
        if !(self.inputs.0..=self.inputs.1).contains(&inputs.len()) {
            let (have, want) = (inputs.len(), range(self.inputs));
            return Err(LoadError::bad(format!(
                "{have} inputs are given, {want} are possible"
            )));
        }
        if let Some(i) = inputs.iter().take(self.inputs.0).position(Option::is_none) {
            return Err(LoadError::bad(format!(
                "input {i} is left out, but has no default"
            )));
        }
        if !(self.outputs.0..=self.outputs.1).contains(&outputs) {
            let want = range(self.outputs);
            return Err(LoadError::unsupported(format!(
                "{outputs} outputs are asked for, {want} are supported"
            ))
            .help("export the model without the others"));
        }
        Ok(())
    }
}

/// Writes the attributes of an operator.
pub(crate) fn write(op: &Op, node: &mut super::write::NodeWriter<'_>) {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) => conv::write(op, node),
        Op::Gemm { .. } | Op::MatMul => linear::write(op, node),
        Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalAveragePool | Op::GlobalMaxPool => {
            pool::write(op, node)
        }
        Op::BatchNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::LayerNormalization { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. } => normalization::write(op, node),
        Op::Unary(_) | Op::Binary(_) | Op::Clip | Op::Max | Op::Min | Op::Sum | Op::Mean | Op::Where => {
            elementwise::write(op, node)
        }
        Op::Reduce { .. }
        | Op::ArgMax { .. }
        | Op::ArgMin { .. }
        | Op::TopK { .. }
        | Op::NonMaxSuppression { .. }
        | Op::CumSum { .. } => reduce::write(op, node),
        Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice
        | Op::Pad { .. }
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Transpose { .. }
        | Op::Expand
        | Op::Tile
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. } => layout::write(op, node),
        Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherND { .. } | Op::ScatterND => {
            gather::write(op, node)
        }
        Op::Resize(_) => resize::write(op, node),
        Op::Shape { .. }
        | Op::Size
        | Op::ConstantOfShape { .. }
        | Op::Range
        | Op::NonZero
        | Op::Cast { .. }
        | Op::Identity
        | Op::Dropout => constant::write(op, node),
        Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. } => quantize::write(op, node),
        Op::IntegrateFire(neurons) => {
            node.int("version", VERSION);
            node.int("steps", neurons.steps as i64);
            let [from, to] = neurons.ends();
            node.int("input_steps", from as i64);
            node.int("output_steps", to as i64);
        }
    }
}
