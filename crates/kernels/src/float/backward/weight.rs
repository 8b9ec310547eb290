//! Gradient of a convolution's weights: `dw[o][c][tap] = Σ_pixels dy[pixel][o] · x[pixel under tap][c]`.
//!
//! A task takes a part of the output's lines and some panels of output channels. It goes over its lines in blocks of about a
//! hundred pixels, packs a panel of `dy` once and meets it with all taps: a tile is a few input channels × one panel, its pixels
//! runs of consecutive ones. Taps along x whose channels follow each other in memory are one run of channels.

use std::ops::Range;

use super::depthwise;
use super::{GradientRow, GradientSize};
use crate::float::rows::rows;
use crate::split::{self, Parts};
use crate::{ConvShape, Isa, Pool};

/// Pixels of a block: a packed panel of them and what they read of x for one tap stay in the first cache.
const BLOCK: usize = 128;
/// Pixels below which a part is not worth its sums.
const PART: usize = 1024;
/// Most parts of the pixels, and about as many tasks.
const TASKS: usize = 8;

/// Consecutive output pixels of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) x: *const f32,
    /// In the packed panel.
    pub(crate) dy: *const f32,
    pub(crate) len: usize,
}

/// `sums[m][o] += Σ x[m] · dy[o]` over all pixels of all runs, for the rows of a tile and one panel.
pub(crate) struct TileCall {
    pub(crate) run: *const Run,
    pub(crate) runs: usize,
    /// Elements from pixel to pixel.
    pub(crate) x_step: usize,
    pub(crate) sums: *mut f32,
    pub(crate) sums_step: usize,
}

/// The weight gradient of a convolution of one shape.
#[derive(Debug)]
pub struct WeightGradient {
    shape: ConvShape,
    isa: Isa,
    /// Taps along x that are one run of channels inside of the picture.
    joined: usize,
    parts: usize,
    /// Panels of one group, and of one task.
    panels: usize,
    each: usize,
    body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Dense,
    Depthwise,
}

impl WeightGradient {
    /// For a convolution of this shape. That of a transposed convolution is the one of the convolution that it transposes, with its
    /// output's gradient for x and its input for dy.
    pub fn new(shape: &ConvShape, isa: Isa) -> WeightGradient {
        let isa = rows(isa).isa;
        let row = row_of(isa);
        let mut shape = shape.clone();
        let pixels = shape.output.iter().product::<usize>();
        if shape.kernel == [1; 3] && shape.stride == [1; 3] && shape.pad == [0; 3] {
            // All pixels are one line.
            (shape.input, shape.output) = ([1, 1, pixels * shape.batch], [1, 1, pixels * shape.batch]);
            shape.batch = 1;
        }
        let depthwise = shape.is_depthwise() && shape.out_channels >= row.lanes;
        let panels = (shape.out_channels / shape.groups.max(1)).div_ceil(2 * row.lanes);
        let parts = (pixels * shape.batch / PART).clamp(1, TASKS);
        let blocks = TASKS.div_ceil(parts).min(panels).max(1);
        WeightGradient {
            isa,
            joined: if shape.dilation[2] == 1 {
                shape.kernel[2]
            } else {
                1
            },
            parts,
            panels,
            each: panels.div_ceil(blocks).max(1),
            body: if depthwise { Body::Depthwise } else { Body::Dense },
            shape,
        }
    }

