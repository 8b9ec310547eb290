//! What a registry row does: a line of output pixels from a patch.

/// What becomes of a sum.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// 1.2, then a table where there is one.
    Codes {
        zero: u8,
        hi: u8,
        table: Option<&'a [u8; 256]>,
    },
    /// 1.4.
    Real,
    /// 1.4, LeakyRelu, then the division of 1.12.
    Leaky {
        alpha: f32,
        scale: f32,
        zero: u8,
        hi: u8,
    },
}

/// Consecutive pixels of an output line × up to [`PANEL`](super::PANEL) channels.
pub(crate) struct LineCall<'a> {
    /// First pixel under a shift of 0, and bytes from pixel to pixel.
    pub(crate) x: *const u8,
    pub(crate) step: usize,
    /// Dense: bytes to each segment. Depthwise: bytes to both taps of each pair.
    pub(crate) shifts: &'a [usize],
    /// Dense: groups of four bytes in a segment.
    pub(crate) quads: usize,
    /// Lines of 64 bytes. Dense: [segment][quad][channel][4 bytes]. Depthwise: [pair][channel][2 taps], channels as below.
    pub(crate) weights: *const u8,
    /// A value per channel of the panel. Depthwise: channels 0…3, 8…11, 4…7, 12…15, as interleaving leaves them.
    pub(crate) bias: *const i32,
    pub(crate) multiplier: *const f32,
    pub(crate) pixels: usize,
    /// First pixel's row in the output, bytes from row to row, and channels that are written.
    pub(crate) out: *mut u8,
    pub(crate) out_step: usize,
    pub(crate) width: usize,
    pub(crate) ending: Ending<'a>,
}

/// Codes, their zero point, and where the differences go.
pub(crate) type Widen = unsafe fn(&[u8], u8, &mut [i16]);

/// The code of a line.
pub(crate) type LineKernel = unsafe fn(&LineCall<'_>);

/// A patch row of the registry.
pub(crate) struct PatchRow {
    /// Codes to 16-bit differences from a zero point; without it patches hold codes, and the zero point is part of the bias.
    pub(crate) widen: Option<Widen>,
    /// Panels of which up to half, and of which more is used.
    pub(crate) half: LineKernel,
    pub(crate) whole: LineKernel,
    /// Of 16-bit patches only.
    pub(crate) depthwise: LineKernel,
}

impl PatchRow {
    /// Bytes of an element.
    pub(super) fn unit(&self) -> usize {
        if self.widen.is_some() { 2 } else { 1 }
    }
}
