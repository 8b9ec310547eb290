//! From accumulators to outputs, and the bounds that a layer must prove (`FORMAT.md` 1.2, 1.4, 1.13).

use crate::float::Activation;
use crate::int::rule::{BoundError, Edge, prove, quantize_one, requantize};

/// What follows the exact sum of a convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Epilogue {
    /// Code of real 0 in the input.
    pub zero_in: u8,
    /// Largest input code.
    pub hi_in: u8,
    /// One per output channel, in units of the accumulator ([`bias_level`](crate::int::bias_level)).
    pub bias: Vec<i64>,
    /// One per output channel, finite and not negative: `s_x·s_c/s_y` for codes, `s_x·s_c` for f32.
    pub multiplier: Vec<f32>,
    /// What is written.
    pub output: Output,
}

/// What a convolution writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Codes by 1.2, then through a table where one is fused behind.
    U8 {
        /// Code of real 0.
        zero: u8,
        /// Largest code.
        hi: u8,
        /// A unary operator (1.5) applied to the code.
        table: Option<Box<[u8; 256]>>,
    },
    /// Real values by 1.4.
    F32,
    /// Real values by 1.4, a function of them (1.15), then codes of an edge (1.12).
    Function {
        /// What is applied; where [`is_fused`](crate::int::is_fused) says so, sums stay in registers until they are codes.
        function: Activation,
        /// Quantizer of what is written.
        edge: Edge,
    },
}

/// Why a layer cannot be an integer convolution.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum ConvError {
    /// An argument's length does not follow from the shape.
    Length {
        what: &'static str,
        want: usize,
        have: usize,
    },
    /// A multiplier is negative, infinite or not a number.
    Multiplier { channel: usize, value: f32 },
    /// The exact sum of a channel may leave i64 (2^62).
    Sum { channel: usize },
    /// The scaled sum of a channel may leave i32.
    Bound { channel: usize, bound: BoundError },
}

impl std::fmt::Display for ConvError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConvError::Length { what, want, have } => {
                write!(f, "{what}: {have} elements, the shape wants {want}")
            }
            ConvError::Multiplier { channel, value } => {
                write!(
                    f,
                    "output channel {channel}: multiplier {value} is not a finite number ≥ 0"
                )
            }
            ConvError::Sum { channel } => {
                write!(
                    f,
                    "output channel {channel}: sums may exceed 2^62, run this layer in float"
                )
            }
            ConvError::Bound { channel, bound } => write!(f, "output channel {channel}: {bound}"),
        }
    }
}

impl std::error::Error for ConvError {}

impl Epilogue {
    /// The code of an accumulator, table included.
    pub(crate) fn code(&self, acc: i64, multiplier: f32) -> u8 {
        match &self.output {
            Output::U8 { zero, hi, table } => {
                let v = requantize(acc, multiplier, *zero, *hi);
                table.as_ref().map_or(v, |t| t[usize::from(v)])
            }
            Output::Function { function, edge } => {
                quantize_one(*edge, function.apply(acc as f32 * multiplier))
            }
            Output::F32 => 0,
        }
    }

    /// Largest |q − zero_in|.
    fn swing(&self) -> i128 {
        i128::from(self.zero_in.max(self.hi_in.saturating_sub(self.zero_in)))
    }

    /// Largest |acc| of a channel whose levels' magnitudes have this sum.
    pub(crate) fn largest(&self, channel: usize, magnitude: u64) -> i128 {
        i128::from(magnitude) * self.swing() + i128::from(self.bias[channel]).abs()
    }

    /// Proves 1.13, given the sum of each channel's magnitudes.
    pub(crate) fn prove(&self, magnitudes: &[u64]) -> Result<(), ConvError> {
        for (channel, (&m, &magnitude)) in self.multiplier.iter().zip(magnitudes).enumerate() {
            if !(m.is_finite() && m >= 0.0) {
                return Err(ConvError::Multiplier { channel, value: m });
            }
            let largest = self.largest(channel, magnitude);
            if largest >= 1 << 62 {
                return Err(ConvError::Sum { channel });
            }
            if matches!(self.output, Output::U8 { .. }) {
                prove(largest as f64, m).map_err(|bound| ConvError::Bound { channel, bound })?;
            }
        }
        Ok(())
    }
}
