//! Operators that move elements: concatenation, splitting, slicing, padding, reshaping, transposing.

use super::constant::shape_from;
use super::dims::{broadcast, normalize_axes, normalize_axis, overflow, product, show, size, sum, unify};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::{Op, PadMode};

type Rule = Result<Vec<TensorType>, ShapeFault>;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Rule {
    let x = call.input(0)?;
    let shape = match op {
        Op::Concat { axis } => return concat(*axis, call),
        Op::Split { axis } => return split(*axis, call),
        Op::Slice => slice(call)?,
        Op::Pad { mode } => pad(*mode, call)?,
        Op::Reshape { allow_zero } => reshape(*allow_zero, call)?,
        Op::Flatten { axis } => flatten(*axis, call)?,
        Op::Squeeze => squeeze(call)?,
        Op::Unsqueeze => unsqueeze(call)?,
        Op::Transpose { perm } => transpose(perm.as_deref(), call)?,
        Op::Expand => {
            call.input(1)?;
            call.expect_list(1, "the shape")?;
            match (call.dims(0), shape_from(call, 1)?) {
                (Some(x), Some(to)) => Some(broadcast(x, &to)?),
                _ => None,
            }
        }
        Op::Tile => tile(call)?,
        Op::DepthToSpace { block, .. } => blocks(call, *block, false)?,
        Op::SpaceToDepth { block } => blocks(call, *block, true)?,
        _ => None,
    };
    Ok(one(x.dtype, shape))
}

fn concat(axis: i64, call: &Call<'_>) -> Rule {
    let all = call.all()?;
    let dtype = call.same_dtype(0..all.len())?;
    let Some(shapes) = all
        .iter()
        .map(|t| t.shape.as_deref())
        .collect::<Option<Vec<&[Dim]>>>()
    else {
        // One known rank fixes the others.
        let rank = all.iter().find_map(|t| t.shape.as_ref().map(Vec::len));
        return Ok(one(dtype, rank.map(|r| vec![None; r])));
    };
    let Some((first, rest)) = shapes.split_first() else {
        return Err(ShapeFault::bad("it has no input"));
    };
    let axis = normalize_axis(axis, first.len())?;
    let mut out = first.to_vec();
    for shape in rest {
        if shape.len() != first.len() {
            let (a, b) = (show(first), show(shape));
            return Err(ShapeFault::bad(format!("shapes {a} and {b} differ in rank")));
        }
        for (i, (o, &d)) in out.iter_mut().zip(*shape).enumerate() {
            if i != axis {
                *o = unify(*o, d, &format!("sizes of axis {i} of the inputs"))?;
            }
        }
    }
    if let Some(slot) = out.get_mut(axis) {
        *slot = sum(shapes.iter().map(|s| s.get(axis).copied().flatten()))?;
    }
    Ok(one(dtype, Some(out)))
}

fn split(axis: i64, call: &Call<'_>) -> Rule {
    let x = call.input(0)?;
    let unknown = |shape: Option<Vec<Dim>>| {
        vec![
            TensorType {
                dtype: x.dtype,
                shape
            };
            call.outputs
        ]
    };
    let Some(dims) = call.dims(0) else {
        return Ok(unknown(None));
    };
    let axis = normalize_axis(axis, dims.len())?;
    let total = dims.get(axis).copied().flatten();
    let sizes: Vec<Dim> = if call.has(1) {
        call.expect_list(1, "the sizes")?;
        match call.ints(1) {
            None => vec![None; call.outputs],
            Some(list) if list.len() != call.outputs => {
                let (n, outputs) = (list.len(), call.outputs);
                return Err(ShapeFault::bad(format!(
                    "{n} sizes are given for {outputs} outputs"
                )));
            }
            Some(list) => list
                .into_iter()
                .map(|n| n.map(|n| size(n, "a size")).transpose())
                .collect::<Result<_, _>>()?,
        }
    } else {
        equal_parts(total, call.outputs)?
    };
    if let (Some(parts), Some(total)) = (sum(sizes.iter().copied())?, total)
        && parts != total
    {
        return Err(ShapeFault::bad(format!(
            "its sizes add up to {parts}, axis {axis} has {total} elements"
        )));
    }
    let part = |n: Dim| {
        let mut shape = dims.to_vec();
        if let Some(slot) = shape.get_mut(axis) {
            *slot = n;
        }
        TensorType {
            dtype: x.dtype,
            shape: Some(shape),
        }
    };
    Ok(sizes.into_iter().map(part).collect())
}

