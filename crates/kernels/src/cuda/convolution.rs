//! Convolutions and the gradients of their weights.

use super::element::function;
use super::{CudaError, Given, Memory, Span, given, numbers};
use crate::ConvShape;
use crate::float::Activation;

/// Pixels of a block of the kernel `convolve`.
const PIXELS: usize = 128;
/// Side of a block's tile in the kernel `weight_gradient`.
const TILE: usize = 64;
/// About as many blocks make a weight gradient.
const BLOCKS: usize = 512;
/// Threads of the depthwise weight gradient.
const THREADS: usize = 1 << 16;

/// A convolution as kernels take it.
fn shape(s: &ConvShape, transposed: bool) -> Given {
    let head = [s.batch, s.in_channels, s.out_channels, s.groups];
    let axes = [s.input, s.output, s.kernel, s.stride, s.dilation, s.pad];
    numbers(
        head.into_iter()
            .chain(axes.into_iter().flatten())
            .chain([transposed.into()]),
    )
}

fn weights(s: &ConvShape) -> usize {
    s.kernel.iter().product::<usize>() * (s.in_channels / s.groups.max(1)) * s.out_channels
}

fn pixels(s: &ConvShape) -> usize {
    s.batch * s.output.iter().product::<usize>()
}

fn check(s: &ConvShape, x: Span, y: Span, weight: Span) {
    let groups = s.groups.max(1);
    let whole = s.in_channels.is_multiple_of(groups) && s.out_channels.is_multiple_of(groups);
    assert!(
        whole && s.groups > 0 && !s.stride.contains(&0),
        "convolution: groups or strides"
    );
    let inputs = s.batch * s.input.iter().product::<usize>() * s.in_channels;
    assert_eq!(
        (x.len, y.len, weight.len),
        (inputs, pixels(s) * s.out_channels, weights(s)),
        "convolution: length"
    );
}

/// Parts that the pixels of a weight gradient are cut into.
fn parts(s: &ConvShape) -> usize {
    let groups = s.groups.max(1);
    if s.is_depthwise() {
        return (THREADS / weights(s).max(1)).clamp(1, pixels(s).div_ceil(64).max(1));
    }
    let rows = weights(s) / s.out_channels.max(1);
    let tiles = rows.div_ceil(TILE) * (s.out_channels / groups).div_ceil(TILE) * groups;
    (BLOCKS / tiles.max(1)).clamp(1, pixels(s).div_ceil(256).max(1))
}

impl Memory {
    /// Words of the scratch memory of [`Memory::convolve`].
    pub fn convolve_scratch(s: &ConvShape) -> usize {
        weights(s)
    }

    /// A convolution of weights `[out_channels, in_channels / groups, kernel…]`, or a transposed one of weights `[in_channels,
    /// out_channels / groups, kernel…]`, with a bias and an activation behind it. The order of terms is that of [`float::Conv`](crate::float::Conv).
    ///
    /// # Errors
    /// See [`Memory::activate`].
    #[allow(clippy::too_many_arguments)]
    pub fn convolve(
        &self,
        s: &ConvShape,
        transposed: bool,
        f: Activation,
        x: Span,
        weight: Span,
        bias: Option<Span>,
        y: Span,
        scratch: Span,
    ) -> Result<(), CudaError> {
        check(s, x, y, weight);
        assert!(bias.is_none_or(|b| b.len == s.out_channels), "convolution: bias");
        let (kind, a, b) = function(f);
        let numbers = || shape(s, transposed);
        if s.is_depthwise() {
            let arguments = given![x, weight, bias, y, y.len, numbers(), kind, a, b];
            // SAFETY: a thread makes one element, and reads only inside of the picture.
            return unsafe { self.each("convolve_depthwise", y.len, arguments) };
        }
        let packed = scratch.split(weight.len).0;
        // SAFETY: a permutation of the weights.
        unsafe {
            self.each(
                "pack_weights",
                weight.len,
                given![weight, packed, weight.len, numbers()],
            )?
        };
        let columns = s.out_channels / s.groups;
        let (kernel, wide) = match columns {
            ..=32 => ("convolve_32", 32),
            _ => ("convolve_64", 64),
        };
        let grid = [pixels(s).div_ceil(PIXELS), columns.div_ceil(wide), s.groups];
        let arguments = given![x, packed, bias, y, numbers(), kind, a, b];
        // SAFETY: blocks write the pixels and channels of their tile that there are, and read only inside of the picture.
        unsafe { self.blocks(kernel, grid, arguments) }
    }

    /// Words of the scratch memory of [`Memory::weight_gradient`].
    pub fn weight_gradient_scratch(s: &ConvShape) -> usize {
        parts(s) * weights(s)
    }

    /// Gradient of the weights of a convolution, in ONNX's order; that of a transposed one is the one of the convolution that it transposes.
    ///
    /// # Errors
    /// See [`Memory::activate`].
    pub fn weight_gradient(
        &self,
        s: &ConvShape,
        x: Span,
        dy: Span,
        dw: Span,
        scratch: Span,
    ) -> Result<(), CudaError> {
        check(s, x, dy, dw);
        let parts = parts(s);
        let sums = scratch.split(parts * dw.len).0;
        let numbers = || shape(s, false);
        if s.is_depthwise() {
            let arguments = given![x, dy, sums, sums.len, parts, numbers()];
            // SAFETY: a thread has its own sum, and reads only inside of the picture.
            unsafe { self.each("weight_gradient_depthwise", sums.len, arguments)? };
        } else {
            let (rows, columns) = (dw.len / s.out_channels.max(1), s.out_channels / s.groups);
            let grid = [rows.div_ceil(TILE), columns.div_ceil(TILE), s.groups * parts];
            // SAFETY: blocks write the sums of their tile that there are, and read only inside of the picture.
            unsafe { self.blocks("weight_gradient", grid, given![x, dy, sums, parts, numbers()])? };
        }
        // SAFETY: a thread for each weight.
        unsafe {
            self.each(
                "weight_gradient_total",
                dw.len,
                given![sums, dw, dw.len, parts, numbers()],
            )
        }
    }
}
