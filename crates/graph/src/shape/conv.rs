//! Conv and ConvTranspose.

use tensor::Window;

use super::dims::{show, unify};
use super::window::{Axis, LONGEST, output, spatial, too_large, wrong_rank};
use super::{Call, Dim, ShapeFault, TensorType, one};
use crate::op::{Conv, ConvTranspose, Op, Padding};

/// Most multiplications of one convolution, those with padding counted: hundreds of times those of a large volume's.
const MOST_PRODUCTS: u128 = 1 << 42;

pub(super) fn rule(op: &Op, call: &Call<'_>) -> Result<Vec<TensorType>, ShapeFault> {
    let conv = match op {
        Op::Conv(conv) => conv,
        Op::ConvTranspose(t) => &t.conv,
        _ => return Err(ShapeFault::bad("this is no convolution")),
    };
    call.input(0)?;
    call.input(1)?;
    call.expect_float(0)?;
    let dtype = call.same_dtype([0, 1, 2])?;
    let axes = Axis::list(&conv.kernel, &conv.strides, &conv.dilations, &conv.padding)?;
    let rank = axes.len() + 2;
    for i in [0, 1] {
        if let Some(dims) = call.dims(i).filter(|d| d.len() != rank) {
            return Err(match i {
                0 => wrong_rank(dims.len(), rank),
                _ => ShapeFault::bad(format!(
                    "its weight has shape {}, a kernel of {} axes asks for {rank} dimensions",
                    show(dims),
                    axes.len()
                )),
            });
        }
    }
    let at = |i: usize, axis: usize| call.dims(i).and_then(|d| d.get(axis).copied()).flatten();
    for (i, &k) in conv.kernel.iter().enumerate() {
        unify(at(1, i + 2), Some(k), "the weight's kernel and kernel_shape")?;
    }
    let (inputs, outputs) = channels(op, conv.group, at(1, 0), at(1, 1))?;
    unify(at(0, 1), inputs, "channels of the input and of the weight")?;
    let bias = match call.dims(2) {
        Some([n]) => *n,
        Some(dims) => {
            let shape = show(dims);
            return Err(ShapeFault::bad(format!(
                "its bias has shape {shape}, not one dimension"
            )));
        }
        None => None,
    };
    let outputs = unify(
        outputs,
        bias,
        "output channels of the weight and length of the bias",
    )?;
    let spatial = match (call.dims(0).and_then(|d| d.get(2..)), op) {
        (None, Op::ConvTranspose(t)) if t.output_shape.is_some() => {
            transposed(t, &axes, &vec![None; axes.len()])?
        }
        (None, _) => vec![None; axes.len()],
        (Some(x), Op::ConvTranspose(t)) => transposed(t, &axes, x)?,
        (Some(x), _) => output(&axes, &conv.padding, x, false)?,
    };
    let mut shape = vec![at(0, 0), outputs];
    shape.extend(spatial);
    let taps = conv.kernel.iter().copied().map(Some);
    let each = inputs.map(|n| n / conv.group);
    let mut steps = shape.iter().copied().chain(taps).chain([each]);
    // None where a size is unknown. Padding takes part, and so a small file can ask for years.
    let steps = steps.try_fold(1u128, |n, d| Some(n.saturating_mul(d? as u128)));
    if let Some(steps) = steps.filter(|&n| n > MOST_PRODUCTS) {
        return Err(ShapeFault::limit(format!(
            "it takes {:.1e} multiplications, at most {:.1e} are allowed in one operator",
            steps as f64, MOST_PRODUCTS as f64
        ))
        .help("give the model smaller inputs, or a smaller kernel and padding"));
    }
    Ok(one(dtype, Some(shape)))
}

/// Input and output channels by the weight's first two dimensions.
fn channels(op: &Op, group: usize, first: Dim, second: Dim) -> Result<(Dim, Dim), ShapeFault> {
    if group == 0 {
        return Err(ShapeFault::bad("group is 0"));
    }
    let all = |d: Dim| d.map(|n| n.checked_mul(group).ok_or_else(too_large)).transpose();
    if let Some(n) = first.filter(|n| n % group != 0) {
        return Err(ShapeFault::bad(format!(
            "the weight's first dimension is {n}, not a multiple of {group} groups"
        )));
    }
    Ok(match op {
        Op::ConvTranspose(_) => (first, all(second)?),
        _ => (all(second)?, first),
    })
}

