//! Types and shapes of every operator's outputs, by the ONNX specification.
//!
//! [`rule`] answers for one operator, [`infer`] for a whole graph, [`macs`] counts multiplications. A dimension that is not known is `None`,
//! a shape whose rank is not known is `None`: a rule says what follows from what is known, and refuses what cannot be. One file per family
//! of operators, as in `onnx/ops`. Sizes come from files: every product and sum is checked, and no list is indexed by another's length.

mod constant;
mod conv;
mod dims;
mod elementwise;
mod fault;
mod gather;
mod infer;
mod known;
mod layout;
mod linear;
mod macs;
mod normalization;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod spiking;
mod window;

use tensor::{DType, Tensor};

use crate::op::Op;

pub use conv::transposed_window;
pub use dims::normalize_axis;
pub use fault::{ShapeError, ShapeFault};
pub use infer::infer;
pub(crate) use infer::infer_known;
pub(crate) use known::Known;
pub use macs::macs;
pub use window::{conv_output, conv_window, explicit_pads, pool_window};

/// One dimension; `None` where it is dynamic.
pub type Dim = Option<usize>;

/// What is known of a tensor before anything runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TensorType {
    /// Element type.
    pub dtype: Option<DType>,
    /// Dimensions; `None` where even their number is unknown.
    pub shape: Option<Vec<Dim>>,
}

impl TensorType {
    /// A type with every dimension known.
    pub fn fixed(dtype: DType, shape: &[usize]) -> Self {
        TensorType {
            dtype: Some(dtype),
            shape: Some(shape.iter().copied().map(Some).collect()),
        }
    }

    /// The shape, when every dimension is known.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().copied().collect()
    }
}

impl From<&Tensor> for TensorType {
    fn from(t: &Tensor) -> Self {
        TensorType::fixed(t.dtype(), t.shape())
    }
}

/// Types of an operator's outputs.
///
/// `inputs` has ONNX's positions, with `None` for an optional input that is left out; `constants` holds the elements of those inputs whose
/// elements are known (shapes, axes, indices, scales) and may be shorter.
///
/// # Errors
/// When the inputs cannot be those of this operator: missing, of wrong type or rank, or of sizes that do not fit.
///
/// ```
/// use graph::shape::{TensorType, rule};
/// use tensor::DType::F32;
/// let (a, b) = (TensorType::fixed(F32, &[2, 1, 4]), TensorType::fixed(F32, &[3, 1]));
/// let y = rule(&graph::Op::Binary(graph::Binary::Add), &[Some(&a), Some(&b)], &[], 1).unwrap();
/// assert_eq!(y, [TensorType::fixed(F32, &[2, 3, 4])]);
/// ```
pub fn rule(
    op: &Op,
    inputs: &[Option<&TensorType>],
    constants: &[Option<&Tensor>],
    outputs: usize,
) -> Result<Vec<TensorType>, ShapeFault> {
    let known: Vec<Option<Known>> = constants.iter().map(|c| c.and_then(Known::of_tensor)).collect();
    let known: Vec<Option<&Known>> = known.iter().map(Option::as_ref).collect();
    apply(op, inputs, &known, outputs)
}

/// As [`rule`], with elements that may be known in part.
fn apply(
    op: &Op,
    inputs: &[Option<&TensorType>],
    known: &[Option<&Known>],
    outputs: usize,
) -> Result<Vec<TensorType>, ShapeFault> {
    let call = Call {
        inputs,
        known,
        outputs,
    };
    let types = dispatch(op, &call)?;
    if types.len() != outputs {
        return Err(ShapeFault::bad(format!(
            "{outputs} outputs are asked for, the operator has {}",
            types.len()
        )));
    }
    let ranks = types.iter().filter_map(|t| t.shape.as_ref().map(Vec::len));
    if let Some(rank) = ranks.max().filter(|&r| r > dims::MAX_RANK) {
        return Err(ShapeFault::limit(format!(
            "its output has {rank} dimensions, at most {} are supported",
            dims::MAX_RANK
        )));
    }
    for shape in types.iter().filter_map(TensorType::fixed_shape) {
        tensor::numel(&shape).map_err(|e| ShapeFault::bad(format!("its output is too large: {e}")))?;
    }
    Ok(types)
}

fn dispatch(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) => conv::rule(op, call),
        Op::Gemm { .. } | Op::MatMul => linear::rule(op, call),
        Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalAveragePool | Op::GlobalMaxPool => {
            pool::rule(op, call)
        }
        Op::BatchNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::LayerNormalization { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. } => normalization::rule(op, call),
        Op::Unary(_) | Op::Binary(_) | Op::Clip | Op::Max | Op::Min | Op::Sum | Op::Mean | Op::Where => {
            elementwise::rule(op, call)
        }
        Op::Reduce { .. }
        | Op::ArgMax { .. }
        | Op::ArgMin { .. }
        | Op::TopK { .. }
        | Op::NonMaxSuppression { .. }
        | Op::CumSum { .. } => reduce::rule(op, call),
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
        | Op::SpaceToDepth { .. } => layout::rule(op, call),
        Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherND { .. } | Op::ScatterND => {
            gather::rule(op, call)
        }
        Op::Resize(resize) => resize::rule(resize, call),
        Op::Shape { .. }
        | Op::Size
        | Op::ConstantOfShape { .. }
        | Op::Range
        | Op::NonZero
        | Op::Cast { .. }
        | Op::Identity
        | Op::Dropout => constant::rule(op, call),
        Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. } => quantize::rule(op, call),
        Op::IntegrateFire(neurons) => spiking::rule(neurons, call),
    }
}

