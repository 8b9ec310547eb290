//! Element loops in a form that compilers turn into vectors.

use crate::int::Edge;
use crate::int::binary::{AddNumbers, MulNumbers};

/// The end of 1.2 and 1.6 without a call or a saturating cast: after the clamp to 16 bits, adding 1.5·2²³ leaves the
/// value rounded half to even in the low bits of the sum.
#[inline(always)]
fn to_code(p: f32, zero: i32, hi: i32) -> u8 {
    let bits = (p.clamp(-32_768.0, 32_767.0) + 12_582_912.0).to_bits() as i32;
    (bits - 0x4B40_0000 + zero).clamp(0, hi) as u8
}

#[inline(always)]
pub(super) fn add(n: &AddNumbers, a: &[u8], b: &[u8], y: &mut [u8]) {
    let (zero, hi) = (i32::from(n.zero), i32::from(n.hi));
    let (zero_a, zero_b) = (i32::from(n.zero_a), i32::from(n.zero_b));
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        let p = (i32::from(a) - zero_a) as f32 * n.m_a + (i32::from(b) - zero_b) as f32 * n.m_b;
        *y = to_code(p, zero, hi);
    }
}

#[inline(always)]
pub(super) fn mul(n: &MulNumbers, a: &[u8], b: &[u8], y: &mut [u8]) {
    let (zero, hi) = (i32::from(n.zero), i32::from(n.hi));
    let (zero_a, zero_b) = (i32::from(n.zero_a), i32::from(n.zero_b));
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        let acc = (i32::from(a) - zero_a) * (i32::from(b) - zero_b);
        *y = to_code(acc as f32 * n.m, zero, hi);
    }
}

#[inline(always)]
pub(super) fn max(acc: &mut [u8], x: &[u8]) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        *acc = (*acc).max(x);
    }
}

#[inline(always)]
pub(super) fn sum(acc: &mut [u32], x: &[u8]) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        *acc += u32::from(x);
    }
}

#[inline(always)]
pub(super) fn dequantize(edge: Edge, x: &[u8], y: &mut [f32]) {
    let zero = i32::from(edge.zero);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = edge.scale * (i32::from(x) - zero) as f32;
    }
}
