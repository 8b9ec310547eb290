//! Layers over patches: a task lays the input of a few output lines out as it will be read.
//!
//! A patch holds whole lines of input pixels, padding included, in the elements that the row multiplies: 16-bit differences from
//! the zero point, so that padding is 0, or codes for narrow weights. Every output pixel then reads at one distance from its neighbour, taps that lie side by
//! side are one run of elements, and no pixel is at a border. Sums stay in registers until they are codes.

use std::cell::Cell;
use std::ops::Range;

use super::{Epilogue, Output};
use crate::split::Parts;
use crate::{ConvShape, Out, Pixels, Pool};

mod lay;
mod pack;
mod row;

use lay::Lay;
use pack::Line;
pub(crate) use row::{Ending, LineCall, PatchRow};

/// Channels of a panel of weights.
const PANEL: usize = 16;
/// Bytes of a patch, about: of a layer of kernel 1, whose panels all read it while it is in the first cache, and of others.
const SMALL: usize = 16 << 10;
const LARGE: usize = 48 << 10;
/// A chunk of a line has no fewer pixels than this, if the line has.
const COLUMNS: usize = 24;

/// A packed layer.
pub(crate) struct Patched {
    row: &'static PatchRow,
    /// As [`flattened`] leaves it.
    shape: ConvShape,
    body: Body,
    weights: Vec<Line>,
    bias: Vec<i32>,
    multiplier: Vec<f32>,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Dense {
        /// Panels of a group.
        panels: usize,
        segments: usize,
        quads: usize,
        /// Taps along x are one segment.
        joined: bool,
    },
    Depthwise {
        blocks: usize,
        /// Lines are runs of channels without regard to pixels: block j of 16 elements has the weights of block j mod `blocks`.
        flat: bool,
    },
}

impl std::fmt::Debug for Patched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patched")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
impl Patched {
    pub(crate) fn packed_bytes(&self) -> usize {
        self.weights.len() * 64 + self.bias.len() * 8
    }

    /// Lines and pixels of a line of a task.
    fn chunk(&self) -> (usize, usize) {
        let s = &self.shape;
        let budget = if s.kernel == [1; 3] { SMALL } else { LARGE };
        let [_, height, width] = s.output;
        let mut columns = width;
        while columns > COLUMNS && Lay::new(s, self.row.unit(), 1, columns).bytes() > budget {
            columns = columns.div_ceil(2).next_multiple_of(12);
        }
        let mut lines = 1;
        while lines < height && Lay::new(s, self.row.unit(), lines + 1, columns).bytes() <= budget {
            lines += 1;
        }
        (lines, columns)
    }

    /// Panels of channels, all groups together.
    fn panels(&self) -> usize {
        match self.body {
            Body::Dense { panels, .. } => panels * self.shape.groups,
            Body::Depthwise { blocks, .. } => blocks,
        }
    }

