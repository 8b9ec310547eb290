//! Lines of pixels over patches, for AVX2: 16-bit products, two and their sum in one instruction, for every i16 weight; products of
//! bytes for weights so narrow that no sum saturates.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::ends::{CODES, FUNCTION, HARD_SWISH, LEAKY, REAL, SWISH, TABLE, by_ending};
use super::ends256::{Finish, codes, copied, end, end_apart, put_pair, put_real, real, steps};
use super::ymm::{LANES, V, load, spread, zero};
use crate::int::RUN;
use crate::int::conv::{Ending, Function, LineCall, Listed, PatchRow};

/// Any i16 weight.
pub(crate) static PATCH: PatchRow = PatchRow {
    widen: Some(widen),
    minus: 0,
    half: line::<1, PAIRS>,
    whole: line::<2, PAIRS>,
    pair: None,
    listed: None,
    depthwise,
    depthwise_pair: None,
    depthwise_block: 16,
    tiles: None,
};

/// Weights of which one sum of two products fits i16.
pub(crate) static PATCH_W7: PatchRow = PatchRow {
    widen: None,
    half: line::<1, QUADS>,
    whole: line::<2, QUADS>,
    ..PATCH
};

/// Weights of which [`RUN`] such sums do.
pub(crate) static PATCH_W4: PatchRow = PatchRow {
    half: line::<1, RUNS>,
    whole: line::<2, RUNS>,
    listed: Some(Listed {
        half: line::<1, LISTED>,
        whole: line::<2, LISTED>,
        pair: None,
    }),
    ..PATCH_W7
};

/// How a quad is multiplied: two 16-bit products; four products of bytes; those, summed in 16 bits over [`RUN`] quads, of segments or of a list.
const PAIRS: u8 = 0;
const QUADS: u8 = 1;
const RUNS: u8 = 2;
const LISTED: u8 = 3;

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn widen(x: &[u8], zero: u8, y: &mut [i16]) {
    let zero = i16::from(zero);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = i16::from(x) - zero;
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot(acc: V, x: V, w: V) -> V {
    _mm256_add_epi32(acc, _mm256_madd_epi16(x, w))
}

/// Sums before a plane of digits is added: those of higher ones count 2^BITS times as much, the bias once.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn begin<const BITS: i32>(acc: V, bias: V, plane: usize, planes: usize) -> V {
    let above = if plane == 0 {
        zero()
    } else {
        _mm256_slli_epi32::<BITS>(acc)
    };
    if plane + 1 == planes {
        _mm256_add_epi32(above, bias)
    } else {
        above
    }
}

/// What the last digit begins with: the bias, where it is not added behind a multiplication.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn first_bias(call: &LineCall<'_>, bias: V) -> V {
    if call.low == 0 { bias } else { zero() }
}

/// Sums of levels that were divided by 2^low, the bias and the listed levels; inputs are elements of `unit` bytes.
///
/// # Safety
/// As [`line`], for MR pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn multiplied<const MR: usize, const NV: usize>(
    acc: &[[V; NV]; MR],
    call: &LineCall<'_>,
    unit: usize,
    p: usize,
) -> [[V; NV]; MR] {
    let mut sums = *acc;
    let low = _mm_cvtsi32_si128(call.low as i32);
    // SAFETY: `bias` holds a register for each of the sums'; the caller's promise covers the input of every weight, listed or not.
    unsafe {
        for v in 0..NV {
            let bias = load(call.bias.add(v * LANES));
            for m in 0..MR {
                sums[m][v] = _mm256_add_epi32(_mm256_sll_epi32(sums[m][v], low), bias);
            }
        }
        if !call.listed.is_empty() {
            let mut listed = sums;
            add_listed(listed.as_flattened_mut(), NV * LANES, call, unit, p);
            sums = listed;
        }
    }
    sums
}

/// Adds the listed levels to sums, `lanes` of a pixel, of pixels from `p` on.
///
/// # Safety
/// As [`multiplied`].
#[inline(never)]
unsafe fn add_listed(sums: &mut [V], lanes: usize, call: &LineCall<'_>, unit: usize, p: usize) {
    // SAFETY: registers of eight numbers; the caller's promise.
    unsafe {
        let sums = std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast::<i32>(), sums.len() * LANES);
        call.add_listed(sums, lanes, p, unit, 0);
    }
}

/// A dense line; NV registers of output channels.
///
/// # Safety
/// The CPU has AVX2; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma")]
unsafe fn line<const NV: usize, const K: u8>(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { by_ending!(call, tiles, NV, K) }
}

