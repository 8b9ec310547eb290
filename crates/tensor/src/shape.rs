//! Checked shape arithmetic. Every product of dimensions in the workspace goes through [`numel`].

/// A shape whose arithmetic left the address space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shape {shape:?} has more elements than this machine can address")]
pub struct ShapeError {
    /// The offending dimensions.
    pub shape: Vec<usize>,
}

/// Number of elements of a shape; the empty shape is a scalar and has one.
///
/// # Errors
/// When the product exceeds `isize::MAX` elements, the most that a Rust allocation can hold.
///
/// ```
/// assert_eq!(tensor::numel(&[2, 3, 4]).unwrap(), 24);
/// assert_eq!(tensor::numel(&[]).unwrap(), 1);
/// assert!(tensor::numel(&[usize::MAX, 2]).is_err());
/// ```
pub fn numel(shape: &[usize]) -> Result<usize, ShapeError> {
    let too_large = || ShapeError {
        shape: shape.to_vec(),
    };
    if shape.contains(&0) {
        return Ok(0);
    }
    let n = shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .ok_or_else(too_large)?;
    if n > isize::MAX as usize {
        Err(too_large())
    } else {
        Ok(n)
    }
}

/// Row-major strides in elements. The shape must have passed [`numel`]; beside an empty axis, where no stride has a meaning, they
/// saturate.
///
/// ```
/// assert_eq!(tensor::strides(&[2, 3, 4]), vec![12, 4, 1]);
/// assert_eq!(tensor::strides(&[0, usize::MAX, 2])[0], usize::MAX);
/// ```
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1usize; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        out[axis] = out[axis + 1].saturating_mul(shape[axis + 1].max(1));
    }
    out
}
