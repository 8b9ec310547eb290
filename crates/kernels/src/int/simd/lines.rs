//! Lines of pixels over 16-bit patches, for AVX2: two products and their sum in one instruction, exact for every i16 weight.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::ymm::{LANES, V, load, requant, spread, store, zero};
use crate::int::conv::{Ending, LineCall, PatchRow};

pub(crate) static PATCH: PatchRow = PatchRow {
    widen,
    half: line::<1>,
    whole: line::<2>,
    depthwise,
};

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

/// A dense line; NV registers of output channels.
///
/// # Safety
/// The CPU has AVX2; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma")]
unsafe fn line<const NV: usize>(call: &LineCall<'_>) {
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        while p + 6 <= call.pixels {
            tile::<6, NV>(call, p);
            p += 6;
        }
        if p + 4 <= call.pixels {
            tile::<4, NV>(call, p);
            p += 4;
        }
        if p + 2 <= call.pixels {
            tile::<2, NV>(call, p);
            p += 2;
        }
        if p < call.pixels {
            tile::<1, NV>(call, p);
        }
    }
}

/// # Safety
/// As [`line`], for MR pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const MR: usize, const NV: usize>(call: &LineCall<'_>, p: usize) {
    let mut acc = [[zero(); NV]; MR];
    // SAFETY: `bias` holds a panel; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
    unsafe {
        for v in 0..NV {
            let bias = load(call.bias.add(v * LANES));
            for m in 0..MR {
                acc[m][v] = bias;
            }
        }
        let first = call.x.add(p * call.step);
        let mut w = call.weights;
        for &shift in call.shifts {
            let mut x = [first.add(shift); MR];
            for m in 1..MR {
                x[m] = x[m - 1].add(call.step);
            }
            for q in 0..call.quads {
                let mut weights = [zero(); NV];
                for v in 0..NV {
                    weights[v] = load(w.add(v * 32).cast());
                }
                for m in 0..MR {
                    let pixel = spread(x[m].add(4 * q));
                    for v in 0..NV {
                        acc[m][v] = dot(acc[m][v], pixel, weights[v]);
                    }
                }
                w = w.add(64);
            }
        }
        let mut scale = [zero(); NV];
        for v in 0..NV {
            scale[v] = load(call.multiplier.add(v * LANES).cast());
        }
        let row = |m: usize| call.out.add((p + m) * call.out_step);
        if let Ending::Real = call.ending {
            for m in 0..MR {
                for v in 0..NV {
                    let left = call.width - v * LANES;
                    put_real(
                        real(acc[m][v], scale[v]),
                        row(m).cast::<f32>().add(v * LANES),
                        left,
                    );
                }
            }
            return;
        }
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        if NV == 2 {
            for m in (0..MR).step_by(2) {
                let n = (m + 1).min(MR - 1);
                let sums = [acc[m][0], acc[m][NV - 1], acc[n][0], acc[n][NV - 1]];
                let codes = codes(sums, [scale[0], scale[NV - 1], scale[0], scale[NV - 1]], call);
                put_pair(
                    _mm256_permutevar8x32_epi32(codes, order),
                    row(m),
                    row(n),
                    call.width,
                );
            }
        } else {
            for m in (0..MR).step_by(4) {
                let at = |i: usize| (m + i).min(MR - 1);
                let sums = [acc[m][0], acc[at(1)][0], acc[at(2)][0], acc[at(3)][0]];
                let codes = codes(sums, [scale[0]; 4], call);
                let mut bytes = [0u8; 32];
                store(
                    bytes.as_mut_ptr().cast(),
                    _mm256_permutevar8x32_epi32(codes, order),
                );
                for i in 0..4.min(MR - m) {
                    put(bytes.as_ptr().add(8 * i), row(m + i), call.width);
                }
            }
        }
    }
}

/// A depthwise line of 16 channels.
///
/// # Safety
/// The CPU has AVX2; the pointers of the call are as its fields say.
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise(call: &LineCall<'_>) {
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        while p + 4 <= call.pixels {
            depthwise_tile::<4>(call, p);
            p += 4;
        }
        if p + 2 <= call.pixels {
            depthwise_tile::<2>(call, p);
            p += 2;
        }
        if p < call.pixels {
            depthwise_tile::<1>(call, p);
        }
    }
}