/// Equal parts, the last one smaller where they do not divide.
pub(crate) fn equal_parts(total: Dim, outputs: usize) -> Result<Vec<Dim>, ShapeFault> {
    let Some(total) = total else {
        return Ok(vec![None; outputs]);
    };
    let part = total.div_ceil(outputs.max(1));
    let mut left = total;
    let mut parts = Vec::with_capacity(outputs);
    for i in 0..outputs {
        let n = if i + 1 == outputs { left } else { part.min(left) };
        left -= n;
        parts.push(Some(n));
    }
    if total >= outputs && parts.contains(&Some(0)) {
        return Err(ShapeFault::bad(format!(
            "{total} elements cannot be split into {outputs} parts of {part}"
        )));
    }
    Ok(parts)
}

/// One sliced axis; bounds as given, not yet clamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SliceAxis {
    pub axis: usize,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

/// A list whose elements may be unknown, or which is unknown altogether.
type Ints = Option<Vec<Option<i64>>>;

/// Sliced axes, each with its bounds where they are known.
type Cuts = Vec<(usize, Option<SliceAxis>)>;

/// The sliced axes, with `None` for the bounds of an axis where they are unknown; `None` where the axes themselves are.
pub(super) fn slice_bounds(
    starts: &Ints,
    ends: &Ints,
    axes: Option<Option<Vec<i64>>>,
    steps: Option<Ints>,
    rank: usize,
) -> Result<Option<Cuts>, ShapeFault> {
    let count = [starts, ends].into_iter().flatten().map(Vec::len).next();
    let axes: Vec<i64> = match (axes, count) {
        (Some(None), _) | (None, None) => return Ok(None),
        (Some(Some(axes)), _) => axes,
        (None, Some(n)) => (0..n as i64).collect(),
    };
    let differ = |list: &Ints| list.as_ref().is_some_and(|l| l.len() != axes.len());
    if differ(starts) || differ(ends) || steps.as_ref().is_some_and(differ) {
        return Err(ShapeFault::bad("starts, ends, axes and steps differ in length"));
    }
    let at = |list: &Ints, i: usize| list.as_ref().and_then(|l| l.get(i).copied().flatten());
    normalize_axes(&axes, rank)?
        .into_iter()
        .enumerate()
        .map(|(i, axis)| {
            let step = match &steps {
                None => Some(1),
                Some(list) => at(list, i),
            };
            if step == Some(0) {
                return Err(ShapeFault::bad(format!("the step of axis {axis} is 0")));
            }
            let known = match (at(starts, i), at(ends, i), step) {
                (Some(start), Some(end), Some(step)) => Some(SliceAxis {
                    axis,
                    start,
                    end,
                    step,
                }),
                _ => None,
            };
            Ok((axis, known))
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

/// First index and number of elements of a slice of `n` elements, bounds clamped as numpy does.
pub(crate) fn slice_extent(n: usize, start: i64, end: i64, step: i64) -> (i64, usize) {
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    let from_start = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let first = from_start(start).clamp(low.max(0).min(high.max(0)), high.max(0));
    let last = from_start(end).clamp(low, high.max(low));
    if n == 0 || step == 0 {
        return (0, 0);
    }
    let (distance, step) = (i128::from(last) - i128::from(first), i128::from(step));
    let count = if step > 0 {
        (distance + step - 1).div_euclid(step)
    } else {
        (-distance - step - 1).div_euclid(-step)
    };
    (first, usize::try_from(count.max(0)).unwrap_or(0))
}

/// Indices of a slice of `n` elements.
pub(super) fn slice_indices(n: usize, start: i64, end: i64, step: i64) -> impl Iterator<Item = usize> {
    let (first, count) = slice_extent(n, start, end, step);
    (0..count as i64).map(move |i| (first + i * step) as usize)
}

fn slice(call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    for i in [1, 2] {
        call.input(i)?;
    }
    for (i, what) in [(1, "starts"), (2, "ends"), (3, "axes"), (4, "steps")] {
        call.expect_list(i, what)?;
    }
    let Some(x) = call.dims(0) else { return Ok(None) };
    let axes = call.has(3).then(|| call.all_ints(3));
    let steps = call.has(4).then(|| call.ints(4));
    let (mut starts, ends) = (call.ints(1), call.ints(2));
    if starts.is_none() && ends.is_none() && axes.is_none() {
        // Their number alone says which axes are cut.
        starts = call
            .vector_len(1, "starts")?
            .filter(|&n| n <= x.len())
            .map(|n| vec![None; n]);
    }
    let Some(cuts) = slice_bounds(&starts, &ends, axes, steps, x.len())? else {
        return Ok(Some(vec![None; x.len()]));
    };
    let mut out = x.to_vec();
    for (axis, cut) in cuts {
        let Some(slot) = out.get_mut(axis) else { continue };
        *slot = match (*slot, cut) {
            (Some(n), Some(c)) => Some(slice_extent(n, c.start, c.end, c.step).1),
            _ => None,
        };
    }
    Ok(Some(out))
}

fn pad(mode: PadMode, call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    call.input(1)?;
    call.expect_list(1, "the paddings")?;
    call.expect_one(2, "the value")?;
    call.expect_list(3, "the axes")?;
    call.same_dtype([0, 2])?;
    let Some(x) = call.dims(0) else { return Ok(None) };
    let axes = match (call.has(3), call.all_ints(3)) {
        (false, _) => (0..x.len()).collect(),
        (true, Some(axes)) => normalize_axes(&axes, x.len())?,
        (true, None) => return Ok(Some(vec![None; x.len()])),
    };
    let Some(pads) = call.ints(1) else {
        return Ok(Some(vec![None; x.len()]));
    };
    if pads.len() != 2 * axes.len() {
        return Err(ShapeFault::bad(format!(
            "{} paddings are given, {} axes take two each",
            pads.len(),
            axes.len()
        )));
    }
    let mut out = x.to_vec();
    let (begins, ends) = pads.split_at(axes.len());
    for ((&axis, &begin), &end) in axes.iter().zip(begins).zip(ends) {
        let Some(slot) = out.get_mut(axis) else { continue };
        *slot = match (*slot, begin, end) {
            (Some(n), Some(begin), Some(end)) => Some(padded(n, begin, end, mode)?),
            _ => None,
        };
    }
    Ok(Some(out))
}

fn padded(n: usize, begin: i64, end: i64, mode: PadMode) -> Result<usize, ShapeFault> {
    let total = n as i128 + i128::from(begin) + i128::from(end);
    let total = usize::try_from(total).map_err(|_| match total < 0 {
        true => ShapeFault::bad(format!(
            "paddings {begin} and {end} cut more than the {n} elements"
        )),
        false => overflow(),
    })?;
    let most = match mode {
        PadMode::Reflect => n.saturating_sub(1),
        // There must be an element to repeat.
        PadMode::Edge | PadMode::Wrap if n == 0 => 0,
        _ => usize::MAX,
    };
    if let Some(bad) = [begin, end]
        .into_iter()
        .find(|&p| p > 0 && p.unsigned_abs() > most as u64)
    {
        return Err(ShapeFault::bad(format!(
            "padding {bad} in mode {mode:?} is more than {n} elements allow"
        )));
    }
    Ok(total)
}

fn reshape(allow_zero: bool, call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    call.input(1)?;
    call.expect_list(1, "the shape")?;
    let x = call.dims(0);
    let Some(list) = call.ints(1) else {
        return shape_from(call, 1);
    };
    if list.iter().filter(|&&d| d == Some(-1)).count() > 1 {
        return Err(ShapeFault::bad("its shape has more than one -1"));
    }
    let mut out: Vec<Dim> = Vec::with_capacity(list.len());
    for (i, &d) in list.iter().enumerate() {
        out.push(match d {
            None | Some(-1) => None,
            Some(0) if !allow_zero => match x {
                Some(x) => *x.get(i).ok_or_else(|| {
                    ShapeFault::bad(format!(
                        "its shape keeps axis {i}, the input has {} dimensions",
                        x.len()
                    ))
                })?,
                None => None,
            },
            Some(n) => Some(size(n, "a dimension")?),
        });
    }
    let Some(x) = x else { return Ok(Some(out)) };
    fill_free_dimension(x, &list, &mut out, allow_zero)?;
    Ok(Some(out))
}

/// Gives the one free dimension the size that keeps the number of elements, or checks that number.
fn fill_free_dimension(
    x: &[Dim],
    list: &[Option<i64>],
    out: &mut [Dim],
    allow_zero: bool,
) -> Result<(), ShapeFault> {
    let free = out.iter().position(Option::is_none);
    let alone = out.iter().filter(|d| d.is_none()).count() == 1;
    let misfit = |out: &[Dim]| {
        ShapeFault::bad(format!(
            "the elements of shape {} do not fit shape {}",
            show(x),
            show(out)
        ))
    };
    let Some(free) = free else {
        return match (product(x)?, product(out)?) {
            (Some(a), Some(b)) if a != b => Err(misfit(out)),
            _ => Ok(()),
        };
    };
    if !alone {
        return Ok(());
    }
    // An unknown dimension that is kept cancels against itself.
    let copied = list.get(free) == Some(&Some(0)) && !allow_zero;
    if copied {
        return Ok(());
    }
    let wanted = list.get(free) == Some(&Some(-1));
    let rest = |skip: usize| -> Vec<Dim> {
        let (before, after) = out.split_at(skip.min(out.len()));
        before.iter().chain(after.iter().skip(1)).copied().collect()
    };
    let (Some(total), Some(others)) = (product(x)?, product(&rest(free))?) else {
        return Ok(());
    };
    if others == 0 {
        return match total {
            0 if !wanted => Ok(()),
            _ => Err(ShapeFault::bad(format!(
                "the size of -1 in shape {} cannot be known beside a 0",
                show(out)
            ))),
        };
    }
    if total % others != 0 {
        return Err(misfit(out));
    }
    if let Some(slot) = out.get_mut(free) {
        *slot = Some(total / others);
    }
    Ok(())
}

fn flatten(axis: i64, call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let Some(x) = call.dims(0) else {
        return Ok(Some(vec![None, None]));
    };
    // One more axis than elsewhere: behind the last one lies an empty product.
    let axis = match usize::try_from(axis) {
        Ok(axis) if axis == x.len() => axis,
        _ => normalize_axis(axis, x.len())?,
    };
    let (outer, inner) = x.split_at(axis);
    Ok(Some(vec![product(outer)?, product(inner)?]))
}

fn squeeze(call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    call.expect_list(1, "the axes")?;
    let Some(x) = call.dims(0) else { return Ok(None) };
    if !call.has(1) {
        // Without axes the rank depends on every dimension.
        let known: Option<Vec<usize>> = x.iter().copied().collect();
        return Ok(known.map(|k| k.into_iter().filter(|&d| d != 1).map(Some).collect()));
    }
    let Some(axes) = call.all_ints(1) else {
        let removed = call.vector_len(1, "the axes")?;
        return Ok(removed
            .and_then(|n| x.len().checked_sub(n))
            .map(|rank| vec![None; rank]));
    };
    let axes = normalize_axes(&axes, x.len())?;
    if let Some((axis, n)) = axes
        .iter()
        .filter_map(|&a| Some((a, x.get(a).copied()??)))
        .find(|&(_, n)| n != 1)
    {
        return Err(ShapeFault::bad(format!(
            "axis {axis} has {n} elements, only 1 can be removed"
        )));
    }
    let kept = x.iter().enumerate().filter(|(i, _)| !axes.contains(i));
    Ok(Some(kept.map(|(_, &d)| d).collect()))
}

fn unsqueeze(call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    call.input(1)?;
    call.expect_list(1, "the axes")?;
    let Some(x) = call.dims(0) else { return Ok(None) };
    let Some(axes) = call.all_ints(1) else {
        let added = call
            .vector_len(1, "the axes")?
            .filter(|&n| n <= super::dims::MAX_RANK);
        return Ok(added.map(|n| vec![None; x.len() + n]));
    };
    let rank = x.len() + axes.len();
    if rank > super::dims::MAX_RANK {
        return Err(ShapeFault::bad(format!(
            "its output would have {rank} dimensions"
        )));
    }
    let axes = normalize_axes(&axes, rank)?;
    let mut rest = x.iter().copied();
    Ok(Some(
        (0..rank)
            .map(|i| {
                if axes.contains(&i) {
                    Some(1)
                } else {
                    rest.next().flatten()
                }
            })
            .collect(),
    ))
}

fn transpose(perm: Option<&[usize]>, call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let Some(x) = call.dims(0) else {
        return Ok(perm.map(|p| vec![None; p.len()]));
    };
    let Some(perm) = perm else {
        return Ok(Some(x.iter().rev().copied().collect()));
    };
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.len()) {
        return Err(ShapeFault::bad(format!(
            "perm {perm:?} does not permute the {} axes of its input",
            x.len()
        )));
    }
    Ok(Some(perm.iter().map(|&p| x.get(p).copied().flatten()).collect()))
}

fn tile(call: &Call<'_>) -> Result<Option<Vec<Dim>>, ShapeFault> {
    call.input(1)?;
    call.expect_list(1, "the repeats")?;
    let Some(x) = call.dims(0) else { return Ok(None) };
    let Some(repeats) = call.ints(1) else {
        return Ok(Some(vec![None; x.len()]));
    };
    if repeats.len() != x.len() {
        let (n, rank) = (repeats.len(), x.len());
        return Err(ShapeFault::bad(format!(
            "{n} repeats are given for {rank} dimensions"
        )));
    }
    x.iter()
        .zip(repeats)
        .map(|(&d, r)| match (d, r) {
            (Some(d), Some(r)) => d.checked_mul(size(r, "a repeat")?).map(Some).ok_or_else(overflow),
            _ => Ok(None),
        })
        .collect::<Result<Vec<Dim>, _>>()
        .map(Some)
}

/// Depth to space, or back.
fn blocks(call: &Call<'_>, block: usize, to_depth: bool) -> Result<Option<Vec<Dim>>, ShapeFault> {
    let (n, c, h, w) = match call.dims(0) {
        None => return Ok(Some(vec![None; 4])),
        Some(&[n, c, h, w]) => (n, c, h, w),
        Some(other) => {
            let rank = other.len();
            return Err(ShapeFault::bad(format!("its input has {rank} dimensions, not 4")));
        }
    };
    let square = block.checked_mul(block).filter(|&b| b > 0);
    let square = square.ok_or_else(|| ShapeFault::bad(format!("blocksize is {block}")))?;
    let times = |d: Dim, by: usize| d.map(|d| d.checked_mul(by).ok_or_else(overflow)).transpose();
    let over = |d: Dim, by: usize, what: &str| match d {
        Some(d) if d % by != 0 => Err(ShapeFault::bad(format!("{what} {d} is not a multiple of {by}"))),
        d => Ok(d.map(|d| d / by)),
    };
    Ok(Some(if to_depth {
        vec![
            n,
            times(c, square)?,
            over(h, block, "height")?,
            over(w, block, "width")?,
        ]
    } else {
        vec![
            n,
            over(c, square, "the number of channels")?,
            times(h, block)?,
            times(w, block)?,
        ]
    }))
}
