//! Channel ranges of wider pictures, so that Split and Concat cost nothing.

/// Channels-last pixels to read: channel c of pixel p is at `p · stride + offset + c`.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a, T> {
    /// The whole picture.
    pub data: &'a [T],
    /// Elements from pixel to pixel.
    pub stride: usize,
    /// First channel.
    pub offset: usize,
}

impl<'a, T> Pixels<'a, T> {
    /// A picture of `channels` channels without gaps.
    pub fn dense(data: &'a [T], channels: usize) -> Self {
        Pixels {
            data,
            stride: channels,
            offset: 0,
        }
    }

    /// Panics unless `channels` of `pixels` pixels are there.
    pub(crate) fn check(&self, pixels: usize, channels: usize) {
        let fits = fits(self.data.len(), self.stride, self.offset, pixels, channels);
        assert!(fits, "input is shorter than its shape");
    }
}

/// Channels-last pixels to write: channel c of pixel p is at `p · stride + offset + c`.
#[derive(Debug)]
pub struct Out<'a, T> {
    /// The whole picture.
    pub data: &'a mut [T],
    /// Elements from pixel to pixel.
    pub stride: usize,
    /// First channel.
    pub offset: usize,
}

impl<'a, T> Out<'a, T> {
    /// A picture of `channels` channels without gaps.
    pub fn dense(data: &'a mut [T], channels: usize) -> Self {
        Out {
            data,
            stride: channels,
            offset: 0,
        }
    }

    /// Panics unless `channels` of `pixels` pixels are there.
    pub(crate) fn check(&self, pixels: usize, channels: usize) {
        let fits = fits(self.data.len(), self.stride, self.offset, pixels, channels);
        assert!(fits, "output is shorter than its shape");
    }
}

fn fits(len: usize, stride: usize, offset: usize, pixels: usize, channels: usize) -> bool {
    pixels == 0 || (offset + channels <= stride && len >= (pixels - 1) * stride + offset + channels)
}
