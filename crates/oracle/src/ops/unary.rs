//! Operators of one input, element by element.

use graph::{Unary, real_function};
use tensor::{Data, Tensor, math};

use super::number::{Number, larger, smaller};
use super::support::{Answer, Inputs, tensor, typed, wrong_type};

pub(super) fn unary(i: Inputs<'_>, op: Unary) -> Answer {
    let x = i.need(0)?;
    let data = match (op, x.data()) {
        (Unary::Not, Data::Bool(v)) => v.iter().map(|x| !x).collect::<Vec<_>>().into(),
        (Unary::IsNaN, Data::F32(v)) => v.iter().map(|x| x.is_nan()).collect::<Vec<_>>().into(),
        (Unary::IsNaN, Data::F64(v)) => v.iter().map(|x| x.is_nan()).collect::<Vec<_>>().into(),
        (_, Data::F32(v)) => {
            let f = float(op).ok_or_else(|| wrong_type(x.dtype()))?;
            v.iter().map(|&x| f(x)).collect::<Vec<_>>().into()
        }
        (_, Data::F64(v)) => {
            let f = real_function(op).ok_or_else(|| wrong_type(x.dtype()))?;
            v.iter().map(|&x| f(x)).collect::<Vec<_>>().into()
        }
        _ => integer(op, x)?,
    };
    tensor(x.shape().to_vec(), data)
}

/// Relu, Neg, Abs and Sign have a meaning for integers; Neg of unsigned ones has not.
fn integer(op: Unary, x: &Tensor) -> Answer<Data> {
    fn all<T: Number>(v: &[T], f: impl Fn(T) -> T) -> Data
    where
        Data: From<Vec<T>>,
    {
        v.iter().map(|&x| f(x)).collect::<Vec<T>>().into()
    }
    fn relu<T: Number>(x: T) -> T {
        larger(T::ZERO, x)
    }
    fn negated<T: Number>(x: T) -> T {
        T::ZERO.minus(x)
    }
    fn sign<T: Number>(x: T) -> T {
        match x {
            x if x > T::ZERO => T::ONE,
            x if x < T::ZERO => T::ZERO.minus(T::ONE),
            _ => T::ZERO,
        }
    }
    match op {
        Unary::Relu => typed!(x, [I8, I16, I32, I64], v => all(v, relu)),
        Unary::Neg => typed!(x, [I8, I16, I32, I64], v => all(v, negated)),
        Unary::Abs => typed!(x, [I8, I16, I32, I64, U8, U16, U32, U64], v => all(v, Number::magnitude)),
        Unary::Sign => typed!(x, [I8, I16, I32, I64, U8, U16, U32, U64], v => all(v, sign)),
        _ => Err(wrong_type(x.dtype())),
    }
}

/// `FORMAT.md` 1.15, activations.
fn float(op: Unary) -> Option<Box<dyn Fn(f32) -> f32>> {
    fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
        clip(alpha.mul_add(x, beta), Some(0.0), Some(1.0))
    }
    Some(match op {
        Unary::Relu => Box::new(|x| if 0.0 > x { 0.0 } else { x }),
        Unary::LeakyRelu { alpha } => Box::new(move |x| if x < 0.0 { alpha * x } else { x }),
        Unary::Sigmoid => Box::new(math::sigmoid),
        Unary::Tanh => Box::new(math::tanh),
        Unary::Exp => Box::new(math::exp),
        Unary::Swish { alpha } => Box::new(move |x| x * math::sigmoid(alpha * x)),
        Unary::HardSigmoid { alpha, beta } => Box::new(move |x| hard_sigmoid(x, alpha, beta)),
        Unary::HardSwish => Box::new(|x| x * hard_sigmoid(x, 1.0 / 6.0, 0.5)),
        Unary::Mish => Box::new(math::mish),
        Unary::Sqrt => Box::new(f32::sqrt),
        Unary::Reciprocal => Box::new(|x| 1.0 / x),
        Unary::Neg => Box::new(|x| -x),
        Unary::Abs => Box::new(f32::abs),
        Unary::Sign => Box::new(|x| match x {
            x if x > 0.0 => 1.0,
            x if x < 0.0 => -1.0,
            x if x.is_nan() => x,
            _ => 0.0,
        }),
        Unary::Floor => Box::new(f32::floor),
        Unary::Ceil => Box::new(f32::ceil),
        Unary::Round => Box::new(f32::round_ties_even),
        Unary::Elu { .. }
        | Unary::Selu { .. }
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Erf
        | Unary::Gelu { .. }
        | Unary::Log
        | Unary::Sin
        | Unary::Cos => {
            let f = real_function(op)?;
            Box::new(move |x| f(f64::from(x)) as f32)
        }
        Unary::Not | Unary::IsNaN => return None,
    })
}

/// Clip: the lower bound first; a NaN stays.
pub(super) fn clip<T: PartialOrd>(x: T, low: Option<T>, high: Option<T>) -> T {
    let x = match low {
        Some(low) => larger(x, low),
        None => x,
    };
    match high {
        Some(high) => smaller(x, high),
        None => x,
    }
}
