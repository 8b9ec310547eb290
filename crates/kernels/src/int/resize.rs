//! Linear Resize (`FORMAT.md` 1.10).

use crate::Pool;
use crate::int::rule::{BoundError, Edge, prove, requantize};
use crate::split;

/// One interpolated axis: for each output coordinate, two input neighbours and the fraction of the second.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearAxis {
    /// Left neighbour, right neighbour, fraction in 0…1 of the right one; neighbours lie inside the input.
    pub taps: Vec<(usize, usize, f64)>,
}

/// A linear Resize of up to three axes; an axis that is not interpolated is copied.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Depth, height, width.
    pub axes: [Option<LinearAxis>; 3],
    /// Input size of each axis.
    pub input: [usize; 3],
}

/// Input coordinate and weight of up to two neighbours.
type Taps = [(usize, i64); 2];

impl Linear {
    /// Output size of each axis.
    pub fn output(&self) -> [usize; 3] {
        std::array::from_fn(|i| self.axes[i].as_ref().map_or(self.input[i], |a| a.taps.len()))
    }

    fn interpolated(&self) -> u32 {
        self.axes.iter().flatten().count() as u32
    }

    /// F of 1.10: fraction bits of one axis.
    fn bits(&self) -> u32 {
        if self.interpolated() == 3 { 7 } else { 11 }
    }

    fn taps(&self, axis: usize) -> Vec<Taps> {
        let one = 1i64 << self.bits();
        match &self.axes[axis] {
            None => (0..self.input[axis]).map(|i| [(i, 1), (i, 0)]).collect(),
            Some(a) => a
                .taps
                .iter()
                .map(|&(left, right, t)| {
                    let w = (t * one as f64).round_ties_even() as i64;
                    [(left, one - w), (right, w)]
                })
                .collect(),
        }
    }

    /// Resizes `x` `[batch, input…, channels]` to `y` `[batch, output…, channels]`.
    ///
    /// # Errors
    /// When the scales fail the rule's bound (1.13).
    pub fn run(
        &self,
        pool: &Pool,
        [batch, channels]: [usize; 2],
        from: Edge,
        to: Edge,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), BoundError> {
        let unit = (1u64 << (self.bits() * self.interpolated())) as f64;
        let m = (f64::from(from.scale) / (f64::from(to.scale) * unit)) as f32;
        prove(f64::from(from.hi) * unit, m)?;
        let [depth, height, width] = self.output();
        assert_eq!(
            y.len(),
            batch * depth * height * width * channels,
            "resize: output length"
        );
        let [zs, ys, xs] = [self.taps(0), self.taps(1), self.taps(2)];
        let row = width * channels;
        if row == 0 {
            return Ok(());
        }
        split::chunks(pool, y, row, 1 << 13, |start, part| {
            let mut acc = vec![0i64; channels];
            for (i, line) in part.chunks_mut(row).enumerate() {
                let line_at = start / row + i;
                let (plane, oy) = (line_at / height, line_at % height);
                let (b, oz) = (plane / depth, plane % depth);
                for (out, x_taps) in line.chunks_mut(channels).zip(&xs) {
                    acc.fill(0);
                    for (z, wz) in zs[oz] {
                        for (y, wy) in ys[oy] {
                            for &(i, wx) in x_taps {
                                let w = wz * wy * wx;
                                if w == 0 {
                                    continue;
                                }
                                let p = ((b * self.input[0] + z) * self.input[1] + y) * self.input[2] + i;
                                for (acc, &q) in acc.iter_mut().zip(&x[p * channels..]) {
                                    *acc += w * i64::from(q);
                                }
                            }
                        }
                    }
                    let shift = unit as i64 * i64::from(from.zero);
                    for (q, &acc) in out.iter_mut().zip(&acc) {
                        *q = requantize(acc - shift, m, to.zero, to.hi);
                    }
                }
            }
        });
        Ok(())
    }
}
