//! Lines of pixels over patches of codes, for AVX-512 with VNNI: a register is the 16 channels of a panel, so that a quad of every pixel is one
//! dot product, or the bytes of 64 channels of a depthwise layer. What ends a tile serves the rows of AMX, too.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::avx512::{LANES, V, bytes, dot, interleave, load, pack, spread, zero};
use super::lines::{CODES, FUNCTION, HARD_SWISH, LEAKY, REAL, SURE, SWISH, TABLE, by_ending, by_function};
use super::swish;
use crate::int::conv::{Ending, Function, LineCall, PatchRow};

/// Any i8 weight.
pub(crate) static PATCH: PatchRow = PatchRow {
    half: line::<1>,
    whole: line::<1>,
    pair: Some(line::<2>),
    depthwise: depthwise::<1>,
    depthwise_pair: Some(depthwise::<2>),
    depthwise_block: 4 * LANES,
    ..super::lines::PATCH_W7
};

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
    channels: u64,
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

/// A dense line of P panels.
///
/// # Safety
/// The CPU has AVX-512 VNNI; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn line<const P: usize>(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { by_ending!(call, tiles, P) }
}

/// # Safety
/// As [`line`], with the ending E.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn tiles<const P: usize, const E: u8>(call: &LineCall<'_>) {
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        let finish = Finish::new::<P>(call);
        while p + 12 <= call.pixels {
            tile::<12, P, E>(call, &finish, p);
            p += 12;
        }
        if p + 8 <= call.pixels {
            tile::<8, P, E>(call, &finish, p);
            p += 8;
        }
        if p + 4 <= call.pixels {
            tile::<4, P, E>(call, &finish, p);
            p += 4;
        }
        match call.pixels - p {
            3 => tile::<3, P, E>(call, &finish, p),
            2 => tile::<2, P, E>(call, &finish, p),
            1 => tile::<1, P, E>(call, &finish, p),
            _ => {}
        }
    }
}

/// # Safety
/// As [`line`], for MR pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn tile<const MR: usize, const P: usize, const E: u8>(call: &LineCall<'_>, finish: &Finish, p: usize) {
    // SAFETY: `bias` holds the panels; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
    unsafe {
        let mut acc = [[zero(); P]; MR];
        for n in 0..P {
            let bias = load(call.bias.add(n * LANES));
            for m in 0..MR {
                acc[m][n] = bias;
            }
        }
        let start = call.x.add(p * call.step);
        let mut w = call.weights;
        for &shift in call.shifts {
            // Three pixels share a pointer: twelve pointers are more than there are registers.
            let mut x = [start.add(shift); 4];
            for i in 1..4 {
                x[i] = x[i - 1].wrapping_add(3 * call.step);
            }
            for _ in 0..call.quads {
                let mut weights = [zero(); P];
                for n in 0..P {
                    weights[n] = load(w.add(n * call.panel).cast());
                }
                for m in 0..MR {
                    let pixel = spread(x[m / 3].add(m % 3 * call.step));
                    for n in 0..P {
                        acc[m][n] = dot(acc[m][n], pixel, weights[n]);
                    }
                }
                for x in &mut x {
                    *x = x.wrapping_add(4);
                }
                w = w.add(64);
            }
        }
        let each = 4 / P;
        for m in (0..MR).step_by(each) {
            let at = |i: usize| acc[(m + i / P).min(MR - 1)][i % P];
            let sums = [at(0), at(1), at(2), at(3)];
            match E {
                FUNCTION => end_apart::<P>(&sums, call, finish, p + m, MR - m),
                _ => end::<P, E>(sums, call, finish, p + m, MR - m),
            }
        }
    }
}

/// A depthwise line of 64 channels, or two: the bytes of four taps, interleaved, are the quads of a dot product.
///
/// # Safety
/// The CPU has AVX-512 VNNI; the pointers of the call are as its fields say; outputs are codes.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn depthwise<const L: usize>(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe {
        match call.shifts.len() {
            12 => by_function!(call, depthwise_line, L, 3),
            _ => by_function!(call, depthwise_line, L, 0),
        }
    }
}

