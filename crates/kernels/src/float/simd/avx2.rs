//! AVX2 with FMA.

use std::arch::x86_64::*;

use super::body::{elements, products, rows};
use super::gradient::gradients;
use crate::Isa;
use crate::float::rows::Rows;

type V = __m256;
const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn splat(x: f32) -> V {
    _mm256_set1_ps(x)
}

/// # Safety
/// 8 readable elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load(p: *const f32) -> V {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm256_loadu_ps(p) }
}

/// # Safety
/// 8 writable elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store(p: *mut f32, v: V) {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm256_storeu_ps(p, v) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn fma(x: V, w: V, acc: V) -> V {
    _mm256_fmadd_ps(x, w, acc)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn plus(a: V, b: V) -> V {
    _mm256_add_ps(a, b)
}

/// `a > b ? a : b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn larger(a: V, b: V) -> V {
    _mm256_max_ps(a, b)
}

/// `a < b ? a : b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn smaller(a: V, b: V) -> V {
    _mm256_min_ps(a, b)
}

products!("avx2,fma");
elements!("avx2,fma");
gradients!(
    "avx2,fma",
    "wgrad_f32_avx2",
    "dwwgrad_f32_avx2",
    [6, 5, 4, 3, 2, 1]
);
rows!(
    Avx2,
    "conv_f32_avx2_m6n16_nhwc",
    "dwconv_f32_avx2_m4n16_nhwc",
    [6, 4, 2, 1]
);
