//! Windows of convolutions and pools in the form of the kernels: three spatial axes, padding in front as a number.

use graph::shape::{explicit_pads, transposed_pads};
use graph::{Conv, ConvTranspose, Pool};
use kernels::{ConvShape, PoolShape, Window, picture, three};

use crate::error::Fault;

/// A convolution from `x` to `y`.
pub(super) fn conv(op: &Conv, x: &[usize], y: &[usize]) -> Result<ConvShape, Fault> {
    let (_, _, spatial) = picture(x)?;
    let pads = explicit_pads(&op.padding, spatial, &op.kernel, &op.strides, &op.dilations)
        .map_err(|e| e.message().to_string())?;
    Ok(ConvShape::new(
        op.group,
        x,
        y,
        &window(op, &pads[..spatial.len()]),
    )?)
}

/// A transposed convolution from `x` to `y`.
pub(super) fn transposed(op: &ConvTranspose, x: &[usize], y: &[usize]) -> Result<ConvShape, Fault> {
    let (_, _, spatial) = picture(x)?;
    let cuts = transposed_pads(op, spatial).map_err(|e| e.message().to_string())?;
    let begins: Option<Vec<usize>> = cuts[..spatial.len()]
        .iter()
        .map(|&p| usize::try_from(p).ok())
        .collect();
    let begins = begins.ok_or("its padding is negative")?;
    Ok(ConvShape::new(op.conv.group, x, y, &window(&op.conv, &begins))?)
}

fn window<'a>(op: &'a Conv, pad: &'a [usize]) -> Window<'a> {
    Window {
        kernel: &op.kernel,
        stride: &op.strides,
        dilation: &op.dilations,
        pad,
    }
}

/// A pooling window from `x` to `y`, and the length of each padded axis (begin + input + end).
pub(super) fn pool(op: &Pool, x: &[usize], y: &[usize]) -> Result<(PoolShape, [usize; 3]), Fault> {
    let (_, _, input) = picture(x)?;
    let pads = explicit_pads(&op.padding, input, &op.kernel, &op.strides, &op.dilations)
        .map_err(|e| e.message().to_string())?;
    let (begins, ends) = pads.split_at(input.len());
    let ends = begins.iter().zip(ends);
    let padded: Vec<usize> = input.iter().zip(ends).map(|(n, (b, e))| n + b + e).collect();
    let window = Window {
        kernel: &op.kernel,
        stride: &op.strides,
        dilation: &op.dilations,
        pad: begins,
    };
    Ok((PoolShape::new(x, y, &window)?, three(&padded, 1)?))
}
