//! What becomes of sums in 256-bit registers, for the rows over patches of AVX2 and of VNNI.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::ends::{FUNCTION, HARD_SWISH, LEAKY, REAL, SURE, SURE_OF_SWISH, SWISH, TABLE};
use super::ymm::{LANES, V, load, pack, store, zero};
use crate::int::conv::{Ending, Function, LineCall};

/// 2ᶠ for |f| ≤ ½ by rising powers, to 8·10⁻⁸.
pub(super) const POWER: [f32; 6] = [
    1.000_000_1,
    0.693_146_94,
    0.240_221_2,
    0.055_507_13,
    0.009_675_541,
    0.001_327_647_2,
];
/// Exponents of two beyond which a sigmoid is 0 or 1 in any code.
pub(super) const FURTHEST: f32 = 126.0;

/// The numbers of an ending in registers.
pub(super) struct Finish<'a> {
    zero: V,
    hi: V,
    table: &'a [u8; 256],
    pub(super) function: Function,
    alpha: __m256,
    /// Step of the codes, and 1 over it.
    step: __m256,
    inverse: __m256,
}

impl<'a> Finish<'a> {
    #[target_feature(enable = "avx2")]
    pub(super) fn new(ending: &Ending<'a>) -> Finish<'a> {
        let n = ending.numbers();
        Finish {
            zero: _mm256_set1_epi16(i16::from(n.zero)),
            hi: _mm256_set1_epi8(n.hi as i8),
            table: n.table,
            function: n.function,
            alpha: _mm256_set1_ps(n.function.alpha()),
            step: _mm256_set1_ps(n.step),
            inverse: _mm256_set1_ps(1.0 / n.step),
        }
    }
}

/// Sums in memory: those that are added to stay in registers, which a reference to them would not allow.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn copied<const M: usize, const N: usize>(acc: &[[V; N]; M]) -> [[V; N]; M] {
    let mut sums = [[zero(); N]; M];
    for m in 0..M {
        for n in 0..N {
            sums[m][n] = acc[m][n];
        }
    }
    sums
}

/// Writes a tile's outputs.
///
/// # Safety
/// The CPU has AVX2; `out` of the call has a row of `width` for each of MR pixels from `p` on, `multiplier` a panel.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn end<const MR: usize, const NV: usize, const E: u8>(
    acc: &[[V; NV]; MR],
    call: &LineCall<'_>,
    finish: &Finish<'_>,
    p: usize,
) {
    // SAFETY: `multiplier` holds a panel, `out` a row of `width` per pixel.
    unsafe {
        let mut scale = [zero(); NV];
        for v in 0..NV {
            scale[v] = load(call.multiplier.add(v * LANES).cast());
        }
        let row = |m: usize| call.out.add((p + m) * call.out_step);
        if E == REAL {
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
                let a = steps::<E>(acc[m][0], scale[0], finish);
                let b = steps::<E>(acc[m][NV - 1], scale[NV - 1], finish);
                let c = steps::<E>(acc[n][0], scale[0], finish);
                let d = steps::<E>(acc[n][NV - 1], scale[NV - 1], finish);
                let codes = codes::<E>([a, b, c, d], finish);
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
                let a = steps::<E>(acc[m][0], scale[0], finish);
                let b = steps::<E>(acc[at(1)][0], scale[0], finish);
                let c = steps::<E>(acc[at(2)][0], scale[0], finish);
                let d = steps::<E>(acc[at(3)][0], scale[0], finish);
                let codes = _mm256_permutevar8x32_epi32(codes::<E>([a, b, c, d], finish), order);
                let rows = [row(m), row(at(1)), row(at(2)), row(at(3))];
                put_four(codes, rows, call.width);
            }
        }
    }
}

/// [`end`], not inlined.
///
/// # Safety
/// The same.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn end_apart<const MR: usize, const NV: usize, const E: u8>(
    acc: &[[V; NV]; MR],
    call: &LineCall<'_>,
    finish: &Finish<'_>,
    p: usize,
) {
    // SAFETY: the same promise.
    unsafe {
        match finish.function {
            _ if E != FUNCTION => end::<MR, NV, E>(acc, call, finish, p),
            Function::LeakyRelu { .. } => end::<MR, NV, LEAKY>(acc, call, finish, p),
            Function::Swish => end::<MR, NV, SWISH>(acc, call, finish, p),
            Function::HardSwish => end::<MR, NV, HARD_SWISH>(acc, call, finish, p),
        }
    }
}

/// 1.4.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn real(acc: V, scale: V) -> __m256 {
    _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_castsi256_ps(scale))
}

