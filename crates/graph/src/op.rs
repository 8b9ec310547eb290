//! The closed operator set, in the form of ONNX's newest opset.
//!
//! Inputs keep ONNX's positions, so that `Clip` has (x, min?, max?) and `Reshape` has (x, shape). Attributes are
//! parsed and checked once, when a file is read; nobody below looks at strings. Operators of older opsets are
//! lifted: `Squeeze` with an `axes` attribute becomes `Squeeze` with a constant second input, and so on.

/// Padding of a convolution or pool as ONNX gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Explicit: all begins, then all ends, in elements of each spatial axis.
    Explicit(Vec<usize>),
    /// Output = ⌈input / stride⌉, the odd element at the end.
    SameUpper,
    /// Output = ⌈input / stride⌉, the odd element at the begin.
    SameLower,
    /// No padding.
    Valid,
}

/// `Conv`: inputs `x [N, C, spatial…], w [M, C/group, kernel…], bias [M]?`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Conv {
    /// Spatial kernel; always filled in, from the weight's shape where the file leaves it out.
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub padding: Padding,
    pub group: usize,
}

/// `ConvTranspose`: inputs `x [N, C, spatial…], w [C, M/group, kernel…], bias [M]?`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct ConvTranspose {
    pub conv: Conv,
    pub output_padding: Vec<usize>,
    /// Explicit spatial output shape, which then decides the padding.
    pub output_shape: Option<Vec<usize>>,
}

/// Window of `MaxPool`, `AveragePool` and `LpPool`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Pool {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub padding: Padding,
    pub ceil_mode: bool,
    /// `AveragePool` alone: padding counts in the divisor.
    pub count_include_pad: bool,
}

/// One input, one output, element by element.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Unary {
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    Elu {
        alpha: f32,
    },
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Sigmoid,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    /// x · sigmoid(alpha · x): ONNX `Swish` of opset 24; the pair Sigmoid, Mul is fused into it and written back as a pair.
    Swish {
        alpha: f32,
    },
    Mish,
    Softplus,
    Softsign,
    Tanh,
    Erf,
    /// x/2 · (1 + erf(x/√2)), or the tanh form.
    Gelu {
        tanh: bool,
    },
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
    Sign,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Sin,
    Cos,
    Not,
    IsNaN,
}

/// Two inputs with numpy broadcasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    /// `fmod` as in C when true, Python's sign rule otherwise.
    Mod {
        fmod: bool,
    },
    PRelu,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

/// Reduction over axes given as the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ReduceKind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSumExp,
}

/// `Resize`'s interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ResizeMode {
    Nearest,
    Linear,
}

/// `Resize`'s map from output to input coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum CoordinateTransform {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// `Resize`'s rounding in nearest mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum NearestMode {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// `Resize`: inputs x, roi?, scales?, sizes?. `Upsample` is lifted to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Resize {
    pub mode: ResizeMode,
    pub coordinates: CoordinateTransform,
    pub nearest: NearestMode,
    /// Axes that scales or sizes speak of; empty means all.
    pub axes: Vec<i64>,
}

/// `Pad`'s filling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// `IntegrateFire`: inputs x, threshold and leak (one number each). The steps of time are the outermost part of the first axis: `[T·N, …]`.
///
/// ```text
/// u ← leak·u + x_t    o_t = 1 where u > threshold, else 0    u ← u − threshold·o_t        u = 0 before the first step
/// ```
/// The neuron of DIET-SNN (N. Rathi, K. Roy, arXiv 2008.03658): soft reset, one spike a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntegrateFire {
    /// T, 1 … [`IntegrateFire::MOST_STEPS`].
    pub steps: usize,
    /// x is `[N, …]`, the same current in every step.
    pub constant: bool,
    /// The output is `[N, …]`, spikes summed over the steps.
    pub count: bool,
}

impl IntegrateFire {
    /// Counts of spikes fit a byte.
    pub const MOST_STEPS: usize = 255;

    /// Steps in the input and in the output.
    pub fn ends(&self) -> [usize; 2] {
        [self.constant, self.count].map(|one| if one { 1 } else { self.steps })
    }

