//! Kernels for vectors: of x86-64, written once and made for each instruction set, of ARM and of WebAssembly.
//!
//! A module names its register type and a handful of operations; `dense!`, `depthwise!` and `elements!` build the kernels from
//! them. AVX-VNNI exists twice: with VEX encoding, and as its EVEX twin, so that a machine with AVX-512 but without
//! AVX-VNNI tests the same code.

#[cfg(target_arch = "x86_64")]
mod body;
#[cfg(target_arch = "x86_64")]
mod element;

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
mod ends;
#[cfg(any(
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
mod ends128;
#[cfg(target_arch = "x86_64")]
mod ends256;
#[cfg(target_arch = "x86_64")]
mod ends512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lines;
#[cfg(any(
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
pub(crate) mod lines128;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lines512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quantize;
#[cfg(target_arch = "x86_64")]
mod swish;
#[cfg(target_arch = "x86_64")]
pub(crate) mod vnni256;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod ymm;

#[cfg(target_arch = "x86_64")]
pub(crate) use vnni256::{avxvnni, evexvnni};
