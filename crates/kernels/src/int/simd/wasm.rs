//! WebAssembly with its 128-bit registers, which a build has or has not: nothing is asked at run time.

use std::arch::wasm32::*;

use super::lines128::PAIRS;

/// 16 bytes.
pub(super) type V = v128;

#[inline(always)]
pub(super) fn zero() -> V {
    i32x4_splat(0)
}

/// The number in each lane of four bytes.
#[inline(always)]
pub(super) fn spread(x: i32) -> V {
    i32x4_splat(x)
}

/// # Safety
/// 16 readable bytes.
#[inline(always)]
pub(super) unsafe fn load(p: *const u8) -> V {
    // SAFETY: the caller's promise; unaligned.
    unsafe { v128_load(p.cast()) }
}

/// # Safety
/// Four writable numbers.
#[inline(always)]
pub(super) unsafe fn store(p: *mut i32, v: V) {
    // SAFETY: the caller's promise; unaligned.
    unsafe { v128_store(p.cast(), v) }
}

/// In lanes of four bytes.
#[inline(always)]
pub(super) fn add(a: V, b: V) -> V {
    i32x4_add(a, b)
}

/// 2^BITS times the numbers in lanes of four bytes.
#[inline(always)]
pub(super) fn times<const BITS: u32>(a: V) -> V {
    i32x4_shl(a, BITS)
}

/// Lanes of two bytes of `a` and `b` by turns: of the lower and of the upper half.
#[inline(always)]
pub(super) fn interleave(a: V, b: V) -> (V, V) {
    (
        i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b),
        i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b),
    )
}

/// Elements as they are multiplied.
#[inline(always)]
pub(super) fn factor<const K: u8>(x: V) -> V {
    x
}

/// Adds to each of four channels the two products of its weights and a pixel's pair.
///
/// # Safety
/// None: pairs are all that there is.
#[inline(always)]
pub(super) unsafe fn dot<const K: u8, const L: usize>(acc: V, w: V, x: V) -> V {
    const { assert!(K == PAIRS) };
    i32x4_add(acc, i32x4_dot_i16x8(w, x))
}
