//! Functions of one element.

use tensor::math;

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
}

impl Activation {
    /// The scalar meaning.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Relu => at_least(x, 0.0),
            Activation::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Activation::Clip { low, high } => at_most(at_least(x, low), high),
            Activation::Sigmoid => math::sigmoid(x),
            Activation::Swish { alpha } => x * math::sigmoid(alpha * x),
            Activation::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
            Activation::HardSwish => x * hard_sigmoid(x, 1.0 / 6.0, 0.5),
            Activation::Mish => math::mish(x),
            Activation::Tanh => math::tanh(x),
            Activation::Exp => math::exp(x),
        }
    }
}

/// `low` where x < low: NaN and −0 stay.
fn at_least(x: f32, low: f32) -> f32 {
    if x < low { low } else { x }
}

/// `high` where x > high: NaN stays.
fn at_most(x: f32, high: f32) -> f32 {
    if x > high { high } else { x }
}

fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    at_most(at_least(x.mul_add(alpha, beta), 0.0), 1.0)
}

/// Applies a function to every element.
pub fn activate(pool: &Pool, isa: Isa, activation: Activation, y: &mut [f32]) {
    let _ = isa;
    if activation != Activation::None {
        split::chunks(pool, y, 1, 1 << 13, |_, part| {
            for y in part {
                *y = activation.apply(*y);
            }
        });
    }
}
