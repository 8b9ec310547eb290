//! What becomes of sums in AVX-512 registers, for the rows over patches and those of AMX.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::avx512::{LANES, V, bytes, load, pack, zero};
use super::ends::{HARD_SWISH, LEAKY, REAL, SURE, SWISH, TABLE};
use super::swish;
use crate::int::conv::{Function, LineCall};

/// The numbers of an ending in registers.
pub(super) struct Finish {
    zero: V,
    hi: V,
    table: [V; 4],
    function: Function,
    alpha: __m512,
    /// Step of the codes, and 1 over it.
    step: __m512,
    inverse: __m512,
    /// How far from a whole number a quotient may be that is known up to rounding: there codes are the same.
    sure: __m512,
    /// The powers of [`swish::pieces`] in steps.
    hump: [[__m512; 2]; 4],
    /// The channels that are written.
    pub(super) channels: u64,
    /// Multipliers of the call's panels.
    scale: [__m512; 2],
}

impl Finish {
    /// # Safety
    /// The CPU has AVX-512 F and BW; `multiplier` of the call holds P panels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn new<const P: usize>(call: &LineCall<'_>) -> Finish {
        let n = call.ending.numbers();
        // SAFETY: the table has four times 64 bytes; the caller's promise.
        unsafe {
            let quarter = |i: usize| bytes(n.table.as_ptr().add(64 * i));
            let inverse = 1.0 / n.step;
            let mut hump = [[_mm512_setzero_ps(); 2]; 4];
            let mut sure = SURE;
            if n.function == Function::Swish {
                sure -= swish::ERROR * inverse;
                for (hump, pieces) in hump.iter_mut().zip(swish::pieces()) {
                    for (i, half) in hump.iter_mut().enumerate() {
                        let pieces = _mm512_loadu_ps(pieces.as_ptr().add(i * LANES));
                        *half = _mm512_mul_ps(pieces, _mm512_set1_ps(inverse));
                    }
                }
            }
            let scale = |i: usize| _mm512_castsi512_ps(load(call.multiplier.add(i * LANES).cast()));
            Finish {
                zero: _mm512_set1_epi16(i16::from(n.zero)),
                hi: _mm512_set1_epi8(n.hi as i8),
                table: [quarter(0), quarter(1), quarter(2), quarter(3)],
                function: n.function,
                alpha: _mm512_set1_ps(n.function.alpha()),
                step: _mm512_set1_ps(n.step),
                inverse: _mm512_set1_ps(inverse),
                sure: _mm512_set1_ps(sure),
                hump,
                channels: u64::MAX >> (64 - call.width),
                scale: [scale(0), scale(P - 1)],
            }
        }
    }
}

/// Writes the outputs of four registers of sums: up to four pixels from `p` on, or two of two panels.
///
/// # Safety
/// The CPU has AVX-512 with VBMI; `out` of the call has a row of `width` for each of these pixels.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) unsafe fn end<const P: usize, const E: u8>(
    acc: [V; 4],
    call: &LineCall<'_>,
    finish: &Finish,
    p: usize,
    count: usize,
) {
    // SAFETY: the caller's promise; masks leave out channels that are not written.
    unsafe {
        let row = |m: usize| call.out.add((p + m) * call.out_step);
        let scale = if P == 1 {
            [finish.scale[0]; 4]
        } else {
            [finish.scale[0], finish.scale[1], finish.scale[0], finish.scale[1]]
        };
        if E == REAL {
            for i in 0..count.min(4 / P) * P {
                let mask = (finish.channels >> (i % P * LANES)) as __mmask16;
                let to = row(i / P).cast::<f32>().add(i % P * LANES);
                _mm512_mask_storeu_ps(to, mask, real(acc[i], scale[i]));
            }
            return;
        }
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let codes = _mm512_permutexvar_epi32(order, codes::<E>(acc, &scale, finish));
        if P == 2 {
            let mask = finish.channels as __mmask32;
            _mm256_mask_storeu_epi8(row(0).cast(), mask, _mm512_castsi512_si256(codes));
            if count > 1 {
                _mm256_mask_storeu_epi8(row(1).cast(), mask, _mm512_extracti64x4_epi64::<1>(codes));
            }
            return;
        }
        let put = |m: usize, codes: __m128i| {
            if m < count {
                _mm_mask_storeu_epi8(row(m).cast(), finish.channels as __mmask16, codes);
            }
        };
        put(0, _mm512_castsi512_si128(codes));
        put(1, _mm512_extracti32x4_epi32::<1>(codes));
        put(2, _mm512_extracti32x4_epi32::<2>(codes));
        put(3, _mm512_extracti32x4_epi32::<3>(codes));
    }
}

