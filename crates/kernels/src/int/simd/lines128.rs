//! Lines of pixels over patches in registers of 128 bits, for ARM and WebAssembly: products of 16-bit differences, which both have, and dot products of
//! four bytes where an ARM has them. What an architecture calls its operations is in `neon.rs` and `wasm.rs`.

#![allow(clippy::needless_range_loop)] // Indices are registers.

use super::ends128::{LANES, end};
#[cfg(target_arch = "aarch64")]
use super::neon as ops;
#[cfg(target_arch = "wasm32")]
use super::wasm as ops;
use crate::int::conv::{LineCall, Listed, PatchRow};

use ops::V;

/// Registers of a panel of 16 channels.
const WHOLE: usize = 4;
/// Pixels of a tile.
const PIXELS: usize = 4;

/// Any i16 weight.
pub(crate) static PATCH: PatchRow = PatchRow {
    widen: Some(widen),
    minus: 0,
    half: pairs::<2>,
    whole: pairs::<WHOLE>,
    pair: None,
    listed: Some(Listed {
        half: pairs::<2>,
        whole: pairs::<WHOLE>,
        pair: None,
    }),
    depthwise,
    depthwise_pair: None,
    depthwise_block: 16,
    tiles: None,
};

/// How a quad is multiplied: two 16-bit products, four of signed bytes, four of a signed and an unsigned byte.
pub(super) const PAIRS: u8 = 0;
pub(super) const SIGNED: u8 = 1;
pub(super) const MIXED: u8 = 2;

/// # Safety
/// None.
unsafe fn widen(x: &[u8], zero: u8, y: &mut [i16]) {
    let zero = i16::from(zero);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = i16::from(x) - zero;
    }
}

/// # Safety
/// The pointers of the call are as its fields say.
unsafe fn pairs<const NV: usize>(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { line::<NV, PAIRS>(call) }
}

/// A dense line; NV registers of output channels.
///
/// # Safety
/// The CPU has the instructions of K; the pointers of the call are as its fields say.
#[inline(always)]
pub(super) unsafe fn line<const NV: usize, const K: u8>(call: &LineCall<'_>) {
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        while p + PIXELS <= call.pixels {
            tile::<PIXELS, NV, K>(call, p);
            p += PIXELS;
        }
        while p < call.pixels {
            tile::<1, NV, K>(call, p);
            p += 1;
        }
    }
}

/// # Safety
/// As [`line`], for MR pixels from `p` on.
#[inline(always)]
unsafe fn tile<const MR: usize, const NV: usize, const K: u8>(call: &LineCall<'_>, p: usize) {
    // SAFETY: `bias` holds a panel; each pixel plus shift has `4 · quads` readable bytes, the weights a line per quad.
    unsafe {
        let mut acc = [[ops::zero(); NV]; MR];
        let start = call.x.add(p * call.step);
        let mut w = call.weights;
        for plane in 0..call.planes {
            for v in 0..NV {
                let bias = ops::load(call.bias.add(4 * v).cast());
                for m in 0..MR {
                    acc[m][v] = match K {
                        PAIRS => begin::<16>(acc[m][v], bias, plane, call),
                        _ => begin::<8>(acc[m][v], bias, plane, call),
                    };
                }
            }
            for &shift in call.shifts {
                let x: [*const u8; MR] = std::array::from_fn(|m| start.add(shift + m * call.step));
                let mut q = 0;
                while K != PAIRS && q + 4 <= call.quads {
                    let pixels = x.map(|x| ops::factor::<K>(ops::load(x.add(4 * q))));
                    quad::<MR, NV, K, 0>(&mut acc, w, &pixels);
                    quad::<MR, NV, K, 1>(&mut acc, w.add(64), &pixels);
                    quad::<MR, NV, K, 2>(&mut acc, w.add(128), &pixels);
                    quad::<MR, NV, K, 3>(&mut acc, w.add(192), &pixels);
                    w = w.add(256);
                    q += 4;
                }
                for q in q..call.quads {
                    let four = |x: *const u8| ops::spread(x.add(4 * q).cast::<i32>().read_unaligned());
                    let pixels = x.map(|x| ops::factor::<K>(four(x)));
                    quad::<MR, NV, K, 0>(&mut acc, w, &pixels);
                    w = w.add(64);
                }
            }
        }
        let mut sums = [[0; LANES]; MR];
        for m in 0..MR {
            for v in 0..NV {
                ops::store(sums[m][4 * v..].as_mut_ptr(), acc[m][v]);
            }
        }
        let (unit, minus) = match K {
            PAIRS => (2, 0),
            SIGNED => (1, 128),
            _ => (1, 0),
        };
        multiplied(call, &mut sums, p, unit, minus);
        end(call, &sums, p, &DENSE);
    }
}

