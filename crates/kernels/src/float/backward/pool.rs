//! Backward of pools and of linear Resize: each picture's gradient is one task's.

use crate::int::{Divisor, Linear};
use crate::window::{pixel, window};
use crate::{Pool, PoolShape, split};

/// Channels that are handled together.
const BLOCK: usize = 128;

/// Calls `visit(output pixel, [z, y, x])` for the output pixels of picture `b`.
fn outputs(shape: &PoolShape, b: usize, mut visit: impl FnMut(usize, [usize; 3])) {
    let [depth, height, width] = shape.output;
    let first = b * depth * height * width;
    for p in 0..depth * height * width {
        visit(first + p, [p / (height * width), p / width % height, p % width]);
    }
}

/// Calls `task(b, dx of picture b)`.
fn pictures(pool: &Pool, shape: &PoolShape, dx: &mut [f32], task: impl Fn(usize, &mut [f32]) + Sync) {
    let row = shape.input.iter().product::<usize>() * shape.channels;
    assert_eq!(dx.len(), shape.batch * row, "pool backward: length");
    split::chunks(pool, dx, row, 1, |start, part| {
        part.fill(0.0);
        task(start / row.max(1), part);
    });
}

/// The gradient goes to the first of a window's pixels, row-major, that equals its maximum.
pub fn max_pool_backward(pool: &Pool, shape: &PoolShape, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let c = shape.channels;
    pictures(pool, shape, dx, |b, dx| {
        let first = pixel(shape, b, 0, 0, 0);
        outputs(shape, b, |p, at| {
            for from in (0..c).step_by(BLOCK) {
                let n = BLOCK.min(c - from);
                let mut left = [0f32; BLOCK];
                left[..n].copy_from_slice(&dy[p * c + from..][..n]);
                let y = &y[p * c + from..][..n];
                for z in window(shape, 0, at[0]) {
                    for h in window(shape, 1, at[1]) {
                        for w in window(shape, 2, at[2]) {
                            let i = pixel(shape, b, z, h, w);
                            let x = &x[i * c + from..][..n];
                            let dx = &mut dx[(i - first) * c + from..][..n];
                            for (((dx, left), &x), &y) in dx.iter_mut().zip(&mut left).zip(x).zip(y) {
                                let hit = x == y;
                                *dx += if hit { *left } else { 0.0 };
                                *left = if hit { 0.0 } else { *left };
                            }
                        }
                    }
                }
            }
        });
    });
}

/// Each pixel of a window gets its share.
pub fn average_pool_backward(pool: &Pool, shape: &PoolShape, divisor: Divisor, dy: &[f32], dx: &mut [f32]) {
    let c = shape.channels;
    pictures(pool, shape, dx, |b, dx| {
        let first = pixel(shape, b, 0, 0, 0);
        outputs(shape, b, |p, at| {
            let inside: usize = (0..3).map(|axis| window(shape, axis, at[axis]).count()).product();
            let share = 1.0 / divisor.of(shape, at, inside) as f32;
            let dy = &dy[p * c..][..c];
            for z in window(shape, 0, at[0]) {
                for h in window(shape, 1, at[1]) {
                    for w in window(shape, 2, at[2]) {
                        let to = &mut dx[(pixel(shape, b, z, h, w) - first) * c..][..c];
                        for (dx, &d) in to.iter_mut().zip(dy) {
                            *dx = share.mul_add(d, *dx);
                        }
                    }
                }
            }
        });
    });
}

/// Backward of [`resize_linear`](crate::float::resize_linear).
pub fn resize_linear_backward(
    pool: &Pool,
    linear: &Linear,
    [batch, c]: [usize; 2],
    dy: &[f32],
    dx: &mut [f32],
) {
    let [depth, height, width] = linear.output();
    let input = linear.input;
    let row = input.iter().product::<usize>() * c;
    assert_eq!(
        (dx.len(), dy.len()),
        (batch * row, batch * depth * height * width * c),
        "resize backward: length"
    );
    let taps = |axis: usize, o: usize| match &linear.axes[axis] {
        None => [(o, 1.0), (o, 0.0)],
        Some(a) => {
            let (l, r, t) = a.taps[o];
            [(l, 1.0 - t), (r, t)]
        }
    };
    split::chunks(pool, dx, row, 1, |start, part| {
        part.fill(0.0);
        let b = start / row.max(1);
        for p in 0..depth * height * width {
            let (oz, oy, ox) = (p / (height * width), p / width % height, p % width);
            let dy = &dy[(b * depth * height * width + p) * c..][..c];
            for (z, wz) in taps(0, oz) {
                for (y, wy) in taps(1, oy) {
                    for (x, wx) in taps(2, ox) {
                        let w = (wz * wy * wx) as f32;
                        if w != 0.0 {
                            let to = &mut part[((z * input[1] + y) * input[2] + x) * c..][..c];
                            for (dx, &d) in to.iter_mut().zip(dy) {
                                *dx = w.mul_add(d, *dx);
                            }
                        }
                    }
                }
            }
        }
    });
}
