//! AVX-512.

use std::arch::x86_64::*;

use super::body::{elements, products, rows};
use super::gradient::gradients;
use crate::Isa;
use crate::float::rows::Rows;

type V = __m512;
const LANES: usize = 16;

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: f32) -> V {
    _mm512_set1_ps(x)
}

/// # Safety
/// 16 readable elements.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(p: *const f32) -> V {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm512_loadu_ps(p) }
}

/// # Safety
/// 16 writable elements.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(p: *mut f32, v: V) {
    // SAFETY: the caller's promise; unaligned.
    unsafe { _mm512_storeu_ps(p, v) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn fma(x: V, w: V, acc: V) -> V {
    _mm512_fmadd_ps(x, w, acc)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn plus(a: V, b: V) -> V {
    _mm512_add_ps(a, b)
}

/// `a > b ? a : b`.
#[inline]
#[target_feature(enable = "avx512f")]
fn larger(a: V, b: V) -> V {
    _mm512_max_ps(a, b)
}

/// `a < b ? a : b`.
#[inline]
#[target_feature(enable = "avx512f")]
fn smaller(a: V, b: V) -> V {
    _mm512_min_ps(a, b)
}

products!("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq");
elements!("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq");
gradients!(
    "avx512f",
    "wgrad_f32_avx512",
    "dwwgrad_f32_avx512",
    [12, 8, 6, 5, 4, 3, 2, 1]
);
rows!(
    Avx512Vnni,
    "conv_f32_avx512vnni_m12n32_nhwc",
    "dwconv_f32_avx512vnni_m4n32_nhwc",
    [12, 8, 4, 1]
);
