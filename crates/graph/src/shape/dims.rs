//! Arithmetic on dimensions that may be unknown.

use super::{Dim, ShapeFault};

/// Most dimensions of a tensor: numpy's limit, and far beyond any model.
pub(super) const MAX_RANK: usize = 32;

/// An axis counted from the end when negative.
///
/// # Errors
/// When it is outside −rank … rank − 1.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize, ShapeFault> {
    let from_start = if axis < 0 {
        axis.checked_add_unsigned(rank as u64)
    } else {
        Some(axis)
    };
    from_start
        .and_then(|a| usize::try_from(a).ok())
        .filter(|&a| a < rank)
        .ok_or_else(|| {
            ShapeFault::bad(match rank {
                0 => format!("axis {axis} is given, the tensor has no dimension"),
                _ => format!("axis {axis} is given, the tensor has {rank} dimensions"),
            })
        })
}

/// As [`normalize_axis`] for a list without repetition.
pub(super) fn normalize_axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, ShapeFault> {
    let mut seen = vec![false; rank];
    let mut out = Vec::with_capacity(axes.len().min(rank));
    for &axis in axes {
        let a = normalize_axis(axis, rank)?;
        match seen.get_mut(a) {
            Some(slot) if !*slot => *slot = true,
            _ => return Err(ShapeFault::bad(format!("axis {a} is given twice"))),
        }
        out.push(a);
    }
    Ok(out)
}

/// Product of dimensions; `None` where one is unknown and none is zero.
pub(super) fn product(dims: &[Dim]) -> Result<Dim, ShapeFault> {
    if dims.contains(&Some(0)) {
        return Ok(Some(0));
    }
    let Some(known) = dims.iter().copied().collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    tensor::numel(&known)
        .map(Some)
        .map_err(|e| ShapeFault::bad(e.to_string()))
}

/// Sum of sizes along a concatenated axis.
pub(super) fn sum(dims: impl IntoIterator<Item = Dim>) -> Result<Dim, ShapeFault> {
    let mut total = Some(0usize);
    for d in dims {
        total = match (total, d) {
            (Some(t), Some(d)) => Some(t.checked_add(d).ok_or_else(overflow)?),
            _ => None,
        };
    }
    Ok(total)
}

/// The fault of sizes beyond what a machine can address.
pub(super) fn overflow() -> ShapeFault {
    ShapeFault::bad("its output has more elements than this machine can address")
}

/// A size given as a number of the file.
pub(super) fn size(n: i64, what: &str) -> Result<usize, ShapeFault> {
    usize::try_from(n).map_err(|_| ShapeFault::bad(format!("{what} is {n}, which is negative")))
}

/// Numpy's broadcast of two shapes.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, ShapeFault> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Dim], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(i) => dims.get(i).copied().flatten(),
        None => Some(1),
    };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (Some(1), y) => Ok(y),
            (x, Some(1)) => Ok(x),
            // An unknown size beside a known one other than 1 must be that, or 1.
            (None, y) => Ok(y),
            (x, None) => Ok(x),
            (Some(_), Some(_)) => Err(ShapeFault::bad(format!(
                "shapes {} and {} do not broadcast",
                show(a),
                show(b)
            ))),
        })
        .collect()
}

/// Two statements about one dimension.
pub(super) fn unify(a: Dim, b: Dim, what: &str) -> Result<Dim, ShapeFault> {
    match (a, b) {
        (Some(x), Some(y)) if x != y => Err(ShapeFault::bad(format!("{what}: {x} and {y} differ"))),
        _ => Ok(a.or(b)),
    }
}

/// A shape for messages, `?` where a dimension is unknown.
pub(super) fn show(dims: &[Dim]) -> String {
    let list: Vec<String> = dims
        .iter()
        .map(|d| d.map_or("?".into(), |n| n.to_string()))
        .collect();
    format!("[{}]", list.join(", "))
}