/// Writes the outputs of four registers of two pixels each, of up to eight channels: up to eight pixels from `p` on.
///
/// # Safety
/// As [`end`].
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) unsafe fn end_narrow<const E: u8>(
    acc: [V; 4],
    call: &LineCall<'_>,
    finish: &Finish,
    p: usize,
    count: usize,
) {
    // SAFETY: the caller's promise; masks leave out channels and pixels that are not written.
    unsafe {
        let row = |m: usize| call.out.add((p + m) * call.out_step);
        // The panel's channels, twice.
        let scale = [_mm512_shuffle_f32x4::<0b01_00_01_00>(finish.scale[0], finish.scale[0]); 4];
        if E == REAL {
            for m in 0..count.min(8) {
                let y = real(acc[m / 2], scale[0]);
                let half = if m % 2 == 0 {
                    _mm512_castps512_ps256(y)
                } else {
                    _mm512_extractf32x8_ps::<1>(y)
                };
                _mm256_mask_storeu_ps(row(m).cast(), finish.channels as __mmask8, half);
            }
            return;
        }
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let codes = _mm512_permutexvar_epi32(order, codes::<E>(acc, &scale, finish));
        if call.out_step == 8 && call.width == 8 {
            let written = u64::MAX >> (64 - 8 * count.min(8));
            return _mm512_mask_storeu_epi8(row(0).cast(), written, codes);
        }
        let put = |m: usize, pair: __m128i| {
            let mask = finish.channels as __mmask16;
            if m < count {
                _mm_mask_storeu_epi8(row(m).cast(), mask, pair);
            }
            if m + 1 < count {
                _mm_mask_storeu_epi8(row(m + 1).cast(), mask, _mm_unpackhi_epi64(pair, pair));
            }
        };
        put(0, _mm512_castsi512_si128(codes));
        put(2, _mm512_extracti32x4_epi32::<1>(codes));
        put(4, _mm512_extracti32x4_epi32::<2>(codes));
        put(6, _mm512_extracti32x4_epi32::<3>(codes));
    }
}

/// [`end`] with the call's function, not inlined: its constants would take registers from sums.
///
/// # Safety
/// The same.
#[inline(never)]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) unsafe fn end_apart<const P: usize>(
    acc: &[V; 4],
    call: &LineCall<'_>,
    finish: &Finish,
    p: usize,
    count: usize,
) {
    // SAFETY: the same promise.
    unsafe {
        match finish.function {
            Function::LeakyRelu { .. } => end::<P, LEAKY>(*acc, call, finish, p, count),
            Function::Swish => end::<P, SWISH>(*acc, call, finish, p, count),
            Function::HardSwish => end::<P, HARD_SWISH>(*acc, call, finish, p, count),
        }
    }
}

/// [`end_narrow`] with the call's function.
///
/// # Safety
/// The same.
#[inline(never)]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) unsafe fn end_narrow_apart(
    acc: &[V; 4],
    call: &LineCall<'_>,
    finish: &Finish,
    p: usize,
    count: usize,
) {
    // SAFETY: the same promise.
    unsafe {
        match finish.function {
            Function::LeakyRelu { .. } => end_narrow::<LEAKY>(*acc, call, finish, p, count),
            Function::Swish => end_narrow::<SWISH>(*acc, call, finish, p, count),
            Function::HardSwish => end_narrow::<HARD_SWISH>(*acc, call, finish, p, count),
        }
    }
}

/// 1.4.
#[inline]
#[target_feature(enable = "avx512f")]
fn real(acc: V, scale: __m512) -> __m512 {
    _mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale)
}

