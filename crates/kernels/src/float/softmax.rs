//! Softmax over the last axis.

use tensor::math;

use super::rows::rows;
use crate::{Isa, Pool, split};

/// Softmax of each of `y`'s rows of `len` elements, in place.
pub fn softmax(pool: &Pool, isa: Isa, len: usize, y: &mut [f32]) {
    let rows = rows(isa);
    split::chunks(pool, y, len, 1 << 12, |_, part| {
        if len == BINS {
            // SAFETY: `rows` gives only what this CPU runs.
            return unsafe { (rows.softmax_of_bins)(part) };
        }
        for row in part.chunks_mut(len.max(1)) {
            let mut most = f32::NEG_INFINITY;
            for &x in row.iter() {
                most = if x > most { x } else { most };
            }
            let mut sum = 0.0;
            // SAFETY: as above.
            unsafe { (rows.exp_less)(row, most) };
            for &x in row.iter() {
                sum += x;
            }
            // SAFETY: as above.
            unsafe { (rows.divide)(row, sum) };
        }
    });
}

/// Bins of a box's side, over which detectors of distributions (DFL) take a softmax: thousands of short rows.
const BINS: usize = 16;

/// Rows of [`BINS`]; no call for each.
#[inline(always)]
pub(super) fn rows_of_bins(y: &mut [f32]) {
    for row in y.as_chunks_mut::<BINS>().0 {
        let mut most = f32::NEG_INFINITY;
        for &x in row.iter() {
            most = if x > most { x } else { most };
        }
        for x in row.iter_mut() {
            *x = math::exp(*x - most);
        }
        let mut sum = 0.0;
        for &x in row.iter() {
            sum += x;
        }
        for x in row.iter_mut() {
            *x /= sum;
        }
    }
}