    /// Bits of a spike, or of their number.
    pub fn bits(&self) -> u32 {
        match self.count {
            true => usize::BITS - self.steps.leading_zeros(),
            false => 1,
        }
    }
}

/// An operator with its attributes.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Op {
    Conv(Conv),
    ConvTranspose(ConvTranspose),
    Gemm {
        alpha: f32,
        beta: f32,
        trans_a: bool,
        trans_b: bool,
    },
    MatMul,
    /// Inference form: x, scale, bias, mean, variance.
    BatchNormalization {
        epsilon: f32,
    },
    InstanceNormalization {
        epsilon: f32,
    },
    LayerNormalization {
        axis: i64,
        epsilon: f32,
    },

    MaxPool(Pool),
    AveragePool(Pool),
    GlobalAveragePool,
    GlobalMaxPool,

    Unary(Unary),
    Binary(Binary),
    /// x, min?, max?.
    Clip,
    /// Variadic with broadcasting.
    Max,
    Min,
    Sum,
    Mean,
    /// condition, x, y with broadcasting.
    Where,

    Softmax {
        axis: i64,
    },
    LogSoftmax {
        axis: i64,
    },
    Reduce {
        kind: ReduceKind,
        keep_dims: bool,
        noop_with_empty_axes: bool,
    },
    ArgMax {
        axis: i64,
        keep_dims: bool,
        select_last: bool,
    },
    ArgMin {
        axis: i64,
        keep_dims: bool,
        select_last: bool,
    },
    /// x, k → values, indices.
    TopK {
        axis: i64,
        largest: bool,
        sorted: bool,
    },
    /// boxes, scores, max_output_boxes_per_class?, iou_threshold?, score_threshold?.
    NonMaxSuppression {
        center_point_box: bool,
    },

    Concat {
        axis: i64,
    },
    /// x, split?; equal parts when the second input is absent (`num_outputs` = number of outputs).
    Split {
        axis: i64,
    },
    /// x, starts, ends, axes?, steps?.
    Slice,
    /// x, pads, constant?, axes?.
    Pad {
        mode: PadMode,
    },
    Gather {
        axis: i64,
    },
    GatherElements {
        axis: i64,
    },
    GatherND {
        batch_dims: usize,
    },
    ScatterND,
    Reshape {
        allow_zero: bool,
    },
    Flatten {
        axis: i64,
    },
    /// x, axes?.
    Squeeze,
    /// x, axes.
    Unsqueeze,
    Transpose {
        perm: Option<Vec<usize>>,
    },
    Expand,
    Tile,
    DepthToSpace {
        block: usize,
        crd: bool,
    },
    SpaceToDepth {
        block: usize,
    },
    Resize(Resize),

    Shape {
        start: i64,
        end: Option<i64>,
    },
    Size,
    ConstantOfShape {
        value: tensor::Tensor,
    },
    Range,
    NonZero,
    CumSum {
        exclusive: bool,
        reverse: bool,
    },
    Cast {
        to: tensor::DType,
    },
    Identity,
    /// At inference the identity; the second output is not supported.
    Dropout,
    /// x, threshold, leak: neurons over steps of time.
    IntegrateFire(IntegrateFire),

    /// x, scale, zero_point?. Only where a file's quantizer could not become an [annotation](crate::annotation).
    QuantizeLinear {
        axis: i64,
    },
    DequantizeLinear {
        axis: i64,
    },
}

