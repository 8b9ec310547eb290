//! Channels that give one value whatever their input is: those whose weights died in training, so that their scale is tiny and their
//! bias, counted in it, beyond 32 bits. Put as a bias alone they fit the kernels that sum in i32.

use super::{Epilogue, Output, magnitude};
use crate::float::Activation;
use crate::int::rule::requantize;

/// Biases from which on it is worth looking: smaller ones fit.
const LARGE: u64 = 1 << 30;

/// Replaces such channels of levels [out channel][…]; what they give stays the same bits.
pub(super) fn settle(levels: &mut [i32], epilogue: &mut Epilogue) {
    let each = levels.len() / epilogue.bias.len().max(1);
    for c in 0..epilogue.bias.len() {
        if epilogue.bias[c].unsigned_abs() < LARGE {
            continue;
        }
        let own = &mut levels[c * each..(c + 1) * each];
        if let Some((bias, multiplier)) = constant(own, epilogue, c) {
            own.fill(0);
            (epilogue.bias[c], epilogue.multiplier[c]) = (bias, multiplier);
        }
    }
}

/// Bias and multiplier that give a channel's only value. Each step from a sum to an output is monotone: where both ends of the
/// sums meet, all between them do.
fn constant(levels: &[i32], epilogue: &Epilogue, c: usize) -> Option<(i64, f32)> {
    let (bias, m) = (epilogue.bias[c], epilogue.multiplier[c]);
    let spread = i64::try_from(epilogue.largest(c, magnitude(levels)) - i128::from(bias).abs()).ok()?;
    let (low, high) = (bias.checked_sub(spread)?, bias.checked_add(spread)?);
    match &epilogue.output {
        Output::U8 { zero, hi, .. } => {
            let code = requantize(low, m, *zero, *hi);
            (code == requantize(high, m, *zero, *hi)).then(|| (i64::from(code) - i64::from(*zero), 1.0))
        }
        output => {
            let (y, end) = (low as f32 * m, high as f32 * m);
            let monotone = matches!(output, Output::Function { function: Activation::LeakyRelu { alpha }, .. } if *alpha >= 0.0);
            let one =
                y.to_bits() == end.to_bits() || monotone && epilogue.code(low, m) == epilogue.code(high, m);
            (one && y.is_finite()).then(|| signed(y))
        }
    }
}

/// ±1 and |y|: multipliers are not negative.
fn signed(y: f32) -> (i64, f32) {
    (if y.is_sign_negative() { -1 } else { 1 }, y.abs())
}
