//! The scalar steps of `FORMAT.md` part 1 that every kernel shares.

/// The quantizer of an edge: `x = scale · (q − zero)`, q in `0..=hi`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// Real step, finite and positive.
    pub scale: f32,
    /// Code of real 0.
    pub zero: u8,
    /// Largest code, 2^bits − 1.
    pub hi: u8,
}

/// A rule's bound (1.13) does not hold: the operator has to run in float.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundError {
    /// Largest |acc| · m that the scales allow.
    pub reach: f64,
}

impl std::fmt::Display for BoundError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reach = self.reach;
        write!(
            f,
            "scaled sums reach {reach:.3e}, integer rules allow 2^31: run this operator in float"
        )
    }
}

impl std::error::Error for BoundError {}

/// The largest |acc| · m that 1.13 allows: 2^31 less the rounding of two f32 steps.
pub(crate) const REACH: f64 = 2_147_482_624.0;

/// 1.13: `largest · multiplier` stays within i32 after rounding. Infinite and NaN multipliers fail.
pub(crate) fn prove(largest: f64, multiplier: f32) -> Result<(), BoundError> {
    let reach = largest * f64::from(multiplier.abs());
    if multiplier.is_finite() && reach <= REACH {
        Ok(())
    } else {
        Err(BoundError { reach })
    }
}

/// 1.2: accumulator to code.
///
/// ```
/// assert_eq!(kernels::int::requantize(5, 0.5, 10, 255), 12); // 2.5 rounds to the even 2
/// assert_eq!(kernels::int::requantize(-1_000_000, 1.0, 10, 255), 0);
/// ```
pub fn requantize(acc: i64, multiplier: f32, zero: u8, hi: u8) -> u8 {
    to_code(acc as f32 * multiplier, zero, hi)
}

/// The end of 1.2 and 1.6: rounds, clamps to 16 bits, adds the zero point, clamps to codes.
pub(crate) fn to_code(p: f32, zero: u8, hi: u8) -> u8 {
    let r = (p.round_ties_even() as i32).clamp(-32_768, 32_767);
    (r + i32::from(zero)).clamp(0, i32::from(hi)) as u8
}

/// `f32( f64(a) · f64(b) / f64(c) )`: the multipliers of 1.3, 1.4 (c = 1), 1.6 (b = 1), 1.7 and 1.8.
pub fn scale_ratio(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) / f64::from(c)) as f32
}

/// 1.3: a bias in units of `scale_in · scale_weight`. Beyond i64 it saturates, which no bound admits.
pub fn bias_level(bias: f32, scale_in: f32, scale_weight: f32) -> i64 {
    (f64::from(bias) / (f64::from(scale_in) * f64::from(scale_weight))).round_ties_even() as i64
}

/// 1.8: the table that takes codes of one quantizer to another.
pub fn rescale_table(from: Edge, to: Edge) -> [u8; 256] {
    let m = scale_ratio(from.scale, 1.0, to.scale);
    std::array::from_fn(|q| requantize(q as i64 - i64::from(from.zero), m, to.zero, to.hi))
}

/// 1.12 for one value. NaN survives the clamp and becomes 0 in the cast, which is the zero point.
pub(crate) fn quantize_one(edge: Edge, x: f32) -> u8 {
    quotient_to_code(edge, x / edge.scale)
}

/// … and of x divided by the step.
pub(crate) fn quotient_to_code(edge: Edge, quotient: f32) -> u8 {
    let r = quotient.round_ties_even().clamp(-65_536.0, 65_536.0) as i32;
    (r + i32::from(edge.zero)).clamp(0, i32::from(edge.hi)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any code goes to the nearest code of the other quantizer and comes back when that one is finer.
        #[test]
        fn rescaling_to_a_finer_grid_and_back_is_the_identity(zero in 0u8..=255, step in 0.01f32..10.0) {
            let a = Edge { scale: step, zero, hi: 255 };
            let same = rescale_table(a, a);
            prop_assert!(same.iter().enumerate().all(|(q, &t)| usize::from(t) == q));
        }

        /// Ten thousand random accumulators against the rule in exact arithmetic where f32 is exact.
        #[test]
        fn requantize_equals_exact_rounding(acc in -(1i64 << 24)..(1 << 24), shift in 0u32..20, zero in 0u8..=255) {
            let m = 1.0 / (1u64 << shift) as f32;
            let down = acc.div_euclid(1 << shift);
            let rest = acc.rem_euclid(1 << shift) * 2;
            let up = rest > (1 << shift) || (rest == (1 << shift) && down % 2 != 0);
            let exact = (down + i64::from(up)).clamp(-32_768, 32_767) + i64::from(zero);
            prop_assert_eq!(i64::from(requantize(acc, m, zero, 255)), exact.clamp(0, 255));
        }
    }

    #[test]
    fn bounds_refuse_what_would_overflow() {
        assert!(prove(1e6, 2000.0).is_ok());
        assert!(prove(1e6, 3000.0).is_err());
        assert!(prove(1.0, f32::INFINITY).is_err());
    }
}