    /// The kernel that runs.
    pub fn kernel_name(&self) -> &'static str {
        match self.body {
            Body::Dense => row_of(self.isa).dense_name,
            Body::Depthwise => row_of(self.isa).depthwise_name,
        }
    }

    /// Elements of scratch memory that [`WeightGradient::run`] takes.
    pub fn scratch(&self) -> usize {
        match self.body {
            Body::Dense => {
                self.parts * (self.part_len() + self.blocks() * self.shape.groups * self.packed_len())
            }
            Body::Depthwise => self.parts * self.taps() * self.shape.out_channels + self.shape.in_channels,
        }
    }

    fn taps(&self) -> usize {
        self.shape.kernel.iter().product()
    }

    fn blocks(&self) -> usize {
        self.panels.div_ceil(self.each)
    }

    fn panel(&self) -> usize {
        2 * row_of(self.isa).lanes
    }

    /// Sums of one part: [group][panel][tap][in channel][panel's out channels].
    fn part_len(&self) -> usize {
        let s = &self.shape;
        s.groups * self.panels * self.taps() * (s.in_channels / s.groups) * self.panel()
    }

    /// A packed panel of one task.
    fn packed_len(&self) -> usize {
        BLOCK * self.panel()
    }

    /// Computes `dw` `[out_channels, in_channels / groups, kernel…]` from `x` `[batch, input…, in_channels]` and `dy`
    /// `[batch, output…, out_channels]`. Panics when a length is not the shape's.
    pub fn run(&self, pool: &Pool, x: &[f32], dy: &[f32], scratch: &mut [f32], dw: &mut [f32]) {
        let s = &self.shape;
        let len = |size: [usize; 3], channels: usize| s.batch * size.iter().product::<usize>() * channels;
        assert_eq!(x.len(), len(s.input, s.in_channels), "weight gradient: x");
        assert_eq!(dy.len(), len(s.output, s.out_channels), "weight gradient: dy");
        assert_eq!(
            dw.len(),
            s.out_channels * (s.in_channels / s.groups) * self.taps(),
            "weight gradient: dw"
        );
        assert!(scratch.len() >= self.scratch(), "weight gradient: scratch");
        match self.body {
            Body::Dense => self.dense(pool, x, dy, scratch, dw),
            Body::Depthwise => depthwise::run(pool, s, row_of(self.isa), self.parts, x, dy, scratch, dw),
        }
    }

    fn dense(&self, pool: &Pool, x: &[f32], dy: &[f32], scratch: &mut [f32], dw: &mut [f32]) {
        let s = &self.shape;
        let (sums, packs) = scratch.split_at_mut(self.parts * self.part_len());
        let blocks = self.blocks();
        let tasks = self.parts * blocks * s.groups;
        {
            let (sums, packs) = (Parts::new(&mut *sums), Parts::new(packs));
            pool.run(tasks, &|task| {
                let (part, rest) = (task / (blocks * s.groups), task % (blocks * s.groups));
                let (group, block) = (rest / blocks, rest % blocks);
                let panels = block * self.each..self.panels.min((block + 1) * self.each);
                let panel_len = self.part_len() / (s.groups * self.panels).max(1);
                let at = part * self.part_len() + (group * self.panels + panels.start) * panel_len;
                // SAFETY: a task owns its panels of its part, and one packed panel.
                let (sums, pack) = unsafe {
                    (
                        sums.part(at, panels.len() * panel_len),
                        packs.part(task * self.packed_len(), self.packed_len()),
                    )
                };
                sums.fill(0.0);
                Task {
                    gradient: self,
                    row: row_of(self.isa),
                    group,
                    panels,
                    x,
                    dy,
                }
                .run(part, sums, pack);
            });
        }
        self.unpack(pool, sums, dw);
    }

    /// Adds the parts in their order, and brings the sums into ONNX's order.
    fn unpack(&self, pool: &Pool, sums: &[f32], dw: &mut [f32]) {
        let s = &self.shape;
        let (cin, cout) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let (taps, panel, part_len) = (self.taps(), self.panel(), self.part_len());
        split::chunks(pool, dw, cin * taps, 1 << 12, |start, rows| {
            let first = start / (cin * taps).max(1);
            for (i, row) in rows.chunks_mut((cin * taps).max(1)).enumerate() {
                let (g, m) = ((first + i) / cout, (first + i) % cout);
                let from = (g * self.panels + m / panel) * taps * cin * panel + m % panel;
                for (c, row) in row.chunks_mut(taps).enumerate() {
                    for (t, to) in row.iter_mut().enumerate() {
                        let at = from + (t * cin + c) * panel;
                        *to = (0..self.parts).fold(0.0, |sum, p| sum + sums[p * part_len + at]);
                    }
                }
            }
        });
    }
}