impl Op {
    /// ONNX's operator name.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::ConvTranspose(_) => "ConvTranspose",
            Op::Gemm { .. } => "Gemm",
            Op::MatMul => "MatMul",
            Op::BatchNormalization { .. } => "BatchNormalization",
            Op::InstanceNormalization { .. } => "InstanceNormalization",
            Op::LayerNormalization { .. } => "LayerNormalization",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool(_) => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::GlobalMaxPool => "GlobalMaxPool",
            Op::Unary(u) => u.name(),
            Op::Binary(b) => b.name(),
            Op::Clip => "Clip",
            Op::Max => "Max",
            Op::Min => "Min",
            Op::Sum => "Sum",
            Op::Mean => "Mean",
            Op::Where => "Where",
            Op::Softmax { .. } => "Softmax",
            Op::LogSoftmax { .. } => "LogSoftmax",
            Op::Reduce { kind, .. } => match kind {
                ReduceKind::Sum => "ReduceSum",
                ReduceKind::Mean => "ReduceMean",
                ReduceKind::Max => "ReduceMax",
                ReduceKind::Min => "ReduceMin",
                ReduceKind::Prod => "ReduceProd",
                ReduceKind::L1 => "ReduceL1",
                ReduceKind::L2 => "ReduceL2",
                ReduceKind::SumSquare => "ReduceSumSquare",
                ReduceKind::LogSumExp => "ReduceLogSumExp",
            },
            Op::ArgMax { .. } => "ArgMax",
            Op::ArgMin { .. } => "ArgMin",
            Op::TopK { .. } => "TopK",
            Op::NonMaxSuppression { .. } => "NonMaxSuppression",
            Op::Concat { .. } => "Concat",
            Op::Split { .. } => "Split",
            Op::Slice => "Slice",
            Op::Pad { .. } => "Pad",
            Op::Gather { .. } => "Gather",
            Op::GatherElements { .. } => "GatherElements",
            Op::GatherND { .. } => "GatherND",
            Op::ScatterND => "ScatterND",
            Op::Reshape { .. } => "Reshape",
            Op::Flatten { .. } => "Flatten",
            Op::Squeeze => "Squeeze",
            Op::Unsqueeze => "Unsqueeze",
            Op::Transpose { .. } => "Transpose",
            Op::Expand => "Expand",
            Op::Tile => "Tile",
            Op::DepthToSpace { .. } => "DepthToSpace",
            Op::SpaceToDepth { .. } => "SpaceToDepth",
            Op::Resize(_) => "Resize",
            Op::Shape { .. } => "Shape",
            Op::Size => "Size",
            Op::ConstantOfShape { .. } => "ConstantOfShape",
            Op::Range => "Range",
            Op::NonZero => "NonZero",
            Op::CumSum { .. } => "CumSum",
            Op::Cast { .. } => "Cast",
            Op::Identity => "Identity",
            Op::Dropout => "Dropout",
            Op::IntegrateFire(_) => "IntegrateFire",
            Op::QuantizeLinear { .. } => "QuantizeLinear",
            Op::DequantizeLinear { .. } => "DequantizeLinear",
        }
    }
}

impl Unary {
    /// ONNX's operator name.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Relu => "Relu",
            Unary::LeakyRelu { .. } => "LeakyRelu",
            Unary::Elu { .. } => "Elu",
            Unary::Selu { .. } => "Selu",
            Unary::Sigmoid => "Sigmoid",
            Unary::HardSigmoid { .. } => "HardSigmoid",
            Unary::HardSwish => "HardSwish",
            Unary::Swish { .. } => "Swish",
            Unary::Mish => "Mish",
            Unary::Softplus => "Softplus",
            Unary::Softsign => "Softsign",
            Unary::Tanh => "Tanh",
            Unary::Erf => "Erf",
            Unary::Gelu { .. } => "Gelu",
            Unary::Exp => "Exp",
            Unary::Log => "Log",
            Unary::Sqrt => "Sqrt",
            Unary::Reciprocal => "Reciprocal",
            Unary::Neg => "Neg",
            Unary::Abs => "Abs",
            Unary::Sign => "Sign",
            Unary::Floor => "Floor",
            Unary::Ceil => "Ceil",
            Unary::Round => "Round",
            Unary::Sin => "Sin",
            Unary::Cos => "Cos",
            Unary::Not => "Not",
            Unary::IsNaN => "IsNaN",
        }
    }
}

impl Binary {
    /// ONNX's operator name.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div => "Div",
            Binary::Pow => "Pow",
            Binary::Mod { .. } => "Mod",
            Binary::PRelu => "PRelu",
            Binary::Equal => "Equal",
            Binary::Less => "Less",
            Binary::LessOrEqual => "LessOrEqual",
            Binary::Greater => "Greater",
            Binary::GreaterOrEqual => "GreaterOrEqual",
            Binary::And => "And",
            Binary::Or => "Or",
            Binary::Xor => "Xor",
        }
    }
}
