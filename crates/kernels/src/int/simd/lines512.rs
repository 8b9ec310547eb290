//! Lines of pixels over patches of codes, for AVX-512 with VNNI: a register is the 16 channels of a panel, so that a quad of every pixel is one
//! dot product, or the bytes of 64 channels of a depthwise layer.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::avx512::{LANES, V, bytes, dot, interleave, load, spread, zero};
use super::ends::{CODES, FUNCTION, HARD_SWISH, LEAKY, REAL, SWISH, TABLE, by_ending, by_function};
use super::ends512::{Finish, codes, end, end_apart, end_narrow, end_narrow_apart};
use crate::int::conv::{Ending, Function, LineCall, Listed, PatchRow};

/// Any i8 weight.
pub(crate) static PATCH: PatchRow = PatchRow {
    half: narrow,
    whole: line::<1, false>,
    pair: Some(line::<2, false>),
    listed: Some(Listed {
        half: line::<1, true>,
        whole: line::<1, true>,
        pair: Some(line::<2, true>),
    }),
    depthwise: depthwise::<1>,
    depthwise_pair: Some(depthwise::<2>),
    depthwise_block: 4 * LANES,
    ..super::lines::PATCH_W7
};

/// Most pixels of a tile.
const MOST: usize = 12;

/// A dense line of P panels; segments, or a list of quads.
///
/// # Safety
/// The CPU has AVX-512 VNNI; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn line<const P: usize, const LISTED: bool>(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { by_ending!(call, tiles, P, LISTED) }
}

/// # Safety
/// As [`line`], with the ending E.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn tiles<const P: usize, const LISTED: bool, const E: u8>(call: &LineCall<'_>) {
    // Tiles of one size, or nearly: one of few pixels would wait for its own sums.
    let count = call.pixels.div_ceil(MOST);
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        let finish = Finish::new::<P>(call);
        for t in 0..count {
            let pixels = (call.pixels - p).div_ceil(count - t);
            let tile: unsafe fn(&LineCall<'_>, &Finish, usize) = match pixels {
                1 => tile::<1, P, LISTED, E>,
                2 => tile::<2, P, LISTED, E>,
                3 => tile::<3, P, LISTED, E>,
                4 => tile::<4, P, LISTED, E>,
                5 => tile::<5, P, LISTED, E>,
                6 => tile::<6, P, LISTED, E>,
                7 => tile::<7, P, LISTED, E>,
                8 => tile::<8, P, LISTED, E>,
                9 => tile::<9, P, LISTED, E>,
                10 => tile::<10, P, LISTED, E>,
                11 => tile::<11, P, LISTED, E>,
                _ => tile::<12, P, LISTED, E>,
            };
            tile(call, &finish, p);
            p += pixels;
        }
    }
}

