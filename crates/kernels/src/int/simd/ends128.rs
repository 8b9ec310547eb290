//! What becomes of sums in registers of 128 bits, written as loops over the 16 channels of a panel, which the compiler makes vectors of.

use crate::int::conv::{Ending, LineCall};
use crate::int::rule::{quotient_to_code, to_code};

/// Channels of a panel.
pub(super) const LANES: usize = 16;

/// Writes the outputs of some pixels from `p` on; `order` says which channel a sum belongs to.
///
/// # Safety
/// `multiplier` holds a panel, `out` a row of `width` for each pixel.
pub(super) unsafe fn end(call: &LineCall<'_>, sums: &[[i32; LANES]], p: usize, order: &[usize; LANES]) {
    let numbers = call.ending.numbers();
    // SAFETY: the caller's promise.
    let multiplier = unsafe { &*call.multiplier.cast::<[f32; LANES]>() };
    for (m, sums) in sums.iter().enumerate() {
        let mut x: [f32; LANES] = std::array::from_fn(|i| sums[i] as f32 * multiplier[i]);
        let codes: [u8; LANES] = match call.ending {
            Ending::Real => {
                // SAFETY: rows are of f32, as far apart as whole ones.
                let to = unsafe { call.out.add((p + m) * call.out_step) }.cast::<f32>();
                for (x, &channel) in x.iter().zip(order).filter(|(_, c)| **c < call.width) {
                    // SAFETY: a row has `width` of them.
                    unsafe { to.add(channel).write_unaligned(*x) };
                }
                continue;
            }
            Ending::Codes { table, .. } => {
                let codes = x.map(|x| to_code(x, numbers.zero, numbers.hi));
                match table {
                    Some(table) => codes.map(|c| table[usize::from(c)]),
                    None => codes,
                }
            }
            Ending::Function { edge, .. } => {
                numbers.function.quotients(&mut x, numbers.step);
                x.map(|x| quotient_to_code(edge, x))
            }
        };
        // SAFETY: a row has `width` bytes.
        let to = unsafe { call.out.add((p + m) * call.out_step) };
        for (code, &channel) in codes.iter().zip(order).filter(|(_, c)| **c < call.width) {
            // SAFETY: the same.
            unsafe { to.add(channel).write(*code) };
        }
    }
}