/// Inputs of one operator, as far as they are known.
struct Call<'a> {
    inputs: &'a [Option<&'a TensorType>],
    known: &'a [Option<&'a Known>],
    outputs: usize,
}

impl<'a> Call<'a> {
    /// Whether an optional input is given.
    fn has(&self, i: usize) -> bool {
        self.inputs.get(i).copied().flatten().is_some()
    }

    /// An input that has no default.
    fn input(&self, i: usize) -> Result<&'a TensorType, ShapeFault> {
        self.inputs
            .get(i)
            .copied()
            .flatten()
            .ok_or_else(|| ShapeFault::bad(format!("input {i} is left out, but has no default")))
    }

    /// All inputs of an operator with any number of them.
    fn all(&self) -> Result<Vec<&'a TensorType>, ShapeFault> {
        (0..self.inputs.len().max(1)).map(|i| self.input(i)).collect()
    }

    /// Element type of an input.
    fn dtype(&self, i: usize) -> Option<DType> {
        self.inputs.get(i).copied().flatten()?.dtype
    }

    /// Dimensions of an input; `None` where it is left out or its rank is unknown.
    fn dims(&self, i: usize) -> Option<&'a [Dim]> {
        self.inputs.get(i).copied().flatten()?.shape.as_deref()
    }

    /// Elements of an input, as far as they are known.
    fn known(&self, i: usize) -> Option<&'a Known> {
        self.known.get(i).copied().flatten()
    }

    /// Integer elements of an input, each known or not.
    fn ints(&self, i: usize) -> Option<Vec<Option<i64>>> {
        self.known(i)?.ints()
    }

    /// Integer elements of an input, when all are known.
    fn all_ints(&self, i: usize) -> Option<Vec<i64>> {
        self.ints(i)?.into_iter().collect()
    }

    /// Elements of a vector input, which number the output's rank or the axes that other inputs speak of.
    fn vector_len(&self, i: usize, what: &str) -> Result<Option<usize>, ShapeFault> {
        match self.dims(i) {
            None => Ok(None),
            Some([n]) => Ok(*n),
            // Exporters write one number as a scalar.
            Some([]) => Ok(Some(1)),
            Some(dims) => Err(ShapeFault::bad(format!(
                "{what} must be a list, it has {} dimensions",
                dims.len()
            ))),
        }
    }

    /// Fails where an input's type is known and another than an integer.
    fn expect_ints(&self, i: usize, what: &str) -> Result<(), ShapeFault> {
        match self.dtype(i) {
            None | Some(DType::I64 | DType::I32) => Ok(()),
            Some(other) => Err(ShapeFault::bad(format!(
                "{what} must be I64 or I32, it is {other:?}"
            ))),
        }
    }

    /// A list of integers, or one number alone: axes, sizes, bounds. Fails where its type or rank is known and another.
    fn expect_list(&self, i: usize, what: &str) -> Result<(), ShapeFault> {
        self.expect_ints(i, what)?;
        self.vector_len(i, what).map(drop)
    }

    /// A parameter of one number, whatever its rank. Fails where it is known to hold another number of them.
    fn expect_one(&self, i: usize, what: &str) -> Result<(), ShapeFault> {
        match self.dims(i) {
            Some(dims) if dims.iter().any(|d| d.is_some_and(|n| n != 1)) => Err(ShapeFault::bad(format!(
                "{what} must be one number, it has shape {}",
                dims::show(dims)
            ))),
            _ => Ok(()),
        }
    }

    /// Fails where an input's type is known and Bool.
    fn expect_number(&self, i: usize) -> Result<(), ShapeFault> {
        match self.dtype(i) {
            Some(DType::Bool) => Err(ShapeFault::bad(format!(
                "input {i} must hold numbers, it is Bool"
            ))),
            _ => Ok(()),
        }
    }

    /// Fails where an input's type is known and not a floating-point one.
    fn expect_float(&self, i: usize) -> Result<(), ShapeFault> {
        match self.dtype(i) {
            None | Some(DType::F32 | DType::F64) => Ok(()),
            Some(other) => Err(ShapeFault::bad(format!(
                "input {i} must be a floating-point tensor, it is {other:?}"
            ))
            .help("put a Cast before it")),
        }
    }

    /// The common type of some inputs, which must not differ.
    fn same_dtype(&self, inputs: impl IntoIterator<Item = usize>) -> Result<Option<DType>, ShapeFault> {
        let mut found: Option<(usize, DType)> = None;
        for i in inputs {
            let Some(dtype) = self.dtype(i) else { continue };
            match found {
                Some((first, other)) if other != dtype => {
                    return Err(ShapeFault::bad(format!(
                        "input {first} is {other:?} and input {i} is {dtype:?}, they must have one type"
                    ))
                    .help("put a Cast before one of them"));
                }
                _ => found = Some((i, dtype)),
            }
        }
        Ok(found.map(|(_, dtype)| dtype))
    }
}

/// A single output.
fn one(dtype: Option<DType>, shape: Option<Vec<Dim>>) -> Vec<TensorType> {
    vec![TensorType { dtype, shape }]
}

#[cfg(test)]
mod tests;
