//! Functions of one element.

use tensor::math;

use super::rare::Rare;
use super::rows::rows;
use crate::{Isa, Pool, split};

/// A function applied to each element, alone or behind a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[allow(missing_docs)]
pub enum Activation {
    #[default]
    None,
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    /// The lower end first: with `low` > `high` every result is `high`, as in ONNX.
    Clip {
        low: f32,
        high: f32,
    },
    Sigmoid,
    /// x · sigmoid(alpha · x).
    Swish {
        alpha: f32,
    },
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    Mish,
    Tanh,
    Exp,
    /// One of those that have no vector code; the engine takes none of them.
    Rare(Rare),
}

impl Activation {
    /// The scalar meaning.
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Relu => at_least(x, 0.0),
            // A product by 1 keeps every bit, and its store is not masked where the compiler vectorizes.
            Activation::LeakyRelu { alpha } => x * if x < 0.0 { alpha } else { 1.0 },
            Activation::Clip { low, high } => at_most(at_least(x, low), high),
            Activation::Sigmoid => math::sigmoid(x),
            Activation::Swish { alpha } => x * math::sigmoid(alpha * x),
            Activation::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
            Activation::HardSwish => x * hard_sigmoid(x, 1.0 / 6.0, 0.5),
            Activation::Mish => math::mish(x),
            Activation::Tanh => math::tanh(x),
            Activation::Exp => math::exp(x),
            Activation::Rare(f) => f.value(x),
        }
    }
}

/// `low` where x < low: NaN and −0 stay.
#[inline(always)]
fn at_least(x: f32, low: f32) -> f32 {
    if x < low { low } else { x }
}

/// `high` where x > high: NaN stays.
#[inline(always)]
fn at_most(x: f32, high: f32) -> f32 {
    if x > high { high } else { x }
}

#[inline(always)]
fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    at_most(at_least(x.mul_add(alpha, beta), 0.0), 1.0)
}

/// The scalar row; inlined where vector instructions may be used, the other rows too. One loop per function: the choice stays
/// outside.
#[inline(always)]
pub(super) fn activate_row(activation: Activation, y: &mut [f32]) {
    #[inline(always)]
    fn each(y: &mut [f32], f: impl Fn(f32) -> f32) {
        for y in y {
            *y = f(*y);
        }
    }
    match activation {
        Activation::None => {}
        Activation::Relu => each(y, |x| Activation::Relu.apply(x)),
        Activation::LeakyRelu { alpha } => each(y, |x| Activation::LeakyRelu { alpha }.apply(x)),
        Activation::Clip { low, high } => each(y, |x| Activation::Clip { low, high }.apply(x)),
        Activation::Sigmoid => each(y, |x| Activation::Sigmoid.apply(x)),
        Activation::Swish { alpha } => each(y, |x| Activation::Swish { alpha }.apply(x)),
        Activation::HardSigmoid { alpha, beta } => {
            each(y, |x| Activation::HardSigmoid { alpha, beta }.apply(x))
        }
        Activation::HardSwish => each(y, |x| Activation::HardSwish.apply(x)),
        Activation::Mish => each(y, |x| Activation::Mish.apply(x)),
        Activation::Tanh => each(y, |x| Activation::Tanh.apply(x)),
        Activation::Exp => each(y, |x| Activation::Exp.apply(x)),
        Activation::Rare(f) => each(y, |x| f.value(x)),
    }
}

/// Applies a function to every element.
pub fn activate(pool: &Pool, isa: Isa, activation: Activation, y: &mut [f32]) {
    if activation != Activation::None {
        let row = rows(isa).activate;
        // SAFETY: `rows` gives only what this CPU runs.
        split::chunks(pool, y, 1, 1 << 13, |_, part| unsafe { row(activation, part) });
    }
}
