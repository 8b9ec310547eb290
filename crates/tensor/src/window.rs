//! Sliding windows.

/// A window that slides over the spatial axes of a convolution or pool, in ONNX's lists: what a graph tells its kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window<'a> {
    /// Taps along each axis.
    pub kernel: &'a [usize],
    /// Steps from one window to the next.
    pub stride: &'a [usize],
    /// Steps from one tap to the next.
    pub dilation: &'a [usize],
    /// Padding before each axis; of a transposed convolution, what is cut off there.
    pub pad: Vec<usize>,
}