    /// Computes the layer: `T` is u8 or, where the output is real, f32.
    pub(crate) fn run<T: Send>(
        &self,
        pool: &Pool,
        epilogue: &Epilogue,
        x: Pixels<'_, u8>,
        y: &mut Out<'_, T>,
    ) {
        let s = &self.shape;
        let [depth, height, width] = s.output;
        let (lines, columns) = self.chunk();
        let (rows, cols) = (height.div_ceil(lines), width.div_ceil(columns));
        let chunks = s.batch * depth * rows * cols;
        // Panels are split where there are too few chunks for the threads.
        let all = self.panels();
        let flat = matches!(self.body, Body::Depthwise { flat: true, .. });
        let want = if pool.threads() == 1 || flat {
            1
        } else {
            (4 * pool.threads()).div_ceil(chunks)
        };
        let each = all.div_ceil(want).max(1);
        let splits = all.div_ceil(each);
        let ending = match &epilogue.output {
            Output::U8 { zero, hi, table } => Ending::Codes {
                zero: *zero,
                hi: *hi,
                table: table.as_deref(),
            },
            Output::F32 => Ending::Real,
            Output::Leaky { alpha, edge } => Ending::Leaky {
                alpha: *alpha,
                scale: edge.scale,
                zero: edge.zero,
                hi: edge.hi,
            },
        };
        let (stride, offset) = (y.stride, y.offset);
        let parts = Parts::new(y.data);
        pool.run(chunks * splits, &|task| {
            let (chunk, split) = (task % chunks, task / chunks);
            let (plane, rest) = (chunk / (rows * cols), chunk % (rows * cols));
            let (first_y, first_x) = (rest / cols * lines, rest % cols * columns);
            let (ny, nx) = (lines.min(height - first_y), columns.min(width - first_x));
            let lay = Lay::new(s, self.row.unit(), ny, nx);
            let mut patch = SCRATCH.take();
            // Over-reads of the last segment or register end here; what they find is multiplied by 0.
            let need = lay.bytes().div_ceil(2) + 32;
            if patch.len() < need {
                patch.resize(need, 0);
            }
            let at = [plane / depth, plane % depth, first_y, first_x];
            match self.row.widen {
                Some(widen) => lay.fill(s, at, 0, x, &mut patch, |x, to| {
                    // SAFETY: the row was chosen for this CPU.
                    unsafe { widen(x, epilogue.zero_in, to) }
                }),
                None => {
                    let patch = bytemuck::cast_slice_mut(&mut patch);
                    lay.fill(s, at, epilogue.zero_in, x, patch, |x, to: &mut [u8]| {
                        to.copy_from_slice(x)
                    });
                }
            }
            let place = Place {
                lay: &lay,
                patch: &patch,
                lines: ny,
                pixels: nx,
                ending,
            };
            // SAFETY: the pixels of a chunk and the channels of a split belong to one task.
            let out = |line: usize, channel: usize, width: usize| unsafe {
                let pixel = (plane * height + first_y + line) * s.output[2] + first_x;
                let len = (nx - 1) * stride + width;
                parts.pointer(pixel * stride + offset + channel, len).cast::<u8>()
            };
            let panels = split * each..all.min((split + 1) * each);
            let size = size_of::<T>();
            match self.body {
                Body::Dense { .. } => self.dense_lines(&place, panels, stride * size, out),
                Body::Depthwise { flat: false, .. } => {
                    self.depthwise_lines(&place, panels, stride * size, out)
                }
                Body::Depthwise { flat: true, .. } => self.flat_lines(&place, stride, out),
            }
            SCRATCH.set(patch);
        });
    }

    fn dense_lines(
        &self,
        place: &Place<'_>,
        units: Range<usize>,
        out_step: usize,
        out: impl Fn(usize, usize, usize) -> *mut u8,
    ) {
        let Body::Dense {
            panels,
            segments,
            quads,
            joined,
        } = self.body
        else {
            return;
        };
        let s = &self.shape;
        let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let shifts: Vec<usize> = (0..segments)
            .map(|i| {
                if joined {
                    place.lay.tap(s, i * s.kernel[2])
                } else {
                    place.lay.tap(s, i)
                }
            })
            .collect();
        for unit in units {
            let (group, panel) = (unit / panels, unit % panels);
            let width = PANEL.min(cout - panel * PANEL);
            let kernel = if width > PANEL / 2 {
                self.row.whole
            } else {
                self.row.half
            };
            for line in 0..place.lines {
                let call = LineCall {
                    x: place.x(s, line).wrapping_add(place.lay.unit * group * cin),
                    step: place.lay.unit * s.stride[2] * s.in_channels,
                    shifts: &shifts,
                    quads,
                    weights: self.weights[unit * segments * quads..].as_ptr().cast(),
                    bias: self.bias[unit * PANEL..].as_ptr(),
                    multiplier: self.multiplier[unit * PANEL..].as_ptr(),
                    pixels: place.pixels,
                    out: out(line, group * cout + panel * PANEL, width),
                    out_step,
                    width,
                    ending: place.ending,
                };
                // SAFETY: the row was chosen for this CPU. Pixels and shifts lead into the patch, behind whose last element there
                // are 64 bytes more than any over-read of a segment; weights and constants are whole panels; `out` has a row of
                // `width` per pixel.
                unsafe { kernel(&call) };
            }
        }
    }