/// # Safety
/// As [`line`], with the ending E.
#[target_feature(enable = "avx2,fma")]
unsafe fn tiles<const NV: usize, const K: u8, const E: u8>(call: &LineCall<'_>) {
    let finish = Finish::new(&call.ending);
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        while p + 6 <= call.pixels {
            tile::<6, NV, K, E>(call, &finish, p);
            p += 6;
        }
        if p + 4 <= call.pixels {
            tile::<4, NV, K, E>(call, &finish, p);
            p += 4;
        }
        if p + 2 <= call.pixels {
            tile::<2, NV, K, E>(call, &finish, p);
            p += 2;
        }
        if p < call.pixels {
            tile::<1, NV, K, E>(call, &finish, p);
        }
    }
}

/// # Safety
/// As [`line`], for MR pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const MR: usize, const NV: usize, const K: u8, const E: u8>(
    call: &LineCall<'_>,
    finish: &Finish<'_>,
    p: usize,
) {
    let mut acc = [[zero(); NV]; MR];
    // SAFETY: `bias` holds a panel; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
    unsafe {
        let start = call.x.add(p * call.step);
        let mut w = call.weights;
        for plane in 0..call.planes {
            for v in 0..NV {
                let bias = first_bias(call, load(call.bias.add(v * LANES)));
                for m in 0..MR {
                    acc[m][v] = match K {
                        PAIRS => begin::<16>(acc[m][v], bias, plane, call.planes),
                        _ => begin::<8>(acc[m][v], bias, plane, call.planes),
                    };
                }
            }
            let ones = _mm256_set1_epi16(1);
            if K == LISTED {
                for run in call.shifts.chunks(RUN) {
                    let mut short = [[zero(); NV]; MR];
                    for &shift in run {
                        for m in 0..MR {
                            let pixel = spread(start.add(shift + m * call.step));
                            for v in 0..NV {
                                let sums = _mm256_maddubs_epi16(pixel, load(w.add(v * 32).cast()));
                                short[m][v] = _mm256_add_epi16(short[m][v], sums);
                            }
                        }
                        w = w.add(64);
                    }
                    for m in 0..MR {
                        for v in 0..NV {
                            acc[m][v] = dot(acc[m][v], short[m][v], ones);
                        }
                    }
                }
                continue;
            }
            for &shift in call.shifts {
                let mut x = [start.add(shift); MR];
                for m in 1..MR {
                    x[m] = x[m - 1].add(call.step);
                }
                let each = if K == RUNS { RUN } else { call.quads.max(1) };
                let mut first = 0;
                while first < call.quads {
                    let last = call.quads.min(first + each);
                    let mut short = [[zero(); NV]; MR];
                    for q in first..last {
                        let mut weights = [zero(); NV];
                        for v in 0..NV {
                            weights[v] = load(w.add(v * 32).cast());
                        }
                        for m in 0..MR {
                            let pixel = spread(x[m].add(4 * q));
                            for v in 0..NV {
                                if K == PAIRS {
                                    acc[m][v] = dot(acc[m][v], pixel, weights[v]);
                                } else {
                                    let sums = _mm256_maddubs_epi16(pixel, weights[v]);
                                    if K == QUADS {
                                        acc[m][v] = dot(acc[m][v], sums, ones);
                                    } else {
                                        short[m][v] = _mm256_add_epi16(short[m][v], sums);
                                    }
                                }
                            }
                        }
                        w = w.add(64);
                    }
                    if K == RUNS {
                        for m in 0..MR {
                            for v in 0..NV {
                                acc[m][v] = dot(acc[m][v], short[m][v], ones);
                            }
                        }
                    }
                    first = last;
                }
            }
        }
        if call.low > 0 {
            acc = multiplied(&acc, call, if K == PAIRS { 2 } else { 1 }, p);
        }
        // Constants of the longer endings would take registers from the sums above.
        match E {
            TABLE | FUNCTION => end_apart::<MR, NV, E>(&copied(&acc), call, finish, p),
            _ => end::<MR, NV, E>(&acc, call, finish, p),
        }
    }
}

/// A depthwise line of 16 channels.
///
/// # Safety
/// The CPU has AVX2; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { by_ending!(call, depthwise_tiles) }
}

/// # Safety
/// As [`depthwise`], with the ending E.
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_tiles<const E: u8>(call: &LineCall<'_>) {
    let finish = Finish::new(&call.ending);
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        while p + 4 <= call.pixels {
            depthwise_tile::<4, E>(call, &finish, p);
            p += 4;
        }
        if p + 2 <= call.pixels {
            depthwise_tile::<2, E>(call, &finish, p);
            p += 2;
        }
        if p < call.pixels {
            depthwise_tile::<1, E>(call, &finish, p);
        }
    }
}

