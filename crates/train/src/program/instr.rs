//! The closed set of instructions that a program is made of.
//!
//! Each reads some slots and writes others; no slot is written twice in a step. Pictures are channels-last (`[batch, spatial…, channels]`),
//! all else is row-major as in ONNX. Backward is made of the same instructions and of those named so.

use std::fmt;

use kernels::float::Activation;
use kernels::float::backward::{Gather, Reduce, StepGradient};
use kernels::float::spiking::Steps;
use kernels::float::{BinaryOp, Divisor, Linear, MatMul};
use kernels::{ConvShape, PoolShape};

/// Index of a buffer of f32 in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub(crate) u32);

impl Slot {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// A normalization of the channels of `[pixels, channels]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// Rows.
    pub pixels: usize,
    /// Columns.
    pub channels: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// Weight of the batch's statistics in the running ones; `None`: running statistics are used and stay.
    pub momentum: Option<f32>,
    /// What follows.
    pub activation: Activation,
}

/// A fake quantizer, its step aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantizer {
    /// Lowest and highest code, less the zero point, and the rounding.
    pub range: kernels::float::backward::FakeQuantizer,
    /// Derivative by the step.
    pub gradient: StepGradient,
}

/// One step of a program.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Instr {
    /// Convolution, or a transposed one, of weights in ONNX's order; Gemm and MatMul by a weight are those of a kernel of 1. The input
    /// gradient of a convolution is the transposed one with the same weights, and the other way around.
    Conv {
        shape: ConvShape,
        transposed: bool,
        activation: Activation,
        x: Slot,
        weight: Slot,
        bias: Option<Slot>,
        y: Slot,
    },
    /// `shape` is that of the convolution, also where the layer is a transposed one (x and dy change roles then).
    ConvWeightGradient {
        shape: ConvShape,
        x: Slot,
        dy: Slot,
        scratch: Slot,
        dw: Slot,
    },
    /// Gradient of a bias: Σ over pixels.
    ChannelSum {
        dy: Slot,
        db: Slot,
    },
    /// `saved` holds mean, 1/σ, scale and shift of the step.
    BatchNorm {
        op: Normalization,
        x: Slot,
        gamma: Slot,
        beta: Slot,
        mean: Slot,
        variance: Slot,
        saved: Slot,
        y: Slot,
    },
    BatchNormBackward {
        op: Normalization,
        x: Slot,
        saved: Slot,
        dy: Slot,
        scratch: Slot,
        dx: Slot,
        dgamma: Slot,
        dbeta: Slot,
    },
    Activation {
        function: Activation,
        x: Slot,
        y: Slot,
    },
    /// `value` is the function's output or its input.
    ActivationBackward {
        function: Activation,
        from_output: bool,
        value: Slot,
        dy: Slot,
        dx: Slot,
    },
    /// Operands in channels-last or ONNX order, of equal rank; shapes of a and b.
    Binary {
        op: BinaryOp,
        a_shape: Vec<usize>,
        b_shape: Vec<usize>,
        a: Slot,
        b: Slot,
        y: Slot,
    },
    /// y = gain · x.
    Scale {
        gain: f32,
        x: Slot,
        y: Slot,
    },
    /// Sum of gradients.
    Sum {
        inputs: Vec<Slot>,
        y: Slot,
    },
    Reduce {
        op: Reduce,
        x: Slot,
        y: Slot,
    },
    /// Backward of Reduce.
    Expand {
        op: Reduce,
        dy: Slot,
        dx: Slot,
    },
    /// Parts of `inner` elements each side by side in rows.
    Concat {
        outer: usize,
        parts: Vec<(Slot, usize)>,
        y: Slot,
    },
    /// Elements `start .. start + count` of rows of `len`.
    Slice {
        outer: usize,
        len: usize,
        start: usize,
        count: usize,
        x: Slot,
        y: Slot,
    },
    /// Backward of Slice: zeros around.
    Place {
        outer: usize,
        len: usize,
        start: usize,
        count: usize,
        dy: Slot,
        dx: Slot,
    },
    Gather {
        op: Gather,
        fill: f32,
        x: Slot,
        y: Slot,
    },
    GatherBackward {
        op: Gather,
        dy: Slot,
        dx: Slot,
    },
    /// Axis i of y is axis `axes[i]` of x.
    Permute {
        shape: Vec<usize>,
        axes: Vec<usize>,
        x: Slot,
        y: Slot,
    },
    MaxPool {
        shape: PoolShape,
        x: Slot,
        y: Slot,
    },
    MaxPoolBackward {
        shape: PoolShape,
        x: Slot,
        y: Slot,
        dy: Slot,
        dx: Slot,
    },
    AveragePool {
        shape: PoolShape,
        divisor: Divisor,
        x: Slot,
        y: Slot,
    },
    AveragePoolBackward {
        shape: PoolShape,
        divisor: Divisor,
        dy: Slot,
        dx: Slot,
    },
    ResizeLinear {
        op: Linear,
        batch: usize,
        channels: usize,
        x: Slot,
        y: Slot,
    },
    ResizeLinearBackward {
        op: Linear,
        batch: usize,
        channels: usize,
        dy: Slot,
        dx: Slot,
    },
    /// Rows of `len`.
    Softmax {
        len: usize,
        x: Slot,
        y: Slot,
    },
    SoftmaxBackward {
        len: usize,
        y: Slot,
        dy: Slot,
        dx: Slot,
    },
    MatMul {
        op: MatMul,
        a: Slot,
        b: Slot,
        y: Slot,
    },
    FakeQuantize {
        op: Quantizer,
        x: Slot,
        step: Slot,
        y: Slot,
    },
    FakeQuantizeBackward {
        op: Quantizer,
        x: Slot,
        step: Slot,
        dy: Slot,
        dx: Slot,
        dstep: Slot,
    },
    /// Neurons over steps of time.
    IntegrateFire {
        op: Steps,
        x: Slot,
        threshold: Slot,
        leak: Slot,
        y: Slot,
    },
    /// Back-propagation through time.
    IntegrateFireBackward {
        op: Steps,
        x: Slot,
        threshold: Slot,
        leak: Slot,
        dy: Slot,
        dx: Slot,
        dthreshold: Slot,
        dleak: Slot,
    },
}

