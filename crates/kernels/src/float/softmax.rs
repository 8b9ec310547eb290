//! Softmax over the last axis.

use super::rows::rows;
use crate::{Isa, Pool, split};

/// Softmax of each of `y`'s rows of `len` elements, in place.
pub fn softmax(pool: &Pool, isa: Isa, len: usize, y: &mut [f32]) {
    let rows = rows(isa);
    split::chunks(pool, y, len, 1 << 12, |_, part| {
        for row in part.chunks_mut(len.max(1)) {
            let mut most = f32::NEG_INFINITY;
            for &x in row.iter() {
                most = if x > most { x } else { most };
            }
            let mut sum = 0.0;
            // SAFETY: `rows` gives only what this CPU runs.
            unsafe { (rows.exp_less)(row, most) };
            for &x in row.iter() {
                sum += x;
            }
            // SAFETY: as above.
            unsafe { (rows.divide)(row, sum) };
        }
    });
}
