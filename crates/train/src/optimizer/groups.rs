//! Which tensors decay, and rates relative to the size of each tensor.

/// What a trained tensor is to the optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Weights of convolutions and products: the only ones with weight decay.
    Weight,
    /// Biases, scales and shifts of BatchNorm.
    Affine,
    /// Steps and thresholds of quantizers.
    Step,
}

impl Group {
    /// The decay of this group.
    pub fn decay(self, decay: f32) -> f32 {
        if self == Group::Weight { decay } else { 0.0 }
    }
}

/// √(mean w²), at least `floor`: with it as a factor, one rate means the same relative change in every tensor whatever its size (which adaptive
/// optimizers need where the widths of layers differ by 100). Zero biases start at the floor.
///
/// ```
/// assert_eq!(train::optimizer::groups::rms(&[3.0, -4.0, 0.0, 0.0], 1e-3), 2.5);
/// assert_eq!(train::optimizer::groups::rms(&[0.0], 1e-3), 1e-3);
/// ```
pub fn rms(values: &[f32], floor: f32) -> f32 {
    let sum: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    ((sum / values.len().max(1) as f64).sqrt() as f32).max(floor)
}
