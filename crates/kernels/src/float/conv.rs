//! Convolution, transposed convolution and Gemm.

mod dense;
mod depthwise;
mod scalar;

use crate::float::Activation;
use crate::float::rows::rows;
use crate::geometry::Geometry;
use crate::{ConvShape, Isa, Out, Pixels, Pool};
use dense::Dense;
use depthwise::Depthwise;

pub(crate) use dense::{DenseRow, TileCall, TileSize};
pub(crate) use depthwise::{DepthwiseRow, RunCall};

/// `v = low > v ? low : v`, then `high < v ? high : v`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clamp {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

/// What follows a sum: a clamp in the kernel, or another function over the finished rows while they are in the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    pub(crate) clamp: Option<Clamp>,
    pub(crate) activation: Option<Activation>,
}

impl Finish {
    fn new(activation: Activation) -> Finish {
        let clamp = match activation {
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Clip { low, high } => Some((low, high)),
            _ => None,
        };
        let other = clamp.is_none() && activation != Activation::None;
        Finish {
            clamp: clamp.map(|(low, high)| Clamp { low, high }),
            activation: other.then_some(activation),
        }
    }
}

/// An argument's length does not follow from the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LengthError {
    pub what: &'static str,
    pub want: usize,
    pub have: usize,
}

impl std::fmt::Display for LengthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LengthError { what, want, have } = self;
        write!(f, "{what}: {have} elements, the shape wants {want}")
    }
}

impl std::error::Error for LengthError {}

/// A convolution packed for one kernel.
#[derive(Debug)]
pub struct Conv {
    geometry: Geometry,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Scalar {
        /// [out channel][tap][in channel of the group].
        weights: Vec<f32>,
        bias: Vec<f32>,
        activation: Activation,
    },
    Dense(Dense),
    Depthwise(Depthwise),
}

impl Conv {
    /// A convolution of `weights` `[out_channels, in_channels / groups, kernel…]`, `bias` and an activation behind it.
    /// Gemm and MatMul by a constant are a convolution with a kernel of 1.
    ///
    /// # Errors
    /// When lengths do not match or the groups do not divide the channels.
    pub fn new(
        shape: &ConvShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        isa: Isa,
    ) -> Result<Conv, LengthError> {
        Conv::build(shape, false, weights, bias, activation, isa)
    }

    /// A transposed convolution of `weights` `[in_channels, out_channels / groups, kernel…]`; `shape.pad` is ONNX's
    /// padding before each axis, `shape.output` the output's size.
    ///
    /// # Errors
    /// As [`Conv::new`].
    pub fn transposed(
        shape: &ConvShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        isa: Isa,
    ) -> Result<Conv, LengthError> {
        Conv::build(shape, true, weights, bias, activation, isa)
    }

    fn build(
        shape: &ConvShape,
        transposed: bool,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        isa: Isa,
    ) -> Result<Conv, LengthError> {
        let (groups, outputs) = (shape.groups.max(1), shape.out_channels);
        let depth = shape.kernel.iter().product::<usize>() * (shape.in_channels / groups);
        let lengths = [
            (
                "input channels behind the last whole group",
                0,
                shape.in_channels % groups,
            ),
            ("output channels behind the last whole group", 0, outputs % groups),
            ("weights", depth * outputs, weights.len()),
            ("bias", outputs, bias.map_or(outputs, <[f32]>::len)),
        ];
        if let Some(&(what, want, have)) = lengths.iter().find(|(_, want, have)| want != have) {
            return Err(LengthError { what, want, have });
        }
        let geometry = Geometry::new(shape, transposed);
        let finish = Finish::new(activation);
        // AVX-512's depthwise row wants 16 channels; the next one is content with 8.
        let depthwise = Isa::ALL.iter().rev().filter(|&&i| i <= isa).find_map(|&i| {
            let row = rows(i).depthwise?;
            (shape.is_depthwise() && outputs >= row.lanes).then_some(row)
        });
        let body = match (depthwise, rows(isa).dense) {
            (Some(row), _) => Body::Depthwise(Depthwise::new(row, &geometry, finish)),
            (None, Some(row)) => Body::Dense(Dense::new(row, &geometry, finish)),
            (None, None) => Body::Scalar {
                weights: vec![0.0; weights.len()],
                bias: vec![0.0; outputs],
                activation,
            },
        };
        let mut conv = Conv { geometry, body };
        conv.set(weights, bias);
        Ok(conv)
    }

    /// Replaces weights and bias by others of the same lengths, and takes no memory for it: training does this in every step.
    /// Panics when a length differs.
    pub fn set(&mut self, weights: &[f32], bias: Option<&[f32]>) {
        let s = &self.geometry.shape;
        let len = self.geometry.taps() * (s.in_channels / s.groups) * s.out_channels;
        assert_eq!(weights.len(), len, "convolution: weights");
        assert!(
            bias.is_none_or(|b| b.len() == s.out_channels),
            "convolution: bias"
        );
        match &mut self.body {
            Body::Scalar {
                weights: packed,
                bias: to,
                ..
            } => {
                packed.copy_from_slice(&self.geometry.by_output(weights));
                match bias {
                    Some(bias) => to.copy_from_slice(bias),
                    None => to.fill(0.0),
                }
            }
            Body::Dense(dense) => dense.set(&self.geometry, weights, bias),
            Body::Depthwise(body) => body.set(&self.geometry, weights, bias),
        }
    }

    /// Computes `y` `[batch, output…, out_channels]` from `x` `[batch, input…, in_channels]`.
    /// Panics when a view is too short.
    pub fn run(&self, pool: &Pool, x: Pixels<'_, f32>, mut y: Out<'_, f32>) {
        let shape = &self.geometry.shape;
        x.check(
            shape.batch * shape.input.iter().product::<usize>(),
            shape.in_channels,
        );
        y.check(
            shape.batch * shape.output.iter().product::<usize>(),
            shape.out_channels,
        );
        match &self.body {
            Body::Scalar {
                weights,
                bias,
                activation,
            } => scalar::run(pool, &self.geometry, weights, bias, *activation, x, y),
            Body::Dense(dense) => dense.run(pool, &self.geometry, x, &mut y),
            Body::Depthwise(body) => body.run(pool, &self.geometry, x, &mut y),
        }
    }

    /// The kernel that runs.
    pub fn kernel_name(&self) -> &str {
        match &self.body {
            Body::Scalar { .. } => "conv_f32_scalar_m1n1_nhwc",
            Body::Dense(dense) => dense.name(),
            Body::Depthwise(body) => body.name(),
        }
    }

    /// Bytes of the packed weights and constants.
    pub fn packed_bytes(&self) -> usize {
        match &self.body {
            Body::Scalar { weights, bias, .. } => (weights.len() + bias.len()) * 4,
            Body::Dense(dense) => dense.packed_bytes(),
            Body::Depthwise(body) => body.packed_bytes(),
        }
    }
}
