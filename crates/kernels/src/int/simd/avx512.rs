//! AVX-512 with VNNI and VBMI.

use std::arch::x86_64::*;

use super::body::{dense, depthwise, elements};
use super::element;
use super::ends512::look_up;
use crate::Isa;
use crate::int::Edge;
use crate::int::binary::{AddNumbers, MulNumbers};
use crate::int::conv::{DenseRow, DepthwiseCall, DepthwiseRow, Finish, PANEL, ROW, TileCall, TileSize};

pub(super) type V = __m512i;
pub(super) const LANES: usize = 16;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn zero() -> V {
    _mm512_setzero_si512()
}

/// # Safety
/// 64 readable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load(p: *const i32) -> V {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm512_loadu_si512(p.cast()) }
}

/// # Safety
/// 64 readable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn bytes(p: *const u8) -> V {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm512_loadu_si512(p.cast()) }
}

/// # Safety
/// 64 writable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(p: *mut i32, v: V) {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm512_storeu_si512(p.cast(), v) }
}

/// # Safety
/// 4 readable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn spread(p: *const u8) -> V {
    // SAFETY: the caller's promise; unaligned.
    _mm512_set1_epi32(unsafe { p.cast::<i32>().read_unaligned() })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn interleave(x: [V; 4]) -> [V; 4] {
    let (lo, hi) = (_mm512_unpacklo_epi8(x[0], x[1]), _mm512_unpackhi_epi8(x[0], x[1]));
    let (lo2, hi2) = (_mm512_unpacklo_epi8(x[2], x[3]), _mm512_unpackhi_epi8(x[2], x[3]));
    [
        _mm512_unpacklo_epi16(lo, lo2),
        _mm512_unpackhi_epi16(lo, lo2),
        _mm512_unpacklo_epi16(hi, hi2),
        _mm512_unpackhi_epi16(hi, hi2),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn requant(acc: [V; 4], multiplier: [V; 4], zero: u8, hi: u8) -> V {
    let mut r = acc;
    for i in 0..4 {
        r[i] = _mm512_cvtps_epi32(_mm512_mul_ps(
            _mm512_cvtepi32_ps(acc[i]),
            _mm512_castsi512_ps(multiplier[i]),
        ));
    }
    pack(r, _mm512_set1_epi16(i16::from(zero)), _mm512_set1_epi8(hi as i8))
}

/// The end of 1.2 behind the rounding, `zero` in 16-bit and `hi` in 8-bit lanes. Per 128-bit lane the bytes are those of `r[0]`, `r[1]`, `r[2]`, `r[3]`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn pack(r: [V; 4], zero: V, hi: V) -> V {
    let low = _mm512_adds_epi16(_mm512_packs_epi32(r[0], r[1]), zero);
    let high = _mm512_adds_epi16(_mm512_packs_epi32(r[2], r[3]), zero);
    _mm512_min_epu8(_mm512_packus_epi16(low, high), hi)
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn dot(acc: V, x: V, w: V) -> V {
    _mm512_dpbusd_epi32(acc, x, w)
}

dense!(
    tile,
    "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni",
    dot
);
depthwise!(
    run_depthwise,
    "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni",
    dot
);
elements!("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq");

/// Two rows of two registers at a time.
///
/// # Safety
/// The CPU has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn finish(f: &Finish<'_>, acc: &[i32], rows: usize, out: &mut [u8]) {
    let len = rows.next_multiple_of(2) * ROW;
    assert!(acc.len() >= len && out.len() >= len && f.multiplier.len() >= ROW);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    // SAFETY: `multiplier` holds ROW by the assertion; the chunks are two rows of ROW.
    unsafe {
        let m = f.multiplier.as_ptr().cast::<i32>();
        let (m0, m1) = (load(m), load(m.add(LANES)));
        for (acc, out) in acc[..len]
            .chunks_exact(2 * ROW)
            .zip(out.chunks_exact_mut(2 * ROW))
        {
            let a = acc.as_ptr();
            let sums = [
                load(a),
                load(a.add(LANES)),
                load(a.add(ROW)),
                load(a.add(ROW + LANES)),
            ];
            let codes = _mm512_permutexvar_epi32(order, requant(sums, [m0, m1, m0, m1], f.zero, f.hi));
            store(out.as_mut_ptr().cast(), codes);
        }
    }
}

pub(crate) static DENSE_W8: DenseRow = DenseRow {
    sizes: &[
        TileSize {
            pixels: 12,
            one: tile::<12, 1>,
            two: Some(tile::<12, 2>),
        },
        TileSize {
            pixels: 8,
            one: tile::<8, 1>,
            two: Some(tile::<8, 2>),
        },
        TileSize {
            pixels: 4,
            one: tile::<4, 1>,
            two: Some(tile::<4, 2>),
        },
        TileSize {
            pixels: 1,
            one: tile::<1, 1>,
            two: Some(tile::<1, 2>),
        },
    ],
    finish,
    isa: Isa::Avx512Vnni,
};

pub(crate) static DEPTHWISE_W8: DepthwiseRow = DepthwiseRow {
    block: 4 * LANES,
    run: run_depthwise,
    isa: Isa::Avx512Vnni,
};

/// 256 entries in four registers, two byte permutes over pairs of them.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(crate) unsafe fn table(table: &[u8; 256], y: &mut [u8]) {
    // SAFETY: the table has four times 64 bytes; a chunk is 64 bytes, a mask covers the rest.
    unsafe {
        let t = table.as_ptr();
        let quarters = [bytes(t), bytes(t.add(64)), bytes(t.add(128)), bytes(t.add(192))];
        let look = |codes: V| look_up(&quarters, codes);
        let mut chunks = y.chunks_exact_mut(64);
        for chunk in &mut chunks {
            let codes = look(bytes(chunk.as_ptr()));
            store(chunk.as_mut_ptr().cast(), codes);
        }
        let rest = chunks.into_remainder();
        let mask = (1u64 << rest.len()) - 1;
        let codes = look(_mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()));
        _mm512_mask_storeu_epi8(rest.as_mut_ptr().cast(), mask, codes);
    }
}
