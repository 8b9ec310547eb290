//! Operators that change the shape alone.

use super::support::{Answer, Inputs, MAX_RANK, axes, count};

fn reshaped(x: &tensor::Tensor, shape: Vec<usize>) -> Answer {
    count(&shape, x.dtype().size())?;
    x.clone().reshaped(shape).map_err(|e| e.to_string())
}

/// x, shape: −1 is computed, 0 copies unless zeros are allowed.
pub(super) fn reshape(i: Inputs<'_>, allow_zero: bool) -> Answer {
    let x = i.need(0)?;
    let wanted = i.need_ints(1)?;
    let misfit = || format!("{:?} cannot become {wanted:?}", x.shape());
    if wanted.len() > MAX_RANK {
        return Err(format!("{} dimensions are more than {MAX_RANK}", wanted.len()));
    }
    let mut open = None;
    let mut shape = Vec::with_capacity(wanted.len());
    for (a, &d) in wanted.iter().enumerate() {
        shape.push(match d {
            -1 if open.is_none() => {
                open = Some(a);
                1
            }
            0 if !allow_zero => *x.shape().get(a).ok_or_else(misfit)?,
            d => usize::try_from(d).map_err(|_| misfit())?,
        });
    }
    if let Some(a) = open {
        let known = count(&shape, 1)?;
        if known == 0 || !x.len().is_multiple_of(known) {
            return Err(misfit());
        }
        shape[a] = x.len() / known;
    }
    reshaped(x, shape)
}

pub(super) fn flatten(i: Inputs<'_>, axis: i64) -> Answer {
    let x = i.need(0)?;
    let rank = x.rank() as i64;
    let at = if axis < 0 { axis.saturating_add(rank) } else { axis };
    if !(0..=rank).contains(&at) {
        return Err(format!("axis {axis} does not exist in {rank} dimensions"));
    }
    let (outer, inner) = x.shape().split_at(at as usize);
    let shape = vec![count(outer, 1)?, count(inner, 1)?];
    reshaped(x, shape)
}

/// x, axes?.
pub(super) fn squeeze(i: Inputs<'_>) -> Answer {
    let x = i.need(0)?;
    let gone = match i.ints(1)? {
        Some(list) => axes(&list, x.rank())?,
        None => (0..x.rank()).filter(|&a| x.shape()[a] == 1).collect(),
    };
    if let Some(a) = gone.iter().find(|&&a| x.shape()[a] != 1) {
        return Err(format!("axis {a} of {:?} is not 1", x.shape()));
    }
    let shape = (0..x.rank())
        .filter(|a| !gone.contains(a))
        .map(|a| x.shape()[a])
        .collect();
    reshaped(x, shape)
}

/// x, axes of the result.
pub(super) fn unsqueeze(i: Inputs<'_>) -> Answer {
    let x = i.need(0)?;
    let list = i.need_ints(1)?;
    if list.len() > MAX_RANK {
        return Err(format!("{} dimensions are more than {MAX_RANK}", list.len()));
    }
    let rank = x.rank() + list.len();
    let new = axes(&list, rank)?;
    let mut old = x.shape().iter().copied();
    let shape = (0..rank)
        .map(|a| {
            if new.contains(&a) {
                1
            } else {
                old.next().unwrap_or(1)
            }
        })
        .collect();
    reshaped(x, shape)
}
