//! Sliding windows: how many fit, and what padding they need.

use tensor::Window;

use super::{Dim, ShapeFault};
use crate::op::{Conv, Padding, Pool};

/// A window along one axis, and the padding at its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Axis {
    /// Axes of a convolution or pool, with lists checked against each other.
    pub(super) fn list(
        kernel: &[usize],
        strides: &[usize],
        dilations: &[usize],
        padding: &Padding,
    ) -> Result<Vec<Axis>, ShapeFault> {
        let axes = kernel.len();
        let pads = match padding {
            Padding::Explicit(pads) => pads.len(),
            _ => 2 * axes,
        };
        if axes == 0 || strides.len() != axes || dilations.len() != axes || pads != 2 * axes {
            return Err(ShapeFault::bad(format!(
                "kernel, strides, dilations and pads have {axes}, {}, {} and {pads} entries, which do not agree",
                strides.len(),
                dilations.len()
            )));
        }
        kernel
            .iter()
            .zip(strides)
            .zip(dilations)
            .map(|((&kernel, &stride), &dilation)| {
                if kernel == 0 || stride == 0 || dilation == 0 {
                    return Err(ShapeFault::bad(format!(
                        "kernel {kernel}, stride {stride}, dilation {dilation}: none may be 0"
                    )));
                }
                Ok(Axis {
                    kernel,
                    stride,
                    dilation,
                })
            })
            .collect()
    }

    /// Elements from the first to the last that one window reads.
    pub(super) fn span(&self) -> Result<usize, ShapeFault> {
        (self.kernel - 1)
            .checked_mul(self.dilation)
            .and_then(|n| n.checked_add(1))
            .filter(|&n| n < LONGEST)
            .ok_or_else(too_large)
    }

    /// Windows along an axis of `input` elements with this padding.
    pub(super) fn count(
        &self,
        input: usize,
        (begin, end): (usize, usize),
        ceil: bool,
    ) -> Result<usize, ShapeFault> {
        let span = self.span()?;
        if [input, begin, end].iter().any(|&n| n >= LONGEST) {
            return Err(too_large());
        }
        let padded = input + begin + end;
        let Some(room) = padded.checked_sub(span) else {
            return Err(ShapeFault::bad(format!(
                "the window spans {span} elements, the padded input has {padded}"
            ))
            .help("use a larger input size"));
        };
        if !ceil {
            return Ok(room / self.stride + 1);
        }
        let count = room.div_ceil(self.stride) + 1;
        // A window that would start in the padding at the end is left out.
        let starts_inside = (count - 1)
            .checked_mul(self.stride)
            .is_some_and(|at| at < input.saturating_add(begin));
        Ok(if starts_inside { count } else { count - 1 })
    }

    /// Padding that gives ⌈input / stride⌉ windows; the odd element goes to the end when `upper`.
    pub(super) fn same(&self, input: usize, upper: bool) -> Result<(usize, usize), ShapeFault> {
        let count = input.div_ceil(self.stride);
        let needed = count
            .saturating_sub(1)
            .checked_mul(self.stride)
            .and_then(|n| n.checked_add(self.span().ok()?))
            .filter(|_| input < LONGEST)
            .ok_or_else(too_large)?;
        let total = needed.saturating_sub(input);
        let (less, more) = (total / 2, total - total / 2);
        Ok(if upper { (less, more) } else { (more, less) })
    }
}

/// The padding's begins and ends of one axis.
pub(super) fn pad_of(
    padding: &Padding,
    axis: usize,
    window: &Axis,
    input: usize,
) -> Result<(usize, usize), ShapeFault> {
    match padding {
        Padding::Valid => Ok((0, 0)),
        Padding::SameUpper => window.same(input, true),
        Padding::SameLower => window.same(input, false),
        Padding::Explicit(pads) => {
            let at = |i: usize| pads.get(i).copied().unwrap_or(0);
            Ok((at(axis), at(axis + pads.len() / 2)))
        }
    }
}

/// Padding of a convolution or pool in elements: all begins, then all ends.
///
/// # Errors
/// When the lists differ in length, hold a 0, or the arithmetic overflows.
pub fn explicit_pads(
    padding: &Padding,
    input: &[usize],
    kernel: &[usize],
    strides: &[usize],
    dilations: &[usize],
) -> Result<Vec<usize>, ShapeFault> {
    let axes = Axis::list(kernel, strides, dilations, padding)?;
    if input.len() != axes.len() {
        return Err(wrong_rank(input.len() + 2, axes.len() + 2));
    }
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for (i, (window, &n)) in axes.iter().zip(input).enumerate() {
        let (begin, end) = pad_of(padding, i, window, n)?;
        begins.push(begin);
        ends.push(end);
    }
    begins.append(&mut ends);
    Ok(begins)
}

