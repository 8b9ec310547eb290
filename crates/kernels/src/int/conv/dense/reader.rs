//! Reading input pixels in whole groups of channels.

use crate::Pixels;

/// Addresses of input pixels, `need` bytes of which are read even where fewer channels are left.
pub(in crate::int::conv) struct Reader<'a> {
    x: Pixels<'a, u8>,
    need: usize,
    /// The end of the picture, continued by zeros.
    tail: Vec<u8>,
    tail_start: usize,
}

impl<'a> Reader<'a> {
    pub(in crate::int::conv) fn new(x: Pixels<'a, u8>, need: usize) -> Reader<'a> {
        let tail_start = x.data.len().saturating_sub(need);
        let mut tail = x.data[tail_start..].to_vec();
        tail.resize(tail.len() + need, 0);
        Reader {
            x,
            need,
            tail,
            tail_start,
        }
    }

    /// The address of a channel of a pixel inside the picture.
    pub(in crate::int::conv) fn at(&self, pixel: usize, channel: usize) -> *const u8 {
        let start = pixel * self.x.stride + self.x.offset + channel;
        if start + self.need <= self.x.data.len() {
            self.x.data[start..].as_ptr()
        } else {
            self.tail[start - self.tail_start..].as_ptr()
        }
    }

    /// Whether `need` bytes from there lie in the picture itself.
    pub(in crate::int::conv) fn whole(&self, pixel: usize, channel: usize) -> bool {
        pixel * self.x.stride + self.x.offset + channel + self.need <= self.x.data.len()
    }

    /// Bytes from pixel to pixel.
    pub(in crate::int::conv) fn stride(&self) -> usize {
        self.x.stride
    }
}