/// # Safety
/// As [`depthwise`], for P pixels from `p` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_tile<const P: usize>(call: &LineCall<'_>, p: usize) {
    // SAFETY: constants are 16 values, weights 64 bytes per pair; each pixel plus shift has 32 readable bytes.
    unsafe {
        let mut acc = [[load(call.bias), load(call.bias.add(LANES))]; P];
        let first = call.x.add(p * call.step);
        let mut w = call.weights;
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
        let scale = [
            load(call.multiplier.cast()),
            load(call.multiplier.add(LANES).cast()),
        ];
        let row = |m: usize| call.out.add((p + m) * call.out_step);
        if let Ending::Real = call.ending {
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
            let sums = [acc[m][0], acc[m][1], acc[n][0], acc[n][1]];
            let codes = codes(sums, [scale[0], scale[1], scale[0], scale[1]], call);
            put_pair(
                _mm256_permute4x64_epi64::<0b11_01_10_00>(codes),
                row(m),
                row(n),
                call.width,
            );
        }
    }
}

/// 1.4.
#[inline]
#[target_feature(enable = "avx2")]
fn real(acc: V, scale: V) -> __m256 {
    _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_castsi256_ps(scale))
}

/// Sums to codes; in each 128-bit lane those of the first register, of the second, and so on.
#[inline]
#[target_feature(enable = "avx2")]
fn codes(sums: [V; 4], scale: [V; 4], call: &LineCall<'_>) -> V {
    match call.ending {
        Ending::Codes { zero, hi, table } => {
            let codes = requant(sums, scale, zero, hi);
            match table {
                Some(table) => super::avx2::look_up(table, codes),
                None => codes,
            }
        }
        Ending::Leaky {
            alpha,
            scale: step,
            zero,
            hi,
        } => {
            let mut steps = sums;
            for i in 0..4 {
                let x = real(sums[i], scale[i]);
                let leaked = _mm256_mul_ps(x, _mm256_set1_ps(alpha));
                let below = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_setzero_ps());
                let y = _mm256_div_ps(_mm256_blendv_ps(x, leaked, below), _mm256_set1_ps(step));
                // NaN becomes 0; large numbers stay in i32 (packing clamps them further).
                let y = _mm256_and_ps(y, _mm256_cmp_ps::<_CMP_ORD_Q>(y, y));
                steps[i] = _mm256_cvtps_epi32(_mm256_min_ps(y, _mm256_set1_ps(65_536.0)));
            }
            super::ymm::pack(steps, zero, hi)
        }
        Ending::Real => zero(),
    }
}

/// The lower 16 bytes to one row, the upper to another.
///
/// # Safety
/// Both have `width` writable bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn put_pair(codes: V, a: *mut u8, b: *mut u8, width: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if width == 16 {
            _mm_storeu_si128(a.cast(), _mm256_castsi256_si128(codes));
            _mm_storeu_si128(b.cast(), _mm256_extracti128_si256::<1>(codes));
        } else {
            let mut bytes = [0u8; 32];
            store(bytes.as_mut_ptr().cast(), codes);
            put(bytes.as_ptr(), a, width);
            put(bytes.as_ptr().add(16), b, width);
        }
    }
}

/// # Safety
/// `width` readable and writable bytes.
#[inline]
unsafe fn put(from: *const u8, to: *mut u8, width: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if width == 8 {
            to.cast::<u64>()
                .write_unaligned(from.cast::<u64>().read_unaligned());
        } else {
            for i in 0..width {
                *to.add(i) = *from.add(i);
            }
        }
    }
}

/// # Safety
/// The smaller of `left` and [`LANES`] writable elements.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn put_real(v: __m256, to: *mut f32, left: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if left >= LANES {
            _mm256_storeu_ps(to, v);
        } else {
            let mut values = [0f32; LANES];
            _mm256_storeu_ps(values.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(values.as_ptr(), to, left);
        }
    }
}
