//! Gathers and scatters.

use super::dims::{normalize_axis, show, unify};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::Op;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let x = call.input(0)?;
    call.input(1)?;
    call.expect_ints(1, "the indices")?;
    let (dims, indices) = (call.dims(0), call.dims(1));
    let shape = match op {
        Op::Gather { axis } => gather(*axis, call)?,
        Op::GatherElements { axis } => {
            if let Some(dims) = dims {
                let along = normalize_axis(*axis, dims.len())?;
                let fits = |i: &[Dim]| {
                    let mut all = i.iter().zip(dims).enumerate();
                    i.len() == dims.len()
                        && all.all(|(a, (i, n))| a == along || i.zip(*n).is_none_or(|(i, n)| i <= n))
                };
                if let Some(i) = indices.filter(|i| !fits(i)) {
                    return Err(ShapeFault::bad(format!(
                        "data and indices have shapes {} and {}, which do not fit",
                        show(dims),
                        show(i)
                    )));
                }
            }
            indices.map(<[Dim]>::to_vec)
        }
        Op::GatherND { batch_dims } => gather_nd(*batch_dims, call)?,
        _ => {
            call.input(2)?;
            call.same_dtype([0, 2])?;
            if let (Some(dims), Some(indices)) = (dims, indices) {
                let depth = depth(indices, dims.len(), 0)?;
                if let (Some(depth), Some(updates)) = (depth, call.dims(2)) {
                    let (outer, _) = indices.split_at(indices.len() - 1);
                    let inner = dims.get(depth..).unwrap_or_default();
                    let want = [outer, inner].concat();
                    if want.len() != updates.len() {
                        return Err(ShapeFault::bad(format!(
                            "the updates have shape {}, not {}",
                            show(updates),
                            show(&want)
                        )));
                    }
                    for (&a, &b) in want.iter().zip(updates) {
                        unify(a, b, "sizes of the updates and of what they replace")?;
                    }
                }
            }
            dims.map(<[Dim]>::to_vec)
        }
    };
    Ok(one(x.dtype, shape))
}

fn gather(axis: i64, call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let (Some(x), Some(indices)) = (call.dims(0), call.dims(1)) else {
        return Ok(None);
    };
    let axis = normalize_axis(axis, x.len())?;
    if let (Some(n), Some(list)) = (x.get(axis).copied().flatten(), call.ints(1)) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        if let Some(bad) = list.into_iter().flatten().find(|&i| i >= n || i < -n) {
            return Err(ShapeFault::bad(format!(
                "index {bad} is outside axis {axis} with {n} elements"
            )));
        }
    }
    let (before, after) = x.split_at(axis);
    Ok(Some(
        [before, indices, after.get(1..).unwrap_or_default()].concat(),
    ))
}

/// Length of an index tuple.
fn depth(indices: &[Dim], rank: usize, batch_dims: usize) -> Result<Dim, ShapeFault> {
    let Some(last) = indices.last() else {
        return Err(ShapeFault::bad("the indices have no dimension"));
    };
    if rank == 0 || batch_dims >= rank.min(indices.len()) {
        return Err(ShapeFault::bad(format!(
            "batch_dims {batch_dims} does not fit data of {rank} and indices of {} dimensions",
            indices.len()
        )));
    }
    match last {
        Some(depth) if *depth == 0 || *depth > rank - batch_dims => Err(ShapeFault::bad(format!(
            "an index has {depth} numbers, the data {} dimensions",
            rank - batch_dims
        ))),
        depth => Ok(*depth),
    }
}

fn gather_nd(batch_dims: usize, call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let (Some(x), Some(indices)) = (call.dims(0), call.dims(1)) else {
        return Ok(None);
    };
    let Some(depth) = depth(indices, x.len(), batch_dims)? else {
        return Ok(None);
    };
    for (&a, &b) in x.iter().zip(indices).take(batch_dims) {
        unify(a, b, "batch sizes of data and indices")?;
    }
    let (outer, _) = indices.split_at(indices.len() - 1);
    let inner = x.get(batch_dims + depth..).unwrap_or_default();
    Ok(Some([outer, inner].concat()))
}
