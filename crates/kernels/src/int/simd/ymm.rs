//! Operations on 256-bit registers that AVX2 suffices for.

use std::arch::x86_64::*;

pub(super) type V = __m256i;
/// i32 lanes of a register.
pub(super) const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn zero() -> V {
    _mm256_setzero_si256()
}

/// # Safety
/// 32 readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn load(p: *const i32) -> V {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm256_loadu_si256(p.cast()) }
}

/// # Safety
/// 32 readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn bytes(p: *const u8) -> V {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm256_loadu_si256(p.cast()) }
}

/// # Safety
/// 32 writable bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store(p: *mut i32, v: V) {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm256_storeu_si256(p.cast(), v) }
}

/// # Safety
/// 4 readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn spread(p: *const u8) -> V {
    // SAFETY: the caller's promise; unaligned.
    _mm256_set1_epi32(unsafe { p.cast::<i32>().read_unaligned() })
}

/// Bytes of four registers so that each 4-byte lane holds one byte of each.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn interleave(x: [V; 4]) -> [V; 4] {
    let (lo, hi) = (_mm256_unpacklo_epi8(x[0], x[1]), _mm256_unpackhi_epi8(x[0], x[1]));
    let (lo2, hi2) = (_mm256_unpacklo_epi8(x[2], x[3]), _mm256_unpackhi_epi8(x[2], x[3]));
    [
        _mm256_unpacklo_epi16(lo, lo2),
        _mm256_unpackhi_epi16(lo, lo2),
        _mm256_unpacklo_epi16(hi, hi2),
        _mm256_unpackhi_epi16(hi, hi2),
    ]
}

/// 1.2 without the clamp to codes' ends: packing does the clamps to 16 and 8 bits. Per 128-bit lane the bytes are those of
/// `acc[0]`, `acc[1]`, `acc[2]`, `acc[3]`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn requant(acc: [V; 4], multiplier: [V; 4], zero: u8, hi: u8) -> V {
    let mut r = acc;
    for i in 0..4 {
        r[i] = _mm256_cvtps_epi32(_mm256_mul_ps(
            _mm256_cvtepi32_ps(acc[i]),
            _mm256_castsi256_ps(multiplier[i]),
        ));
    }
    pack(r, _mm256_set1_epi16(i16::from(zero)), _mm256_set1_epi8(hi as i8))
}

/// The end of 1.2 behind the rounding, `zero` in 16-bit and `hi` in 8-bit lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn pack(r: [V; 4], zero: V, hi: V) -> V {
    let low = _mm256_adds_epi16(_mm256_packs_epi32(r[0], r[1]), zero);
    let high = _mm256_adds_epi16(_mm256_packs_epi32(r[2], r[3]), zero);
    _mm256_min_epu8(_mm256_packus_epi16(low, high), hi)
}

/// [`DenseRow::finish`](crate::int::conv::DenseRow): two rows of two registers at a time.
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn finish(f: &crate::int::conv::Finish<'_>, acc: &[i32], rows: usize, out: &mut [u8]) {
    use crate::int::conv::{PANEL, ROW};
    let len = rows.next_multiple_of(2) * ROW;
    assert!(acc.len() >= len && out.len() >= len && f.multiplier.len() >= PANEL);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let halves = if f.multiplier.len() >= ROW { 2 } else { 1 };
    for half in 0..halves {
        // SAFETY: `multiplier` holds `halves` panels by the assertion.
        let (m0, m1) = unsafe {
            let m = f.multiplier.as_ptr().add(half * PANEL).cast::<i32>();
            (load(m), load(m.add(LANES)))
        };
        for (acc, out) in acc[..len]
            .chunks_exact(2 * ROW)
            .zip(out.chunks_exact_mut(2 * ROW))
        {
            // SAFETY: both chunks hold two rows of ROW, of which a half of PANEL is used.
            unsafe {
                let a = acc.as_ptr().add(half * PANEL);
                let sums = [
                    load(a),
                    load(a.add(LANES)),
                    load(a.add(ROW)),
                    load(a.add(ROW + LANES)),
                ];
                let codes = _mm256_permutevar8x32_epi32(requant(sums, [m0, m1, m0, m1], f.zero, f.hi), order);
                let to = out.as_mut_ptr().add(half * PANEL);
                _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(codes));
                _mm_storeu_si128(to.add(ROW).cast(), _mm256_extracti128_si256::<1>(codes));
            }
        }
    }
}
