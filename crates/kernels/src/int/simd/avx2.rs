//! AVX2 without VNNI.

use std::arch::x86_64::*;

use super::body::{dense, depthwise, elements};
use super::element;
use super::ymm::{LANES, V, bytes, finish, interleave, load, requant, spread, store, zero};
use crate::Isa;
use crate::int::Edge;
use crate::int::binary::{AddNumbers, MulNumbers};
use crate::int::conv::{DenseRow, DepthwiseCall, DepthwiseRow, PANEL, ROW, TileCall, TileSize};

/// Any i8 weight: even and odd bytes as 16-bit operands of vpmaddwd, which cannot overflow.
#[inline]
#[target_feature(enable = "avx2")]
fn dot_w8(acc: V, x: V, w: V) -> V {
    let low = _mm256_set1_epi16(0xFF);
    let even = _mm256_madd_epi16(
        _mm256_and_si256(x, low),
        _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)),
    );
    let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(x), _mm256_srai_epi16::<8>(w));
    _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
}

/// Weights whose pair sums fit i16 (2 · max q · max |w| ≤ 32767): vpmaddubsw does not saturate.
#[inline]
#[target_feature(enable = "avx2")]
fn dot_w7(acc: V, x: V, w: V) -> V {
    let pairs = _mm256_maddubs_epi16(x, w);
    _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

dense!(tile_w8, "avx2,fma", dot_w8);
dense!(tile_w7, "avx2,fma", dot_w7);
depthwise!(depthwise_w8, "avx2,fma", dot_w8);
elements!("avx2,fma");

pub(crate) static DENSE_W8: DenseRow = DenseRow {
    sizes: &[
        TileSize {
            pixels: 4,
            one: tile_w8::<4, 2>,
            two: None,
        },
        TileSize {
            pixels: 2,
            one: tile_w8::<2, 2>,
            two: None,
        },
        TileSize {
            pixels: 1,
            one: tile_w8::<1, 2>,
            two: None,
        },
    ],
    finish,
    isa: Isa::Avx2,
};

pub(crate) static DENSE_W7: DenseRow = DenseRow {
    sizes: &[
        TileSize {
            pixels: 4,
            one: tile_w7::<4, 2>,
            two: None,
        },
        TileSize {
            pixels: 2,
            one: tile_w7::<2, 2>,
            two: None,
        },
        TileSize {
            pixels: 1,
            one: tile_w7::<1, 2>,
            two: None,
        },
    ],
    finish,
    isa: Isa::Avx2,
};

pub(crate) static DEPTHWISE_W8: DepthwiseRow = DepthwiseRow {
    block: 4 * LANES,
    run: depthwise_w8,
    isa: Isa::Avx2,
};

/// The entries of 32 codes: sixteen shuffles, each for the codes with one high half-byte, and a tree that chooses by its bits.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn look_up(table: &[u8; 256], codes: V) -> V {
    // A shuffle gives 0 where bit 7 of its index is set, whatever else it holds above bit 3.
    let low = _mm256_and_si256(codes, _mm256_set1_epi8(0x0F));
    let entry = |k: usize| {
        // SAFETY: entry k has 16 bytes from 16·k on.
        let entry = unsafe { _mm_loadu_si128(table.as_ptr().add(16 * k).cast()) };
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entry), low)
    };
    // Bit 4, 5, 6 moved to bit 7 of each byte; bits that cross bytes are not looked at.
    let bit4 = _mm256_slli_epi16::<3>(codes);
    let bit5 = _mm256_slli_epi16::<2>(codes);
    let bit6 = _mm256_slli_epi16::<1>(codes);
    let pair = |k: usize| _mm256_blendv_epi8(entry(k), entry(k + 1), bit4);
    let four = |k: usize| _mm256_blendv_epi8(pair(k), pair(k + 2), bit5);
    let eight = |k: usize| _mm256_blendv_epi8(four(k), four(k + 4), bit6);
    _mm256_blendv_epi8(eight(0), eight(8), codes)
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn table(table: &[u8; 256], y: &mut [u8]) {
    let mut chunks = y.chunks_exact_mut(32);
    for chunk in &mut chunks {
        // SAFETY: a chunk is 32 bytes.
        unsafe {
            let codes = bytes(chunk.as_ptr());
            store(chunk.as_mut_ptr().cast(), look_up(table, codes));
        }
    }
    for y in chunks.into_remainder() {
        *y = table[usize::from(*y)];
    }
}
