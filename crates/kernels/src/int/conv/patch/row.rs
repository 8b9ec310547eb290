//! What a registry row does: a line of output pixels from a patch.

use super::low::Entry;
use crate::float::Activation;
use crate::int::Edge;
use crate::int::conv::digits;

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
    /// 1.4, a function, then the division of 1.12.
    Function { function: Function, edge: Edge },
}

/// Functions that rows compute between sums and codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    LeakyRelu { alpha: f32 },
    Swish,
    HardSwish,
}

/// Steps below which a Swish is not fused: its quick form is not near enough to what is written (1.15) in such units.
const FINE: f32 = 1e-12;

impl Function {
    /// The function of these numbers, if rows have it.
    pub(crate) fn of(function: Activation, edge: Edge) -> Option<Function> {
        match function {
            Activation::LeakyRelu { alpha } => Some(Function::LeakyRelu { alpha }),
            Activation::Swish { alpha: 1.0 } if edge.scale > FINE => Some(Function::Swish),
            Activation::HardSwish => Some(Function::HardSwish),
            _ => None,
        }
    }

    /// Most that a number grows by.
    pub(crate) fn most(self) -> f32 {
        self.alpha().abs().max(1.0)
    }

    /// What it is multiplied by below 0, where it is a LeakyRelu.
    pub(crate) fn alpha(self) -> f32 {
        match self {
            Function::LeakyRelu { alpha } => alpha,
            _ => 1.0,
        }
    }

    /// As 1.15 writes it, then the division of 1.12.
    #[inline(always)]
    pub(crate) fn quotients(self, x: &mut [f32], step: f32) {
        match self {
            Function::LeakyRelu { alpha } => each(x, step, |x| Activation::LeakyRelu { alpha }.apply(x)),
            Function::Swish => each(x, step, |x| Activation::Swish { alpha: 1.0 }.apply(x)),
            Function::HardSwish => each(x, step, |x| Activation::HardSwish.apply(x)),
        }
    }
}

#[inline(always)]
fn each(x: &mut [f32], step: f32, f: impl Fn(f32) -> f32) {
    for x in x {
        *x = f(*x) / step;
    }
}

/// What an ending calculates with; what it has no use for is neutral.
pub(crate) struct Numbers<'a> {
    pub(crate) zero: u8,
    pub(crate) hi: u8,
    pub(crate) table: &'a [u8; 256],
    pub(crate) function: Function,
    /// Step of the codes.
    pub(crate) step: f32,
}

static NO_TABLE: [u8; 256] = [0; 256];

impl<'a> Ending<'a> {
    pub(crate) fn numbers(&self) -> Numbers<'a> {
        let none = Numbers {
            zero: 0,
            hi: 0,
            table: &NO_TABLE,
            function: Function::LeakyRelu { alpha: 1.0 },
            step: 1.0,
        };
        match *self {
            Ending::Codes { zero, hi, table } => Numbers {
                zero,
                hi,
                table: table.unwrap_or(&NO_TABLE),
                ..none
            },
            Ending::Function { function, edge } => Numbers {
                zero: edge.zero,
                hi: edge.hi,
                function,
                step: edge.scale,
                ..none
            },
            Ending::Real => none,
        }
    }
}

/// Consecutive pixels of an output line × up to [`PANEL`](super::PANEL) channels, twice that where a row takes panels in pairs.
pub(crate) struct LineCall<'a> {
    /// First pixel under a shift of 0, and bytes from pixel to pixel.
    pub(crate) x: *const u8,
    pub(crate) step: usize,
    /// Dense: bytes to each segment. Depthwise: bytes to the taps of each product.
    pub(crate) shifts: &'a [usize],
    /// Dense: groups of four bytes in a segment.
    pub(crate) quads: usize,
    /// Digits of a level, of 8 bits where elements are bytes and of 16 where they are twice as wide: the weights are there for each of them, the highest
    /// first, and what it gave counts as many times more as a digit has values.
    pub(crate) planes: usize,
    /// Sums of all digits count 2^low times as much before the bias is added, and then the listed levels times their inputs: dense alone has such.
    pub(crate) low: u32,
    pub(crate) listed: &'a [Entry],
    /// Dense: bytes from a panel's weights to the next one's.
    pub(crate) panel: usize,
    /// Lines of 64 bytes, for each digit. Dense: [segment][quad][channel][4 bytes]. Depthwise: [product][channel][taps], channels as below.
    pub(crate) weights: *const u8,
    /// A value per channel of the panel. Depthwise: in the order in which interleaving leaves channels, [`PatchRow::channel`].
    pub(crate) bias: *const i32,
    pub(crate) multiplier: *const f32,
    pub(crate) pixels: usize,
    /// First pixel's row in the output, bytes from row to row, and channels that are written.
    pub(crate) out: *mut u8,
    pub(crate) out_step: usize,
    pub(crate) width: usize,
    /// Depthwise in pairs: bytes to the row of the line below; 0 where that line is not written.
    pub(crate) below: usize,
    pub(crate) ending: Ending<'a>,
}

