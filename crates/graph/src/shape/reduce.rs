//! Reductions, arg-reductions, TopK, non-maximum suppression, running sums.

use tensor::DType;

use super::dims::{normalize_axes, normalize_axis, show, size, unify};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::{Op, ReduceKind};

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let x = call.input(0)?;
    match op {
        Op::Reduce {
            kind,
            keep_dims,
            noop_with_empty_axes,
        } => {
            if !matches!(kind, ReduceKind::Max | ReduceKind::Min) {
                call.expect_number(0)?;
            }
            call.expect_list(1, "the axes")?;
            let whole = !matches!(x.dtype, None | Some(DType::F32 | DType::F64));
            if *kind == ReduceKind::Mean && whole && call.dims(0).is_some_and(|d| d.contains(&Some(0))) {
                return Err(ShapeFault::bad("the mean of no integers does not exist"));
            }
            Ok(one(x.dtype, reduce(*keep_dims, *noop_with_empty_axes, call)?))
        }
        Op::ArgMax { axis, keep_dims, .. } | Op::ArgMin { axis, keep_dims, .. } => {
            call.expect_number(0)?;
            let shape = match call.dims(0) {
                None => None,
                Some(x) => {
                    let axis = normalize_axis(*axis, x.len())?;
                    if x.get(axis) == Some(&Some(0)) {
                        return Err(ShapeFault::bad(format!("axis {axis} has no element to choose")));
                    }
                    Some(reduced(x, &[axis], *keep_dims))
                }
            };
            Ok(one(Some(DType::I64), shape))
        }
        Op::TopK { axis, .. } => top_k(*axis, call),
        Op::NonMaxSuppression { .. } => non_max_suppression(call),
        _ => {
            call.expect_number(0)?;
            call.input(1)?;
            call.expect_list(1, "the axis")?;
            call.expect_one(1, "the axis")?;
            if let (Some(dims), Some(axis)) = (call.dims(0), call.all_ints(1)) {
                match axis[..] {
                    [axis] => drop(normalize_axis(axis, dims.len())?),
                    _ => return Err(ShapeFault::bad(format!("{} axes are given, not one", axis.len()))),
                }
            }
            Ok(vec![x.clone()])
        }
    }
}

fn reduced(x: &[Dim], axes: &[usize], keep_dims: bool) -> Vec<Dim> {
    x.iter()
        .enumerate()
        .filter_map(|(i, &d)| match (axes.contains(&i), keep_dims) {
            (false, _) => Some(d),
            (true, true) => Some(Some(1)),
            (true, false) => None,
        })
        .collect()
}

fn reduce(keep_dims: bool, noop: bool, call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let Some(x) = call.dims(0) else {
        let all = !call.has(1) && !noop && !keep_dims;
        return Ok(all.then(Vec::new));
    };
    let axes = if call.has(1) {
        call.all_ints(1)
    } else {
        Some(Vec::new())
    };
    let Some(axes) = axes else {
        let count = call.vector_len(1, "the axes")?;
        let rank = if keep_dims {
            Some(x.len())
        } else {
            count.filter(|&n| n > 0).and_then(|n| x.len().checked_sub(n))
        };
        return Ok(rank.map(|r| vec![None; r]));
    };
    let axes = match normalize_axes(&axes, x.len())? {
        none if none.is_empty() && noop => return Ok(Some(x.to_vec())),
        none if none.is_empty() => (0..x.len()).collect(),
        some => some,
    };
    Ok(Some(reduced(x, &axes, keep_dims)))
}

fn top_k(axis: i64, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let x = call.input(0)?;
    call.input(1)?;
    call.expect_number(0)?;
    call.expect_list(1, "k")?;
    call.expect_one(1, "k")?;
    let k = match call.ints(1).as_deref() {
        Some([k]) => k.map(|k| size(k, "k")).transpose()?,
        Some(list) => {
            return Err(ShapeFault::bad(format!(
                "k holds {} numbers, not one",
                list.len()
            )));
        }
        None => None,
    };
    let shape = match call.dims(0) {
        None => None,
        Some(x) => {
            let axis = normalize_axis(axis, x.len())?;
            let mut shape = x.to_vec();
            if let Some(slot) = shape.get_mut(axis) {
                if let (Some(n), Some(k)) = (*slot, k)
                    && k > n
                {
                    return Err(ShapeFault::bad(format!("k is {k}, axis {axis} has {n} elements")));
                }
                *slot = k;
            }
            Some(shape)
        }
    };
    let indices = TensorType {
        dtype: Some(DType::I64),
        shape: shape.clone(),
    };
    let values = TensorType {
        dtype: x.dtype,
        shape,
    };
    Ok(vec![values, indices]
        .into_iter()
        .take(call.outputs.max(1))
        .collect())
}

fn non_max_suppression(call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    call.input(1)?;
    call.expect_list(2, "the number of boxes")?;
    for (i, what) in [
        (2, "the number of boxes"),
        (3, "the overlap"),
        (4, "the least score"),
    ] {
        call.expect_one(i, what)?;
    }
    for (i, what) in [(0, "boxes"), (1, "scores")] {
        if let Some(d) = call.dims(i).filter(|d| d.len() != 3) {
            let shape = show(d);
            return Err(ShapeFault::bad(format!(
                "the {what} have shape {shape}, not three dimensions"
            )));
        }
    }
    if let (Some(boxes), Some(scores)) = (call.dims(0), call.dims(1)) {
        let at = |d: &[Dim], i: usize| d.get(i).copied().flatten();
        unify(at(boxes, 0), at(scores, 0), "batches of boxes and scores")?;
        unify(at(boxes, 1), at(scores, 2), "numbers of boxes and of scores")?;
        unify(at(boxes, 2), Some(4), "numbers of a box")?;
    }
    // How many boxes survive depends on the scores.
    Ok(one(Some(DType::I64), Some(vec![None, Some(3)])))
}
