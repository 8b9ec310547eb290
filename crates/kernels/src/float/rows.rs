//! The float kernels of each instruction set.

use super::activation::{self, Activation};
use super::backward::{self, GradientRow};
use super::binary::BinaryOp;
use super::conv::{DenseRow, DepthwiseRow};
use super::element;
use super::simd;
use super::softmax;
use crate::Isa;

/// All kernels of one instruction set.
pub(crate) struct Rows {
    pub(crate) isa: Isa,
    /// Matrix products by tiles; the scalar set has none.
    pub(crate) dense: Option<&'static DenseRow>,
    pub(crate) depthwise: Option<&'static DepthwiseRow>,
    /// Weight gradients.
    pub(crate) gradient: &'static GradientRow,
    pub(crate) activate: unsafe fn(Activation, &mut [f32]),
    pub(crate) binary: unsafe fn(BinaryOp, &[f32], &[f32], &mut [f32]),
    /// `acc = x > acc ? x : acc` for each tap x in turn.
    pub(crate) max: unsafe fn(&mut [f32], &[&[f32]]),
    /// `acc += x` for each tap x in turn.
    pub(crate) sum: unsafe fn(&mut [f32], &[&[f32]]),
    /// `acc = fma(w, x, acc)`.
    pub(crate) weigh: unsafe fn(f32, &mut [f32], &[f32]),
    /// `y /= n`.
    pub(crate) divide: unsafe fn(&mut [f32], f32),
    /// Softmax of rows of 16 elements.
    pub(crate) softmax_of_bins: unsafe fn(&mut [f32]),
    /// `y = exp(y − most)`.
    pub(crate) exp_less: unsafe fn(&mut [f32], f32),
}

/// Worst to best.
static ROWS: &[Rows] = &[
    Rows {
        isa: Isa::Scalar,
        dense: None,
        depthwise: None,
        gradient: &backward::PLAIN,
        activate: activation::activate_row,
        binary: element::binary,
        max: |acc, taps| element::max(acc, taps, 0),
        sum: |acc, taps| element::sum(acc, taps, 0),
        weigh: element::weigh,
        divide: element::divide,
        exp_less: element::exp_less,
        softmax_of_bins: softmax::rows_of_bins,
    },
    #[cfg(target_arch = "x86_64")]
    simd::avx2::ROWS,
    #[cfg(target_arch = "x86_64")]
    simd::avx512::ROWS,
];

/// The best set up to an instruction set that this CPU runs.
pub(crate) fn rows(isa: Isa) -> &'static Rows {
    let runs = |rows: &&Rows| rows.isa <= isa && rows.isa.is_available();
    ROWS.iter().rev().find(runs).unwrap_or(&ROWS[0])
}