impl Instr {
    /// Name in listings.
    pub fn name(&self) -> &'static str {
        match self {
            Instr::Conv {
                transposed: false, ..
            } => "conv",
            Instr::Conv { transposed: true, .. } => "conv_transposed",
            Instr::ConvWeightGradient { .. } => "conv_weight_gradient",
            Instr::ChannelSum { .. } => "channel_sum",
            Instr::BatchNorm { .. } => "batch_norm",
            Instr::BatchNormBackward { .. } => "batch_norm_backward",
            Instr::Activation { .. } => "activation",
            Instr::ActivationBackward { .. } => "activation_backward",
            Instr::Binary { .. } => "binary",
            Instr::Scale { .. } => "scale",
            Instr::Sum { .. } => "sum",
            Instr::Reduce { .. } => "reduce",
            Instr::Expand { .. } => "expand",
            Instr::Concat { .. } => "concat",
            Instr::Slice { .. } => "slice",
            Instr::Place { .. } => "place",
            Instr::Gather { .. } => "gather",
            Instr::GatherBackward { .. } => "gather_backward",
            Instr::Permute { .. } => "permute",
            Instr::MaxPool { .. } => "max_pool",
            Instr::MaxPoolBackward { .. } => "max_pool_backward",
            Instr::AveragePool { .. } => "average_pool",
            Instr::AveragePoolBackward { .. } => "average_pool_backward",
            Instr::ResizeLinear { .. } => "resize_linear",
            Instr::ResizeLinearBackward { .. } => "resize_linear_backward",
            Instr::Softmax { .. } => "softmax",
            Instr::SoftmaxBackward { .. } => "softmax_backward",
            Instr::MatMul { .. } => "mat_mul",
            Instr::FakeQuantize { .. } => "fake_quantize",
            Instr::FakeQuantizeBackward { .. } => "fake_quantize_backward",
            Instr::IntegrateFire { .. } => "integrate_fire",
            Instr::IntegrateFireBackward { .. } => "integrate_fire_backward",
        }
    }

    /// Slots that are read. Running statistics are read and, in a training step, changed.
    pub fn reads(&self) -> Vec<Slot> {
        match self {
            Instr::Conv { x, weight, bias, .. } => {
                [Some(*x), Some(*weight), *bias].into_iter().flatten().collect()
            }
            Instr::ConvWeightGradient { x, dy, .. } => vec![*x, *dy],
            Instr::ChannelSum { dy, .. } => vec![*dy],
            Instr::BatchNorm {
                x,
                gamma,
                beta,
                mean,
                variance,
                ..
            } => vec![*x, *gamma, *beta, *mean, *variance],
            Instr::BatchNormBackward { x, saved, dy, .. } => vec![*x, *saved, *dy],
            Instr::ActivationBackward { value, dy, .. } => vec![*value, *dy],
            Instr::Binary { a, b, .. } | Instr::MatMul { a, b, .. } => vec![*a, *b],
            Instr::Sum { inputs, .. } => inputs.clone(),
            Instr::Concat { parts, .. } => parts.iter().map(|p| p.0).collect(),
            Instr::Activation { x, .. }
            | Instr::Scale { x, .. }
            | Instr::Reduce { x, .. }
            | Instr::Slice { x, .. }
            | Instr::Gather { x, .. }
            | Instr::Permute { x, .. }
            | Instr::MaxPool { x, .. }
            | Instr::AveragePool { x, .. }
            | Instr::ResizeLinear { x, .. }
            | Instr::Softmax { x, .. } => vec![*x],
            Instr::Expand { dy, .. }
            | Instr::Place { dy, .. }
            | Instr::GatherBackward { dy, .. }
            | Instr::AveragePoolBackward { dy, .. }
            | Instr::ResizeLinearBackward { dy, .. } => vec![*dy],
            Instr::MaxPoolBackward { x, y, dy, .. } => vec![*x, *y, *dy],
            Instr::SoftmaxBackward { y, dy, .. } => vec![*y, *dy],
            Instr::FakeQuantize { x, step, .. } => vec![*x, *step],
            Instr::FakeQuantizeBackward { x, step, dy, .. } => vec![*x, *step, *dy],
            Instr::IntegrateFire {
                x, threshold, leak, ..
            } => vec![*x, *threshold, *leak],
            Instr::IntegrateFireBackward {
                x,
                threshold,
                leak,
                dy,
                ..
            } => vec![*x, *threshold, *leak, *dy],
        }
    }

    /// Slots that are written, scratch memory included.
    pub fn writes(&self) -> Vec<Slot> {
        match self {
            Instr::ConvWeightGradient { scratch, dw, .. } => vec![*scratch, *dw],
            Instr::ChannelSum { db, .. } => vec![*db],
            Instr::BatchNorm { saved, y, .. } => vec![*saved, *y],
            Instr::BatchNormBackward {
                scratch,
                dx,
                dgamma,
                dbeta,
                ..
            } => vec![*scratch, *dx, *dgamma, *dbeta],
            Instr::FakeQuantizeBackward { dx, dstep, .. } => vec![*dx, *dstep],
            Instr::IntegrateFireBackward {
                dx,
                dthreshold,
                dleak,
                ..
            } => vec![*dx, *dthreshold, *dleak],
            Instr::Conv { y, .. }
            | Instr::Activation { y, .. }
            | Instr::Binary { y, .. }
            | Instr::Scale { y, .. }
            | Instr::Sum { y, .. }
            | Instr::Reduce { y, .. }
            | Instr::Concat { y, .. }
            | Instr::Slice { y, .. }
            | Instr::Gather { y, .. }
            | Instr::Permute { y, .. }
            | Instr::MaxPool { y, .. }
            | Instr::AveragePool { y, .. }
            | Instr::ResizeLinear { y, .. }
            | Instr::Softmax { y, .. }
            | Instr::MatMul { y, .. }
            | Instr::FakeQuantize { y, .. }
            | Instr::IntegrateFire { y, .. } => vec![*y],
            Instr::ActivationBackward { dx, .. }
            | Instr::Expand { dx, .. }
            | Instr::Place { dx, .. }
            | Instr::GatherBackward { dx, .. }
            | Instr::MaxPoolBackward { dx, .. }
            | Instr::AveragePoolBackward { dx, .. }
            | Instr::ResizeLinearBackward { dx, .. }
            | Instr::SoftmaxBackward { dx, .. } => vec![*dx],
        }
    }

    /// A read slot whose memory a written one may take: the kernel works in place. Each is (read, written).
    pub fn in_place(&self) -> Option<(Slot, Slot)> {
        match self {
            Instr::Activation { x, y, .. } | Instr::Scale { x, y, .. } | Instr::Softmax { x, y, .. } => {
                Some((*x, *y))
            }
            Instr::BatchNormBackward { dy, dx, .. }
            | Instr::ActivationBackward { dy, dx, .. }
            | Instr::SoftmaxBackward { dy, dx, .. }
            | Instr::FakeQuantizeBackward { dy, dx, .. } => Some((*dy, *dx)),
            Instr::Sum { inputs, y } => Some((*inputs.first()?, *y)),
            _ => None,
        }
    }
}

