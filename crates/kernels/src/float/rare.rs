//! Functions that few networks have, for training: one element at a time in double precision by musl's routines, rounded once.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

/// A function of one element, and its derivative.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Rare {
    /// γ·x above 0, else γ·α·(eˣ − 1): ONNX `Elu` (γ = 1) and `Selu`.
    Elu {
        alpha: f32,
        gamma: f32,
    },
    Softplus,
    Softsign,
    /// x/2 · (1 + erf(x/√2)), or the tanh form.
    Gelu {
        tanh: bool,
    },
    Erf,
    Log,
    Sqrt,
    Reciprocal,
    Abs,
    Sin,
    Cos,
}

/// Of the tanh form of GELU.
const CUBE: f64 = 0.044_715;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// What tanh is taken of in GELU's tanh form.
fn inner(x: f64) -> f64 {
    (2.0 / PI).sqrt() * (x + CUBE * x * x * x)
}

impl Rare {
    /// f(x).
    pub fn value(self, x: f32) -> f32 {
        let x = f64::from(x);
        let y = match self {
            Rare::Elu { alpha, gamma } if x < 0.0 => f64::from(gamma) * f64::from(alpha) * libm::expm1(x),
            Rare::Elu { gamma, .. } => f64::from(gamma) * x,
            Rare::Softplus => x.max(0.0) + libm::log1p(libm::exp(-x.abs())),
            Rare::Softsign => x / (1.0 + x.abs()),
            Rare::Gelu { tanh: false } => x * 0.5 * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
            Rare::Gelu { tanh: true } => 0.5 * x * (1.0 + libm::tanh(inner(x))),
            Rare::Erf => libm::erf(x),
            Rare::Log => libm::log(x),
            Rare::Sqrt => libm::sqrt(x),
            Rare::Reciprocal => 1.0 / x,
            Rare::Abs => x.abs(),
            Rare::Sin => libm::sin(x),
            Rare::Cos => libm::cos(x),
        };
        y as f32
    }

    /// f′(x). At a corner as PyTorch has it: that of |x| at 0 is 0, that of an ELU the left one.
    pub fn slope(self, x: f32) -> f32 {
        let x = f64::from(x);
        let slope = match self {
            Rare::Elu { alpha, gamma } if x <= 0.0 => f64::from(gamma) * f64::from(alpha) * libm::exp(x),
            Rare::Elu { gamma, .. } => f64::from(gamma),
            Rare::Softplus => sigmoid(x),
            Rare::Softsign => (1.0 + x.abs()).powi(-2),
            Rare::Gelu { tanh: false } => {
                let density = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * libm::exp(-0.5 * x * x);
                0.5 * (1.0 + libm::erf(x * FRAC_1_SQRT_2)) + x * density
            }
            Rare::Gelu { tanh: true } => {
                let t = libm::tanh(inner(x));
                let along = (2.0 / PI).sqrt() * (1.0 + 3.0 * CUBE * x * x);
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * along
            }
            Rare::Erf => FRAC_2_SQRT_PI * libm::exp(-x * x),
            Rare::Log => 1.0 / x,
            Rare::Sqrt => 0.5 / libm::sqrt(x),
            Rare::Reciprocal => -1.0 / (x * x),
            Rare::Abs if x == 0.0 => 0.0,
            Rare::Abs => x.signum(),
            Rare::Sin => libm::cos(x),
            Rare::Cos => -libm::sin(x),
        };
        slope as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_are_those_of_pytorch() {
        let elu = Rare::Elu {
            alpha: 0.5,
            gamma: 2.0,
        };
        assert_eq!((elu.value(0.0), elu.slope(0.0), elu.slope(1.0)), (0.0, 1.0, 2.0));
        assert_eq!([-2.0, 0.0, 3.0].map(|x| Rare::Abs.slope(x)), [-1.0, 0.0, 1.0]);
    }

    #[test]
    fn far_ends_stay_finite() {
        for (f, x, want) in [
            (Rare::Softplus, 1000.0, (1000.0, 1.0)),
            (Rare::Softplus, -1000.0, (0.0, 0.0)),
            (Rare::Gelu { tanh: true }, 100.0, (100.0, 1.0)),
            (Rare::Gelu { tanh: false }, -100.0, (0.0, 0.0)),
        ] {
            assert_eq!((f.value(x), f.slope(x)), want, "{f:?} at {x}");
        }
    }
}