/// Sums to rounded multiples of the output's step.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn steps<const E: u8>(acc: V, scale: V, finish: &Finish<'_>) -> V {
    let x = real(acc, scale);
    let y = match E {
        // The sign decides: what it says of zeros makes no difference.
        LEAKY => _mm256_blendv_ps(x, _mm256_mul_ps(x, finish.alpha), x),
        SWISH => swish(x),
        HARD_SWISH => hard_swish(x),
        _ => return _mm256_cvtps_epi32(x),
    };
    // Codes may differ from those of the quotient where this is next to a tie (or no number).
    let near = _mm256_mul_ps(y, finish.inverse);
    let mut quotient = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(near);
    let off = _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(near, quotient));
    let sure = _mm256_set1_ps(if E == SWISH { SURE_OF_SWISH } else { SURE });
    if _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(off, sure)) != 0xFF {
        quotient = quotients(x, finish);
    }
    _mm256_cvtps_epi32(quotient)
}

/// What is written, step by step.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn quotients(x: __m256, finish: &Finish<'_>) -> __m256 {
    let mut all = [0f32; LANES];
    // SAFETY: the array has as many elements as a register.
    unsafe {
        _mm256_storeu_ps(all.as_mut_ptr(), x);
        finish.function.quotients(&mut all, _mm256_cvtss_f32(finish.step));
        _mm256_loadu_ps(all.as_ptr())
    }
}

/// x · sigmoid(x), to about 2⁻²¹.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn swish(x: __m256) -> __m256 {
    let all = |v: f32| _mm256_set1_ps(v);
    let t = _mm256_mul_ps(x, all(-std::f32::consts::LOG2_E));
    let t = _mm256_max_ps(_mm256_min_ps(t, all(FURTHEST)), all(-FURTHEST));
    let n = _mm256_cvtps_epi32(t);
    let f = _mm256_sub_ps(t, _mm256_cvtepi32_ps(n));
    let mut p = all(POWER[5]);
    for i in (0..5).rev() {
        p = _mm256_fmadd_ps(p, f, all(POWER[i]));
    }
    let e = _mm256_castsi256_ps(_mm256_add_epi32(
        _mm256_castps_si256(p),
        _mm256_slli_epi32::<23>(n),
    ));
    let d = _mm256_add_ps(e, all(1.0));
    let r = _mm256_rcp_ps(d);
    let r = _mm256_mul_ps(r, _mm256_fnmadd_ps(d, r, all(2.0)));
    _mm256_mul_ps(x, r)
}

/// As written.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn hard_swish(x: __m256) -> __m256 {
    let gate = _mm256_fmadd_ps(x, _mm256_set1_ps(1.0 / 6.0), _mm256_set1_ps(0.5));
    let gate = _mm256_min_ps(_mm256_set1_ps(1.0), _mm256_max_ps(_mm256_setzero_ps(), gate));
    _mm256_mul_ps(x, gate)
}

/// Rounded numbers to codes; in each 128-bit lane those of the first register, of the second, and so on.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn codes<const E: u8>(steps: [V; 4], finish: &Finish<'_>) -> V {
    let codes = pack(steps, finish.zero, finish.hi);
    match E {
        TABLE => super::avx2::look_up(finish.table, codes),
        _ => codes,
    }
}

/// The lower 16 bytes to one row, the upper to another.
///
/// # Safety
/// Both have `width` writable bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn put_pair(codes: V, a: *mut u8, b: *mut u8, width: usize) {
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

/// Eight bytes to each of four rows.
///
/// # Safety
/// All have `width` writable bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn put_four(codes: V, rows: [*mut u8; 4], width: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if width == 8 {
            let (low, high) = (
                _mm256_castsi256_si128(codes),
                _mm256_extracti128_si256::<1>(codes),
            );
            _mm_storel_epi64(rows[0].cast(), low);
            _mm_storel_epi64(rows[1].cast(), _mm_unpackhi_epi64(low, low));
            _mm_storel_epi64(rows[2].cast(), high);
            _mm_storel_epi64(rows[3].cast(), _mm_unpackhi_epi64(high, high));
        } else {
            let mut bytes = [0u8; 32];
            store(bytes.as_mut_ptr().cast(), codes);
            for (i, row) in rows.into_iter().enumerate() {
                put(bytes.as_ptr().add(8 * i), row, width);
            }
        }
    }
}

/// # Safety
/// `width` readable and writable bytes.
#[inline]
pub(super) unsafe fn put(from: *const u8, to: *mut u8, width: usize) {
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
pub(super) unsafe fn put_real(v: __m256, to: *mut f32, left: usize) {
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
