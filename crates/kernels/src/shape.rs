//! Geometry that float and integer kernels share. Spatial axes are [depth, height, width].

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
    /// One window over all pixels of each picture.
    pub(crate) fn whole(batch: usize, pixels: usize, channels: usize) -> PoolShape {
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
