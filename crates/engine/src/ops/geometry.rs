//! Windows of convolutions and pools in the form of the kernels: three spatial axes, padding in front as a number.

use graph::shape::{explicit_pads, transposed_pads};
use graph::{Conv, ConvTranspose, Pool};
use kernels::{ConvShape, PoolShape};

use crate::error::Fault;

/// Three axes from up to three, a filling in front.
pub(super) fn three<T: Copy>(axes: &[T], fill: T) -> Result<[T; 3], Fault> {
    let mut out = [fill; 3];
    let lead = 3usize
        .checked_sub(axes.len())
        .ok_or_else(|| Fault(format!("{} spatial axes; up to 3 are supported", axes.len())))?;
    out[lead..].copy_from_slice(axes);
    Ok(out)
}

/// Batch, channels and spatial axes of `[N, C, spatial…]`.
pub(super) fn picture(shape: &[usize]) -> Result<(usize, usize, &[usize]), Fault> {
    match shape {
        [n, c, spatial @ ..] if !spatial.is_empty() => Ok((*n, *c, spatial)),
        _ => Err(Fault(format!("{shape:?} is no [N, C, spatial…]"))),
    }
}

/// A convolution from `x` to `y`.
pub(super) fn conv(op: &Conv, x: &[usize], y: &[usize]) -> Result<ConvShape, Fault> {
    let (_, _, spatial) = picture(x)?;
    let pads = explicit_pads(&op.padding, spatial, &op.kernel, &op.strides, &op.dilations)
        .map_err(|e| e.message().to_string())?;
    conv_shape(op, x, y, &pads[..spatial.len()])
}

/// A transposed convolution from `x` to `y`.
pub(super) fn transposed(op: &ConvTranspose, x: &[usize], y: &[usize]) -> Result<ConvShape, Fault> {
    let (_, _, spatial) = picture(x)?;
    let cuts = transposed_pads(op, spatial).map_err(|e| e.message().to_string())?;
    let begins: Option<Vec<usize>> = cuts[..spatial.len()]
        .iter()
        .map(|&p| usize::try_from(p).ok())
        .collect();
    conv_shape(&op.conv, x, y, &begins.ok_or("its padding is negative")?)
}

fn conv_shape(op: &Conv, x: &[usize], y: &[usize], pad: &[usize]) -> Result<ConvShape, Fault> {
    let ((batch, in_channels, input), (_, out_channels, output)) = (picture(x)?, picture(y)?);
    Ok(ConvShape {
        batch,
        in_channels,
        out_channels,
        groups: op.group,
        input: three(input, 1)?,
        output: three(output, 1)?,
        kernel: three(&op.kernel, 1)?,
        stride: three(&op.strides, 1)?,
        dilation: three(&op.dilations, 1)?,
        pad: three(pad, 0)?,
    })
}

/// A pooling window from `x` to `y`, and the length of each padded axis (begin + input + end).
pub(super) fn pool(op: &Pool, x: &[usize], y: &[usize]) -> Result<(PoolShape, [usize; 3]), Fault> {
    let ((batch, channels, input), (_, _, output)) = (picture(x)?, picture(y)?);
    let pads = explicit_pads(&op.padding, input, &op.kernel, &op.strides, &op.dilations)
        .map_err(|e| e.message().to_string())?;
    let (begins, ends) = pads.split_at(input.len());
    let padded: Vec<usize> = input
        .iter()
        .zip(begins)
        .zip(ends)
        .map(|((n, b), e)| n + b + e)
        .collect();
    let shape = PoolShape {
        batch,
        channels,
        input: three(input, 1)?,
        output: three(output, 1)?,
        kernel: three(&op.kernel, 1)?,
        stride: three(&op.strides, 1)?,
        dilation: three(&op.dilations, 1)?,
        pad: three(begins, 0)?,
    };
    Ok((shape, three(&padded, 1)?))
}