/// Codes, their zero point, and where the differences go.
pub(crate) type Widen = unsafe fn(&[u8], u8, &mut [i16]);

/// The code of a line.
pub(crate) type LineKernel = unsafe fn(&LineCall<'_>);

/// A patch row of the registry.
#[derive(Clone, Copy)]
pub(crate) struct PatchRow {
    /// Codes to 16-bit differences from a zero point; without it patches hold codes, and the zero point is part of the bias.
    pub(crate) widen: Option<Widen>,
    /// What codes are multiplied less of.
    pub(crate) minus: u8,
    /// Panels of which up to half, and of which more is used.
    pub(crate) half: LineKernel,
    pub(crate) whole: LineKernel,
    /// Two panels, of rows that have registers for them.
    pub(crate) pair: Option<LineKernel>,
    /// For rows that skip quads.
    pub(crate) listed: Option<Listed>,
    pub(crate) depthwise: LineKernel,
    /// Two lines at once, of layers whose lines of output follow those of input: a product of four taps is taken down a column, where both lines
    /// share what is interleaved. For codes.
    pub(crate) depthwise_pair: Option<LineKernel>,
    /// Its channels: 16 with differences, of two taps a product; with codes, of four, those of a register's bytes.
    pub(crate) depthwise_block: usize,
    /// For rows that multiply tiles.
    pub(crate) tiles: Option<Tiles>,
}

/// Lines of panels of which a list of quads is left: `shifts` are those of the quads, and `quads` is 1.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    /// As of [`PatchRow`].
    pub(crate) half: LineKernel,
    pub(crate) whole: LineKernel,
    /// Two panels with one list.
    pub(crate) pair: Option<LineKernel>,
}

/// What rows that multiply tiles need beside.
#[derive(Clone, Copy)]
pub(crate) struct Tiles {
    /// What a thread does before it uses such a row, and after it.
    pub(crate) begin: unsafe fn(),
    pub(crate) end: unsafe fn(),
    /// Bytes of a pixel, and pixels, that are read at a time, whatever their number.
    pub(crate) depth: usize,
    pub(crate) pixels: usize,
}

impl LineCall<'_> {
    /// Adds the listed levels to sums, `lanes` of each pixel from `p` on; codes count less `minus`.
    ///
    /// # Safety
    /// Each of those pixels plus each shift has a readable element of `unit` bytes: a code, or a difference of 16 bits.
    pub(crate) unsafe fn add_listed(&self, sums: &mut [i32], lanes: usize, p: usize, unit: usize, minus: u8) {
        let pixels = self.pixels.saturating_sub(p).min(sums.len() / lanes);
        for entry in self.listed {
            for m in 0..pixels {
                // SAFETY: the caller's promise.
                let x = unsafe {
                    let x = self.x.add((p + m) * self.step + entry.shift);
                    match unit {
                        1 => i32::from(*x) - i32::from(minus),
                        _ => i32::from(x.cast::<i16>().read_unaligned()),
                    }
                };
                let sum = &mut sums[m * lanes + entry.lane];
                *sum = sum.wrapping_add(entry.level.wrapping_mul(x));
            }
        }
    }
}

impl PatchRow {
    /// Bytes of an element.
    pub(super) fn unit(&self) -> usize {
        if self.widen.is_some() { 2 } else { 1 }
    }

    /// Bits of a digit where levels have several.
    pub(super) fn digit_bits(&self) -> u32 {
        8 * self.unit() as u32
    }

    /// Digits that levels of these magnitudes take: one where factors hold them as they are.
    pub(super) fn planes(&self, most: u32) -> u32 {
        match most < 1 << (8 * self.unit() - 1) {
            true => 1,
            false => digits::count(most, self.digit_bits()),
        }
    }

    /// Taps of a depthwise product.
    pub(super) fn taps(&self) -> usize {
        4 / self.unit()
    }

    /// The channel of a depthwise block that interleaving leaves at `at`: in each 128-bit lane of the registers of sums four channels follow each
    /// other, of the lower half of both registers' pixels and then of the upper, or of a quarter of four.
    pub(super) fn channel(&self, at: usize) -> usize {
        let registers = self.taps();
        let lanes = self.depthwise_block / registers;
        let (register, lane, i) = (at / lanes, at % lanes / 4, at % 4);
        lane * 4 * registers + register * 4 + i
    }

    /// Groups of four bytes that are read at a time.
    pub(super) fn quads_at_a_time(&self) -> usize {
        self.tiles.as_ref().map_or(1, |t| t.depth / 4)
    }

    /// Bytes behind a patch that are read at most, for lines whose pixels are `step` bytes apart.
    pub(super) fn slack(&self, step: usize) -> usize {
        self.tiles.as_ref().map_or(0, |t| t.depth + t.pixels * step) + 64
    }
}
