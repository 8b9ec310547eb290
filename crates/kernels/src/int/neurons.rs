//! Integer neurons (`FORMAT.md` 1.16): a layer's sums over steps of time to codes of spikes.
//!
//! Sums are whole numbers of f32, exact below 2^24: what products write.

use crate::float::backward::vector::vectorized;
use crate::float::backward::{PARTS, part_of};
use crate::float::spiking::Steps;
use crate::split::Parts;
use crate::{Isa, Pool};

/// Fraction bits of a membrane.
const FRACTION: u32 = 8;

/// Fraction bits of a leak.
const LEAK: u32 = 15;

/// Neurons that advance together.
const LANES: usize = 16;

/// A layer of neurons.
#[derive(Debug, Clone, PartialEq)]
pub struct Neurons {
    steps: Steps,
    /// In parts of 2^−8 of a sum's unit, of each channel or of all.
    thresholds: Vec<i64>,
    /// In parts of 2^−15.
    leak: i64,
    /// All membranes fit 32 bits.
    narrow: bool,
}

impl Neurons {
    /// Neurons whose sums are at most `reach` in size; `units` is what a sum's unit is worth, of each channel or of all.
    pub fn new(steps: Steps, threshold: f32, leak: f32, units: &[f64], reach: i64) -> Neurons {
        let one = f64::from(1u32 << FRACTION);
        // A cast saturates: such a threshold is never reached.
        let integer = |unit: &f64| (f64::from(threshold) * one / unit).round_ties_even() as i64;
        let most = (reach << FRACTION).saturating_mul(steps.steps as i64);
        Neurons {
            steps,
            thresholds: units.iter().map(integer).collect(),
            leak: (f64::from(leak) * f64::from(1u32 << LEAK)).round_ties_even() as i64,
            narrow: most < i64::from(i32::MAX) / 2,
        }
    }

    /// Name of what runs.
    pub fn kernel_name(&self) -> &'static str {
        if self.narrow { "neurons_i32" } else { "neurons_i64" }
    }

    /// Spikes, or their numbers, of sums without gaps, the channel innermost.
    pub fn run(&self, pool: &Pool, isa: Isa, sums: &[f32], y: &mut [u8]) {
        let n = self.steps.check(sums.len(), y.len());
        let y = Parts::new(y);
        pool.run(PARTS, &|part| {
            let range = part_of(part, PARTS, n);
            match self.narrow {
                true => narrow(isa, self, sums, &y, n, range.start, range.end),
                false => wide(isa, self, sums, &y, n, range.start, range.end),
            }
        });
    }

    /// Thresholds of neurons side by side.
    fn thresholds(&self, first: usize) -> [i64; LANES] {
        std::array::from_fn(|j| self.thresholds[(first + j) % self.thresholds.len()])
    }
}

/// The walk over one range of neurons, membranes of one type.
macro_rules! walk {
    ($name:ident, $membrane:ty, $decayed:expr) => {
        vectorized! {
            fn $name(op: &Neurons, sums: &[f32], y: &Parts<'_, u8>, n: usize, start: usize, end: usize) {
                let Steps { steps, constant, count } = op.steps;
                let (leak, keeps) = (op.leak, op.leak == 1 << LEAK);
                let shared = (op.thresholds.len() == 1).then(|| op.thresholds(0));
                for first in (start..end).step_by(LANES) {
                    let lanes = LANES.min(end - first);
                    let thresholds = shared.unwrap_or_else(|| op.thresholds(first));
                    // One above every membrane stays one above every membrane.
                    let thresholds = thresholds.map(|v| v.min(<$membrane>::MAX as i64) as $membrane);
                    let mut u = [0 as $membrane; LANES];
                    let mut total = [0u8; LANES];
                    for t in 0..steps {
                        let from = if constant { first } else { t * n + first };
                        let mut current = [0f32; LANES];
                        current[..lanes].copy_from_slice(&sums[from..from + lanes]);
                        let mut fired = [0u8; LANES];
                        for j in 0..LANES {
                            let kept = if keeps { u[j] } else { $decayed(u[j], leak) };
                            let before = kept + (((current[j] as i32) as $membrane) << FRACTION);
                            let fires = before > thresholds[j];
                            u[j] = if fires { before - thresholds[j] } else { before };
                            fired[j] = fires as u8;
                            total[j] += fired[j];
                        }
                        if !count {
                            // SAFETY: blocks are of different neurons, steps are apart.
                            unsafe { y.part(t * n + first, lanes) }.copy_from_slice(&fired[..lanes]);
                        }
                    }
                    if count {
                        // SAFETY: blocks are of different neurons.
                        unsafe { y.part(first, lanes) }.copy_from_slice(&total[..lanes]);
                    }
                }
            }
        }
    };
}

/// leak · u, halves up.
#[inline(always)]
fn decayed(u: i64, leak: i64) -> i64 {
    (u * leak + (1 << (LEAK - 1))) >> LEAK
}

walk!(narrow, i32, |u: i32, leak: i64| decayed(i64::from(u), leak)
    as i32);
walk!(wide, i64, decayed);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaks_are_those_of_an_independent_program() {
        let vectors: serde_json::Value = serde_json::from_str(testing::SNN_VECTORS).unwrap();
        let cases = vectors["leak_q15"].as_array().unwrap();
        assert!(cases.len() >= 7);
        for case in cases {
            let [u, leak, want] = ["u", "L", "out"].map(|k| case[k].as_i64().unwrap());
            assert_eq!(decayed(u, leak), want, "{case}");
        }
    }
}
