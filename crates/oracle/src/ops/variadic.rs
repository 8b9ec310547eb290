//! Clip, Where, and folds over any number of inputs.

use graph::Op;
use tensor::{Data, Tensor};

use super::number::{Number, larger, smaller};
use super::support::{Answer, Inputs, Walk, broadcast_shape, count, pair, tensor, typed};
use super::unary;

/// x, min?, max?.
pub(super) fn clip(i: Inputs<'_>) -> Answer {
    let x = i.need(0)?;
    fn one<T: Copy>(v: &[T]) -> Answer<Option<T>> {
        match v {
            [v] => Ok(Some(*v)),
            _ => Err(format!("a bound has {} elements, not one", v.len())),
        }
    }
    macro_rules! run {
        ($($variant:ident),*) => {
            match x.data() {
                $(Data::$variant(v) => {
                    let bound = |at: usize| match i.get(at).map(Tensor::data) {
                        None => Ok(None),
                        Some(Data::$variant(b)) => one(b),
                        Some(b) => Err(format!("bounds are {:?}, x is {:?}", b.dtype(), x.dtype())),
                    };
                    let (low, high) = (bound(1)?, bound(2)?);
                    v.iter().map(|&x| unary::clip(x, low, high)).collect::<Vec<_>>().into()
                })*
                d => return Err(super::support::wrong_type(d.dtype())),
            }
        };
    }
    let data: Data = run!(F32, F64, I8, U8, I16, U16, I32, U32, I64, U64);
    tensor(x.shape().to_vec(), data)
}

/// Max, Min, Sum, Mean.
pub(super) fn fold(i: Inputs<'_>, op: &Op) -> Answer {
    let all = i.all()?;
    let shapes: Vec<&[usize]> = all.iter().map(|t| t.shape()).collect();
    let shape = broadcast_shape(&shapes)?;
    count(&shape, 8)?;
    fn step<T: Number>(op: &Op, acc: T, x: T) -> T {
        match op {
            Op::Max => larger(acc, x),
            Op::Min => smaller(acc, x),
            _ => acc.plus(x),
        }
    }
    fn spread<T: Copy>(v: &[T], from: &[usize], to: &[usize]) -> Vec<T> {
        let mut out = Vec::new();
        Walk::broadcast(from, to).for_each(|i| out.extend(i.map(|i| v[i])));
        out
    }
    let (first, rest) = (all[0], &all[1..]);
    let mut acc = tensor(
        shape.clone(),
        typed!(first, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], v => Data::from(spread(v, first.shape(), &shape)))?,
    )?;
    for t in rest {
        let next: Data = pair!(acc, t, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], (a, x) => {
            let x = spread(x, t.shape(), &shape);
            a.iter().zip(x).map(|(&a, x)| step(op, a, x)).collect::<Vec<_>>().into()
        })?;
        acc = tensor(shape.clone(), next)?;
    }
    match (op, acc.data_mut()) {
        (Op::Mean, Data::F32(v)) => v.iter_mut().for_each(|x| *x /= all.len() as f32),
        (Op::Mean, Data::F64(v)) => v.iter_mut().for_each(|x| *x /= all.len() as f64),
        (Op::Mean, d) => return Err(super::support::wrong_type(d.dtype())),
        _ => {}
    }
    Ok(acc)
}

/// Where: condition, x, y.
pub(super) fn choose(i: Inputs<'_>) -> Answer {
    let (condition, a, b) = (i.need(0)?, i.need(1)?, i.need(2)?);
    let Data::Bool(bits) = condition.data() else {
        return Err(format!("the condition is {:?}, not Bool", condition.dtype()));
    };
    let shape = broadcast_shape(&[condition.shape(), a.shape(), b.shape()])?;
    count(&shape, 8)?;
    let [c, ai, bi] = [condition, a, b].map(|t| Walk::broadcast(t.shape(), &shape).indices());
    let data: Data = pair!(a, b, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool], (x, y) => {
        let at = |((c, a), b): ((&usize, &usize), &usize)| if bits[*c] { x[*a] } else { y[*b] };
        c.iter().zip(&ai).zip(&bi).map(at).collect::<Vec<_>>().into()
    })?;
    tensor(shape, data)
}