/// # Safety
/// As [`depthwise`], for P pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_tile<const P: usize, const E: u8>(call: &LineCall<'_>, finish: &Finish<'_>, p: usize) {
    // SAFETY: constants are 16 values, weights 64 bytes per pair; each pixel plus shift has 32 readable bytes.
    unsafe {
        let bias = [load(call.bias), load(call.bias.add(LANES))].map(|bias| first_bias(call, bias));
        let mut acc = [[zero(); 2]; P];
        let first = call.x.add(p * call.step);
        let mut w = call.weights;
        for plane in 0..call.planes {
            for m in 0..P {
                for v in 0..2 {
                    acc[m][v] = begin::<16>(acc[m][v], bias[v], plane, call.planes);
                }
            }
            for pair in call.shifts.chunks_exact(2) {
                let (low, high) = (load(w.cast()), load(w.add(32).cast()));
                for m in 0..P {
                    let x = first.add(m * call.step);
                    let (a, b) = (load(x.add(pair[0]).cast()), load(x.add(pair[1]).cast()));
                    acc[m][0] = dot(acc[m][0], _mm256_unpacklo_epi16(a, b), low);
                    acc[m][1] = dot(acc[m][1], _mm256_unpackhi_epi16(a, b), high);
                }
                w = w.add(64);
            }
        }
        if call.low > 0 {
            // Depthwise layers have no list.
            let low = _mm_cvtsi32_si128(call.low as i32);
            let bias = [load(call.bias), load(call.bias.add(LANES))];
            for m in 0..P {
                for v in 0..2 {
                    acc[m][v] = _mm256_add_epi32(_mm256_sll_epi32(acc[m][v], low), bias[v]);
                }
            }
        }
        match E {
            TABLE | FUNCTION => depthwise_end_apart::<P, E>(&copied(&acc), call, finish, p),
            _ => depthwise_end::<P, E>(&acc, call, finish, p),
        }
    }
}

/// Writes the outputs of some pixels.
///
/// # Safety
/// As [`depthwise`], for P pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_end<const P: usize, const E: u8>(
    acc: &[[V; 2]; P],
    call: &LineCall<'_>,
    finish: &Finish<'_>,
    p: usize,
) {
    // SAFETY: `multiplier` holds 16 values, `out` a row of `width` per pixel.
    unsafe {
        let scale = [
            load(call.multiplier.cast()),
            load(call.multiplier.add(LANES).cast()),
        ];
        let row = |m: usize| call.out.add((p + m) * call.out_step);
        if E == REAL {
            for m in 0..P {
                let (a, b) = (real(acc[m][0], scale[0]), real(acc[m][1], scale[1]));
                let to = row(m).cast::<f32>();
                put_real(_mm256_permute2f128_ps::<0x20>(a, b), to, call.width);
                if call.width > LANES {
                    put_real(
                        _mm256_permute2f128_ps::<0x31>(a, b),
                        to.add(LANES),
                        call.width - LANES,
                    );
                }
            }
            return;
        }
        for m in (0..P).step_by(2) {
            let n = (m + 1).min(P - 1);
            let a = steps::<E>(acc[m][0], scale[0], finish);
            let b = steps::<E>(acc[m][1], scale[1], finish);
            let c = steps::<E>(acc[n][0], scale[0], finish);
            let d = steps::<E>(acc[n][1], scale[1], finish);
            let codes = codes::<E>([a, b, c, d], finish);
            put_pair(
                _mm256_permute4x64_epi64::<0b11_01_10_00>(codes),
                row(m),
                row(n),
                call.width,
            );
        }
    }
}

/// [`depthwise_end`], not inlined.
///
/// # Safety
/// The same.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_end_apart<const P: usize, const E: u8>(
    acc: &[[V; 2]; P],
    call: &LineCall<'_>,
    finish: &Finish<'_>,
    p: usize,
) {
    // SAFETY: the same promise.
    unsafe {
        match finish.function {
            _ if E != FUNCTION => depthwise_end::<P, E>(acc, call, finish, p),
            Function::LeakyRelu { .. } => depthwise_end::<P, LEAKY>(acc, call, finish, p),
            Function::Swish => depthwise_end::<P, SWISH>(acc, call, finish, p),
            Function::HardSwish => depthwise_end::<P, HARD_SWISH>(acc, call, finish, p),
        }
    }
}
