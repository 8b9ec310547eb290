//! Windows of convolutions and pools in the form of the kernels: three spatial axes, padding in front as a number.

use graph::shape::{conv_window, pool_window, transposed_window};
use graph::{Conv, ConvTranspose, Pool};
use kernels::{ConvShape, PoolShape, three};

use crate::error::Fault;

/// A convolution from `x` to `y`.
pub(super) fn conv(op: &Conv, x: &[usize], y: &[usize]) -> Result<ConvShape, Fault> {
    Ok(ConvShape::new(op.group, x, y, &conv_window(op, x)?)?)
}

/// A transposed convolution from `x` to `y`.
pub(super) fn transposed(op: &ConvTranspose, x: &[usize], y: &[usize]) -> Result<ConvShape, Fault> {
    Ok(ConvShape::new(op.conv.group, x, y, &transposed_window(op, x)?)?)
}

/// A pooling window from `x` to `y`, and the length of each padded axis (begin + input + end).
pub(super) fn pool(op: &Pool, x: &[usize], y: &[usize]) -> Result<(PoolShape, [usize; 3]), Fault> {
    let (window, padded) = pool_window(op, x)?;
    Ok((PoolShape::new(x, y, &window)?, three(&padded, 1)?))
}