fn transposed(t: &ConvTranspose, axes: &[Axis], input: &[Dim]) -> Result<Vec<Dim>, ShapeFault> {
    check_transposed(t, axes.len(), input.len())?;
    axes.iter()
        .zip(input)
        .enumerate()
        .map(|(i, (window, &n))| {
            if let Some(size) = t.output_shape.as_ref().and_then(|s| s.get(i)) {
                return Ok(Some(*size));
            }
            let Some(n) = n else { return Ok(None) };
            transposed_axis(t, i, window, n).map(|(size, _)| Some(size))
        })
        .collect()
}

fn check_transposed(t: &ConvTranspose, axes: usize, input: usize) -> Result<(), ShapeFault> {
    let wanted = t.output_shape.as_ref().map_or(axes, Vec::len);
    if input != axes || t.output_padding.len() != axes || wanted != axes {
        return Err(ShapeFault::bad(format!(
            "the kernel has {axes} axes, the input {input}, output_padding {}, output_shape {wanted}",
            t.output_padding.len()
        )));
    }
    Ok(())
}

/// Output size along one axis, and how much of the full result is cut off at begin and end; a negative cut adds zeros.
fn transposed_axis(
    t: &ConvTranspose,
    i: usize,
    window: &Axis,
    input: usize,
) -> Result<(usize, (i64, i64)), ShapeFault> {
    let Conv { padding, .. } = &t.conv;
    let extra = t.output_padding.get(i).copied().unwrap_or(0);
    let full = input
        .saturating_sub(1)
        .checked_mul(window.stride)
        .and_then(|n| n.checked_add(window.span().ok()?)?.checked_add(extra))
        .filter(|&n| n < LONGEST)
        .ok_or_else(too_large)? as i64;
    let wanted = match (&t.output_shape, padding) {
        (Some(shape), _) => shape.get(i).copied(),
        (None, Padding::SameUpper | Padding::SameLower) => {
            Some(input.checked_mul(window.stride).ok_or_else(too_large)?)
        }
        (None, _) => None,
    };
    let cut = match (wanted, padding) {
        (Some(wanted), _) => {
            let wanted = i64::try_from(wanted).map_err(|_| too_large())?;
            // A result that is too short gets zeros at its end.
            let total = full.checked_sub(wanted).ok_or_else(too_large)?;
            match padding {
                _ if total < 0 => (0, total),
                Padding::SameUpper => (total / 2, total - total / 2),
                _ => (total - total / 2, total / 2),
            }
        }
        (None, Padding::Explicit(pads)) => {
            let at = |i: usize| i64::try_from(pads.get(i).copied().unwrap_or(0)).map_err(|_| too_large());
            (at(i)?, at(i + pads.len() / 2)?)
        }
        (None, _) => (0, 0),
    };
    let size = full
        .checked_sub(cut.0)
        .and_then(|n| n.checked_sub(cut.1))
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| {
            ShapeFault::bad(format!(
                "pads {} and {} are more than the {full} elements of the output",
                cut.0, cut.1
            ))
        })?;
    Ok((size, cut))
}

/// The window of a transposed convolution over an input of shape `x`, `[N, C, spatial…]`: its padding is what is cut off the full result
/// before each axis. What is cut off behind, or filled with zeros, follows from the output's size.
///
/// # Errors
/// When lists differ in length, hold a 0, or the arithmetic overflows; when a begin would have to be filled.
pub fn transposed_window<'a>(t: &'a ConvTranspose, x: &[usize]) -> Result<Window<'a>, ShapeFault> {
    let Conv {
        kernel,
        strides,
        dilations,
        padding,
        ..
    } = &t.conv;
    let axes = Axis::list(kernel, strides, dilations, padding)?;
    let input = spatial(x);
    check_transposed(t, axes.len(), input.len())?;
    let begin = |(i, (window, &n)): (usize, (&Axis, &usize))| {
        let (_, (begin, _)) = transposed_axis(t, i, window, n)?;
        usize::try_from(begin).map_err(|_| ShapeFault::bad("its padding is negative"))
    };
    let pad = axes
        .iter()
        .zip(input)
        .enumerate()
        .map(begin)
        .collect::<Result<_, _>>()?;
    Ok(Window {
        kernel,
        stride: strides,
        dilation: dilations,
        pad,
    })
}