/// # Safety
/// As [`line`], for MR pixels from `p` on.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn tile<const MR: usize, const P: usize, const LISTED: bool, const E: u8>(
    call: &LineCall<'_>,
    finish: &Finish,
    p: usize,
) {
    // SAFETY: `bias` holds the panels; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
    unsafe {
        let mut acc = [[zero(); P]; MR];
        // Three pixels share a pointer: twelve pointers are more than there are registers.
        let mut starts = [call.x.add(p * call.step); 4];
        for i in 1..4 {
            starts[i] = starts[i - 1].wrapping_add(3 * call.step);
        }
        let mut w = call.weights;
        let quads = if LISTED { 1 } else { call.quads };
        for plane in 0..call.planes {
            for n in 0..P {
                let bias = first_bias(call, load(call.bias.add(n * LANES)));
                for m in 0..MR {
                    acc[m][n] = begin(acc[m][n], bias, plane, call.planes);
                }
            }
            for &shift in call.shifts {
                let mut x = starts.map(|start| start.wrapping_add(shift));
                for _ in 0..quads {
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
        }
        if call.low > 0 {
            for n in 0..P {
                let bias = load(call.bias.add(n * LANES));
                for m in 0..MR {
                    acc[m][n] = multiplied(acc[m][n], call.low, bias);
                }
            }
            if !call.listed.is_empty() {
                let mut sums = acc;
                listed(call, sums.as_flattened_mut(), P * LANES, p);
                acc = sums;
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

/// Sums before a plane of digits is added: those of higher ones count 2⁸ times as much, the bias once.
#[inline]
#[target_feature(enable = "avx512f")]
fn begin(acc: V, bias: V, plane: usize, planes: usize) -> V {
    let above = if plane == 0 {
        zero()
    } else {
        _mm512_slli_epi32::<8>(acc)
    };
    if plane + 1 == planes {
        _mm512_add_epi32(above, bias)
    } else {
        above
    }
}

/// What the last digit begins with: the bias, where it is not added behind a multiplication.
#[inline]
#[target_feature(enable = "avx512f")]
fn first_bias(call: &LineCall<'_>, bias: V) -> V {
    if call.low == 0 { bias } else { zero() }
}

/// Sums of levels that were divided by 2^low, and the bias.
#[inline]
#[target_feature(enable = "avx512f")]
fn multiplied(acc: V, low: u32, bias: V) -> V {
    _mm512_add_epi32(_mm512_sll_epi32(acc, _mm_cvtsi32_si128(low as i32)), bias)
}

/// Adds the listed levels to sums, `lanes` of a pixel, of pixels from `p` on.
///
/// # Safety
/// As [`line`].
#[inline(never)]
unsafe fn listed(call: &LineCall<'_>, sums: &mut [V], lanes: usize, p: usize) {
    // SAFETY: registers of 16 numbers; the caller's promise covers the input of every weight, listed or not.
    unsafe {
        let sums = std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast::<i32>(), sums.len() * LANES);
        call.add_listed(sums, lanes, p, 1, 0);
    }
}

/// A dense line of up to eight channels: two pixels to a register.
///
/// # Safety
/// The CPU has AVX-512 VNNI; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn narrow(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { by_ending!(call, narrow_tiles) }
}

/// # Safety
/// As [`narrow`], with the ending E.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn narrow_tiles<const E: u8>(call: &LineCall<'_>) {
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        let finish = Finish::new::<1>(call);
        while p + 16 <= call.pixels {
            narrow_tile::<8, E>(call, &finish, p);
            p += 16;
        }
        while p < call.pixels {
            narrow_tile::<4, E>(call, &finish, p);
            p += 8;
        }
    }
}

/// # Safety
/// As [`narrow`], for up to 2·MR pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn narrow_tile<const MR: usize, const E: u8>(call: &LineCall<'_>, finish: &Finish, p: usize) {
    const UPPER: __mmask16 = 0xFF00;
    // SAFETY: `bias` holds a panel; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
    unsafe {
        let bias = _mm512_broadcast_i64x4(_mm256_loadu_si256(call.bias.cast()));
        let mut acc = [zero(); MR];
        let count = call.pixels - p;
        let mut w = call.weights;
        for plane in 0..call.planes {
            for m in 0..MR {
                acc[m] = begin(acc[m], first_bias(call, bias), plane, call.planes);
            }
            for &shift in call.shifts {
                // Behind the last pixel, that one again.
                let mut x = [call.x; 16];
                for m in 0..2 * MR {
                    x[m] = call.x.add((p + m.min(count - 1)) * call.step + shift);
                }
                for q in 0..call.quads {
                    let weights = _mm512_broadcast_i64x4(_mm256_loadu_si256(w.cast()));
                    for m in 0..MR {
                        let next = x[2 * m + 1].add(4 * q).cast::<i32>().read_unaligned();
                        let pixels = _mm512_mask_set1_epi32(spread(x[2 * m].add(4 * q)), UPPER, next);
                        acc[m] = dot(acc[m], pixels, weights);
                    }
                    w = w.add(64);
                }
            }
        }
        if call.low > 0 {
            for m in 0..MR {
                acc[m] = multiplied(acc[m], call.low, bias);
            }
            if !call.listed.is_empty() {
                let mut sums = acc;
                listed(call, &mut sums, LANES / 2, p);
                acc = sums;
            }
        }
        for m in (0..MR).step_by(4) {
            let sums = [acc[m], acc[m + 1], acc[m + 2], acc[m + 3]];
            let left = count.saturating_sub(2 * m);
            match E {
                FUNCTION => end_narrow_apart(&sums, call, finish, p + 2 * m, left),
                _ => end_narrow::<E>(sums, call, finish, p + 2 * m, left),
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

const _: () = assert!(LANES == 16);
