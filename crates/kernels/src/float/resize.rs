//! Linear Resize.

use super::rows::rows;
use crate::int::Linear;
use crate::{Isa, Pool, split};

/// Resizes `x` `[batch, input…, channels]` to `y` `[batch, output…, channels]`.
pub fn resize_linear(
    pool: &Pool,
    isa: Isa,
    linear: &Linear,
    [batch, channels]: [usize; 2],
    x: &[f32],
    y: &mut [f32],
) {
    let weigh = rows(isa).weigh;
    let [depth, height, width] = linear.output();
    let input = linear.input;
    assert_eq!(
        y.len(),
        batch * depth * height * width * channels,
        "resize: output length"
    );
    let taps = |axis: usize| -> Vec<[(usize, f64); 2]> {
        match &linear.axes[axis] {
            None => (0..input[axis]).map(|i| [(i, 1.0), (i, 0.0)]).collect(),
            Some(a) => a.taps.iter().map(|&(l, r, t)| [(l, 1.0 - t), (r, t)]).collect(),
        }
    };
    let [zs, ys, xs] = [taps(0), taps(1), taps(2)];
    split::chunks(pool, y, width * channels, 1 << 13, |start, part| {
        for (i, line) in part.chunks_mut((width * channels).max(1)).enumerate() {
            let line_at = start / (width * channels) + i;
            let (plane, oy) = (line_at / height, line_at % height);
            let (b, oz) = (plane / depth, plane % depth);
            for (out, x_taps) in line.chunks_mut(channels).zip(&xs) {
                out.fill(0.0);
                for (z, wz) in zs[oz] {
                    for (y, wy) in ys[oy] {
                        for &(i, wx) in x_taps {
                            let w = (wz * wy * wx) as f32;
                            if w == 0.0 {
                                continue;
                            }
                            let p = ((b * input[0] + z) * input[1] + y) * input[2] + i;
                            // SAFETY: `rows` gives only what this CPU runs.
                            unsafe { weigh(w, out, &x[p * channels..]) };
                        }
                    }
                }
            }
        }
    });
}
