//! What storing a pruned network takes.

/// Bits of a layer's weights, counted in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Weights in f32.
    pub weights: u64,
    /// Weights that are kept, and bits of each.
    pub kept: u64,
    /// Bits of a kept weight: 2 in ternary.
    pub bits: u64,
    /// Bits that say which groups are kept.
    pub index: u64,
    /// Bits of everything else: scales, biases.
    pub other: u64,
}

impl Stored {
    /// All bits.
    pub fn total(&self) -> u64 {
        self.kept * self.bits + self.index + self.other
    }

    /// How many times smaller than f32 the layers are together: 32·Σ weights / Σ bits; 0 for no bits.
    pub fn compression(layers: &[Stored]) -> f64 {
        let (floats, bits) = layers.iter().fold((0, 0), |(w, b), layer| {
            (w + 32 * layer.weights, b + layer.total())
        });
        if bits == 0 {
            0.0
        } else {
            floats as f64 / bits as f64
        }
    }
}

/// 32 / (2·(1 − ρ) + i/s): a ternary layer of which the share ρ of groups of s weights is pruned, i bits of index per group.
pub fn ratio(pruned: f64, group: usize, index_bits: f64) -> f64 {
    32.0 / (2.0 * (1.0 - pruned) + index_bits / group as f64)
}
