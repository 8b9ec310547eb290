//! Pools over windows.

use super::rows::rows;
use crate::int::Divisor;
use crate::window::{for_pixels, pixel, window};
use crate::{Isa, Pool, PoolShape};

/// Largest element of each window; padding and NaN never win. A global maximum is a window over the whole picture.
pub fn max_pool(pool: &Pool, isa: Isa, shape: &PoolShape, x: &[f32], y: &mut [f32]) {
    let max = rows(isa).max;
    for_pixels(pool, shape, y, |b, at, to| {
        to.fill(f32::NEG_INFINITY);
        // SAFETY: `rows` gives only what this CPU runs.
        for_taps(shape, x, b, at, |taps| unsafe { max(to, taps) });
    });
}

/// Mean of each window: the sum in row-major order, then one division.
pub fn average_pool(pool: &Pool, isa: Isa, shape: &PoolShape, divisor: Divisor, x: &[f32], y: &mut [f32]) {
    let rows = rows(isa);
    for_pixels(pool, shape, y, |b, at, to| {
        to.fill(0.0);
        let mut inside = 0;
        for_taps(shape, x, b, at, |taps| {
            inside += taps.len();
            // SAFETY: `rows` gives only what this CPU runs.
            unsafe { (rows.sum)(to, taps) }
        });
        let n = divisor.of(shape, at, inside) as f32;
        // SAFETY: as above.
        unsafe { (rows.divide)(to, n) };
    });
}

/// Calls `visit` with the pixels of a window inside of the picture in row-major order, a few at a time.
fn for_taps(shape: &PoolShape, x: &[f32], b: usize, at: [usize; 3], mut visit: impl FnMut(&[&[f32]])) {
    let c = shape.channels;
    let mut taps: [&[f32]; 32] = [&[]; 32];
    let mut count = 0;
    for z in window(shape, 0, at[0]) {
        for y in window(shape, 1, at[1]) {
            let line = pixel(shape, b, z, y, 0);
            for i in window(shape, 2, at[2]) {
                taps[count] = &x[(line + i) * c..][..c];
                count += 1;
                if count == taps.len() {
                    visit(&taps);
                    count = 0;
                }
            }
        }
    }
    if count > 0 {
        visit(&taps[..count]);
    }
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
