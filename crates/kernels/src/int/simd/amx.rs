//! Lines of pixels over patches of codes, for AMX: 16 pixels × 64 bytes and 64 bytes × 16 channels are one product of tiles.
//!
//! A block is up to 64 pixels: four tiles of sums, one of weights, which all four are multiplied by, and three of pixels by turns. While a block is
//! multiplied, the sums of the one before it become outputs, a few pixels after each product.
//!
//! Rust has no stable intrinsics for tiles: the instructions are written out. The compiler uses no tile register by itself.

use std::arch::asm;

use super::avx512::{V, load};
use super::ends::{CODES, FUNCTION, REAL, TABLE, by_ending};
use super::ends512::{Finish, end, end_apart};
use crate::int::conv::{Ending, LineCall, PatchRow, Tiles};

/// Any i8 weight, in whole tiles.
pub(crate) static PATCH: PatchRow = PatchRow {
    half: line,
    whole: line,
    pair: None,
    listed: None,
    tiles: Some(Tiles {
        begin: configure,
        end: release,
        depth: DEPTH,
        pixels: PIXELS,
    }),
    ..super::lines512::PATCH
};

/// Pixels of a tile, and of a block.
const PIXELS: usize = 16;
const BLOCK: usize = 4 * PIXELS;
/// Bytes of a row of a tile.
const DEPTH: usize = 64;

/// All eight tiles have 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = {
    let (mut bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        bytes[tile] = DEPTH as u16;
        rows[tile] = PIXELS as u8;
        tile += 1;
    }
    Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes,
        rows,
    }
};

/// # Safety
/// The CPU has AMX, and the system lets this process use it.
pub(crate) unsafe fn configure() {
    // SAFETY: the caller's promise; the configuration is 64 valid bytes.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, preserves_flags, readonly)) }
}

/// # Safety
/// As [`configure`].
pub(crate) unsafe fn release() {
    // SAFETY: the caller's promise. Nothing is expected of tiles from here on.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) }
}

/// Sums of a block: four tiles of 16 pixels × 16 channels.
#[repr(C, align(64))]
struct Sums([i32; BLOCK * 16]);

/// Sums that are to become outputs.
#[derive(Clone, Copy)]
struct Pending {
    /// First pixel, and how many.
    first: usize,
    count: usize,
    /// Pixels done.
    done: usize,
}

/// # Safety
/// The CPU has AMX and AVX-512 with VBMI, [`configure`] has run on this thread; the pointers of the call are as its fields say, and up to
/// [`PIXELS`] pixels more than it has can be read.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn line(call: &LineCall<'_>) {
    // SAFETY: the same promise.
    unsafe { by_ending!(call, blocks) }
}

/// # Safety
/// As [`line`], with the ending E.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn blocks<const E: u8>(call: &LineCall<'_>) {
    let mut sums = [Sums([0; BLOCK * 16]), Sums([0; BLOCK * 16])];
    // SAFETY: the caller's promise.
    unsafe {
        let finish = Finish::new::<1>(call);
        let bias = load(call.bias);
        let mut pending = Pending {
            first: 0,
            count: 0,
            done: 0,
        };
        let mut first = 0;
        while first < call.pixels {
            let count = BLOCK.min(call.pixels - first);
            let [even, odd] = &mut sums;
            let (now, before) = if (first / BLOCK).is_multiple_of(2) {
                (even, odd)
            } else {
                (odd, even)
            };
            match count.div_ceil(PIXELS) {
                4 => block::<4, E>(call, &finish, bias, first, now, before, &mut pending),
                3 => block::<3, E>(call, &finish, bias, first, now, before, &mut pending),
                2 => block::<2, E>(call, &finish, bias, first, now, before, &mut pending),
                _ => block::<1, E>(call, &finish, bias, first, now, before, &mut pending),
            }
            pending = Pending {
                first,
                count,
                done: 0,
            };
            first += count;
        }
        let last = &sums[pending.first / BLOCK % 2];
        while pending.done < pending.count {
            four::<E>(call, &finish, bias, last, &mut pending);
        }
    }
}

