//! Real planes to codes of pixels: channels that follow each other in memory of their own become bytes side by side.
//!
//! A vector holds a code per pixel in 32 bits; codes of up to four planes are shifted into one vector, whose bytes are then packed. The quotient
//! is taken by the inverse of the step, and divided only where that is next to a tie.

use std::arch::x86_64::*;

use super::ends::SURE;
use crate::int::rule::{Edge, quantize_one};

/// Quotients from which on codes are at their end.
const LARGE: f32 = 65_536.0;

/// Where the bytes of packed pixels come from in a vector of 32-bit pixels; 0x80 for none.
const fn order<const N: usize>(planes: usize, lane: usize) -> [i8; N] {
    let mut order = [-128; N];
    let mut i = 0;
    while i < N {
        let (first, at) = (i / lane * lane, i % lane);
        if at < planes * lane / 4 {
            order[i] = ((first + at / planes * 4 + at % planes) % 64) as i8;
        }
        i += 1;
    }
    order
}

static ORDERS_OF_16: [[i8; 16]; 5] = [[0; 16], order(1, 16), order(2, 16), order(3, 16), order(4, 16)];
static ORDERS_OF_64: [[i8; 64]; 5] = [[0; 64], order(1, 64), order(2, 64), order(3, 64), order(4, 64)];

/// The pixels behind the last whole vector.
fn rest(edge: Edge, planes: &[&[f32]], first: usize, y: &mut [u8]) {
    for (p, y) in y.chunks_exact_mut(planes.len()).enumerate().skip(first) {
        for (q, plane) in y.iter_mut().zip(planes) {
            *q = quantize_one(edge, plane[p]);
        }
    }
}

/// # Safety
/// The CPU has AVX2. `planes` are 1 to 4 of one length, `y` holds a byte for each of their elements.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn avx2(edge: Edge, planes: &[&[f32]], y: &mut [u8]) {
    const PIXELS: usize = 8;
    let (each, count) = (planes.len(), planes[0].len());
    assert!((1..=4).contains(&each) && planes.iter().all(|p| p.len() == count) && y.len() == each * count);
    let (scale, inverse) = (_mm256_set1_ps(edge.scale), _mm256_set1_ps(1.0 / edge.scale));
    let (zero, hi) = (
        _mm256_set1_epi32(i32::from(edge.zero)),
        _mm256_set1_epi32(i32::from(edge.hi)),
    );
    // SAFETY: the table has 16 bytes; vectors of planes lie inside of them. A store of 16 bytes is made where as many are left: it writes pixels whose turn comes.
    unsafe {
        let order = _mm256_broadcastsi128_si256(_mm_loadu_si128(ORDERS_OF_16[each].as_ptr().cast()));
        let mut p = 0;
        while p + PIXELS <= count && (p + PIXELS / 2) * each + 16 <= y.len() {
            let mut pixels = _mm256_setzero_si256();
            for (c, plane) in planes.iter().enumerate() {
                let x = _mm256_loadu_ps(plane.as_ptr().add(p));
                let near = _mm256_mul_ps(x, inverse);
                let off = _mm256_sub_ps(
                    near,
                    _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(near),
                );
                let off = _mm256_andnot_ps(_mm256_set1_ps(-0.0), off);
                let mut quotient = near;
                if _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(off, _mm256_set1_ps(SURE))) != 0xFF {
                    quotient = divided(x, scale);
                }
                let ends = _mm256_set1_ps(LARGE);
                let quotient = _mm256_max_ps(
                    _mm256_min_ps(quotient, ends),
                    _mm256_sub_ps(_mm256_setzero_ps(), ends),
                );
                let code = _mm256_add_epi32(_mm256_cvtps_epi32(quotient), zero);
                let code = _mm256_min_epi32(_mm256_max_epi32(code, _mm256_setzero_si256()), hi);
                pixels = _mm256_or_si256(pixels, _mm256_sll_epi32(code, _mm_cvtsi32_si128(8 * c as i32)));
            }
            let packed = _mm256_shuffle_epi8(pixels, order);
            let to = y.as_mut_ptr().add(p * each);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
            _mm_storeu_si128(
                to.add(PIXELS / 2 * each).cast(),
                _mm256_extracti128_si256::<1>(packed),
            );
            p += PIXELS;
        }
        rest(edge, planes, p, y);
    }
}

#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn divided(x: __m256, scale: __m256) -> __m256 {
    let y = _mm256_div_ps(x, scale);
    // NaN becomes 0.
    _mm256_and_ps(y, _mm256_cmp_ps::<_CMP_ORD_Q>(y, y))
}

/// # Safety
/// As [`avx2`], for a CPU with AVX-512 and VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi")]
pub(crate) unsafe fn avx512(edge: Edge, planes: &[&[f32]], y: &mut [u8]) {
    const PIXELS: usize = 16;
    let (each, count) = (planes.len(), planes[0].len());
    assert!((1..=4).contains(&each) && planes.iter().all(|p| p.len() == count) && y.len() == each * count);
    let (scale, inverse) = (_mm512_set1_ps(edge.scale), _mm512_set1_ps(1.0 / edge.scale));
    let (zero, hi) = (
        _mm512_set1_epi32(i32::from(edge.zero)),
        _mm512_set1_epi32(i32::from(edge.hi)),
    );
    let written = u64::MAX >> (64 - PIXELS * each);
    // SAFETY: the table has 64 bytes; vectors of planes lie inside of them, and so do the bytes that are written in `y`.
    unsafe {
        let order = _mm512_loadu_si512(ORDERS_OF_64[each].as_ptr().cast());
        let mut p = 0;
        while p + PIXELS <= count {
            let mut pixels = _mm512_setzero_si512();
            for (c, plane) in planes.iter().enumerate() {
                let x = _mm512_loadu_ps(plane.as_ptr().add(p));
                let near = _mm512_mul_ps(x, inverse);
                let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(near);
                let off = _mm512_abs_ps(_mm512_sub_ps(near, whole));
                let mut quotient = near;
                if _mm512_cmp_ps_mask::<_CMP_LT_OQ>(off, _mm512_set1_ps(SURE)) != 0xFFFF {
                    quotient = divided_16(x, scale);
                }
                let ends = _mm512_set1_ps(LARGE);
                let quotient = _mm512_max_ps(
                    _mm512_min_ps(quotient, ends),
                    _mm512_sub_ps(_mm512_setzero_ps(), ends),
                );
                let code = _mm512_add_epi32(_mm512_cvtps_epi32(quotient), zero);
                let code = _mm512_min_epi32(_mm512_max_epi32(code, _mm512_setzero_si512()), hi);
                pixels = _mm512_or_si512(pixels, _mm512_sll_epi32(code, _mm_cvtsi32_si128(8 * c as i32)));
            }
            let packed = _mm512_permutexvar_epi8(order, pixels);
            _mm512_mask_storeu_epi8(y.as_mut_ptr().add(p * each).cast(), written, packed);
            p += PIXELS;
        }
        rest(edge, planes, p, y);
    }
}

#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn divided_16(x: __m512, scale: __m512) -> __m512 {
    let y = _mm512_div_ps(x, scale);
    // NaN becomes 0.
    _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_ORD_Q>(y, y), y)
}
