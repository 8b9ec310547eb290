//! Where the input of a task lies in its patch.

use crate::{ConvShape, Pixels};

/// Lines of input in a patch: [kernel plane][line][pixel][channel].
pub(super) struct Lay {
    /// Bytes of an element.
    pub(super) unit: usize,
    planes: usize,
    lines: usize,
    pixels: usize,
    /// Elements of a line.
    pub(super) pitch: usize,
}

impl Lay {
    /// For some output lines of some pixels.
    pub(super) fn new(s: &ConvShape, unit: usize, lines: usize, pixels: usize) -> Lay {
        let reach = |axis: usize, count: usize| {
            (count - 1) * s.stride[axis] + (s.kernel[axis] - 1) * s.dilation[axis] + 1
        };
        let pixels = reach(2, pixels);
        Lay {
            unit,
            planes: s.kernel[0],
            lines: reach(1, lines),
            pixels,
            pitch: pixels * s.in_channels,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.planes * self.lines * self.pitch * self.unit
    }

    /// Bytes from tap 0 to a tap of the kernel.
    pub(super) fn tap(&self, s: &ConvShape, tap: usize) -> usize {
        let [_, kh, kw] = s.kernel;
        self.place(s, [tap / (kh * kw), tap / kw % kh, tap % kw])
    }

    /// Bytes from tap 0 to place [z, y, x], which may lie a line below the kernel.
    pub(super) fn place(&self, s: &ConvShape, [z, y, x]: [usize; 3]) -> usize {
        self.unit * ((z * self.lines + y * s.dilation[1]) * self.pitch + x * s.dilation[2] * s.in_channels)
    }

    /// Lays out the input of the chunk whose first output pixel is [batch, z, y, x].
    pub(super) fn fill<E: Copy>(
        &self,
        s: &ConvShape,
        at: [usize; 4],
        pad: E,
        x: Pixels<'_, u8>,
        patch: &mut [E],
        lay: impl Fn(&[u8], &mut [E]),
    ) {
        let [batch, z, y, first] = at;
        let channels = s.in_channels;
        let inside = |axis: usize, at: usize| at.checked_sub(s.pad[axis]).filter(|&i| i < s.input[axis]);
        // Pixels of the line that lie in the picture.
        let start = first * s.stride[2];
        let left = s.pad[2].saturating_sub(start).min(self.pixels);
        let from = (start + left).saturating_sub(s.pad[2]);
        let count = s.input[2].saturating_sub(from).min(self.pixels - left);
        for plane in 0..self.planes {
            for line in 0..self.lines {
                let whole = &mut patch[(plane * self.lines + line) * self.pitch..][..self.pitch];
                let (Some(iz), Some(iy), 1..) = (
                    inside(0, z * s.stride[0] + plane * s.dilation[0]),
                    inside(1, y * s.stride[1] + line),
                    count,
                ) else {
                    whole.fill(pad);
                    continue;
                };
                let pixel = ((batch * s.input[0] + iz) * s.input[1] + iy) * s.input[2] + from;
                whole[..left * channels].fill(pad);
                whole[(left + count) * channels..].fill(pad);
                let to = &mut whole[left * channels..][..count * channels];
                let data = &x.data[pixel * x.stride + x.offset..];
                if x.stride == channels {
                    lay(&data[..count * channels], to);
                } else {
                    for (p, to) in to.chunks_exact_mut(channels).enumerate() {
                        lay(&data[p * x.stride..][..channels], to);
                    }
                }
            }
        }
    }
}