/// The window of a convolution over an input of shape `x`, `[N, C, spatial…]`.
///
/// # Errors
/// As [`explicit_pads`].
///
/// ```
/// use graph::shape::{conv_output, conv_window};
/// let conv = graph::Conv {
///     group: 1,
///     kernel: vec![3],
///     strides: vec![2],
///     dilations: vec![1],
///     padding: graph::Padding::SameUpper,
/// };
/// assert_eq!(conv_window(&conv, &[1, 8, 7]).unwrap().pad, [1]);
/// assert_eq!(conv_output(&conv, &[1, 8, 7]).unwrap(), [4]);
/// ```
pub fn conv_window<'a>(op: &'a Conv, x: &[usize]) -> Result<Window<'a>, ShapeFault> {
    let Conv {
        kernel,
        strides,
        dilations,
        ..
    } = op;
    let mut pad = explicit_pads(&op.padding, spatial(x), kernel, strides, dilations)?;
    pad.truncate(kernel.len());
    Ok(Window {
        kernel,
        stride: strides,
        dilation: dilations,
        pad,
    })
}

/// The spatial dimensions of a convolution's output, of an input of shape `x`.
///
/// # Errors
/// As [`explicit_pads`]; also when the window does not fit.
pub fn conv_output(op: &Conv, x: &[usize]) -> Result<Vec<usize>, ShapeFault> {
    let axes = Axis::list(&op.kernel, &op.strides, &op.dilations, &op.padding)?;
    let input: Vec<Dim> = spatial(x).iter().copied().map(Some).collect();
    Ok(output(&axes, &op.padding, &input, false)?
        .into_iter()
        .flatten()
        .collect())
}

/// The window of a pool over an input of shape `x`, and the length of each axis with its padding.
///
/// # Errors
/// As [`explicit_pads`].
pub fn pool_window<'a>(op: &'a Pool, x: &[usize]) -> Result<(Window<'a>, Vec<usize>), ShapeFault> {
    let Pool {
        kernel,
        strides,
        dilations,
        ..
    } = op;
    let input = spatial(x);
    let mut pad = explicit_pads(&op.padding, input, kernel, strides, dilations)?;
    let ends = pad.split_off(input.len());
    let padded = |((n, begin), end): ((&usize, &usize), &usize)| n.checked_add(*begin)?.checked_add(*end);
    let padded: Option<Vec<usize>> = input.iter().zip(&pad).zip(&ends).map(padded).collect();
    let padded = padded.ok_or_else(too_large)?;
    Ok((
        Window {
            kernel,
            stride: strides,
            dilation: dilations,
            pad,
        },
        padded,
    ))
}

pub(super) fn spatial(x: &[usize]) -> &[usize] {
    x.get(2..).unwrap_or_default()
}

/// Spatial dimensions of a convolution's or pool's output.
pub(super) fn output(
    axes: &[Axis],
    padding: &Padding,
    input: &[Dim],
    ceil: bool,
) -> Result<Vec<Dim>, ShapeFault> {
    if input.len() != axes.len() {
        return Err(wrong_rank(input.len() + 2, axes.len() + 2));
    }
    axes.iter()
        .zip(input)
        .enumerate()
        .map(|(i, (window, &n))| {
            let Some(n) = n else { return Ok(None) };
            match padding {
                Padding::SameUpper | Padding::SameLower => {
                    window.same(n, true)?;
                    Ok(Some(n.div_ceil(window.stride)))
                }
                _ => window.count(n, pad_of(padding, i, window, n)?, ceil).map(Some),
            }
        })
        .collect()
}

/// The fault of an input whose number of dimensions does not fit the kernel.
pub(super) fn wrong_rank(have: usize, want: usize) -> ShapeFault {
    ShapeFault::bad(format!(
        "its input has {have} dimensions, its kernel asks for {want}"
    ))
}

/// Longer axes, windows and paddings are those of no picture; sums of a few of them stay far from overflow.
pub(super) const LONGEST: usize = if usize::BITS > 40 {
    1 << 40
} else {
    usize::MAX >> 4
};

pub(super) fn too_large() -> ShapeFault {
    ShapeFault::bad("kernel, stride, dilation and padding give a size beyond what a machine can address")
}
