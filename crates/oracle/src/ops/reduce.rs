//! Reductions and running sums.

use graph::ReduceKind;
use tensor::Data;

use super::number::{Number, Real, larger, smaller};
use super::support::{Answer, Inputs, axes, axis, count, product, tensor, typed, wrong_type};

/// x, axes?.
pub(super) fn reduce(i: Inputs<'_>, kind: ReduceKind, keep_dims: bool, noop: bool) -> Answer {
    let x = i.need(0)?;
    let given = i.ints(1)?.unwrap_or_default();
    if given.is_empty() && noop {
        return elementwise(i, kind);
    }
    let over = match given.is_empty() {
        true => (0..x.rank()).collect(),
        false => axes(&given, x.rank())?,
    };
    let mut kept = x.shape().to_vec();
    for &a in &over {
        kept[a] = 1;
    }
    let shape: Vec<usize> = match keep_dims {
        true => kept.clone(),
        false => (0..x.rank())
            .filter(|a| !over.contains(a))
            .map(|a| kept[a])
            .collect(),
    };
    let lanes = Lanes::new(x.shape(), &kept)?;
    let data = values(x, kind, &lanes)?;
    tensor(shape, data)
}

/// Without axes a reduction may mean each element by itself.
fn elementwise(i: Inputs<'_>, kind: ReduceKind) -> Answer {
    let x = i.need(0)?;
    let lanes = Lanes {
        starts: (0..x.len()).collect(),
        members: vec![0],
    };
    tensor(x.shape().to_vec(), values(x, kind, &lanes)?)
}

/// Elements that are reduced together: `start + member`, members in row-major order.
struct Lanes {
    starts: Vec<usize>,
    members: Vec<usize>,
}

impl Lanes {
    fn new(shape: &[usize], kept: &[usize]) -> Answer<Lanes> {
        count(kept, 8)?;
        // Elements of an empty tensor have no place.
        let steps = if product(shape) == 0 {
            vec![0; shape.len()]
        } else {
            tensor::strides(shape)
        };
        let reduced: Vec<usize> = shape
            .iter()
            .zip(kept)
            .map(|(&n, &k)| if k == n { 1 } else { n })
            .collect();
        count(&reduced, 8)?;
        let walk = |s: &[usize]| super::support::Walk::new(s, |a, i| Some(i * steps[a])).indices();
        Ok(Lanes {
            starts: walk(kept),
            members: walk(&reduced),
        })
    }

    fn map<T: Copy, R>(&self, x: &[T], f: impl Fn(&mut dyn Iterator<Item = T>) -> R) -> Data
    where
        Data: From<Vec<R>>,
    {
        let lane = |&s: &usize| f(&mut self.members.iter().map(|&m| x[s + m]));
        self.starts.iter().map(lane).collect::<Vec<R>>().into()
    }
}

fn values(x: &tensor::Tensor, kind: ReduceKind, lanes: &Lanes) -> Answer<Data> {
    match (kind, x.data()) {
        (_, Data::F32(v)) => Ok(real(v, kind, lanes)),
        (_, Data::F64(v)) => Ok(real(v, kind, lanes)),
        (ReduceKind::Max, Data::Bool(v)) => Ok(lanes.map(v, |lane| lane.fold(false, |a, x| a | x))),
        (ReduceKind::Min, Data::Bool(v)) => Ok(lanes.map(v, |lane| lane.fold(true, |a, x| a & x))),
        _ => typed!(x, [I8, U8, I16, U16, I32, U32, I64, U64], v => whole(v, kind, lanes)?),
    }
}

