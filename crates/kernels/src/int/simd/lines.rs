//! Lines of pixels over patches, for AVX2: 16-bit products, two and their sum in one instruction, for every i16 weight; products of
//! bytes for weights so narrow that no sum saturates.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use std::arch::x86_64::*;

use super::ymm::{LANES, V, load, pack, spread, store, zero};
use crate::int::RUN;
use crate::int::conv::{Ending, Function, LineCall, PatchRow};

/// Any i16 weight.
pub(crate) static PATCH: PatchRow = PatchRow {
    widen: Some(widen),
    half: line::<1, PAIRS>,
    whole: line::<2, PAIRS>,
    pair: None,
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
    ..PATCH_W7
};

/// How a quad is multiplied: two 16-bit products; four products of bytes; those, summed in 16 bits over [`RUN`] quads.
const PAIRS: u8 = 0;
const QUADS: u8 = 1;
const RUNS: u8 = 2;
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

/// Endings, one set of kernels each.
pub(super) const CODES: u8 = 0;
pub(super) const TABLE: u8 = 1;
pub(super) const REAL: u8 = 2;
/// Any function, chosen behind the sums, and each of them.
pub(super) const FUNCTION: u8 = 3;
pub(super) const LEAKY: u8 = 4;
pub(super) const SWISH: u8 = 5;
pub(super) const HARD_SWISH: u8 = 6;

/// How far from a whole number a quotient may be that is known up to rounding: there codes are the same. The product with 1 / step is within
/// 2⁻²² of the quotient, a quick Swish within 2⁻²⁰ of the written one; both are 2⁸ times that where codes end.
pub(super) const SURE: f32 = 0.499_75;
pub(super) const SURE_OF_SWISH: f32 = 0.499_5;

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
    function: Function,
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

/// A kernel for each ending, chosen once a line.
macro_rules! by_ending {
    ($call:ident, $f:ident $(, $n:tt)*) => {
        match $call.ending {
            Ending::Codes { table: None, .. } => $f::<$($n,)* CODES>($call),
            Ending::Codes { .. } => $f::<$($n,)* TABLE>($call),
            Ending::Function { .. } => $f::<$($n,)* FUNCTION>($call),
            Ending::Real => $f::<$($n,)* REAL>($call),
        }
    };
}

/// The same with one for each function.
macro_rules! by_function {
    ($call:ident, $f:ident $(, $n:tt)*) => {
        match $call.ending {
            Ending::Function { function: Function::LeakyRelu { .. }, .. } => $f::<$($n,)* LEAKY>($call),
            Ending::Function { function: Function::Swish, .. } => $f::<$($n,)* SWISH>($call),
            Ending::Function { function: Function::HardSwish, .. } => $f::<$($n,)* HARD_SWISH>($call),
            _ => by_ending!($call, $f $(, $n)*),
        }
    };
}
pub(super) use {by_ending, by_function};

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
                let bias = load(call.bias.add(v * LANES));
                for m in 0..MR {
                    acc[m][v] = match K {
                        PAIRS => begin::<14>(acc[m][v], bias, plane, call.planes),
                        _ => begin::<7>(acc[m][v], bias, plane, call.planes),
                    };
                }
            }
            for &shift in call.shifts {
                let mut x = [start.add(shift); MR];
                for m in 1..MR {
                    x[m] = x[m - 1].add(call.step);
                }
                let ones = _mm256_set1_epi16(1);
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
        // Constants of the longer endings would take registers from the sums above.
        match E {
            TABLE | FUNCTION => end_apart::<MR, NV, E>(&copied(&acc), call, finish, p),
            _ => end::<MR, NV, E>(&acc, call, finish, p),
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
/// As [`line`], for MR pixels from `p` on.
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
        let bias = [load(call.bias), load(call.bias.add(LANES))];
        let mut acc = [[zero(); 2]; P];
        let first = call.x.add(p * call.step);
        let mut w = call.weights;
        for plane in 0..call.planes {
            for m in 0..P {
                for v in 0..2 {
                    acc[m][v] = begin::<14>(acc[m][v], bias[v], plane, call.planes);
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

/// 1.4.
#[inline]
#[target_feature(enable = "avx2")]
fn real(acc: V, scale: V) -> __m256 {
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
