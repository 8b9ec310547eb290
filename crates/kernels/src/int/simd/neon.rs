//! ARM: what every 64-bit one has, and dot products of bytes where the CPU has them. Instructions whose intrinsics are not stable are written as such.

use std::arch::aarch64::*;
use std::arch::asm;

use super::lines128::{MIXED, PAIRS, PATCH, SIGNED, line};
use crate::int::conv::{LineCall, Listed, PatchRow};

/// 16 bytes.
pub(super) type V = int8x16_t;

/// Any i8 weight, times codes less 128: both factors of `sdot` have signs.
pub(crate) static DOTPROD: PatchRow = PatchRow {
    widen: None,
    minus: 128,
    half: dotprod::<2>,
    whole: dotprod::<4>,
    listed: Some(Listed {
        half: dotprod::<2>,
        whole: dotprod::<4>,
        pair: None,
    }),
    ..PATCH
};

/// Any i8 weight, times codes.
pub(crate) static I8MM: PatchRow = PatchRow {
    widen: None,
    half: i8mm::<2>,
    whole: i8mm::<4>,
    listed: Some(Listed {
        half: i8mm::<2>,
        whole: i8mm::<4>,
        pair: None,
    }),
    ..PATCH
};

/// # Safety
/// The CPU has dot products of bytes; the pointers of the call are as its fields say.
#[target_feature(enable = "dotprod")]
unsafe fn dotprod<const NV: usize>(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { line::<NV, SIGNED>(call) }
}

/// # Safety
/// The CPU has products of signed and unsigned bytes; the pointers of the call are as its fields say.
#[target_feature(enable = "i8mm")]
unsafe fn i8mm<const NV: usize>(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { line::<NV, MIXED>(call) }
}

#[inline(always)]
pub(super) fn zero() -> V {
    spread(0)
}

/// The number in each lane of four bytes.
#[inline(always)]
pub(super) fn spread(x: i32) -> V {
    // SAFETY: every 64-bit ARM has it.
    unsafe { vreinterpretq_s8_s32(vdupq_n_s32(x)) }
}

/// # Safety
/// 16 readable bytes.
#[inline(always)]
pub(super) unsafe fn load(p: *const u8) -> V {
    // SAFETY: the caller's promise.
    unsafe { vreinterpretq_s8_u8(vld1q_u8(p)) }
}

/// # Safety
/// Four writable numbers.
#[inline(always)]
pub(super) unsafe fn store(p: *mut i32, v: V) {
    // SAFETY: the caller's promise.
    unsafe { vst1q_s32(p, vreinterpretq_s32_s8(v)) }
}

/// In lanes of four bytes.
#[inline(always)]
pub(super) fn add(a: V, b: V) -> V {
    // SAFETY: every 64-bit ARM has it.
    unsafe { vreinterpretq_s8_s32(vaddq_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b))) }
}

/// 2^BITS times the numbers in lanes of four bytes.
#[inline(always)]
pub(super) fn times<const BITS: u32>(a: V) -> V {
    // SAFETY: every 64-bit ARM has it.
    unsafe { vreinterpretq_s8_s32(vshlq_s32(vreinterpretq_s32_s8(a), vdupq_n_s32(BITS as i32))) }
}

/// Lanes of two bytes of `a` and `b` by turns: of the lower and of the upper half.
#[inline(always)]
pub(super) fn interleave(a: V, b: V) -> (V, V) {
    // SAFETY: every 64-bit ARM has them.
    unsafe {
        let (a, b) = (vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b));
        (
            vreinterpretq_s8_s16(vzip1q_s16(a, b)),
            vreinterpretq_s8_s16(vzip2q_s16(a, b)),
        )
    }
}

/// Elements as they are multiplied: `sdot` takes codes less 128.
#[inline(always)]
pub(super) fn factor<const K: u8>(x: V) -> V {
    match K {
        // SAFETY: every 64-bit ARM has it.
        SIGNED => unsafe { veorq_s8(x, vdupq_n_s8(-128)) },
        _ => x,
    }
}

/// Adds to each of four channels the products of its four bytes of weights and quad L of a pixel.
///
/// # Safety
/// The CPU has the instruction.
#[inline(always)]
pub(super) unsafe fn dot<const K: u8, const L: usize>(acc: V, w: V, x: V) -> V {
    let mut acc = acc;
    // SAFETY: the caller's promise; nothing but registers is touched.
    unsafe {
        match K {
            PAIRS => {
                let (w, x) = (vreinterpretq_s16_s8(w), vreinterpretq_s16_s8(x));
                let low = vmull_s16(vget_low_s16(w), vget_low_s16(x));
                let sums = vpaddq_s32(low, vmull_high_s16(w, x));
                acc = add(acc, vreinterpretq_s8_s32(sums));
            }
            SIGNED => asm!(
                ".arch_extension dotprod",
                "sdot {acc:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
                acc = inout(vreg) acc, w = in(vreg) w, x = in(vreg) x, lane = const L,
                options(pure, nomem, nostack, preserves_flags)
            ),
            _ => asm!(
                ".arch_extension i8mm",
                "sudot {acc:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
                acc = inout(vreg) acc, w = in(vreg) w, x = in(vreg) x, lane = const L,
                options(pure, nomem, nostack, preserves_flags)
            ),
        }
    }
    acc
}