impl fmt::Display for Instr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |slots: Vec<Slot>| slots.iter().map(Slot::to_string).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "{} = {} {}",
            list(self.writes()),
            self.name(),
            list(self.reads())
        )?;
        match self {
            Instr::Conv {
                shape, activation, ..
            } => {
                write!(f, "  {}", window(shape))?;
                if *activation != Activation::None {
                    write!(f, " {activation:?}")
                } else {
                    Ok(())
                }
            }
            Instr::ConvWeightGradient { shape, .. } => write!(f, "  {}", window(shape)),
            Instr::BatchNorm { op, .. } if op.activation != Activation::None => {
                write!(f, "  {:?}", op.activation)
            }
            Instr::Activation { function, .. } | Instr::ActivationBackward { function, .. } => {
                write!(f, "  {function:?}")
            }
            Instr::Binary { op, .. } => write!(f, "  {op:?}"),
            Instr::Permute { axes, .. } => write!(f, "  {axes:?}"),
            _ => Ok(()),
        }
    }
}

fn window(s: &ConvShape) -> String {
    let join = |a: &[usize; 3]| a.map(|n| n.to_string()).join("x");
    let group = if s.groups == 1 {
        String::new()
    } else {
        format!(" group {}", s.groups)
    };
    format!(
        "{}→{} kernel {} stride {} {}→{}{group}",
        s.in_channels,
        s.out_channels,
        join(&s.kernel),
        join(&s.stride),
        join(&s.input),
        join(&s.output)
    )
}