/// Adds the products of a line of weights and quad L of each pixel.
///
/// # Safety
/// 64 readable bytes of weights; the CPU has the instructions of K.
#[inline(always)]
unsafe fn quad<const MR: usize, const NV: usize, const K: u8, const L: usize>(
    acc: &mut [[V; NV]; MR],
    w: *const u8,
    pixels: &[V; MR],
) {
    for v in 0..NV {
        // SAFETY: the caller's promise.
        unsafe {
            let w = ops::load(w.add(16 * v));
            for m in 0..MR {
                acc[m][v] = ops::dot::<K, L>(acc[m][v], w, pixels[m]);
            }
        }
    }
}

/// Sums before a plane of digits is added: those of higher ones count 2^BITS times as much, the bias once.
#[inline(always)]
fn begin<const BITS: u32>(acc: V, bias: V, plane: usize, call: &LineCall<'_>) -> V {
    let above = match plane {
        0 => ops::zero(),
        _ => ops::times::<BITS>(acc),
    };
    match plane + 1 == call.planes && call.low == 0 {
        true => ops::add(above, bias),
        false => above,
    }
}

/// Sums of levels that were divided by 2^low, the bias and the listed levels; inputs are elements of `unit` bytes.
///
/// # Safety
/// As [`line`], for the pixels of the sums from `p` on.
#[inline(always)]
unsafe fn multiplied<const MR: usize>(
    call: &LineCall<'_>,
    sums: &mut [[i32; LANES]; MR],
    p: usize,
    unit: usize,
    minus: u8,
) {
    if call.low == 0 {
        return;
    }
    for sums in sums.iter_mut() {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `bias` holds a panel.
            *sum = (*sum << call.low).wrapping_add(unsafe { *call.bias.add(i) });
        }
    }
    // SAFETY: the caller's promise covers the input of every weight, listed or not.
    unsafe { call.add_listed(sums.as_flattened_mut(), LANES, p, unit, minus) }
}

/// Where the channels of a panel stand.
const DENSE: [usize; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// And those of a depthwise block, [`PatchRow::channel`].
const DEPTHWISE: [usize; LANES] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

/// A depthwise line of 16 channels.
///
/// # Safety
/// The pointers of the call are as its fields say.
unsafe fn depthwise(call: &LineCall<'_>) {
    let mut p = 0;
    // SAFETY: the caller's promise, for each pixel once.
    unsafe {
        while p + PIXELS <= call.pixels {
            depthwise_tile::<PIXELS>(call, p);
            p += PIXELS;
        }
        while p < call.pixels {
            depthwise_tile::<1>(call, p);
            p += 1;
        }
    }
}

/// # Safety
/// As [`depthwise`], for MR pixels from `p` on.
#[inline(always)]
unsafe fn depthwise_tile<const MR: usize>(call: &LineCall<'_>, p: usize) {
    // SAFETY: constants are 16 values, weights 64 bytes per pair; each pixel plus shift has 32 readable bytes.
    unsafe {
        let mut acc = [[ops::zero(); 4]; MR];
        let start = call.x.add(p * call.step);
        let mut w = call.weights;
        for plane in 0..call.planes {
            for v in 0..4 {
                let bias = ops::load(call.bias.add(4 * v).cast());
                for m in 0..MR {
                    acc[m][v] = begin::<16>(acc[m][v], bias, plane, call);
                }
            }
            for pair in call.shifts.chunks_exact(2) {
                let weights: [V; 4] = std::array::from_fn(|v| ops::load(w.add(16 * v)));
                for m in 0..MR {
                    let at = start.add(m * call.step);
                    let (a, b) = (at.add(pair[0]), at.add(pair[1]));
                    for half in 0..2 {
                        let (a, b) = (ops::load(a.add(16 * half)), ops::load(b.add(16 * half)));
                        // Both taps of four channels side by side, as the weights are.
                        let (low, high) = ops::interleave(a, b);
                        acc[m][half] = ops::dot::<PAIRS, 0>(acc[m][half], weights[half], low);
                        acc[m][2 + half] = ops::dot::<PAIRS, 0>(acc[m][2 + half], weights[2 + half], high);
                    }
                }
                w = w.add(64);
            }
        }
        let mut sums = [[0; LANES]; MR];
        for m in 0..MR {
            for v in 0..4 {
                ops::store(sums[m][4 * v..].as_mut_ptr(), acc[m][v]);
            }
        }
        multiplied(call, &mut sums, p, 2, 0);
        end(call, &sums, p, &DEPTHWISE);
    }
}
