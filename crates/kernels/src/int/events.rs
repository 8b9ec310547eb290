//! Event-driven products: each active input adds its column of weights to the sums that it reaches, all others cost nothing.
//!
//! The sums are those of the dense kernels, to the bit: whole numbers below 2^24, held in f32.

use crate::float::backward::vector::vectorized;
use crate::split;
use crate::{ConvShape, Isa, Pool};

/// A convolution (or rows by a matrix, as a kernel of 1) by events. Inputs are codes with zero point 0.
#[derive(Debug, Clone)]
pub struct Events {
    shape: ConvShape,
    /// `[taps, in_channels, out_channels]`.
    columns: Vec<f32>,
    bias: Vec<f32>,
    /// Per axis, for each input coordinate the (tap, output coordinate) pairs that it takes part in.
    reach: [Vec<Vec<(usize, usize)>>; 3],
}

impl Events {
    /// From levels in ONNX order, `[out_channels, in_channels, kernel…]`, and a bias in the sums' unit; `None` for grouped convolutions.
    ///
    /// The caller has proved that no sum reaches 2^24.
    pub fn new(shape: &ConvShape, levels: &[i32], bias: &[i64]) -> Option<Events> {
        let taps: usize = shape.kernel.iter().product();
        let (c, m) = (shape.in_channels, shape.out_channels);
        if shape.groups != 1 || levels.len() != m * c * taps || bias.len() != m {
            return None;
        }
        let mut columns = vec![0f32; levels.len()];
        for (i, &level) in levels.iter().enumerate() {
            let (out, from, tap) = (i / taps / c, i / taps % c, i % taps);
            columns[(tap * c + from) * m + out] = level as f32;
        }
        let reach = std::array::from_fn(|axis| {
            let one = |input: usize| {
                let pairs = (0..shape.kernel[axis]).filter_map(|tap| {
                    let from = (input + shape.pad[axis]).checked_sub(tap * shape.dilation[axis])?;
                    let out = from / shape.stride[axis];
                    (from % shape.stride[axis] == 0 && out < shape.output[axis]).then_some((tap, out))
                });
                pairs.collect()
            };
            (0..shape.input[axis]).map(one).collect()
        });
        Some(Events {
            shape: shape.clone(),
            columns,
            bias: bias.iter().map(|&b| b as f32).collect(),
            reach,
        })
    }

    /// Bytes of the weights as they lie in memory.
    pub fn packed_bytes(&self) -> usize {
        4 * self.columns.len()
    }

    /// Sums of codes, both channels-last without gaps.
    pub fn run(&self, pool: &Pool, isa: Isa, x: &[u8], y: &mut [f32]) {
        let s = &self.shape;
        let pixels = |axes: &[usize; 3]| axes.iter().product::<usize>();
        let (from, to) = (
            pixels(&s.input) * s.in_channels,
            pixels(&s.output) * s.out_channels,
        );
        assert_eq!(
            (x.len(), y.len()),
            (s.batch * from, s.batch * to),
            "events: length"
        );
        // Of a kernel of 1 each pixel is a sample of its own.
        let by_pixel = s.kernel == [1; 3] && s.stride == [1; 3] && s.input == s.output;
        let (from, to) = match by_pixel {
            true => (s.in_channels, s.out_channels),
            false => (from, to),
        };
        split::chunks(pool, y, to, 1 << 12, |at, part| {
            for (i, y) in part.chunks_mut(to).enumerate() {
                let sample = at / to + i;
                y.chunks_mut(s.out_channels)
                    .for_each(|row| row.copy_from_slice(&self.bias));
                let x = &x[sample * from..(sample + 1) * from];
                match by_pixel {
                    true => rows(isa, &self.columns, x, y),
                    false => scatter(isa, self, x, y),
                }
            }
        });
    }
}

/// How many codes are not 0.
pub fn active(x: &[u8]) -> usize {
    // In bytes first: a sum of 255 ones fits.
    let chunk = |part: &[u8]| usize::from(part.iter().map(|&q| u8::from(q != 0)).sum::<u8>());
    x.chunks(255).map(chunk).sum()
}

#[inline(always)]
fn add(y: &mut [f32], column: &[f32], code: f32) {
    for (y, &w) in y.iter_mut().zip(column) {
        *y += w * code;
    }
}

vectorized! {
    fn rows(columns: &[f32], x: &[u8], y: &mut [f32]) {
        let m = y.len();
        for (c, &code) in x.iter().enumerate() {
            if code != 0 {
                add(y, &columns[c * m..(c + 1) * m], f32::from(code));
            }
        }
    }
}

vectorized! {
    fn scatter(e: &Events, x: &[u8], y: &mut [f32]) {
        let (c, m, s) = (e.shape.in_channels, e.shape.out_channels, &e.shape);
        let [_, height, width] = s.input;
        for (pixel, codes) in x.chunks_exact(c).enumerate() {
            if codes.iter().all(|&q| q == 0) {
                continue;
            }
            let at = [pixel / (height * width), pixel / width % height, pixel % width];
            for &(d, to_d) in &e.reach[0][at[0]] {
                for &(h, to_h) in &e.reach[1][at[1]] {
                    for &(w, to_w) in &e.reach[2][at[2]] {
                        let tap = (d * s.kernel[1] + h) * s.kernel[2] + w;
                        let to = (to_d * s.output[1] + to_h) * s.output[2] + to_w;
                        let row = &mut y[to * m..(to + 1) * m];
                        for (from, &code) in codes.iter().enumerate() {
                            if code != 0 {
                                let column = (tap * c + from) * m;
                                add(row, &e.columns[column..column + m], f32::from(code));
                            }
                        }
                    }
                }
            }
        }
    }
}