/// Multiplies T tiles of pixels from `first` on, and ends those that are pending.
///
/// # Safety
/// As [`line`], for these pixels.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn block<const T: usize, const E: u8>(
    call: &LineCall<'_>,
    finish: &Finish,
    bias: V,
    first: usize,
    now: &mut Sums,
    before: &Sums,
    pending: &mut Pending,
) {
    let products = (call.shifts.len() * call.quads / PIXELS).max(1);
    let each = (pending.count.div_ceil(4)).div_ceil(products);
    // SAFETY: a step reads 16 rows of 64 bytes for each tile, at distances of `step`, and 16 lines of weights; both can be read by the caller's
    // promise. Stores go to T tiles of `now`.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            options(nostack, preserves_flags, nomem)
        );
        let mut weights = call.weights;
        let start = call.x.add(first * call.step);
        for &shift in call.shifts {
            let mut x = start.add(shift);
            for _ in 0..call.quads / PIXELS {
                product::<T>(x, call.step, weights);
                x = x.wrapping_add(DEPTH);
                weights = weights.wrapping_add(PIXELS * DEPTH);
                for _ in 0..each {
                    if pending.done < pending.count {
                        four::<E>(call, finish, bias, before, pending);
                    }
                }
            }
        }
        while pending.done < pending.count {
            four::<E>(call, finish, bias, before, pending);
        }
        let to = now.0.as_mut_ptr();
        macro_rules! stored {
            ($($i:literal $tile:literal),*) => {$(
                if $i < T {
                    asm!(
                        concat!("tilestored [{to} + {step}], ", $tile),
                        to = in(reg) to.add($i * PIXELS * 16),
                        step = in(reg) DEPTH,
                        options(nostack, preserves_flags)
                    );
                }
            )*};
        }
        stored!(0 "tmm0", 1 "tmm1", 2 "tmm2", 3 "tmm3");
    }
}

/// Adds the products of T tiles of pixels and one of weights.
///
/// # Safety
/// As [`block`].
#[inline]
unsafe fn product<const T: usize>(x: *const u8, step: usize, weights: *const u8) {
    let next = |i: usize| x.wrapping_add(i * PIXELS * step);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloadd tmm4, [{w} + {line}]",
            "tileloadd tmm5, [{x} + {step}]",
            "tdpbusd tmm0, tmm5, tmm4",
            w = in(reg) weights, line = in(reg) DEPTH, x = in(reg) x, step = in(reg) step,
            out("tmm0") _, out("tmm4") _, out("tmm5") _,
            options(nostack, preserves_flags, readonly)
        );
        if T > 1 {
            asm!(
                "tileloadd tmm6, [{x} + {step}]",
                "tdpbusd tmm1, tmm6, tmm4",
                x = in(reg) next(1), step = in(reg) step,
                out("tmm1") _, out("tmm6") _,
                options(nostack, preserves_flags, readonly)
            );
        }
        if T > 2 {
            asm!(
                "tileloadd tmm7, [{x} + {step}]",
                "tdpbusd tmm2, tmm7, tmm4",
                x = in(reg) next(2), step = in(reg) step,
                out("tmm2") _, out("tmm7") _,
                options(nostack, preserves_flags, readonly)
            );
        }
        if T > 3 {
            asm!(
                "tileloadd tmm5, [{x} + {step}]",
                "tdpbusd tmm3, tmm5, tmm4",
                x = in(reg) next(3), step = in(reg) step,
                out("tmm3") _, out("tmm5") _,
                options(nostack, preserves_flags, readonly)
            );
        }
    }
}

/// Ends the next four pixels.
///
/// # Safety
/// As [`line`]; `sums` are those of the pending pixels.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn four<const E: u8>(
    call: &LineCall<'_>,
    finish: &Finish,
    bias: V,
    sums: &Sums,
    pending: &mut Pending,
) {
    let done = pending.done;
    // SAFETY: `done` is a multiple of four below BLOCK; the pixels are the call's.
    unsafe {
        let from = sums.0.as_ptr().add(16 * done);
        let row = |i: usize| std::arch::x86_64::_mm512_add_epi32(load(from.add(16 * i)), bias);
        let count = pending.count - done;
        let (sums, first) = ([row(0), row(1), row(2), row(3)], pending.first + done);
        match E {
            FUNCTION => end_apart::<1>(&sums, call, finish, first, count),
            _ => end::<1, E>(sums, call, finish, first, count),
        }
    }
    pending.done = done + 4;
}

/// Asks the system for the state of tiles, once: whether this process may use them.
pub(crate) fn allowed() -> bool {
    static ALLOWED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ALLOWED.get_or_init(|| has_tiles() && permitted())
}

/// CPUID leaf 7 (AMX-TILE, AMX-INT8), and XCR0 (configuration and data of tiles).
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    #[target_feature(enable = "xsave")]
    fn enabled() -> u64 {
        // SAFETY: OSXSAVE was seen.
        unsafe { _xgetbv(0) }
    }
    let (tile, int8, osxsave) = (1 << 24, 1 << 25, 1 << 27);
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & osxsave == 0 {
        return false;
    }
    let both = tile | int8;
    // SAFETY: OSXSAVE implies XSAVE.
    __cpuid_count(7, 0).edx & both == both && unsafe { enabled() } & (3 << 17) == 3 << 17
}

/// Linux gives the state on request, to all threads of the process.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: this system call changes nothing but the permission.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}
