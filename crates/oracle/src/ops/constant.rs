//! Shapes, constants, ranges, casts.

use tensor::{DType, Data, Tensor};

use super::number::Number;
use super::support::{Answer, Inputs, count, size, tensor};

pub(super) fn shape(i: Inputs<'_>, start: i64, end: Option<i64>) -> Answer {
    let x = i.need(0)?;
    let rank = x.rank() as i64;
    let place = |p: i64| if p < 0 { p.saturating_add(rank) } else { p }.clamp(0, rank) as usize;
    let (start, end) = (place(start), end.map_or(x.rank(), place));
    let dims = x.shape().get(start..end).unwrap_or(&[]);
    Ok(Tensor::vector(dims.iter().map(|&d| d as i64).collect()))
}

/// A shape filled with one value.
pub(super) fn of_shape(i: Inputs<'_>, value: &Tensor) -> Answer {
    let shape: Vec<usize> = i.need_ints(0)?.into_iter().map(size).collect::<Answer<_>>()?;
    let n = count(&shape, value.dtype().size())?;
    if value.len() != 1 {
        return Err(format!("the value holds {} elements, not one", value.len()));
    }
    tensor(
        shape,
        tensor::for_each_data!(value.data(), v => Data::from(vec![v[0]; n])),
    )
}

/// start, limit, delta.
pub(super) fn range(i: Inputs<'_>) -> Answer {
    let [start, limit, delta] = [i.need(0)?, i.need(1)?, i.need(2)?];
    fn one<T: Copy>(v: &[T]) -> Answer<T> {
        match v {
            [v] => Ok(*v),
            _ => Err(format!("a bound holds {} elements, not one", v.len())),
        }
    }
    fn real<T: Number>(start: T, limit: T, delta: T) -> f64 {
        ((limit.to_f64() - start.to_f64()) / delta.to_f64()).ceil()
    }
    fn whole<T: Into<i64>>(start: T, limit: T, delta: T) -> f64 {
        let [start, limit, delta] = [start, limit, delta].map(|v| i128::from(v.into()));
        // ⌈(limit − start) / delta⌉, exactly.
        let back = if delta > 0 { start - limit } else { limit - start };
        -back.div_euclid(delta.abs()) as f64
    }
    fn run<T: Number>(steps: fn(T, T, T) -> f64, start: T, limit: T, delta: T) -> Answer<Vec<T>> {
        if delta == T::ZERO {
            return Err("the step is 0".into());
        }
        let steps = steps(start, limit, delta);
        if steps.is_nan() || steps >= (1u64 << 40) as f64 {
            return Err("it has no end".into());
        }
        let n = count(&[steps.max(0.0) as usize], 8)?;
        Ok((0..n)
            .map(|k| start.plus(T::of_f64(k as f64).times(delta)))
            .collect())
    }
    macro_rules! of {
        ($($variant:ident $steps:ident),*) => {
            match (start.data(), limit.data(), delta.data()) {
                $((Data::$variant(a), Data::$variant(b), Data::$variant(c)) => {
                    Data::from(run($steps, one(a)?, one(b)?, one(c)?)?)
                })*
                (a, b, c) => {
                    return Err(format!("bounds are {:?}, {:?} and {:?}", a.dtype(), b.dtype(), c.dtype()));
                }
            }
        };
    }
    let data = of!(F32 real, F64 real, I16 whole, I32 whole, I64 whole);
    tensor(vec![data.len()], data)
}

/// Coordinates of the elements that are not zero: [rank, count].
pub(super) fn non_zero(i: Inputs<'_>) -> Answer {
    let x = i.need(0)?;
    let Data::Bool(bits) = cast(x, DType::Bool)?.data().clone() else {
        return Err("its input cannot be tested".into());
    };
    let found: Vec<usize> = (0..bits.len()).filter(|&i| bits[i]).collect();
    let steps = tensor::strides(x.shape());
    let mut out = Vec::with_capacity(found.len() * x.rank());
    for (step, &n) in steps.iter().zip(x.shape()) {
        out.extend(found.iter().map(|i| (i / step % n.max(1)) as i64));
    }
    // A scalar counts as a vector of one.
    if x.rank() == 0 {
        return tensor(vec![1, found.len()], vec![0i64; found.len()]);
    }
    tensor(vec![x.rank(), found.len()], out)
}

/// Rust's `as`: floats to integers cut off and saturate, integers wrap.
pub(super) fn cast(x: &Tensor, to: DType) -> Answer {
    macro_rules! to {
        ($v:expr, $t:ty) => {
            $v.iter().map(|&x| x as $t).collect::<Vec<$t>>().into()
        };
    }
    macro_rules! from {
        ($($variant:ident),*) => {
            match x.data() {
                $(Data::$variant(v) => match to {
                    DType::F32 => to!(v, f32),
                    DType::F64 => to!(v, f64),
                    DType::I8 => to!(v, i8),
                    DType::U8 => to!(v, u8),
                    DType::I16 => to!(v, i16),
                    DType::U16 => to!(v, u16),
                    DType::I32 => to!(v, i32),
                    DType::U32 => to!(v, u32),
                    DType::I64 => to!(v, i64),
                    DType::U64 => to!(v, u64),
                    DType::Bool => v.iter().map(|&x| x != Default::default()).collect::<Vec<bool>>().into(),
                },)*
                Data::Bool(v) => {
                    if to == DType::Bool {
                        return Ok(x.clone());
                    }
                    let bits = Tensor::new(x.shape().to_vec(), v.iter().map(|&b| u8::from(b)).collect::<Vec<_>>());
                    return cast(&bits.map_err(|e| e.to_string())?, to);
                }
            }
        };
    }
    count(x.shape(), to.size())?;
    let data: Data = from!(F32, F64, I8, U8, I16, U16, I32, U32, I64, U64);
    tensor(x.shape().to_vec(), data)
}