/// # Safety
/// As [`depthwise`], with the ending E and, where it is not 0, so many products of four taps.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn depthwise_line<const L: usize, const PRODUCTS: usize, const E: u8>(call: &LineCall<'_>) {
    let products = if PRODUCTS == 0 {
        call.shifts.len() / 4
    } else {
        PRODUCTS
    };
    // SAFETY: constants are 64 values, weights 256 bytes per product and line; each pixel plus shift has 64 readable bytes, `out` a row of `width`
    // per pixel, and so has the line below if it is written.
    unsafe {
        let finish = Finish::new::<1>(call);
        let (mut bias, mut scale) = ([zero(); 4], [_mm512_setzero_ps(); 4]);
        for r in 0..4 {
            bias[r] = load(call.bias.add(r * LANES));
            scale[r] = _mm512_castsi512_ps(load(call.multiplier.add(r * LANES).cast()));
        }
        for p in 0..call.pixels {
            let x = call.x.add(p * call.step);
            let mut acc = [bias; L];
            for q in 0..products {
                let tap = |t: usize| bytes(x.add(*call.shifts.get_unchecked(4 * q + t)));
                let x = interleave([tap(0), tap(1), tap(2), tap(3)]);
                for l in 0..L {
                    for r in 0..4 {
                        let w = call.weights.add(((q * L + l) * 4 + r) * 64);
                        acc[l][r] = dot(acc[l][r], x[r], load(w.cast()));
                    }
                }
            }
            for l in 0..L {
                if l == 0 || call.below > 0 {
                    let codes = codes::<E>(acc[l], &scale, &finish);
                    let to = call.out.add(p * call.out_step + l * call.below);
                    _mm512_mask_storeu_epi8(to.cast(), finish.channels, codes);
                }
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

/// 1.4.
#[inline]
#[target_feature(enable = "avx512f")]
fn real(acc: V, scale: __m512) -> __m512 {
    _mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale)
}

/// Sums to codes, in the order of [`pack`].
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn codes<const E: u8>(acc: [V; 4], scale: &[__m512; 4], finish: &Finish) -> V {
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
    let mut x = [_mm512_setzero_ps(); 4];
    let (mut steps, mut furthest) = (acc, zero());
    for i in 0..4 {
        x[i] = real(acc[i], scale[i]);
        let near = match E {
            SWISH => swish(x[i], finish),
            // The sign decides: what it says of zeros makes no difference.
            LEAKY => {
                let negative = _mm512_movepi32_mask(_mm512_castps_si512(x[i]));
                _mm512_mul_ps(
                    _mm512_mask_mul_ps(x[i], negative, x[i], finish.alpha),
                    finish.inverse,
                )
            }
            _ => _mm512_mul_ps(hard_swish(x[i]), finish.inverse),
        };
        let near = _mm512_min_ps(near, _mm512_set1_ps(LARGE));
        steps[i] = _mm512_cvtps_epi32(near);
        let off = _mm512_abs_ps(_mm512_sub_ps(near, _mm512_cvtepi32_ps(steps[i])));
        // As integers: these see numbers that are none.
        furthest = _mm512_max_epu32(furthest, _mm512_castps_si512(off));
    }
    // Codes may differ from those of the quotients where these are next to a tie.
    if _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_castsi512_ps(furthest), finish.sure) != 0xFFFF {
        steps = written(&x, finish);
    }
    steps
}

/// Multiples of a step from which on all codes are at their end; packing clamps them further.
const LARGE: f32 = 65_536.0;

/// The same by the quotients of what is written.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")]
fn written(x: &[__m512; 4], finish: &Finish) -> [V; 4] {
    let mut all = [0f32; 4 * LANES];
    let mut steps = [zero(); 4];
    // SAFETY: the array has as many elements as four registers.
    unsafe {
        for i in 0..4 {
            _mm512_storeu_ps(all.as_mut_ptr().add(i * LANES), x[i]);
        }
        finish.function.quotients(&mut all, _mm512_cvtss_f32(finish.step));
        for i in 0..4 {
            let quotients = _mm512_loadu_ps(all.as_ptr().add(i * LANES));
            steps[i] = _mm512_cvtps_epi32(_mm512_min_ps(quotients, _mm512_set1_ps(LARGE)));
        }
    }
    steps
}

/// x · sigmoid(x) in steps of the output, as [`swish`](super::swish) has it.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn swish(x: __m512, finish: &Finish) -> __m512 {
    let all = |v: f32| _mm512_set1_ps(v);
    let u = _mm512_min_ps(_mm512_add_ps(_mm512_abs_ps(x), all(1.0)), all(swish::LAST));
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

const _: () = assert!(LANES == 16);
