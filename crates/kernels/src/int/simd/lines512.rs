//! Lines of pixels over patches of codes, for AVX-512 with VNNI: a register is the 16 channels of a panel, so that a quad of every pixel is one
//! dot product, or the bytes of 64 channels of a depthwise layer. What ends a tile serves the rows of AMX, too.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::avx512::{LANES, V, bytes, dot, interleave, load, pack, spread, zero};
use super::lines::{CODES, LEAKY, REAL, TABLE, by_ending};
use crate::int::conv::{Ending, LineCall, PatchRow};

/// Any i8 weight.
pub(crate) static PATCH: PatchRow = PatchRow {
    half: line,
    whole: line,
    depthwise,
    depthwise_block: 4 * LANES,
    ..super::lines::PATCH_W7
};

/// The numbers of an ending in registers.
pub(super) struct Finish {
    zero: V,
    hi: V,
    table: [V; 4],
    alpha: __m512,
    /// Step of the codes, and 1 over it.
    step: __m512,
    inverse: __m512,
    /// The channels of a panel that are written.
    channels: __mmask16,
    scale: __m512,
}

impl Finish {
    /// # Safety
    /// The CPU has AVX-512 F and BW; `multiplier` of the call holds a panel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn new(call: &LineCall<'_>) -> Finish {
        let n = call.ending.numbers();
        // SAFETY: the table has four times 64 bytes; the caller's promise.
        unsafe {
            let quarter = |i: usize| bytes(n.table.as_ptr().add(64 * i));
            Finish {
                zero: _mm512_set1_epi16(i16::from(n.zero)),
                hi: _mm512_set1_epi8(n.hi as i8),
                table: [quarter(0), quarter(1), quarter(2), quarter(3)],
                alpha: _mm512_set1_ps(n.alpha),
                step: _mm512_set1_ps(n.step),
                inverse: _mm512_set1_ps(1.0 / n.step),
                channels: ((1u32 << call.width) - 1) as __mmask16,
                scale: _mm512_castsi512_ps(load(call.multiplier.cast())),
            }
        }
    }
}

/// # Safety
/// The CPU has AVX-512 VNNI; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn line(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { by_ending!(call, tiles) }
}

/// # Safety
/// As [`line`], with the ending E.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn tiles<const E: u8>(call: &LineCall<'_>) {
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        let finish = Finish::new(call);
        while p + 12 <= call.pixels {
            tile::<12, E>(call, &finish, p);
            p += 12;
        }
        if p + 8 <= call.pixels {
            tile::<8, E>(call, &finish, p);
            p += 8;
        }
        if p + 4 <= call.pixels {
            tile::<4, E>(call, &finish, p);
            p += 4;
        }
        match call.pixels - p {
            3 => tile::<3, E>(call, &finish, p),
            2 => tile::<2, E>(call, &finish, p),
            1 => tile::<1, E>(call, &finish, p),
            _ => {}
        }
    }
}

/// # Safety
/// As [`line`], for MR pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn tile<const MR: usize, const E: u8>(call: &LineCall<'_>, finish: &Finish, p: usize) {
    // SAFETY: `bias` holds a panel; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
    unsafe {
        let mut acc = [load(call.bias); MR];
        let start = call.x.add(p * call.step);
        let mut w = call.weights;
        for &shift in call.shifts {
            // Three pixels share a pointer: twelve pointers are more than there are registers.
            let mut x = [start.add(shift); 4];
            for i in 1..4 {
                x[i] = x[i - 1].wrapping_add(3 * call.step);
            }
            for _ in 0..call.quads {
                let weights = load(w.cast());
                for m in 0..MR {
                    let pixel = spread(x[m / 3].add(m % 3 * call.step));
                    acc[m] = dot(acc[m], pixel, weights);
                }
                for x in &mut x {
                    *x = x.wrapping_add(4);
                }
                w = w.add(64);
            }
        }
        for m in (0..MR).step_by(4) {
            let at = |i: usize| acc[(m + i).min(MR - 1)];
            end::<E>([at(0), at(1), at(2), at(3)], call, finish, p + m, MR - m);
        }
    }
}

/// A depthwise line of 64 channels: the bytes of four taps, interleaved, are the quads of a dot product.
///
/// # Safety
/// The CPU has AVX-512 VNNI; the pointers of the call are as its fields say; outputs are codes.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn depthwise(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe {
        match call.shifts.len() {
            12 => by_ending!(call, depthwise_line, 3),
            _ => by_ending!(call, depthwise_line, 0),
        }
    }
}