    fn depthwise_lines(
        &self,
        place: &Place<'_>,
        blocks: Range<usize>,
        out_step: usize,
        out: impl Fn(usize, usize, usize) -> *mut u8,
    ) {
        let s = &self.shape;
        let shifts = self.pairs(place.lay);
        for block in blocks {
            let width = PANEL.min(s.out_channels - block * PANEL);
            for line in 0..place.lines {
                let x = place.x(s, line).wrapping_add(2 * block * PANEL);
                let step = 2 * s.stride[2] * s.in_channels;
                let to = out(line, block * PANEL, width);
                let call = self.block(
                    block,
                    &shifts,
                    x,
                    step,
                    place.pixels,
                    to,
                    out_step,
                    width,
                    place.ending,
                );
                // SAFETY: as for dense lines; a register read at the last channels ends within 64 bytes behind the patch.
                unsafe { (self.row.depthwise)(&call) };
            }
        }
    }

    fn flat_lines(&self, place: &Place<'_>, stride: usize, out: impl Fn(usize, usize, usize) -> *mut u8) {
        let Body::Depthwise { blocks, .. } = self.body else {
            return;
        };
        let (s, channels) = (&self.shape, self.shape.out_channels);
        let shifts = self.pairs(place.lay);
        let count = place.pixels * channels;
        let registers = count.div_ceil(PANEL);
        let mut row = vec![0u8; registers * PANEL];
        for line in 0..place.lines {
            for block in 0..blocks.min(registers) {
                let x = place.x(s, line).wrapping_add(2 * block * PANEL);
                let pixels = (registers - block).div_ceil(blocks);
                let to = row[block * PANEL..].as_mut_ptr();
                let step = blocks * PANEL;
                let call = self.block(block, &shifts, x, 2 * step, pixels, to, step, PANEL, place.ending);
                // SAFETY: as for depthwise lines; `row` holds all registers of the line.
                unsafe { (self.row.depthwise)(&call) };
            }
            let to = out(line, 0, channels);
            let (each, times) = if stride == channels {
                (count, 1)
            } else {
                (channels, place.pixels)
            };
            for p in 0..times {
                // SAFETY: `out` has `channels` bytes per pixel, at distances of `stride`.
                unsafe {
                    std::ptr::copy_nonoverlapping(row[p * channels..].as_ptr(), to.add(p * stride), each)
                };
            }
        }
    }

    /// Bytes to both taps of each pair; the tap that fills up the last pair has weights of 0.
    fn pairs(&self, lay: &Lay) -> Vec<usize> {
        let taps: usize = self.shape.kernel.iter().product();
        (0..taps.next_multiple_of(2))
            .map(|t| lay.tap(&self.shape, t.min(taps - 1)))
            .collect()
    }

    #[allow(clippy::too_many_arguments)]
    fn block<'a>(
        &'a self,
        block: usize,
        shifts: &'a [usize],
        x: *const u8,
        step: usize,
        pixels: usize,
        out: *mut u8,
        out_step: usize,
        width: usize,
        ending: Ending<'a>,
    ) -> LineCall<'a> {
        LineCall {
            x,
            step,
            shifts,
            quads: 0,
            weights: self.weights[block * shifts.len() / 2..].as_ptr().cast(),
            bias: self.bias[block * PANEL..].as_ptr(),
            multiplier: self.multiplier[block * PANEL..].as_ptr(),
            pixels,
            out,
            out_step,
            width,
            ending,
        }
    }
}

thread_local! {
    /// A thread's memory for patches, kept from task to task.
    static SCRATCH: Cell<Vec<i16>> = const { Cell::new(Vec::new()) };
}

/// A task's patch and output lines.
struct Place<'a> {
    lay: &'a Lay,
    patch: &'a [i16],
    lines: usize,
    pixels: usize,
    ending: Ending<'a>,
}

impl Place<'_> {
    /// First pixel of an output line under tap 0.
    fn x(&self, s: &ConvShape, line: usize) -> *const u8 {
        let bytes: &[u8] = bytemuck::cast_slice(self.patch);
        bytes[line * s.stride[1] * self.lay.pitch * self.lay.unit..].as_ptr()
    }
}
