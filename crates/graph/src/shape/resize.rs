//! Resize.

use tensor::DType;

use super::dims::{normalize_axes, overflow, size};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::{Resize, ResizeMode};

pub(super) fn rule(resize: &Resize, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let x = call.input(0)?;
    if call.has(2) == call.has(3) {
        return Err(ShapeFault::bad("either scales or sizes must be given"));
    }
    call.expect_list(3, "the sizes")?;
    if let Some(other) = call.dtype(2).filter(|d| *d != DType::F32) {
        return Err(ShapeFault::bad(format!(
            "the scales must be F32, they are {other:?}"
        )));
    }
    call.vector_len(2, "the scales")?;
    if let (ResizeMode::Linear, Some(other)) = (
        resize.mode,
        call.dtype(0).filter(|d| !matches!(d, DType::F32 | DType::F64)),
    ) {
        return Err(
            ShapeFault::unsupported(format!("input 0 is {other:?}: interpolation of integers"))
                .help("put a Cast to float before it and one back behind it"),
        );
    }
    let Some(dims) = call.dims(0) else {
        return Ok(one(x.dtype, None));
    };
    let axes = if resize.axes.is_empty() {
        (0..dims.len()).collect()
    } else {
        normalize_axes(&resize.axes, dims.len())?
    };
    let resized: Vec<Dim> = if call.has(3) {
        match call.ints(3) {
            None => vec![None; axes.len()],
            Some(sizes) => sizes
                .into_iter()
                .map(|n| n.map(|n| size(n, "a size")).transpose())
                .collect::<Result<_, _>>()?,
        }
    } else {
        match call.known(2).and_then(|k| k.reals()) {
            None => vec![None; axes.len()],
            Some(scales) if scales.len() != axes.len() => vec![None; scales.len()],
            Some(scales) => axes
                .iter()
                .zip(scales)
                .map(|(&a, s)| scaled(dims.get(a).copied().flatten(), s))
                .collect::<Result<_, _>>()?,
        }
    };
    if resized.len() != axes.len() {
        return Err(ShapeFault::bad(format!(
            "{} scales or sizes are given for {} axes",
            resized.len(),
            axes.len()
        )));
    }
    let mut out = dims.to_vec();
    for (&axis, n) in axes.iter().zip(resized) {
        if let Some(slot) = out.get_mut(axis) {
            if n == Some(0) && *slot != Some(0) {
                return Err(ShapeFault::bad(format!("axis {axis} would get no element")));
            }
            *slot = n;
        }
    }
    Ok(one(x.dtype, Some(out)))
}

/// ⌊n · scale⌋ in f32, as the specification and onnxruntime have it.
fn scaled(n: Dim, scale: f32) -> Result<Dim, ShapeFault> {
    if !(scale.is_finite() && scale > 0.0) {
        return Err(ShapeFault::bad(format!("scale {scale} is not a positive number")));
    }
    let Some(n) = n else { return Ok(None) };
    let size = (n as f32 * scale).floor();
    // Exact up to 2^24 elements along an axis; what is beyond would not fit a picture.
    if size >= 1e15 {
        Err(overflow())
    } else {
        Ok(Some(size as usize))
    }
}