/// The gradients of an instruction set.
fn row_of(isa: Isa) -> &'static GradientRow {
    rows(isa).gradient
}

/// Lines `0 .. of` that part `i` of `parts` takes.
pub(crate) fn part_of(i: usize, parts: usize, of: usize) -> Range<usize> {
    of * i / parts..of * (i + 1) / parts
}

/// Output coordinates along an axis whose input lies in the picture, for kernel coordinates `taps`: all of them inside.
pub(super) fn inside(s: &ConvShape, axis: usize, taps: Range<usize>) -> Range<usize> {
    let (stride, pad, len) = (s.stride[axis], s.pad[axis], s.input[axis]);
    let (first, last) = (
        taps.start * s.dilation[axis],
        taps.end.saturating_sub(1) * s.dilation[axis],
    );
    let start = pad.saturating_sub(first).div_ceil(stride);
    let end = (len + pad)
        .checked_sub(last + 1)
        .map_or(0, |n| n / stride + 1)
        .min(s.output[axis]);
    start.min(end)..end
}

/// Some panels of one group.
struct Task<'a> {
    gradient: &'a WeightGradient,
    row: &'static GradientRow,
    group: usize,
    panels: Range<usize>,
    x: &'a [f32],
    dy: &'a [f32],
}

/// Pixels of one output line.
#[derive(Clone, Copy)]
struct Piece {
    /// Picture, depth and height of the line.
    at: [usize; 3],
    /// Pixels of the line.
    from: usize,
    to: usize,
    /// Where they are in the packed panel.
    packed: usize,
}

