//! Depthwise layers: four taps of a channel are one dot product, after bytes of four pixels are interleaved.

use super::dense::Reader;
use super::{Epilogue, Output};
use crate::geometry::{Geometry, Phase};
use crate::int::table;
use crate::split::Parts;
use crate::{Isa, Out, Pixels, Pool};

/// Output pixels of one call.
const PIXELS: usize = 16;

/// Some pixels × all channels of a depthwise layer.
///
/// Channels go in blocks of four registers. Interleaving puts channel `16·l + 4·r + j` of a block (l = 128-bit lane) in
/// lane 4·l + j of register r; weights, bias and multipliers are packed in that order, and packing to bytes undoes it.
pub(crate) struct DepthwiseCall {
    /// Address of tap t of the first pixel: `pointers[t · pointer_step] + shifts[t]`.
    pub(crate) pointers: *const *const u8,
    pub(crate) pointer_step: usize,
    pub(crate) shifts: *const isize,
    /// Groups of four taps; taps that fill up have weights of zero.
    pub(crate) quads: usize,
    /// [block][quad][register] weights, then bias and multipliers [block][register].
    pub(crate) weights: *const i8,
    pub(crate) bias: *const i32,
    pub(crate) multiplier: *const f32,
    pub(crate) blocks: usize,
    /// Output pixels, and the bytes between their inputs.
    pub(crate) pixels: usize,
    pub(crate) advance: usize,
    pub(crate) zero: u8,
    pub(crate) hi: u8,
    /// Codes [pixel][block].
    pub(crate) out: *mut u8,
}

/// A depthwise row of the registry.
pub(crate) struct DepthwiseRow {
    /// Channels of a block: 16 per 128-bit lane.
    pub(crate) block: usize,
    pub(crate) run: unsafe fn(&DepthwiseCall),
    pub(crate) isa: Isa,
}

/// A packed depthwise layer.
pub(crate) struct Depthwise {
    row: &'static DepthwiseRow,
    blocks: usize,
    /// Per phase: weights in the order of its taps, and bias with their zero point folded in.
    weights: Vec<Vec<i8>>,
    bias: Vec<Vec<i32>>,
    multiplier: Vec<f32>,
    outside: Vec<u8>,
}

impl std::fmt::Debug for Depthwise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Depthwise")
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

impl Depthwise {
    /// Packs `levels` [channel][tap].
    pub(crate) fn new(
        row: &'static DepthwiseRow,
        geometry: &Geometry,
        levels: &[i32],
        epilogue: &Epilogue,
    ) -> Depthwise {
        let channels = geometry.shape.out_channels;
        let (taps, lanes) = (geometry.taps(), row.block / 4);
        let blocks = channels.div_ceil(row.block);
        // Channel of element `i` of register `r`.
        let channel = |block: usize, r: usize, i: usize| block * row.block + i / 4 * 16 + r * 4 + i % 4;
        let mut bias = vec![vec![0i32; blocks * row.block]; geometry.phases.len()];
        let mut multiplier = vec![0f32; blocks * row.block];
        for block in 0..blocks {
            for (r, i) in (0..4).flat_map(|r| (0..lanes).map(move |i| (r, i))) {
                let (c, at) = (channel(block, r, i), block * row.block + r * lanes + i);
                if c < channels {
                    for (bias, phase) in bias.iter_mut().zip(&geometry.phases) {
                        let total: i64 = phase.taps.iter().map(|&t| i64::from(levels[c * taps + t])).sum();
                        bias[at] = (epilogue.bias[c] - i64::from(epilogue.zero_in) * total) as i32;
                    }
                    multiplier[at] = epilogue.multiplier[c];
                }
            }
        }
        let pack = |phase: &Phase| {
            let quads = phase.taps.len().div_ceil(4);
            let mut out = vec![0i8; blocks * quads * row.block * 4];
            for block in 0..blocks {
                for (t, &tap) in phase.taps.iter().enumerate() {
                    for (r, i) in (0..4).flat_map(|r| (0..lanes).map(move |i| (r, i))) {
                        let c = channel(block, r, i);
                        if c < channels {
                            let register = (block * quads + t / 4) * 4 + r;
                            out[(register * lanes + i) * 4 + t % 4] = levels[c * taps + tap] as i8;
                        }
                    }
                }
            }
            out
        };
        Depthwise {
            row,
            blocks,
            weights: geometry.phases.iter().map(pack).collect(),
            bias,
            multiplier,
            outside: vec![epilogue.zero_in; blocks * row.block],
        }
    }

