//! One file per rule that maps real weights to the levels of a grid, with its equation and source.
//!
//! A rule works on one *group*: the weights that share a scale, w ∈ R^N. It returns the scale α of the integer levels ℓ (and for affine
//! grids the zero point), so that ŵ_i = α·(ℓ_i − z); the codes follow by nearest rounding, ties away from zero, unless the rule says otherwise.
//! Everything sums in the order of the weights in f64: codes depend on nothing but the weights.

pub mod affine;
pub mod apot;
pub mod binary;
pub mod lbw_optimum;
pub mod lbw_real;
pub mod lbw_semi_analytic;
pub mod lbw_ternary;
mod levels;
pub mod scale_pow2;
pub mod scale_real;
pub mod ternary;
pub mod ternary_threshold;
pub mod uniform;

pub use levels::Levels;

/// What a rule found for one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// α, finite and positive; 1 for a group of zeros.
    pub scale: f64,
    /// Signed magnitude index of every weight (0 is level 0), or the level itself for affine grids.
    pub indices: Vec<i32>,
    /// Zero point; 0 for symmetric grids.
    pub zero_point: i32,
}

impl Fit {
    /// A group of zeros.
    pub(crate) fn zeros(n: usize) -> Self {
        Fit {
            scale: 1.0,
            indices: vec![0; n],
            zero_point: 0,
        }
    }

    /// Nearest rounding of every weight at a scale.
    pub(crate) fn nearest(w: &[f32], levels: &Levels, scale: f64) -> Self {
        Fit {
            scale,
            indices: w.iter().map(|&x| levels.signed_index(x, scale)).collect(),
            zero_point: 0,
        }
    }
}

/// Largest |w|.
pub(crate) fn max_abs(w: &[f32]) -> f64 {
    f64::from(w.iter().fold(0f32, |m, x| m.max(x.abs())))
}

/// 2^e in f64, −1022 ≤ e ≤ 1023.
pub(crate) fn pow2(e: i32) -> f64 {
    f64::from_bits(((1023 + i64::from(e.clamp(-1022, 1023))) as u64) << 52)
}

/// ⌊log₂ x⌋ read from the exponent, for finite x > 0: no logarithm, so that powers of two are exact.
pub(crate) fn floor_log2(x: f64) -> i32 {
    let (x, shift) = if x < f64::MIN_POSITIVE {
        (x * pow2(64), 64)
    } else {
        (x, 0)
    };
    ((x.to_bits() >> 52) & 0x7FF) as i32 - 1023 - shift
}
