//! Loops of independent sums, with operands in registers. Written in assembly: a compiler would see that the operands never change.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Arithmetic, SHORT_SUM};
use crate::Isa;
use crate::int::amx;

/// A loop, and the multiply-accumulates of a round.
pub(super) struct Loop {
    pub(super) run: unsafe fn(usize),
    pub(super) macs: usize,
}

/// Independent sums: enough to hide the latency, few enough for the registers.
const SUMS: usize = 10;

pub(super) fn kernel(isa: Isa, arithmetic: Arithmetic) -> Option<Loop> {
    let avx512 = isa >= Isa::Avx512Vnni;
    let (run, macs): (unsafe fn(usize), usize) = match (isa, arithmetic) {
        (Isa::Scalar, _) | (Isa::Avx2, Arithmetic::Dot) => return None,
        (Isa::Amx, Arithmetic::Tiles) => (tiles, 16 * 16 * 64 * 4),
        (_, Arithmetic::Tiles) => return None,
        (_, Arithmetic::Float) if avx512 => (float512, 16 * SUMS),
        (_, Arithmetic::Dot) if avx512 => (dot512, 64 * SUMS),
        (_, Arithmetic::Float) => (float256, 8 * SUMS),
        (_, Arithmetic::Dot) => (dot256, 32 * SUMS),
        (_, Arithmetic::Words) => (words256, 16 * SUMS),
        (_, Arithmetic::Bytes) => (bytes256, 32 * SUMS),
        (_, Arithmetic::ShortSums) => (short256, 32 * SUMS * SHORT_SUM),
    };
    Some(Loop { run, macs })
}

macro_rules! peak_loop {
    ($name:ident, $features:literal, $class:ident, $zero:ident, [$($line:literal),+]) => {
        /// # Safety
        /// The CPU has the instructions.
        #[target_feature(enable = $features)]
        unsafe fn $name(rounds: usize) {
            let (x, w) = ($zero(), $zero());
            let mut sums = [$zero(); SUMS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    // SAFETY: reads and writes registers only.
                    unsafe {
                        asm!($($line),+, s = inout($class) *sum, x = in($class) x, w = in($class) w, t = out($class) _,
                            options(nomem, nostack, preserves_flags));
                    }
                }
            }
            std::hint::black_box(sums);
        }
    };
}

peak_loop!(
    float256,
    "avx2,fma",
    ymm_reg,
    _mm256_setzero_si256,
    ["vfmadd231ps {s}, {x}, {w}", "/* {t} */"]
);
peak_loop!(
    words256,
    "avx2",
    ymm_reg,
    _mm256_setzero_si256,
    ["vpmaddwd {t}, {x}, {w}", "vpaddd {s}, {s}, {t}"]
);
peak_loop!(
    bytes256,
    "avx2",
    ymm_reg,
    _mm256_setzero_si256,
    [
        "vpmaddubsw {t}, {x}, {w}",
        "vpmaddwd {t}, {t}, {w}",
        "vpaddd {s}, {s}, {t}"
    ]
);
peak_loop!(
    dot256,
    "avx2,avxvnni",
    ymm_reg,
    _mm256_setzero_si256,
    ["{{vex}} vpdpbusd {s}, {x}, {w}", "/* {t} */"]
);
peak_loop!(
    float512,
    "avx512f",
    zmm_reg,
    _mm512_setzero_si512,
    ["vfmadd231ps {s}, {x}, {w}", "/* {t} */"]
);
peak_loop!(
    dot512,
    "avx512f,avx512vnni",
    zmm_reg,
    _mm512_setzero_si512,
    ["vpdpbusd {s}, {x}, {w}", "/* {t} */"]
);

/// Four sums, as kernels have them.
///
/// # Safety
/// The CPU has AMX, and the system lets this process use it.
unsafe fn tiles(rounds: usize) {
    // SAFETY: tiles are configured; their contents do not matter.
    unsafe {
        amx::configure();
        for _ in 0..rounds {
            asm!("tdpbusd tmm0, tmm4, tmm5", "tdpbusd tmm1, tmm4, tmm5", "tdpbusd tmm2, tmm4, tmm5", "tdpbusd tmm3, tmm4, tmm5",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, options(nomem, nostack, preserves_flags));
        }
        amx::release();
    }
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn short256(rounds: usize) {
    let (x, w) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    let mut sums = [_mm256_setzero_si256(); SUMS];
    for _ in 0..rounds {
        for _ in 0..SHORT_SUM {
            for sum in &mut sums {
                // SAFETY: reads and writes registers only.
                unsafe {
                    asm!("vpmaddubsw {t}, {x}, {w}", "vpaddw {s}, {s}, {t}", s = inout(ymm_reg) *sum, x = in(ymm_reg) x,
                        w = in(ymm_reg) w, t = out(ymm_reg) _, options(nomem, nostack, preserves_flags));
                }
            }
        }
        for sum in &mut sums {
            // SAFETY: reads and writes registers only.
            unsafe {
                asm!("vpmaddwd {t}, {s}, {w}", "vpaddd {s}, {s}, {t}", s = inout(ymm_reg) *sum, w = in(ymm_reg) w,
                    t = out(ymm_reg) _, options(nomem, nostack, preserves_flags));
            }
        }
    }
    std::hint::black_box(sums);
}

/// Reads all words, 128 bytes at a time.
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 16];
    for chunk in words.chunks_exact(16) {
        for (s, x) in sums.iter_mut().zip(chunk) {
            *s ^= x;
        }
    }
    sums.iter().fold(0, |a, b| a ^ b)
}
