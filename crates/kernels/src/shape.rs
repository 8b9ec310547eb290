//! Geometry that float and integer kernels share. Spatial axes are [depth, height, width].

use tensor::Window;

/// Three axes from up to three, a filling in front.
///
/// # Errors
/// The end of a sentence: there are more axes.
pub fn three<T: Copy>(axes: &[T], fill: T) -> Result<[T; 3], String> {
    let mut out = [fill; 3];
    let lead = 3usize
        .checked_sub(axes.len())
        .ok_or_else(|| format!("{} spatial axes; up to 3 are supported", axes.len()))?;
    out[lead..].copy_from_slice(axes);
    Ok(out)
}

/// Batch, channels and spatial axes of `[N, C, spatial…]`.
///
/// # Errors
/// The end of a sentence: the shape is none of a picture.
pub fn picture(shape: &[usize]) -> Result<(usize, usize, &[usize]), String> {
    match shape {
        [n, c, spatial @ ..] if !spatial.is_empty() => Ok((*n, *c, spatial)),
        _ => Err(format!("{shape:?} is no [N, C, spatial…]")),
    }
}

/// Kernel, stride, dilation and padding over three axes.
fn axes(w: &Window<'_>) -> Result<[[usize; 3]; 4], String> {
    Ok([
        three(w.kernel, 1)?,
        three(w.stride, 1)?,
        three(w.dilation, 1)?,
        three(&w.pad, 0)?,
    ])
}

/// A convolution over channels-last tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ConvShape {
    pub batch: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub groups: usize,
    pub input: [usize; 3],
    pub output: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    /// Padding before each axis; what is needed behind follows from `output`.
    pub pad: [usize; 3],
}

impl ConvShape {
    /// A product of matrices: the rows of one as the pixels of a picture.
    pub fn matrix(rows: usize, in_channels: usize, out_channels: usize) -> ConvShape {
        ConvShape {
            batch: 1,
            in_channels,
            out_channels,
            groups: 1,
            input: [1, 1, rows],
            output: [1, 1, rows],
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        }
    }

    /// A convolution from ONNX shape `x` to `y`; of a transposed one, `pad` is what is cut off.
    ///
    /// # Errors
    /// The end of a sentence: shapes that are none of pictures, more than three spatial axes.
    pub fn new(groups: usize, x: &[usize], y: &[usize], window: &Window<'_>) -> Result<ConvShape, String> {
        let ((batch, in_channels, input), (_, out_channels, output)) = (picture(x)?, picture(y)?);
        let [kernel, stride, dilation, pad] = axes(window)?;
        Ok(ConvShape {
            batch,
            in_channels,
            out_channels,
            groups,
            input: three(input, 1)?,
            output: three(output, 1)?,
            kernel,
            stride,
            dilation,
            pad,
        })
    }

    /// Multiply-accumulates of the whole layer.
    pub fn macs(&self) -> usize {
        let taps: usize = self.kernel.iter().product();
        self.batch * self.output.iter().product::<usize>() * self.out_channels * taps * self.in_channels
            / self.groups
    }

    /// One input channel and one output channel per group.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups == self.out_channels
    }
}

/// A pooling window over channels-last tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PoolShape {
    pub batch: usize,
    pub channels: usize,
    pub input: [usize; 3],
    pub output: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    pub pad: [usize; 3],
}

impl PoolShape {
    /// A pooling window from ONNX shape `x` to `y`.
    ///
    /// # Errors
    /// As [`ConvShape::new`].
    pub fn new(x: &[usize], y: &[usize], window: &Window<'_>) -> Result<PoolShape, String> {
        let ((batch, channels, input), (_, _, output)) = (picture(x)?, picture(y)?);
        let [kernel, stride, dilation, pad] = axes(window)?;
        Ok(PoolShape {
            batch,
            channels,
            input: three(input, 1)?,
            output: three(output, 1)?,
            kernel,
            stride,
            dilation,
            pad,
        })
    }

    /// The same windows axis by axis, innermost first, where that takes fewer steps: for what does not depend on the order of a window's elements.
    /// Behind an axis that is done, pixels side by side are channels of the next one.
    ///
    /// ```
    /// use kernels::PoolShape;
    /// let (kernel, pad) = ([1, 5, 5], [0, 2, 2]);
    /// let whole = PoolShape::whole(1, 1, 8);
    /// let shape = PoolShape { input: [1, 20, 30], output: [1, 20, 30], kernel, pad, ..whole };
    /// let axes: Vec<_> = shape.by_axes().iter().map(|s| (s.channels, s.kernel)).collect();
    /// assert_eq!(axes, [(8, [1, 1, 5]), (240, [1, 5, 1])]);
    /// ```
    pub fn by_axes(&self) -> Vec<PoolShape> {
        if self.kernel.iter().product::<usize>() <= self.kernel.iter().sum() {
            return vec![self.clone()];
        }
        let mut rest = self.clone();
        let mut axes = Vec::new();
        for axis in (0..3).rev() {
            if self.kernel[axis] > 1 || self.stride[axis] > 1 {
                let mut one = PoolShape {
                    output: rest.input,
                    kernel: [1; 3],
                    stride: [1; 3],
                    dilation: [1; 3],
                    pad: [0; 3],
                    ..rest.clone()
                };
                one.output[axis] = self.output[axis];
                one.kernel[axis] = self.kernel[axis];
                one.stride[axis] = self.stride[axis];
                one.dilation[axis] = self.dilation[axis];
                one.pad[axis] = self.pad[axis];
                axes.push(one);
            }
            rest.channels *= self.output[axis];
            rest.input[axis] = 1;
        }
        axes
    }

    /// One window over all pixels of each picture.
    pub fn whole(batch: usize, pixels: usize, channels: usize) -> PoolShape {
        PoolShape {
            batch,
            channels,
            input: [1, 1, pixels],
            output: [1; 3],
            kernel: [1, 1, pixels],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        }
    }
}