fn real<T: Real>(x: &[T], kind: ReduceKind, lanes: &Lanes) -> Data
where
    Data: From<Vec<T>>,
{
    let n = T::of_f64(lanes.members.len() as f64);
    lanes.map(x, |lane| match kind {
        ReduceKind::Sum => lane.fold(Number::ZERO, T::plus),
        ReduceKind::Mean => {
            let sum: T = lane.fold(Number::ZERO, T::plus);
            sum.over(n).unwrap_or(sum)
        }
        ReduceKind::Max => lane.fold(T::LOWEST, larger),
        ReduceKind::Min => lane.fold(T::HIGHEST, smaller),
        ReduceKind::Prod => lane.fold(T::ONE, T::times),
        ReduceKind::L1 => lane.fold(Number::ZERO, |s: T, x| s.plus(x.magnitude())),
        ReduceKind::SumSquare => lane.fold(Number::ZERO, |s, x| T::fma(x, x, s)),
        ReduceKind::L2 => {
            let sum: T = lane.fold(Number::ZERO, |s, x| T::fma(x, x, s));
            T::of_f64(libm::sqrt(sum.to_f64()))
        }
        ReduceKind::LogSumExp => {
            let all: Vec<T> = lane.collect();
            let m = all.iter().fold(T::LOWEST, |m, &x| larger(m, x));
            if m.to_f64().is_infinite() {
                return m;
            }
            let sum: T = all.iter().fold(Number::ZERO, |s: T, &x| s.plus(x.minus(m).exp()));
            m.plus(T::of_f64(libm::log(sum.to_f64())))
        }
    })
}

fn whole<T: Number>(x: &[T], kind: ReduceKind, lanes: &Lanes) -> Answer<Data>
where
    Data: From<Vec<T>>,
{
    let n = lanes.members.len();
    if n == 0 && kind == ReduceKind::Mean {
        return Err("the mean of no integers does not exist".into());
    }
    let root = |f: fn(f64) -> f64, lane: &mut dyn Iterator<Item = T>, g: fn(f64) -> f64| {
        T::of_f64(f(lane.fold(0.0, |s, x| s + g(x.to_f64()))))
    };
    Ok(lanes.map(x, |lane| match kind {
        ReduceKind::Sum => lane.fold(T::ZERO, T::plus),
        ReduceKind::Mean => {
            let sum: i128 = lane.fold(0, |s, x| s + x.to_f64() as i128);
            T::of_f64((sum / n as i128) as f64)
        }
        ReduceKind::Max => lane.fold(T::LOWEST, larger),
        ReduceKind::Min => lane.fold(T::HIGHEST, smaller),
        ReduceKind::Prod => lane.fold(T::ONE, T::times),
        ReduceKind::L1 => lane.fold(T::ZERO, |s, x| s.plus(x.magnitude())),
        ReduceKind::SumSquare => lane.fold(T::ZERO, |s, x| s.plus(x.times(x))),
        ReduceKind::L2 => root(libm::sqrt, lane, |x| x * x),
        ReduceKind::LogSumExp => root(libm::log, lane, libm::exp),
    }))
}

/// x, axis.
pub(super) fn cum_sum(i: Inputs<'_>, exclusive: bool, reverse: bool) -> Answer {
    fn run<T: Number>(x: &[T], n: usize, inner: usize, exclusive: bool, reverse: bool) -> Vec<T> {
        let mut y = x.to_vec();
        if x.is_empty() {
            return y;
        }
        for start in (0..x.len()).step_by(n * inner) {
            for lane in start..start + inner {
                let mut sum = T::ZERO;
                for k in 0..n {
                    let at = lane + if reverse { n - 1 - k } else { k } * inner;
                    let next = sum.plus(x[at]);
                    y[at] = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        y
    }
    let x = i.need(0)?;
    let along = axis(i.int(1)?.ok_or("the axis is missing")?, x.rank())?;
    let (n, inner) = match x.is_empty() {
        true => (0, 0),
        false => (x.shape()[along], product(&x.shape()[along + 1..])),
    };
    if x.dtype() == tensor::DType::Bool {
        return Err(wrong_type(x.dtype()));
    }
    let data: Data = typed!(x, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64],
        v => run(v, n, inner, exclusive, reverse).into())?;
    tensor(x.shape().to_vec(), data)
}
