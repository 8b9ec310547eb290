//! Channel ranges of wider pictures, so that Split and Concat cost nothing.

/// Channels-last pixels to read: channel c of pixel p is at `p · stride + offset + c`.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// The whole picture.
    pub data: &'a [u8],
    /// Elements from pixel to pixel.
    pub stride: usize,
    /// First channel.
    pub offset: usize,
}

impl<'a> Pixels<'a> {
    /// A picture of `channels` channels without gaps.
    pub fn dense(data: &'a [u8], channels: usize) -> Self {
        Pixels {
            data,
            stride: channels,
            offset: 0,
        }
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
}
