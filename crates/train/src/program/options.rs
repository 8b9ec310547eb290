//! What a program is derived for.

/// What BatchNormalization does in a training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BatchNormMode {
    /// Statistics of the batch; `running = (1 − momentum) · running + momentum · batch`, with the *unbiased* variance, as PyTorch does
    /// (ONNX's training mode takes the biased one).
    Batch {
        /// Weight of the new statistics; PyTorch's default is 0.1.
        momentum: f32,
    },
    /// Running statistics, not updated; scale and shift are trained.
    Frozen,
}

/// How a quantizer maps x / step to a code before it clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Half to even: `FORMAT.md` 1.12.
    Nearest,
    /// ⌈x / step⌉: BCGD's quantized ReLU (arXiv 1808.05240).
    Up,
}

/// BCGD's stand-ins for ∂σ/∂α, the derivative of the quantized ReLU by its step (arXiv 1808.05240).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlphaDerivative {
    /// The code itself.
    AlmostEverywhere,
    /// 0 below, 2^(bits − 1) inside, 2^bits − 1 above.
    ThreeValued,
    /// 2^bits − 1 above, 0 elsewhere.
    TwoValued,
}

/// What a quantizer's backward gives to its step. To x it always gives the clipped straight-through estimate: the gradient where x
/// lies inside of the range, 0 outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantizerGradient {
    /// The step stays.
    Fixed,
    /// Learned step size (arXiv 1902.08153, equation 3): `code − x / step` inside, the end code outside, codes counted from the zero
    /// point. The gradient scale 1 / √(N · Q) is left to the optimizer.
    Lsq,
    /// BCGD.
    Alpha(AlphaDerivative),
}

/// A quantizer on one value: forward gives `step · (code − zero_point)`, codes in 0 … 2^bits − 1.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeQuantizer {
    /// Name of the value; every reader sees the quantized one.
    pub edge: String,
    /// 1…8.
    pub bits: u32,
    /// Finite and positive: the first value of the parameter [`Step`](super::ParameterKind::Step).
    pub step: f32,
    /// Code of real 0.
    pub zero_point: u8,
    /// How codes are chosen.
    pub rounding: Rounding,
    /// What trains the step.
    pub gradient: QuantizerGradient,
    /// The quantized value whose step this one shares; `None`: it has its own.
    pub step_of: Option<String>,
}

/// What a program is derived for.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgramOptions {
    /// Pictures of one step; the first dimension of every graph input.
    pub batch: usize,
    /// What BatchNormalization does in training.
    pub batch_norm: BatchNormMode,
    /// Quantizers of activations.
    pub quantizers: Vec<FakeQuantizer>,
    /// Names of the values to give, with gradients in, in this order; empty means the graph's outputs. Nodes that none of them needs
    /// are left out: raw heads here cut decoding off.
    pub outputs: Vec<String>,
    /// Whether backward gives the gradients of the inputs too.
    pub input_gradients: bool,
    /// Whether what a Gemm by a weight reads is multiplied by a mask of [`Dropout`](crate::dropout::Dropout): an input of the program, behind the graph's.
    pub dropout: bool,
}

impl ProgramOptions {
    /// Batch statistics with PyTorch's momentum, no quantizer, the graph's outputs.
    pub fn new(batch: usize) -> ProgramOptions {
        ProgramOptions {
            batch,
            batch_norm: BatchNormMode::Batch { momentum: 0.1 },
            quantizers: Vec::new(),
            outputs: Vec::new(),
            input_gradients: false,
            dropout: false,
        }
    }
}
