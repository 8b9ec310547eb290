//! Convolution, transposed convolution and Gemm.

mod scalar;

use crate::float::Activation;
use crate::geometry::Geometry;
use crate::{ConvShape, Isa, Out, Pixels, Pool};

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
    bias: Vec<f32>,
    activation: Activation,
    /// [out channel][tap][in channel of the group].
    weights: Vec<f32>,
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
        let _ = isa;
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
        Ok(Conv {
            weights: geometry.by_output(weights),
            geometry,
            bias: bias.map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec),
            activation,
        })
    }

    /// Computes `y` `[batch, output…, out_channels]` from `x` `[batch, input…, in_channels]`.
    /// Panics when a view is too short.
    pub fn run(&self, pool: &Pool, x: Pixels<'_, f32>, y: Out<'_, f32>) {
        let shape = &self.geometry.shape;
        x.check(
            shape.batch * shape.input.iter().product::<usize>(),
            shape.in_channels,
        );
        y.check(
            shape.batch * shape.output.iter().product::<usize>(),
            shape.out_channels,
        );
        scalar::run(
            pool,
            &self.geometry,
            &self.weights,
            &self.bias,
            self.activation,
            x,
            y,
        );
    }

    /// The registry row that runs.
    pub fn kernel_name(&self) -> &str {
        "conv_f32_scalar_m1n1_nhwc"
    }

    /// Bytes of the packed weights and constants.
    pub fn packed_bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * 4
    }
}
