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

/// Channels of a panel of weights.
const PANEL: usize = 16;
/// Bytes of a patch, about: of a layer of kernel 1, whose panels all read it while it is in the first cache, and of others.
const SMALL: usize = 16 << 10;
const LARGE: usize = 48 << 10;
/// A chunk of a line has no fewer pixels than this, if the line has.
const COLUMNS: usize = 24;

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

/// Consecutive pixels of an output line × up to [`PANEL`] channels.
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
    fn unit(&self) -> usize {
        if self.widen.is_some() { 2 } else { 1 }
    }
}

/// 64 bytes of weights.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Line {
    fn put(&mut self, at: usize, level: i32) {
        self.0[2 * at..2 * at + 2].copy_from_slice(&(level as i16).to_le_bytes());
    }
}

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

/// A layer of kernel 1 without strides or pads as one line of pixels.
fn flattened(shape: &ConvShape) -> ConvShape {
    let mut s = shape.clone();
    let one = |i: usize| s.kernel[i] == 1 && s.stride[i] == 1 && s.pad[i] == 0 && s.input[i] == s.output[i];
    if (0..3).all(one) {
        let pixels = s.batch * s.input.iter().product::<usize>();
        (s.batch, s.input, s.output) = (1, [1, 1, pixels], [1, 1, pixels]);
    }
    s
}

/// Where element `i` of a depthwise register pair stands among 16 channels.
fn interleaved(i: usize) -> usize {
    [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15][i % PANEL]
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Patched {
    /// Packs `levels` [out channel][tap][in channel of the group], all of which fit i16.
    pub(crate) fn new(
        row: &'static PatchRow,
        shape: &ConvShape,
        levels: &[i32],
        epilogue: &Epilogue,
    ) -> Patched {
        let shape = flattened(shape);
        match shape.is_depthwise() {
            true => Patched::depthwise(row, shape, levels, epilogue),
            false => Patched::dense(row, shape, levels, epilogue),
        }
    }

    fn dense(row: &'static PatchRow, shape: ConvShape, levels: &[i32], epilogue: &Epilogue) -> Patched {
        let s = &shape;
        let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let [kd, kh, kw] = s.kernel;
        let joined = s.groups == 1 && s.dilation[2] == 1;
        let (segments, len) = if joined {
            (kd * kh, kw * cin)
        } else {
            (kd * kh * kw, cin)
        };
        let fold = 4 / row.unit();
        let (quads, panels) = (len.div_ceil(fold), cout.div_ceil(PANEL));
        let mut weights = vec![Line([0; 64]); s.groups * panels * segments * quads];
        let mut bias = vec![0; s.groups * panels * PANEL];
        let mut multiplier = vec![0.0; bias.len()];
        let each = kd * kh * kw * cin;
        for o in 0..s.out_channels {
            let (panel, n) = (o / cout * panels + o % cout / PANEL, o % cout % PANEL);
            let levels = &levels[o * each..(o + 1) * each];
            let shift: i64 = match row.widen {
                Some(_) => 0,
                None => levels.iter().map(|&l| i64::from(l)).sum::<i64>() * i64::from(epilogue.zero_in),
            };
            // The bound of i32 covers the bias, with the zero point's share too.
            bias[panel * PANEL + n] = (epilogue.bias[o] - shift) as i32;
            multiplier[panel * PANEL + n] = epilogue.multiplier[o];
            for (i, &level) in levels.iter().enumerate() {
                let (segment, at) = (i / len, i % len);
                let line = &mut weights[(panel * segments + segment) * quads + at / fold];
                match fold {
                    2 => line.put(2 * n + at % 2, level),
                    _ => line.0[4 * n + at % 4] = level as i8 as u8,
                }
            }
        }
        let body = Body::Dense {
            panels,
            segments,
            quads,
            joined,
        };
        Patched {
            row,
            shape,
            body,
            weights,
            bias,
            multiplier,
        }
    }

    fn depthwise(row: &'static PatchRow, shape: ConvShape, levels: &[i32], epilogue: &Epilogue) -> Patched {
        let (channels, taps) = (shape.out_channels, shape.kernel.iter().product::<usize>());
        let pairs = taps.div_ceil(2);
        let period = channels / gcd(channels, PANEL);
        let codes = !matches!(epilogue.output, Output::F32);
        let flat = codes && shape.stride[2] == 1 && channels % PANEL != 0 && period <= 8;
        let blocks = if flat { period } else { channels.div_ceil(PANEL) };
        let mut weights = vec![Line([0; 64]); blocks * pairs];
        let mut bias = vec![0; blocks * PANEL];
        let mut multiplier = vec![0.0; bias.len()];
        for at in 0..blocks * PANEL {
            let (block, i) = (at / PANEL, at % PANEL);
            let element = block * PANEL + interleaved(i);
            let c = if flat { element % channels } else { element };
            if c < channels {
                bias[at] = epilogue.bias[c] as i32;
                multiplier[at] = epilogue.multiplier[c];
                for t in 0..taps {
                    weights[block * pairs + t / 2].put(2 * i + t % 2, levels[c * taps + t]);
                }
            }
        }
        let body = Body::Depthwise { blocks, flat };
        Patched {
            row,
            shape,
            body,
            weights,
            bias,
            multiplier,
        }
    }

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

/// Lines of input in a patch: [kernel plane][line][pixel][channel].
struct Lay {
    /// Bytes of an element.
    unit: usize,
    planes: usize,
    lines: usize,
    pixels: usize,
    /// Elements of a line.
    pitch: usize,
}

impl Lay {
    /// For some output lines of some pixels.
    fn new(s: &ConvShape, unit: usize, lines: usize, pixels: usize) -> Lay {
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

    fn bytes(&self) -> usize {
        self.planes * self.lines * self.pitch * self.unit
    }

    /// Bytes from tap 0 to a tap of the kernel.
    fn tap(&self, s: &ConvShape, tap: usize) -> usize {
        let [_, kh, kw] = s.kernel;
        let (z, y, x) = (tap / (kh * kw), tap / kw % kh, tap % kw);
        self.unit * ((z * self.lines + y * s.dilation[1]) * self.pitch + x * s.dilation[2] * s.in_channels)
    }

    /// Lays out the input of the chunk whose first output pixel is [batch, z, y, x].
    fn fill<E: Copy>(
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
