//! Gradient of depthwise weights: runs of pixels of a line × all channels, one multiply-add per tap and register.

use super::GradientRow;
use super::weight::{inside, part_of};
use crate::split::{self, Parts};
use crate::{ConvShape, Pool};

/// Consecutive pixels of a line, all channels: `sums[tap][c] += Σ x[tap][c] · dy[c]`.
pub(crate) struct RunCall {
    pub(crate) tap: *const Tap,
    pub(crate) taps: usize,
    pub(crate) pixels: usize,
    /// All; whole registers of them are computed.
    pub(crate) channels: usize,
    pub(crate) dy: *const f32,
    /// Elements from pixel to pixel.
    pub(crate) dy_step: usize,
    pub(crate) sums: *mut f32,
}

/// Where a tap reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    pub(crate) pointer: *const f32,
    /// Elements from pixel to pixel; 0 outside of the picture.
    pub(crate) step: usize,
}

/// As [`WeightGradient::run`](super::WeightGradient::run); the last `channels` elements of scratch are a pixel of zeros.
#[allow(clippy::too_many_arguments)]
pub(super) fn run(
    pool: &Pool,
    s: &ConvShape,
    row: &GradientRow,
    parts: usize,
    x: &[f32],
    dy: &[f32],
    scratch: &mut [f32],
    dw: &mut [f32],
) {
    let (channels, taps): (usize, usize) = (s.out_channels, s.kernel.iter().product());
    let (sums, outside) = scratch.split_at_mut(parts * taps * channels);
    let outside = &mut outside[..channels];
    outside.fill(0.0);
    let outside = &*outside;
    {
        let sums = Parts::new(&mut *sums);
        pool.run(parts, &|part| {
            // SAFETY: a task owns the sums of its part.
            let sums = unsafe { sums.part(part * taps * channels, taps * channels) };
            sums.fill(0.0);
            let lines = part_of(part, parts, s.batch * s.output[0] * s.output[1]);
            let mut reads = Vec::with_capacity(taps);
            for line in lines {
                Line {
                    s,
                    row,
                    x,
                    dy,
                    outside,
                }
                .run(line, sums, &mut reads);
            }
        });
    }
    split::chunks(pool, dw, taps, 1 << 12, |start, rows| {
        for (i, row) in rows.chunks_mut(taps).enumerate() {
            let c = start / taps + i;
            for (t, to) in row.iter_mut().enumerate() {
                let part = |p: usize| sums[(p * taps + t) * channels + c];
                *to = (0..parts).fold(0.0, |sum, p| sum + part(p));
            }
        }
    });
}

struct Line<'a> {
    s: &'a ConvShape,
    row: &'a GradientRow,
    x: &'a [f32],
    dy: &'a [f32],
    outside: &'a [f32],
}

impl Line<'_> {
    fn run(&self, line: usize, sums: &mut [f32], reads: &mut Vec<Tap>) {
        let s = self.s;
        let [depth, height, width] = s.output;
        let at = [line / (depth * height), line / height % depth, line % height];
        let middle = inside(s, 2, 0..s.kernel[2]);
        for o in 0..middle.start.min(width) {
            self.pixels(line, at, o, 1, sums, reads);
        }
        if !middle.is_empty() {
            self.pixels(line, at, middle.start, middle.len(), sums, reads);
        }
        for o in middle.end.max(middle.start)..width {
            self.pixels(line, at, o, 1, sums, reads);
        }
    }

    /// `count` pixels from `first` on: one, or those whose taps along x all lie inside.
    fn pixels(
        &self,
        line: usize,
        at: [usize; 3],
        first: usize,
        count: usize,
        sums: &mut [f32],
        reads: &mut Vec<Tap>,
    ) {
        let s = self.s;
        let channels = s.out_channels;
        let input = |axis: usize, o: usize, k: usize| {
            let i = (o * s.stride[axis] + k * s.dilation[axis]).checked_sub(s.pad[axis])?;
            (i < s.input[axis]).then_some(i)
        };
        reads.clear();
        for kz in 0..s.kernel[0] {
            for ky in 0..s.kernel[1] {
                let row = input(0, at[1], kz).zip(input(1, at[2], ky));
                for kx in 0..s.kernel[2] {
                    reads.push(match row.zip(input(2, first, kx)) {
                        Some(((z, y), x)) => {
                            let pixel = ((at[0] * s.input[0] + z) * s.input[1] + y) * s.input[2] + x;
                            // All pixels of the run are read.
                            let last = pixel + (count - 1) * s.stride[2];
                            let _ = &self.x[last * channels..][..channels];
                            Tap {
                                pointer: self.x[pixel * channels..].as_ptr(),
                                step: s.stride[2] * channels,
                            }
                        }
                        None => Tap {
                            pointer: self.outside.as_ptr(),
                            step: 0,
                        },
                    });
                }
            }
        }
        let dy = &self.dy[(line * s.output[2] + first) * channels..][..count * channels];
        let call = RunCall {
            tap: reads.as_ptr(),
            taps: reads.len(),
            pixels: count,
            channels,
            dy: dy.as_ptr(),
            dy_step: channels,
            sums: sums.as_mut_ptr(),
        };
        // SAFETY: the row was chosen for this CPU; every tap reads pixels inside of the picture or `outside`, `dy` has the pixels,
        // `sums` a row per tap.
        unsafe { (self.row.run)(&call) };
        // Channels behind the last whole register.
        let rest = channels / self.row.lanes * self.row.lanes;
        for (t, tap) in reads.iter().enumerate() {
            for c in rest..channels {
                let mut acc = 0f32;
                for p in 0..count {
                    // SAFETY: as above.
                    let x = unsafe { *tap.pointer.add(p * tap.step + c) };
                    acc = x.mul_add(dy[p * channels + c], acc);
                }
                sums[t * channels + c] += acc;
            }
        }
    }
}
