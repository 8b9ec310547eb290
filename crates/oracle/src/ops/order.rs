//! ArgMax, ArgMin, TopK.

use std::cmp::Ordering;

use tensor::{Data, Tensor};

use super::number::Number;
use super::support::{Answer, Inputs, axis, count, product, size, tensor, typed};

/// Lanes along an axis: (outer, length, inner).
fn lanes(x: &Tensor, along: usize) -> (usize, usize, usize) {
    let s = x.shape();
    let within = |dims: &[usize]| if x.is_empty() { 0 } else { product(dims) };
    (within(&s[..along]), s[along], within(&s[along + 1..]))
}

/// Index of the largest or smallest element along an axis; the first of equals, or the last.
pub(super) fn arg(i: Inputs<'_>, along: i64, keep_dims: bool, last: bool, largest: bool) -> Answer {
    fn run<T: Number>(
        x: &[T],
        (outer, n, inner): (usize, usize, usize),
        last: bool,
        largest: bool,
    ) -> Vec<i64> {
        let mut y = Vec::new();
        for o in 0..outer {
            for i in 0..inner {
                let at = |k: usize| x[(o * n + k) * inner + i];
                let best = (1..n).fold(0, |best, k| {
                    let better = if largest {
                        at(k) > at(best)
                    } else {
                        at(k) < at(best)
                    };
                    if better || (last && at(k) == at(best)) {
                        k
                    } else {
                        best
                    }
                });
                y.push(best as i64);
            }
        }
        y
    }
    let x = i.need(0)?;
    let along = axis(along, x.rank())?;
    let mut shape = x.shape().to_vec();
    if keep_dims {
        shape[along] = 1;
    } else {
        shape.remove(along);
    }
    if x.shape()[along] == 0 && count(&shape, 8)? > 0 {
        return Err("the axis has no elements".into());
    }
    let data = typed!(x, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], v => run(v, lanes(x, along), last, largest))?;
    tensor(shape, data)
}

/// x, k → values, indices; the best first, of equals the first.
pub(super) fn top_k(i: Inputs<'_>, along: i64, largest: bool) -> Answer<Vec<Tensor>> {
    fn run<T: Number>(
        x: &[T],
        (outer, n, inner): (usize, usize, usize),
        k: usize,
        largest: bool,
    ) -> Vec<usize> {
        let mut picked = vec![0; outer * k * inner];
        for o in 0..outer {
            for i in 0..inner {
                let at = |j: usize| (o * n + j) * inner + i;
                let mut all: Vec<usize> = (0..n).collect();
                let order = |&a: &usize, &b: &usize| -> Ordering {
                    let by_value = x[at(a)].order(x[at(b)]);
                    if largest { by_value.reverse() } else { by_value }
                };
                all.sort_by(order);
                for (j, &from) in all[..k].iter().enumerate() {
                    picked[(o * k + j) * inner + i] = at(from);
                }
            }
        }
        picked
    }
    let x = i.need(0)?;
    let along = axis(along, x.rank())?;
    let k = size(i.int(1)?.ok_or("k is missing")?)?;
    if k > x.shape()[along] {
        return Err(format!(
            "the {k} best of {} elements are asked for",
            x.shape()[along]
        ));
    }
    let mut shape = x.shape().to_vec();
    shape[along] = k;
    count(&shape, 8)?;
    let (outer, n, inner) = lanes(x, along);
    let picked = typed!(x, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64], v => run(v, (outer, n, inner), k, largest))?;
    let places: Vec<i64> = picked
        .iter()
        .map(|&p| (p / inner.max(1) % n.max(1)) as i64)
        .collect();
    let values = super::support::pick(x, shape.clone(), &picked)?;
    Ok(vec![values, tensor(shape, Data::from(places))?])
}
