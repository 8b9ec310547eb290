//! The least time that a plan can take on this machine, from what its instructions and memories reach when nothing else is done.
//!
//! A layer takes at least the longer of two times: its multiply-accumulates at the peak of the instructions that its kernel is made of,
//! and its bytes. Activations that enter and leave a layer move once, at the speed of the nearest cache that holds a layer; weights are
//! read once a run, at the speed of reading all weights of the plan again and again. What is fused costs nothing. It is a bound, which
//! no engine reaches, and not an estimate: turning sums into codes, which takes instructions too, is not in it.

use engine::{Layer, Numbers};
use kernels::peak::{Arithmetic, bytes_per_second, macs_per_second};
use kernels::{Isa, Pool};
use serde::Serialize;

/// Working set of a thread whose speed counts for activations: within every second-level cache.
const NEAR: usize = 128 << 10;

/// Largest working set whose speed counts for weights: beyond the caches of most machines.
const FAR: usize = 64 << 20;

/// What the machine reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Roofline {
    /// Multiply-accumulates per second, in units of 10⁹, by instruction, of all threads together.
    pub gmacs: Vec<(&'static str, f64)>,
    /// Bytes of activations per second, in units of 10⁹.
    pub near_gbytes: f64,
    /// Bytes of weights per second, in units of 10⁹.
    pub far_gbytes: f64,
    #[serde(skip)]
    peaks: Vec<((Isa, Arithmetic), f64)>,
}

impl Roofline {
    /// Measures what these layers use.
    pub(super) fn measure(pool: &Pool, layers: &[Layer]) -> Roofline {
        let mut used: Vec<(Isa, Arithmetic)> = layers.iter().filter_map(arithmetic).collect();
        used.sort_unstable();
        used.dedup();
        let rate = |key: (Isa, Arithmetic)| Some((key, macs_per_second(pool, key.0, key.1)?));
        let peaks: Vec<_> = used.into_iter().filter_map(rate).collect();
        let weights: usize = layers.iter().map(|l| l.packed_bytes).sum();
        let near = NEAR * pool.threads();
        Roofline {
            gmacs: peaks.iter().map(|((_, a), r)| (a.name(), r / 1e9)).collect(),
            near_gbytes: bytes_per_second(pool, near) / 1e9,
            far_gbytes: bytes_per_second(pool, weights.clamp(near, FAR)) / 1e9,
            peaks,
        }
    }

    /// The least milliseconds of a layer; `None` where its instructions have no peak (scalar code).
    pub fn ideal_ms(&self, layer: &Layer) -> Option<f64> {
        let product = match layer.product && layer.macs > 0 {
            false => 0.0,
            true => {
                let key = arithmetic(layer)?;
                let (_, rate) = self.peaks.iter().find(|(k, _)| *k == key)?;
                layer.macs as f64 / rate
            }
        };
        let moved = layer.moved_bytes as f64 / self.near_gbytes;
        let weights = layer.packed_bytes as f64 / self.far_gbytes;
        Some(1e3 * product.max((moved + weights) / 1e9))
    }
}

/// What a product's kernel is made of.
fn arithmetic(layer: &Layer) -> Option<(Isa, Arithmetic)> {
    if !layer.product {
        return None;
    }
    match layer.numbers {
        Numbers::Float { .. } => Some((Isa::best(), Arithmetic::Float)),
        Numbers::Integer => layer.kernel.split(" + ").find_map(|name| {
            let kernel = kernels::int::registry().find(|k| k.name == name)?;
            Some((kernel.isa, kernel.arithmetic()?))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(kernel: &str, numbers: Numbers, macs: u64, moved: usize, packed: usize) -> Layer {
        Layer {
            node: 0,
            name: "x".into(),
            op: "Conv",
            kernel: kernel.into(),
            numbers,
            product: macs > 0,
            macs,
            stored_bytes: 0,
            packed_bytes: packed,
            moved_bytes: moved,
        }
    }

    /// Figures by hand: 2·10⁹ MACs at 10⁹ a second, 4·10⁹ bytes at 2·10⁹, 10⁹ bytes at 10⁹.
    #[test]
    fn the_longer_time_counts() {
        let key = (Isa::Avx2, Arithmetic::Bytes);
        let r = Roofline {
            gmacs: Vec::new(),
            near_gbytes: 2.0,
            far_gbytes: 1.0,
            peaks: vec![(key, 1e9)],
        };
        let name = "conv_u8s8_avx2_m6n16_nhwc_w7_patch";
        let product = layer(
            name,
            Numbers::Integer,
            2_000_000_000,
            1_000_000_000,
            1_000_000_000,
        );
        assert_eq!(r.ideal_ms(&product), Some(2000.0));
        let heavy = layer(
            name,
            Numbers::Integer,
            2_000_000_000,
            4_000_000_000,
            1_000_000_000,
        );
        assert_eq!(r.ideal_ms(&heavy), Some(3000.0));
        let pool = layer("max_u8u8_avx2_nhwc", Numbers::Integer, 0, 4_000_000_000, 0);
        assert_eq!(r.ideal_ms(&pool), Some(2000.0));
        let scalar = layer("conv_u8s32_scalar_m1n1_nhwc", Numbers::Integer, 1, 0, 0);
        assert_eq!(r.ideal_ms(&scalar), None);
    }
}
