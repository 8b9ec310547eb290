//! Derivatives of activations.

use tensor::math;

use super::vector::vectorized;
use crate::float::Activation;
use crate::{Isa, Pool, split};

/// f′(x). At a corner the side on which f is constant, or has the smaller slope, counts, as in PyTorch.
#[inline(always)]
fn derivative(f: Activation, x: f32) -> f32 {
    let when = |yes: bool, a: f32, b: f32| if yes { a } else { b };
    match f {
        Activation::None => 1.0,
        Activation::Relu => when(x > 0.0, 1.0, 0.0),
        Activation::LeakyRelu { alpha } => when(x > 0.0, 1.0, alpha),
        Activation::Clip { low, high } => when((x > low) & (x < high), 1.0, 0.0),
        Activation::Sigmoid => {
            let s = math::sigmoid(x);
            s * (1.0 - s)
        }
        Activation::Swish { alpha } => {
            let s = math::sigmoid(alpha * x);
            (alpha * x * s).mul_add(1.0 - s, s)
        }
        Activation::HardSigmoid { alpha, beta } => {
            let line = x.mul_add(alpha, beta);
            when((line > 0.0) & (line < 1.0), alpha, 0.0)
        }
        Activation::HardSwish => {
            let gate = x.mul_add(1.0 / 6.0, 0.5);
            let inside = when((gate > 0.0) & (gate < 1.0), x * (1.0 / 6.0), 0.0);
            gate.clamp(0.0, 1.0) + inside
        }
        Activation::Mish => {
            // t = tanh(softplus(x)) = n / (n + 2); t′ = (1 − t²) · sigmoid(x).
            let e = math::exp(x.min(20.0));
            let n = e * (e + 2.0);
            let t = n / (n + 2.0);
            (x * math::sigmoid(x)).mul_add(1.0 - t * t, t)
        }
        Activation::Tanh => {
            let t = math::tanh(x);
            1.0 - t * t
        }
        Activation::Exp => math::exp(x),
        Activation::Rare(f) => f.slope(x),
    }
}

/// Whether f′ follows from y = f(x) alone, so that x need not be kept.
pub fn derivative_from_output(f: Activation) -> bool {
    match f {
        Activation::LeakyRelu { alpha } => alpha >= 0.0,
        Activation::Clip { low, high } => low < high,
        Activation::HardSigmoid { alpha, .. } => alpha != 0.0,
        Activation::Swish { .. } | Activation::HardSwish | Activation::Mish | Activation::Rare(_) => false,
        Activation::None | Activation::Relu | Activation::Sigmoid | Activation::Tanh | Activation::Exp => {
            true
        }
    }
}

/// f′ at the x of which f(x) = y.
#[inline(always)]
fn derivative_at_output(f: Activation, y: f32) -> f32 {
    match f {
        Activation::Sigmoid => y * (1.0 - y),
        Activation::Tanh => 1.0 - y * y,
        Activation::Exp => y,
        Activation::HardSigmoid { alpha, .. } => {
            if (y > 0.0) & (y < 1.0) {
                alpha
            } else {
                0.0
            }
        }
        _ => derivative(f, y),
    }
}

/// Calls `each` with f as a constant, so that every loop is of one function.
macro_rules! for_each_activation {
    ($f:expr, |$name:ident| $body:expr) => {{
        use crate::float::Activation as A;
        match $f {
            A::None => {
                let $name = A::None;
                $body
            }
            A::Relu => {
                let $name = A::Relu;
                $body
            }
            A::LeakyRelu { alpha } => {
                let $name = A::LeakyRelu { alpha };
                $body
            }
            A::Clip { low, high } => {
                let $name = A::Clip { low, high };
                $body
            }
            A::Sigmoid => {
                let $name = A::Sigmoid;
                $body
            }
            A::Swish { alpha } => {
                let $name = A::Swish { alpha };
                $body
            }
            A::HardSigmoid { alpha, beta } => {
                let $name = A::HardSigmoid { alpha, beta };
                $body
            }
            A::HardSwish => {
                let $name = A::HardSwish;
                $body
            }
            A::Mish => {
                let $name = A::Mish;
                $body
            }
            A::Tanh => {
                let $name = A::Tanh;
                $body
            }
            A::Exp => {
                let $name = A::Exp;
                $body
            }
            A::Rare(f) => {
                let $name = A::Rare(f);
                $body
            }
        }
    }};
}

vectorized! {
    fn backward_row(f: Activation, from_output: bool, value: &[f32], dy: &mut [f32]) {
        match from_output {
            true => for_each_activation!(f, |f| for (d, &v) in dy.iter_mut().zip(value) {
                *d *= derivative_at_output(f, v);
            }),
            false => for_each_activation!(f, |f| for (d, &v) in dy.iter_mut().zip(value) {
                *d *= derivative(f, v);
            }),
        }
    }
}

/// `dy ← dy · f′`, where `value` is f's output ([`derivative_from_output`]) or its input.
pub fn activation_backward(
    pool: &Pool,
    isa: Isa,
    f: Activation,
    from_output: bool,
    value: &[f32],
    dy: &mut [f32],
) {
    assert_eq!(value.len(), dy.len(), "activation backward: length");
    if f != Activation::None {
        split::chunks(pool, dy, 1, 1 << 13, |start, part| {
            backward_row(isa, f, from_output, &value[start..start + part.len()], part);
        });
    }
}