    pub(crate) fn packed_bytes(&self) -> usize {
        self.weights.iter().map(Vec::len).sum::<usize>()
            + (self.bias.len() + 1) * self.multiplier.len() * 4
            + self.outside.len()
    }

    pub(crate) fn run(
        &self,
        pool: &Pool,
        geometry: &Geometry,
        epilogue: &Epilogue,
        x: Pixels<'_, u8>,
        y: &mut Out<'_, u8>,
    ) {
        let Output::U8 { zero, hi, table } = &epilogue.output else {
            return;
        };
        let table_row = table::row(self.row.isa);
        let s = &geometry.shape;
        let width = self.blocks * self.row.block;
        let reader = Reader::new(x, width);
        let (stride, offset) = (y.stride, y.offset);
        let parts = Parts::new(y.data);
        for ((phase, weights), bias) in geometry.phases.iter().zip(&self.weights).zip(&self.bias) {
            let taps = phase.taps.len();
            let quads = taps.div_ceil(4);
            let pixels = s.batch * phase.pixels();
            // Taps that fill the last quad read the first tap's pixel against zeros.
            let shift = |t: usize| if t < taps { geometry.shift(phase, t) } else { 0 };
            let shifts: Vec<isize> = (0..quads * 4)
                .map(|t| shift(t) * reader.stride() as isize)
                .collect();
            let zeros = vec![0isize; quads * 4];
            let furthest = (0..taps).map(shift).max().unwrap_or(0);
            let grain = (1 << 14) / width.max(1) / PIXELS * PIXELS;
            let grain = grain.max(PIXELS);
            pool.run(pixels.div_ceil(grain), &|task| {
                let mut pointers = vec![self.outside.as_ptr(); quads * 4];
                let mut out = vec![0u8; PIXELS * width];
                let mut outputs = [0usize; PIXELS];
                let mut p = task * grain;
                let end = pixels.min(p + grain);
                let mut place = phase.place(p);
                while p < end {
                    // A run: pixels inside whose inputs follow each other at one distance.
                    let (mut count, mut advance, mut first) = (0, 0, None);
                    while p + count < end && count < PIXELS && taps > 0 && geometry.inside(phase, place) {
                        let Some(pixel) = geometry.input(phase, place, 0) else {
                            break;
                        };
                        if !reader.whole(pixel.saturating_add_signed(furthest), 0) {
                            break;
                        }
                        match first {
                            None => first = Some(pixel),
                            Some(first) if count == 1 && pixel > first => advance = pixel - first,
                            Some(first) if pixel == first + count * advance => {}
                            Some(_) => break,
                        }
                        outputs[count] = geometry.output(phase, place);
                        phase.advance(&mut place);
                        count += 1;
                    }
                    let step = match first {
                        Some(first) if count > 0 => {
                            pointers[0] = reader.at(first, 0);
                            0
                        }
                        _ => {
                            for (t, pointer) in pointers.iter_mut().enumerate() {
                                let pixel = if t < taps {
                                    geometry.input(phase, place, t)
                                } else {
                                    None
                                };
                                *pointer = pixel.map_or(self.outside.as_ptr(), |pixel| reader.at(pixel, 0));
                            }
                            outputs[0] = geometry.output(phase, place);
                            phase.advance(&mut place);
                            count = 1;
                            1
                        }
                    };
                    let call = DepthwiseCall {
                        pointers: pointers.as_ptr(),
                        pointer_step: step,
                        shifts: if step == 0 {
                            shifts.as_ptr()
                        } else {
                            zeros.as_ptr()
                        },
                        quads,
                        weights: weights.as_ptr(),
                        bias: bias.as_ptr(),
                        multiplier: self.multiplier.as_ptr(),
                        blocks: self.blocks,
                        pixels: count,
                        advance: advance * reader.stride(),
                        zero: *zero,
                        hi: *hi,
                        out: out.as_mut_ptr(),
                    };
                    // SAFETY: the row was chosen for this CPU. Each pointer plus shift plus `pixels` advances leads to
                    // `width` readable bytes (`Reader`, or `outside`); weights and constants are whole blocks, and `out`
                    // holds PIXELS rows of `width`.
                    unsafe { (self.row.run)(&call) };
                    if let Some(table) = table {
                        // SAFETY: the table row is chosen for this CPU.
                        unsafe { table_row(table, &mut out[..count * width]) };
                    }
                    for (row, &at) in out.chunks_exact(width).zip(&outputs[..count]) {
                        // SAFETY: every output pixel belongs to one phase and one task.
                        let to = unsafe { parts.part(at * stride + offset, s.out_channels) };
                        to.copy_from_slice(&row[..s.out_channels]);
                    }
                    p += count;
                }
            });
        }
    }
}