/// Sums to codes, in the order of [`pack`].
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) fn codes<const E: u8>(acc: [V; 4], scale: &[__m512; 4], finish: &Finish) -> V {
    let mut steps = acc;
    if matches!(E, LEAKY | SWISH | HARD_SWISH) {
        steps = through::<E>(acc, scale, finish);
    } else {
        for i in 0..4 {
            steps[i] = _mm512_cvtps_epi32(real(acc[i], scale[i]));
        }
    }
    let codes = pack(steps, finish.zero, finish.hi);
    if E == TABLE {
        look_up(&finish.table, codes)
    } else {
        codes
    }
}

/// Rounded multiples of the output's step, of a function of the sums.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
fn through<const E: u8>(acc: [V; 4], scale: &[__m512; 4], finish: &Finish) -> [V; 4] {
    let (mut steps, mut furthest) = (acc, _mm512_setzero_ps());
    for i in 0..4 {
        let near = match E {
            SWISH => swish(real(acc[i], scale[i]), finish),
            LEAKY => {
                let x = real(acc[i], _mm512_mul_ps(scale[i], finish.inverse));
                let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_setzero_ps());
                _mm512_mask_mul_ps(x, negative, x, finish.alpha)
            }
            _ => _mm512_mul_ps(hard_swish(real(acc[i], scale[i])), finish.inverse),
        };
        steps[i] = _mm512_cvtps_epi32(near);
        let off = _mm512_sub_ps(near, _mm512_cvtepi32_ps(steps[i]));
        furthest = _mm512_range_ps::<LARGER>(furthest, off);
    }
    // Codes may differ from those of the quotients where these are next to a tie.
    if _mm512_cmp_ps_mask::<_CMP_LT_OQ>(furthest, finish.sure) != 0xFFFF {
        // References to copies: what has an address does not stay in registers.
        let [a, b, c, d] = acc;
        let [e, f, g, h] = *scale;
        let [a, b, c, d] = written(&[a, b, c, d], &[e, f, g, h], finish);
        return [a, b, c, d];
    }
    steps
}

/// Of two magnitudes, without their signs.
const LARGER: i32 = 0b10_11;
const SMALLER: i32 = 0b10_10;

/// The same by the quotients of what is written.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
fn written(acc: &[V; 4], scale: &[__m512; 4], finish: &Finish) -> [V; 4] {
    let mut all = [0f32; 4 * LANES];
    let mut steps = [zero(); 4];
    // SAFETY: the array has as many elements as four registers.
    unsafe {
        for i in 0..4 {
            _mm512_storeu_ps(all.as_mut_ptr().add(i * LANES), real(acc[i], scale[i]));
        }
        finish.function.quotients(&mut all, _mm512_cvtss_f32(finish.step));
        for i in 0..4 {
            let quotients = _mm512_loadu_ps(all.as_ptr().add(i * LANES));
            steps[i] = _mm512_cvtps_epi32(quotients);
        }
    }
    steps
}

/// x · sigmoid(x) in steps of the output, as [`swish`](super::swish) has it.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn swish(x: __m512, finish: &Finish) -> __m512 {
    let all = |v: f32| _mm512_set1_ps(v);
    let u = _mm512_add_ps(_mm512_range_ps::<SMALLER>(x, all(swish::LAST - 1.0)), all(1.0));
    let piece = _mm512_srli_epi32::<20>(_mm512_castps_si512(u));
    let power = |i: usize| _mm512_permutex2var_ps(finish.hump[i][0], piece, finish.hump[i][1]);
    let mut hump = power(3);
    for i in (0..3).rev() {
        hump = _mm512_fmadd_ps(hump, u, power(i));
    }
    _mm512_fmsub_ps(_mm512_max_ps(x, _mm512_setzero_ps()), finish.inverse, hump)
}

/// As written.
#[inline]
#[target_feature(enable = "avx512f")]
fn hard_swish(x: __m512) -> __m512 {
    let gate = _mm512_fmadd_ps(x, _mm512_set1_ps(1.0 / 6.0), _mm512_set1_ps(0.5));
    let gate = _mm512_min_ps(_mm512_set1_ps(1.0), _mm512_max_ps(_mm512_setzero_ps(), gate));
    _mm512_mul_ps(x, gate)
}

/// The entries of 64 codes: two byte permutes over pairs of registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn look_up(table: &[V; 4], codes: V) -> V {
    let low = _mm512_permutex2var_epi8(table[0], codes, table[1]);
    let high = _mm512_permutex2var_epi8(table[2], codes, table[3]);
    _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high)
}
