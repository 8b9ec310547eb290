//! Gathers and scatters.

use tensor::{Data, Tensor, strides};

use super::support::{Answer, Inputs, axis, count, pair, pick, product, rearrange, tensor};

/// Indices that may count from the end of an axis of length `n`.
fn places(t: &Tensor, n: usize) -> Answer<Vec<usize>> {
    let list = t
        .to_i64()
        .ok_or_else(|| format!("indices are {:?}, not integers", t.dtype()))?;
    list.into_iter().map(|i| place(i, n)).collect()
}

fn place(i: i64, n: usize) -> Answer<usize> {
    let at = if i < 0 { i.saturating_add(n as i64) } else { i };
    match usize::try_from(at) {
        Ok(at) if at < n => Ok(at),
        _ => Err(format!("index {i} lies outside an axis of {n}")),
    }
}

pub(super) fn gather(i: Inputs<'_>, along: i64) -> Answer {
    let (x, indices) = (i.need(0)?, i.need(1)?);
    let along = axis(along, x.rank())?;
    let at = places(indices, x.shape()[along])?;
    let (outer, inner) = (&x.shape()[..along], &x.shape()[along + 1..]);
    let shape: Vec<usize> = [outer, indices.shape(), inner].concat();
    count(&shape, x.dtype().size())?;
    let mut flat: Vec<usize> = [outer, &[at.len()], inner].concat();
    if x.is_empty() {
        flat[along] = 0;
    }
    let steps = strides(x.shape());
    let y = rearrange(x, flat, |a, i| if a == along { at[i] } else { i } * steps[a])?;
    y.reshaped(shape).map_err(|e| e.to_string())
}

pub(super) fn gather_elements(i: Inputs<'_>, along: i64) -> Answer {
    let (x, indices) = (i.need(0)?, i.need(1)?);
    let along = axis(along, x.rank())?;
    let within = |a: usize| a == along || indices.shape()[a] <= x.shape()[a];
    if indices.rank() != x.rank() || !(0..x.rank()).all(within) {
        return Err(format!(
            "indices {:?} do not fit x {:?}",
            indices.shape(),
            x.shape()
        ));
    }
    let at = places(indices, x.shape()[along])?;
    let steps = strides(x.shape());
    let walk = super::support::Walk::new(indices.shape(), |a, i| {
        Some(if a == along { 0 } else { i * steps[a] })
    });
    let bases = walk.indices();
    let flat: Vec<usize> = bases.iter().zip(&at).map(|(b, i)| b + i * steps[along]).collect();
    pick(x, indices.shape().to_vec(), &flat)
}

/// Starts of the slices that rows of `indices` name in `x`, after `batch` common axes.
fn starts(x: &Tensor, indices: &Tensor, batch: usize) -> Answer<(Vec<usize>, usize)> {
    let misfit = || format!("indices {:?} do not fit x {:?}", indices.shape(), x.shape());
    let (&depth, rows) = indices.shape().split_last().ok_or_else(misfit)?;
    let fits = rows.len() >= batch
        && batch.checked_add(depth).is_some_and(|d| d <= x.rank())
        && rows[..batch] == x.shape()[..batch];
    if !fits {
        return Err(misfit());
    }
    let list = indices
        .to_i64()
        .ok_or_else(|| format!("indices are {:?}", indices.dtype()))?;
    // Slices of an empty tensor have no elements and no place.
    let steps = if x.is_empty() {
        vec![0; x.rank()]
    } else {
        strides(x.shape())
    };
    let per_batch = if batch == 0 { 1 } else { steps[batch - 1] };
    let count = count(rows, 1)?;
    let rows_per_batch = count.checked_div(product(&rows[..batch])).unwrap_or(0).max(1);
    let start = |r: usize| {
        let row = &list[r * depth..(r + 1) * depth];
        let base = if batch == 0 {
            0
        } else {
            r / rows_per_batch * per_batch
        };
        row.iter().enumerate().try_fold(base, |sum, (k, &i)| {
            Ok(sum + place(i, x.shape()[batch + k])? * steps[batch + k])
        })
    };
    let slice = if x.is_empty() {
        0
    } else {
        product(&x.shape()[batch + depth..])
    };
    Ok(((0..count).map(start).collect::<Answer<_>>()?, slice))
}

pub(super) fn gather_nd(i: Inputs<'_>, batch: usize) -> Answer {
    let (x, indices) = (i.need(0)?, i.need(1)?);
    let (starts, slice) = starts(x, indices, batch)?;
    let (depth, rows) = indices.shape().split_last().ok_or("indices are a scalar")?;
    let shape: Vec<usize> = [rows, &x.shape()[batch + depth..]].concat();
    count(&shape, 8)?;
    let flat: Vec<usize> = starts.iter().flat_map(|&s| s..s + slice).collect();
    pick(x, shape, &flat)
}

/// x, indices, updates: slices of a copy are overwritten in order.
pub(super) fn scatter_nd(i: Inputs<'_>) -> Answer {
    let (x, indices, updates) = (i.need(0)?, i.need(1)?, i.need(2)?);
    let (starts, slice) = starts(x, indices, 0)?;
    let (depth, rows) = indices.shape().split_last().ok_or("indices are a scalar")?;
    if updates.shape() != [rows, &x.shape()[*depth..]].concat() {
        return Err(format!("updates {:?} do not fit", updates.shape()));
    }
    let data: Data = pair!(x, updates, [F32, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool], (x, u) => {
        let mut y = x.clone();
        for (&s, u) in starts.iter().zip(u.chunks(slice.max(1))) {
            y[s..s + slice].copy_from_slice(u);
        }
        y.into()
    })?;
    tensor(x.shape().to_vec(), data)
}
