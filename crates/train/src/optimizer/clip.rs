//! Gradient clipping by the norm over all tensors.

/// √Σ g² over all tensors, summed in f64 in their order.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a [f32]>) -> f64 {
    let square = |g: &[f32]| g.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    gradients.into_iter().map(square).sum::<f64>().sqrt()
}

/// Factor that brings a norm down to `most`; 1 where it is smaller. PyTorch's: most / (norm + 1e-6), at most 1.
///
/// ```
/// assert_eq!(train::optimizer::clip::factor(0.5, 1.0), 1.0);
/// assert!((train::optimizer::clip::factor(4.0, 1.0) - 0.25).abs() < 1e-6);
/// ```
pub fn factor(norm: f64, most: f64) -> f32 {
    (most / (norm + 1e-6)).min(1.0) as f32
}