/// # Safety
/// As [`depthwise`], with the ending E and, where it is not 0, so many products of four taps.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn depthwise_line<const PRODUCTS: usize, const E: u8>(call: &LineCall<'_>) {
    let products = if PRODUCTS == 0 {
        call.shifts.len() / 4
    } else {
        PRODUCTS
    };
    // SAFETY: constants are 64 values, weights 256 bytes per product; each pixel plus shift has 64 readable bytes, `out` a row of `width` per pixel.
    unsafe {
        let finish = Finish::new(call);
        let (mut bias, mut scale) = ([zero(); 4], [zero(); 4]);
        for r in 0..4 {
            bias[r] = load(call.bias.add(r * LANES));
            scale[r] = load(call.multiplier.add(r * LANES).cast());
        }
        let written = if call.width == 64 {
            u64::MAX
        } else {
            (1 << call.width) - 1
        };
        for p in 0..call.pixels {
            let x = call.x.add(p * call.step);
            let mut acc = bias;
            for q in 0..products {
                let tap = |t: usize| bytes(x.add(*call.shifts.get_unchecked(4 * q + t)));
                let x = interleave([tap(0), tap(1), tap(2), tap(3)]);
                for r in 0..4 {
                    acc[r] = dot(acc[r], x[r], load(call.weights.add((4 * q + r) * 64).cast()));
                }
            }
            for r in 0..4 {
                let y = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[r]), _mm512_castsi512_ps(scale[r]));
                acc[r] = if E == LEAKY {
                    leaky(y, &finish)
                } else {
                    _mm512_cvtps_epi32(y)
                };
            }
            let mut codes = pack(acc, finish.zero, finish.hi);
            if E == TABLE {
                codes = look_up(&finish.table, codes);
            }
            _mm512_mask_storeu_epi8(call.out.add(p * call.out_step).cast(), written, codes);
        }
    }
}

/// Writes the outputs of up to four pixels from `p` on.
///
/// # Safety
/// The CPU has AVX-512 with VBMI; `out` of the call has a row of `width` for each of these pixels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) unsafe fn end<const E: u8>(
    acc: [V; 4],
    call: &LineCall<'_>,
    finish: &Finish,
    p: usize,
    count: usize,
) {
    // SAFETY: the caller's promise; masks leave out channels that are not written.
    unsafe {
        let row = |m: usize| call.out.add((p + m) * call.out_step);
        let mut steps = acc;
        if E == REAL {
            for m in 0..count.min(4) {
                _mm512_mask_storeu_ps(row(m).cast(), finish.channels, real(acc[m], finish));
            }
            return;
        }
        for m in 0..4 {
            steps[m] = if E == LEAKY {
                leaky(real(acc[m], finish), finish)
            } else {
                _mm512_cvtps_epi32(real(acc[m], finish))
            };
        }
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let mut codes = _mm512_permutexvar_epi32(order, pack(steps, finish.zero, finish.hi));
        if E == TABLE {
            codes = look_up(&finish.table, codes);
        }
        let put = |m: usize, codes: __m128i| {
            if m < count {
                _mm_mask_storeu_epi8(row(m).cast(), finish.channels, codes);
            }
        };
        put(0, _mm512_castsi512_si128(codes));
        put(1, _mm512_extracti32x4_epi32::<1>(codes));
        put(2, _mm512_extracti32x4_epi32::<2>(codes));
        put(3, _mm512_extracti32x4_epi32::<3>(codes));
    }
}

/// 1.4.
#[inline]
#[target_feature(enable = "avx512f")]
fn real(acc: V, finish: &Finish) -> __m512 {
    _mm512_mul_ps(_mm512_cvtepi32_ps(acc), finish.scale)
}

/// LeakyRelu, and rounded multiples of the output's step.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn leaky(x: __m512, finish: &Finish) -> V {
    // The sign decides: what it says of zeros makes no difference.
    let y = _mm512_mask_mul_ps(x, _mm512_movepi32_mask(_mm512_castps_si512(x)), x, finish.alpha);
    // The product with 1 / step is within 2⁻²² of the quotient: codes differ only where it is next to a tie (or no number), and
    // from 2⁹ on, where it is not that near any more, all codes are at their end.
    let near = _mm512_mul_ps(y, finish.inverse);
    let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(near);
    let off = _mm512_abs_ps(_mm512_sub_ps(near, whole));
    let safe = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(off, _mm512_set1_ps(0.499_75));
    let mut quotient = whole;
    if safe != 0xFFFF {
        let y = _mm512_div_ps(y, finish.step);
        // NaN becomes 0.
        quotient = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_ORD_Q>(y, y), y);
    }
    // Large numbers stay in i32; packing clamps them further.
    _mm512_cvtps_epi32(_mm512_min_ps(quotient, _mm512_set1_ps(65_536.0)))
}

/// The entries of 64 codes: two byte permutes over pairs of registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn look_up(table: &[V; 4], codes: V) -> V {
    let low = _mm512_permutex2var_epi8(table[0], codes, table[1]);
    let high = _mm512_permutex2var_epi8(table[2], codes, table[3]);
    _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high)
}

const _: () = assert!(LANES == 16);
