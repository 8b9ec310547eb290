//! Unary operators as functions of a real number in double precision (`FORMAT.md` 1.14): what tables are made from.

use crate::op::Unary;

/// The function of a unary operator; `None` for those whose result is not a real number. `exp`, `tanh`, `log1p`, `erf` are the
/// musl routines on every platform.
///
/// ```
/// let silu = graph::real_function(graph::Unary::Swish { alpha: 1.0 }).unwrap();
/// assert!((silu(2.0) - 1.761594155955765).abs() < 1e-15);
/// ```
pub fn real_function(op: Unary) -> Option<Box<dyn Fn(f64) -> f64>> {
    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-x))
    }
    fn softplus(x: f64) -> f64 {
        x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
    }
    fn elu(x: f64, alpha: f32) -> f64 {
        if x < 0.0 {
            f64::from(alpha) * (libm::exp(x) - 1.0)
        } else {
            x
        }
    }
    Some(match op {
        Unary::Relu => Box::new(|x| x.max(0.0)),
        Unary::LeakyRelu { alpha } => Box::new(move |x| if x < 0.0 { f64::from(alpha) * x } else { x }),
        Unary::Elu { alpha } => Box::new(move |x| elu(x, alpha)),
        Unary::Selu { alpha, gamma } => Box::new(move |x| f64::from(gamma) * elu(x, alpha)),
        Unary::Sigmoid => Box::new(sigmoid),
        Unary::HardSigmoid { alpha, beta } => {
            Box::new(move |x| (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0))
        }
        Unary::HardSwish => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Unary::Swish { alpha } => Box::new(move |x| x * sigmoid(f64::from(alpha) * x)),
        Unary::Mish => Box::new(|x| x * libm::tanh(softplus(x))),
        Unary::Softplus => Box::new(softplus),
        Unary::Softsign => Box::new(|x| x / (1.0 + x.abs())),
        Unary::Tanh => Box::new(libm::tanh),
        Unary::Erf => Box::new(libm::erf),
        Unary::Gelu { tanh: false } => {
            Box::new(|x| x * 0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)))
        }
        Unary::Gelu { tanh: true } => Box::new(|x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + libm::tanh(inner))
        }),
        Unary::Exp => Box::new(libm::exp),
        Unary::Log => Box::new(libm::log),
        Unary::Sqrt => Box::new(libm::sqrt),
        Unary::Reciprocal => Box::new(|x| 1.0 / x),
        Unary::Neg => Box::new(|x| -x),
        Unary::Abs => Box::new(f64::abs),
        Unary::Sign => Box::new(|x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                0.0
            }
        }),
        Unary::Floor => Box::new(f64::floor),
        Unary::Ceil => Box::new(f64::ceil),
        Unary::Round => Box::new(f64::round_ties_even),
        Unary::Sin => Box::new(libm::sin),
        Unary::Cos => Box::new(libm::cos),
        Unary::Not | Unary::IsNaN => return None,
    })
}
