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

mod cut;
mod lay;
mod low;
mod pack;
mod row;
mod skip;

use lay::Lay;
use low::Low;
use pack::Line;
pub(crate) use row::{Ending, Function, LineCall, Listed, PatchRow, Tiles};
use skip::Kept;

/// Channels of a panel of weights.
const PANEL: usize = 16;

/// A packed layer.
pub(crate) struct Patched {
    row: &'static PatchRow,
    /// As [`flattened`] leaves it.
    shape: ConvShape,
    body: Body,
    /// Digits of a level.
    planes: usize,
    low: Low,
    weights: Vec<Line>,
    /// Which lines of weights there are, where lines of zeros are left out.
    kept: Option<Kept>,
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
        /// Lines are runs of channels without regard to pixels: block j of them has the weights of block j mod `blocks`.
        flat: bool,
        /// Lines are taken two at a time.
        paired: bool,
    },
}

impl Body {
    /// Output lines of a call.
    fn lines(&self) -> usize {
        match self {
            Body::Depthwise { paired: true, .. } => 2,
            _ => 1,
        }
    }
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
        self.weights.len() * 64
            + self.bias.len() * 8
            + self.low.bytes()
            + self.kept.as_ref().map_or(0, Kept::bytes)
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
        let (lines, columns) = self.chunk(pool.threads());
        let (rows, cols) = (height.div_ceil(lines), width.div_ceil(columns));
        let chunks = s.batch * depth * rows * cols;
        let all = self.panels();
        let together = if self.row.pair.is_some() { 2 } else { 1 };
        let want = self.splits(pool.threads(), chunks);
        let each = all.div_ceil(want).next_multiple_of(together).max(1);
        let splits = all.div_ceil(each);
        let ending = match &epilogue.output {
            Output::U8 { zero, hi, table } => Ending::Codes {
                zero: *zero,
                hi: *hi,
                table: table.as_deref(),
            },
            Output::F32 => Ending::Real,
            Output::Function { function, edge } => Ending::Function {
                function: Function::of(*function, *edge).expect("rows take functions that they have"),
                edge: *edge,
            },
        };
        let (stride, offset) = (y.stride, y.offset);
        let parts = Parts::new(y.data);
        // A thread begins with tasks that lie side by side: they share what is larger, a split's weights or a chunk's input.
        let input = s.batch * s.input.iter().product::<usize>() * s.in_channels;
        let by_weights = size_of_val(&self.weights[..]) > input;
        pool.run(chunks * splits, &|task| {
            let (chunk, split) = match by_weights {
                true => (task % chunks, task / chunks),
                false => (task / splits, task % splits),
            };
            let (plane, rest) = (chunk / (rows * cols), chunk % (rows * cols));
            let (first_y, first_x) = (rest / cols * lines, rest % cols * columns);
            let (ny, nx) = (lines.min(height - first_y), columns.min(width - first_x));
            let at = [plane / depth, plane % depth, first_y, first_x];
            let lay = Lay::new(s, self.row.unit(), ny.next_multiple_of(self.body.lines()), nx);
            let mut patch = SCRATCH.take();
            let place = match self.in_place(&x, at, ny, nx) {
                Some((bytes, step)) => Place {
                    lay: &lay,
                    bytes,
                    step,
                    lines: ny,
                    pixels: nx,
                    ending,
                },
                None => {
                    let step = lay.unit * s.stride[2] * s.in_channels;
                    // Over-reads of the last segment or register end here; what they find is multiplied by 0, or no output.
                    let need = (lay.bytes() + self.row.slack(step)).div_ceil(2);
                    if patch.len() < need {
                        patch.resize(need, 0);
                    }
                    self.fill(&lay, at, epilogue.zero_in, x, &mut patch);
                    Place {
                        lay: &lay,
                        bytes: bytemuck::cast_slice(&patch),
                        step,
                        lines: ny,
                        pixels: nx,
                        ending,
                    }
                }
            };
            // SAFETY: the pixels of a chunk and the channels of a split belong to one task.
            let out = |line: usize, channel: usize, width: usize| unsafe {
                let pixel = (plane * height + first_y + line) * s.output[2] + first_x;
                let len = (nx - 1) * stride + width;
                parts.pointer(pixel * stride + offset + channel, len).cast::<u8>()
            };
            let panels = split * each..all.min((split + 1) * each);
            let size = size_of::<T>();
            if let Some(tiles) = &self.row.tiles {
                // SAFETY: the row was chosen for this CPU.
                unsafe { (tiles.begin)() };
            }
            match self.body {
                Body::Dense { .. } => self.dense_lines(&place, panels, stride * size, out),
                Body::Depthwise { flat: true, .. } => self.flat_lines(&place, stride, out),
                Body::Depthwise { .. } => self.depthwise_lines(&place, panels, stride * size, out),
            }
            if let Some(tiles) = &self.row.tiles {
                // SAFETY: the same.
                unsafe { (tiles.end)() };
            }
            SCRATCH.set(patch);
        });
    }

    /// The input itself, and the bytes from pixel to pixel, where a layer of kernel 1 can read it as it lies.
    fn in_place<'a>(
        &self,
        x: &Pixels<'a, u8>,
        [batch, z, y, column]: [usize; 4],
        lines: usize,
        pixels: usize,
    ) -> Option<(&'a [u8], usize)> {
        let s = &self.shape;
        let dense = matches!(self.body, Body::Dense { .. });
        if !dense || self.row.unit() != 1 || s.kernel != [1; 3] || s.pad != [0; 3] || lines != 1 {
            return None;
        }
        let line = (batch * s.input[0] + z * s.stride[0]) * s.input[1] + y * s.stride[1];
        let pixel = line * s.input[2] + column * s.stride[2];
        let step = s.stride[2] * x.stride;
        let bytes = x.data.get(pixel * x.stride + x.offset..)?;
        (bytes.len() >= pixels * step + self.row.slack(step)).then_some((bytes, step))
    }

    /// Lays out the input of a chunk.
    fn fill(&self, lay: &Lay, at: [usize; 4], zero: u8, x: Pixels<'_, u8>, patch: &mut [i16]) {
        let s = &self.shape;
        match self.row.widen {
            Some(widen) => lay.fill(s, at, 0, x, patch, |x, to| {
                // SAFETY: the row was chosen for this CPU.
                unsafe { widen(x, zero, to) }
            }),
            None => {
                let patch = bytemuck::cast_slice_mut(patch);
                lay.fill(s, at, zero, x, patch, |x, to: &mut [u8]| to.copy_from_slice(x));
            }
        }
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
        let segments_at = &shifts[..];
        let each = self.planes * segments * quads;
        let lines = self.kept.as_ref().map(|kept| (kept, kept.shifts(&shifts)));
        let kernels = self.row.listed.filter(|_| lines.is_some()).unwrap_or(Listed {
            half: self.row.half,
            whole: self.row.whole,
            pair: self.row.pair,
        });
        let mut unit = units.start;
        while unit < units.end {
            let (group, panel) = (unit / panels, unit % panels);
            let together = lines.as_ref().map_or(2, |(kept, _)| kept.together());
            let pair = kernels
                .pair
                .filter(|_| together == 2 && panel + 1 < panels && unit + 1 < units.end);
            let width = (cout - panel * PANEL).min(if pair.is_some() { 2 * PANEL } else { PANEL });
            let kernel = pair.unwrap_or(if width > PANEL / 2 {
                kernels.whole
            } else {
                kernels.half
            });
            let unit_panels = width.div_ceil(PANEL);
            let listed = self
                .low
                .entries(unit..unit + unit_panels, segments_at, self.row.unit());
            let (first, shifts, quads, panel_lines) = match &lines {
                Some((kept, shifts)) => {
                    let (first, shifts) = kept.block(unit, shifts);
                    (first, shifts, 1, shifts.len())
                }
                None => (unit * each, &shifts[..], quads, each),
            };
            for line in 0..place.lines {
                let call = LineCall {
                    x: place.x(s, line).wrapping_add(place.lay.unit * group * cin),
                    step: place.step,
                    shifts,
                    quads,
                    planes: self.planes,
                    low: self.low.bits,
                    listed: &listed,
                    panel: panel_lines * size_of::<Line>(),
                    weights: self.weights[first..].as_ptr().cast(),
                    bias: self.bias[unit * PANEL..].as_ptr(),
                    multiplier: self.multiplier[unit * PANEL..].as_ptr(),
                    pixels: place.pixels,
                    out: out(line, group * cout + panel * PANEL, width),
                    out_step,
                    width,
                    below: 0,
                    ending: place.ending,
                };
                // SAFETY: the row was chosen for this CPU. Pixels and shifts lead into the patch or the input, behind whose last element there
                // are as many bytes as the row reads too many; weights and constants are whole panels; `out` has a row of
                // `width` per pixel.
                unsafe { kernel(&call) };
            }
            unit += unit_panels;
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
        let shifts = self.shifts(place.lay);
        let size = self.row.depthwise_block;
        for block in blocks {
            let width = size.min(s.out_channels - block * size);
            for line in (0..place.lines).step_by(self.body.lines()) {
                let to = out(line, block * size, width);
                let below = match self.body.lines() == 2 && line + 1 < place.lines {
                    true => out(line + 1, block * size, width).addr() - to.addr(),
                    false => 0,
                };
                let call = LineCall {
                    x: place.x(s, line).wrapping_add(place.lay.unit * block * size),
                    step: place.step,
                    pixels: place.pixels,
                    out: to,
                    out_step,
                    width,
                    below,
                    ..self.block(block, &shifts, place.ending)
                };
                // SAFETY: as for dense lines; a register read at the last channels ends behind the patch where dense lines do. Both lines
                // of a pair are the call's.
                unsafe { (self.depthwise_kernel())(&call) };
            }
        }
    }

    fn flat_lines(&self, place: &Place<'_>, stride: usize, out: impl Fn(usize, usize, usize) -> *mut u8) {
        let Body::Depthwise { blocks, .. } = self.body else {
            return;
        };
        let (s, channels) = (&self.shape, self.shape.out_channels);
        let shifts = self.shifts(place.lay);
        let size = self.row.depthwise_block;
        let count = place.pixels * channels;
        let registers = count.div_ceil(size);
        // Pixels that lie side by side are written where they belong, others by way of rows of whole registers.
        let direct = stride == channels;
        let (each, len) = (self.body.lines(), registers * size);
        let mut rows = vec![0u8; if direct { 0 } else { each * len }];
        let rest = if direct { count % size } else { 0 };
        for line in (0..place.lines).step_by(each) {
            let below = each == 2 && line + 1 < place.lines;
            let (to, below) = match direct {
                true => {
                    let to = out(line, 0, channels);
                    let next = below.then(|| out(line + 1, 0, channels).addr() - to.addr());
                    (to, next.unwrap_or(0))
                }
                false => (rows.as_mut_ptr(), if below { len } else { 0 }),
            };
            for block in 0..blocks.min(registers) {
                let step = blocks * size;
                let pixels = (registers - block).div_ceil(blocks);
                let call = LineCall {
                    x: place.x(s, line).wrapping_add(place.lay.unit * block * size),
                    step: place.lay.unit * step,
                    pixels,
                    out: to.wrapping_add(block * size),
                    out_step: step,
                    width: size,
                    below,
                    ..self.block(block, &shifts, place.ending)
                };
                let partial = rest > 0 && (registers - 1) % blocks == block;
                let whole = pixels - usize::from(partial);
                let kernel = self.depthwise_kernel();
                // SAFETY: as for depthwise lines; the line, or `rows`, holds all registers, of the last one as many channels as are left.
                unsafe {
                    kernel(&LineCall {
                        pixels: whole,
                        ..call
                    });
                    if partial {
                        kernel(&LineCall {
                            x: call.x.wrapping_add(whole * call.step),
                            out: call.out.wrapping_add(whole * step),
                            pixels: 1,
                            width: rest,
                            ..call
                        });
                    }
                }
            }
            for (row, line) in rows.chunks_exact(len).zip(line..place.lines) {
                let to = out(line, 0, channels);
                for p in 0..place.pixels {
                    // SAFETY: `out` has `channels` bytes per pixel, at distances of `stride`.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            row[p * channels..].as_ptr(),
                            to.add(p * stride),
                            channels,
                        )
                    };
                }
            }
        }
    }

    fn depthwise_kernel(&self) -> row::LineKernel {
        match self.row.depthwise_pair {
            Some(pair) if self.body.lines() == 2 => pair,
            _ => self.row.depthwise,
        }
    }

    /// Bytes to the taps of each depthwise product; those that fill up the last one have weights of 0.
    fn shifts(&self, lay: &Lay) -> Vec<usize> {
        let s = &self.shape;
        if self.body.lines() == 2 {
            let taps = pack::columns(s).flat_map(|(z, x, first)| (first..first + 4).map(move |y| [z, y, x]));
            return taps
                .map(|[z, y, x]| lay.place(s, [z, y.min(s.kernel[1]), x]))
                .collect();
        }
        let taps: usize = self.shape.kernel.iter().product();
        (0..taps.next_multiple_of(self.row.taps()))
            .map(|t| lay.tap(&self.shape, t.min(taps - 1)))
            .collect()
    }

    /// What a depthwise block has whatever it is called for.
    fn block<'a>(&'a self, block: usize, shifts: &'a [usize], ending: Ending<'a>) -> LineCall<'a> {
        let size = self.row.depthwise_block;
        let lines = self.planes * shifts.len() / self.row.taps() * (size * 4 / 64) * self.body.lines();
        LineCall {
            x: std::ptr::null(),
            step: 0,
            shifts,
            quads: 0,
            planes: self.planes,
            low: self.low.bits,
            listed: &[],
            panel: 0,
            weights: self.weights[block * lines..].as_ptr().cast(),
            bias: self.bias[block * size..].as_ptr(),
            multiplier: self.multiplier[block * size..].as_ptr(),
            pixels: 0,
            out: std::ptr::null_mut(),
            out_step: 0,
            width: 0,
            below: 0,
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
    bytes: &'a [u8],
    /// Bytes from the input of an output pixel to that of the next.
    step: usize,
    lines: usize,
    pixels: usize,
    ending: Ending<'a>,
}

impl Place<'_> {
    /// First pixel of an output line under tap 0.
    fn x(&self, s: &ConvShape, line: usize) -> *const u8 {
        self.bytes[line * s.stride[1] * self.lay.pitch * self.lay.unit..].as_ptr()
    }
}
