//! Operators of two inputs with numpy broadcasting.

use graph::Binary;
use tensor::{Data, Tensor};

use super::number::Number;
use super::support::{Answer, Inputs, Walk, broadcast_shape, count, pair, tensor, typed, wrong_type};

pub(super) fn binary(i: Inputs<'_>, op: Binary) -> Answer {
    let (a, b) = (i.need(0)?, i.need(1)?);
    let shape = broadcast_shape(&[a.shape(), b.shape()])?;
    count(&shape, 8)?;
    let z = Zip::new(a, b, &shape);
    let data = match op {
        Binary::Add => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.map(x, y, Number::plus))?
        }
        Binary::Sub => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.map(x, y, Number::minus))?
        }
        Binary::Mul => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.map(x, y, Number::times))?
        }
        Binary::Div => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.try_map(x, y, Number::over)?)?
        }
        Binary::Mod { fmod: true } => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.try_map(x, y, Number::fmod)?)?
        }
        Binary::Mod { fmod: false } => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.try_map(x, y, floor_mod)?)?
        }
        Binary::Pow => pow(a, b, &z)?,
        Binary::PRelu => {
            if shape != a.shape() {
                return Err(format!(
                    "a slope of shape {:?} is larger than x {:?}",
                    b.shape(),
                    a.shape()
                ));
            }
            pair!(a, b, [F32, F64, I8, I32, I64], (x, y) => z.map(x, y, |x, slope| if x < Number::ZERO { slope.times(x) } else { x }))?
        }
        Binary::Equal => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool], (x, y) => z.map(x, y, |x, y| x == y))?
        }
        Binary::Less => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.map(x, y, |x, y| x < y))?
        }
        Binary::LessOrEqual => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.map(x, y, |x, y| x <= y))?
        }
        Binary::Greater => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.map(x, y, |x, y| x > y))?
        }
        Binary::GreaterOrEqual => {
            pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (x, y) => z.map(x, y, |x, y| x >= y))?
        }
        Binary::And => pair!(a, b, [Bool], (x, y) => z.map(x, y, |x, y| x & y))?,
        Binary::Or => pair!(a, b, [Bool], (x, y) => z.map(x, y, |x, y| x | y))?,
        Binary::Xor => pair!(a, b, [Bool], (x, y) => z.map(x, y, |x, y| x ^ y))?,
    };
    tensor(shape, data)
}

/// How the elements of two operands meet; `None` where an operand already has the output's shape.
struct Zip {
    a: Option<Vec<usize>>,
    b: Option<Vec<usize>>,
    len: usize,
}

impl Zip {
    fn new(a: &Tensor, b: &Tensor, shape: &[usize]) -> Zip {
        let spread = |t: &Tensor| (t.shape() != shape).then(|| Walk::broadcast(t.shape(), shape).indices());
        Zip {
            a: spread(a),
            b: spread(b),
            len: super::support::product(shape),
        }
    }

    fn pairs<T: Copy, U: Copy>(&self, a: &[T], b: &[U]) -> impl Iterator<Item = (T, U)> {
        let at = |list: &Option<Vec<usize>>, i: usize| list.as_ref().map_or(i, |l| l[i]);
        (0..self.len).map(move |i| (a[at(&self.a, i)], b[at(&self.b, i)]))
    }

    fn map<T: Copy, U: Copy, R>(&self, a: &[T], b: &[U], f: impl Fn(T, U) -> R) -> Data
    where
        Data: From<Vec<R>>,
    {
        self.pairs(a, b).map(|(a, b)| f(a, b)).collect::<Vec<R>>().into()
    }

    fn try_map<T: Copy, R>(&self, a: &[T], b: &[T], f: impl Fn(T, T) -> Option<R>) -> Answer<Data>
    where
        Data: From<Vec<R>>,
    {
        let all: Option<Vec<R>> = self.pairs(a, b).map(|(a, b)| f(a, b)).collect();
        Ok(all.ok_or("an integer is divided by zero")?.into())
    }
}

/// Python's remainder, with the sign of the divisor.
fn floor_mod<T: Number>(a: T, b: T) -> Option<T> {
    let r = a.fmod(b)?;
    let opposite = (r < T::ZERO) != (b < T::ZERO);
    Some(if r != T::ZERO && opposite { r.plus(b) } else { r })
}

/// Base and exponent may differ in type; the result has the base's.
fn pow(a: &Tensor, b: &Tensor, z: &Zip) -> Answer<Data> {
    fn real<T: Number>(x: T, y: f64) -> T {
        if y == 2.0 {
            x.times(x)
        } else {
            T::of_f64(libm::pow(x.to_f64(), y))
        }
    }
    fn whole<T: Number>(x: T, y: i64) -> T {
        if y < 0 {
            return real(x, y as f64);
        }
        let (mut power, mut base, mut left) = (T::ONE, x, y);
        while left > 0 {
            if left & 1 == 1 {
                power = power.times(base);
            }
            base = base.times(base);
            left >>= 1;
        }
        power
    }
    if let Some(exponents) = b.to_i64() {
        match a.dtype() {
            tensor::DType::F32 | tensor::DType::F64 => {
                let exponents: Vec<f64> = exponents.iter().map(|&e| e as f64).collect();
                typed!(a, [F32, F64], x => z.map(x, &exponents, real))
            }
            _ => typed!(a, [I8, U8, I16, U16, I32, U32, I64, U64], x => z.map(x, &exponents, whole)),
        }
    } else {
        let exponents: Vec<f64> = match b.data() {
            Data::F32(v) => v.iter().map(|&e| f64::from(e)).collect(),
            Data::F64(v) => v.clone(),
            d => return Err(wrong_type(d.dtype())),
        };
        typed!(a, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], x => z.map(x, &exponents, real))
    }
}
