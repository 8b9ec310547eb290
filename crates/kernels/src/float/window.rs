//! Pools over windows.

use super::rows::rows;
use crate::int::Divisor;
use crate::window::{for_pixels, pixel, window};
use crate::{Isa, Pool, PoolShape};

/// Largest element of each window; padding and NaN never win. A global maximum is a window over the whole picture.
pub fn max_pool(pool: &Pool, isa: Isa, shape: &PoolShape, x: &[f32], y: &mut [f32]) {
    let max = rows(isa).max;
    let c = shape.channels;
    for_pixels(pool, shape, y, |b, at, to| {
        to.fill(f32::NEG_INFINITY);
        for z in window(shape, 0, at[0]) {
            for y in window(shape, 1, at[1]) {
                for i in window(shape, 2, at[2]) {
                    let p = pixel(shape, b, z, y, i) * c;
                    // SAFETY: `rows` gives only what this CPU runs.
                    unsafe { max(to, &x[p..p + c]) };
                }
            }
        }
    });
}

/// Mean of each window: the sum in row-major order, then one division.
pub fn average_pool(pool: &Pool, isa: Isa, shape: &PoolShape, divisor: Divisor, x: &[f32], y: &mut [f32]) {
    let rows = rows(isa);
    let c = shape.channels;
    for_pixels(pool, shape, y, |b, at, to| {
        to.fill(0.0);
        let mut inside = 0;
        for z in window(shape, 0, at[0]) {
            for y in window(shape, 1, at[1]) {
                for i in window(shape, 2, at[2]) {
                    let p = pixel(shape, b, z, y, i) * c;
                    // SAFETY: `rows` gives only what this CPU runs.
                    unsafe { (rows.sum)(to, &x[p..p + c]) };
                    inside += 1;
                }
            }
        }
        let n = divisor.of(shape, at, inside) as f32;
        // SAFETY: `rows` gives only what this CPU runs.
        unsafe { (rows.divide)(to, n) };
    });
}

/// Mean over all pixels of each picture: `[batch, pixels, channels]` to `[batch, channels]`.
pub fn global_average(
    pool: &Pool,
    isa: Isa,
    [batch, pixels, channels]: [usize; 3],
    x: &[f32],
    y: &mut [f32],
) {
    average_pool(
        pool,
        isa,
        &PoolShape::whole(batch, pixels, channels),
        Divisor::Inside,
        x,
        y,
    );
}