impl Task<'_> {
    fn run(&self, part: usize, sums: &mut [f32], pack: &mut [f32]) {
        let s = &self.gradient.shape;
        let [depth, height, width] = s.output;
        let pixels = part_of(part, self.gradient.parts, s.batch * depth * height * width);
        let mut pieces: Vec<Piece> = Vec::with_capacity(BLOCK);
        let mut runs: Vec<Run> = Vec::with_capacity(2 * BLOCK);
        let mut at = pixels.start;
        while at < pixels.end {
            pieces.clear();
            let (start, end) = (at, pixels.end.min(at + BLOCK));
            while at < end {
                let (line, from) = (at / width, at % width);
                let to = width.min(from + end - at);
                let place = [line / (depth * height), line / height % depth, line % height];
                pieces.push(Piece {
                    at: place,
                    from,
                    to,
                    packed: at - start,
                });
                at += to - from;
            }
            let len = sums.len() / self.panels.len().max(1);
            for (p, sums) in self.panels.clone().zip(sums.chunks_mut(len.max(1))) {
                self.pack(p, start..end, pack);
                self.taps(&pieces, pack, sums, &mut runs);
            }
        }
    }

    /// Copies one panel of the gradient, filled up with zeros.
    fn pack(&self, p: usize, pixels: Range<usize>, pack: &mut [f32]) {
        let s = &self.gradient.shape;
        let (cout, panel) = (s.out_channels / s.groups, self.gradient.panel());
        let width = panel.min(cout - p * panel);
        let channel = self.group * cout + p * panel;
        let rows = self.dy[pixels.start * s.out_channels..].chunks(s.out_channels);
        for (from, to) in rows.zip(pack.chunks_exact_mut(panel)).take(pixels.len()) {
            to[..width].copy_from_slice(&from[channel..channel + width]);
            to[width..].fill(0.0);
        }
    }

    /// All taps of one panel.
    fn taps(&self, pieces: &[Piece], pack: &[f32], sums: &mut [f32], runs: &mut Vec<Run>) {
        let s = &self.gradient.shape;
        let (cin, panel, joined) = (
            s.in_channels / s.groups,
            self.gradient.panel(),
            self.gradient.joined,
        );
        // Channels of joined taps follow each other only where a group is the whole pixel.
        let joined = if s.groups == 1 { joined } else { 1 };
        let mut tap = 0;
        for kz in 0..s.kernel[0] {
            for ky in 0..s.kernel[1] {
                for kx in (0..s.kernel[2]).step_by(joined) {
                    let whole = inside(s, 2, kx..kx + joined);
                    self.runs(pieces, [kz, ky, kx], whole.clone(), pack, runs);
                    self.tiles(runs, joined * cin, &mut sums[tap * cin * panel..]);
                    if joined > 1 {
                        for k in kx..kx + joined {
                            let one = inside(s, 2, k..k + 1);
                            for border in [
                                one.start..whole.start.min(one.end),
                                whole.end.max(one.start)..one.end,
                            ] {
                                // An empty middle leaves two halves of one range: the second starts where the first ends.
                                if !border.is_empty() {
                                    self.runs(pieces, [kz, ky, k], border, pack, runs);
                                    self.tiles(runs, cin, &mut sums[(tap + k - kx) * cin * panel..]);
                                }
                            }
                        }
                    }
                    tap += joined;
                }
            }
        }
    }

    /// The runs of pixels `range` of all lines that the tap meets inside of the picture.
    fn runs(&self, pieces: &[Piece], k: [usize; 3], range: Range<usize>, pack: &[f32], runs: &mut Vec<Run>) {
        let s = &self.gradient.shape;
        runs.clear();
        let input = |axis: usize, o: usize| {
            let i = (o * s.stride[axis] + k[axis] * s.dilation[axis]).checked_sub(s.pad[axis])?;
            (i < s.input[axis]).then_some(i)
        };
        for piece in pieces {
            let [b, z, y] = piece.at;
            let (from, to) = (piece.from.max(range.start), piece.to.min(range.end));
            if from >= to {
                continue;
            }
            let (Some(z), Some(y), Some(x)) = (input(0, z), input(1, y), input(2, from)) else {
                continue;
            };
            let pixel = ((b * s.input[0] + z) * s.input[1] + y) * s.input[2] + x;
            let channel = self.group * (s.in_channels / s.groups);
            runs.push(Run {
                x: self.x[pixel * s.in_channels + channel..].as_ptr(),
                dy: pack[(piece.packed + from - piece.from) * self.gradient.panel()..].as_ptr(),
                len: to - from,
            });
        }
    }

    /// Meets the runs with `count` input channels.
    fn tiles(&self, runs: &[Run], count: usize, sums: &mut [f32]) {
        if runs.is_empty() {
            return;
        }
        let (s, panel) = (&self.gradient.shape, self.gradient.panel());
        assert!(sums.len() >= count * panel);
        let mut shifted = [Run {
            x: std::ptr::null(),
            dy: std::ptr::null(),
            len: 0,
        }; 2 * BLOCK];
        let shifted = &mut shifted[..runs.len()];
        let mut first = 0;
        while first < count {
            let size: &GradientSize = self
                .row
                .sizes
                .iter()
                .find(|size| size.rows <= count - first)
                .expect("there is a size of 1");
            for (to, from) in shifted.iter_mut().zip(runs) {
                *to = Run {
                    x: from.x.wrapping_add(first),
                    ..*from
                };
            }
            let call = TileCall {
                run: shifted.as_ptr(),
                runs: shifted.len(),
                x_step: s.stride[2] * s.in_channels,
                sums: sums[first * panel..].as_mut_ptr(),
                sums_step: panel,
            };
            // SAFETY: the row was chosen for this CPU. A run's pixels lie inside of the picture with all joined taps, `count`
            // channels from its pointer on; the packed panel has a row per pixel, `sums` one per channel.
            unsafe { (size.tile)(&call) };
            first += size.rows;
        }
    }
}
