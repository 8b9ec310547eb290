//! Boxes as four distributions of distances (Li et al., Generalized Focal Loss, arXiv 2006.04388).

use super::{Target, ciou};

/// Distribution of one distance.
#[derive(Debug, Clone, Default)]
pub(super) struct Side {
    p: Vec<f64>,
    mean: f64,
}

/// Left, top, right, bottom: memory that is used again.
pub(super) type Sides = [Side; 4];

impl Side {
    fn set(&mut self, logits: impl Iterator<Item = f32> + Clone) {
        let most = logits.clone().fold(f32::NEG_INFINITY, f32::max);
        self.p.clear();
        self.p
            .extend(logits.map(|x| libm::exp(f64::from(x) - f64::from(most))));
        let sum: f64 = self.p.iter().sum();
        self.p.iter_mut().for_each(|p| *p /= sum);
        self.mean = self.p.iter().enumerate().map(|(k, p)| k as f64 * p).sum();
    }
}

/// The 4·bins numbers of one cell, wherever they lie.
pub(super) struct Place<'a, At> {
    pub(super) values: &'a [f32],
    /// Position of a number: side · bins + bin.
    pub(super) at: At,
    pub(super) bins: usize,
    /// In pixels, as the stride.
    pub(super) middle: [f64; 2],
    pub(super) stride: f64,
}

impl<At: Fn(usize) -> usize> Place<'_, At> {
    /// Corners of the predicted box. Leaves the distributions.
    pub(super) fn corners(&self, sides: &mut Sides) -> [f64; 4] {
        for (k, side) in sides.iter_mut().enumerate() {
            side.set((0..self.bins).map(|b| self.values[(self.at)(k * self.bins + b)]));
        }
        let [cx, cy] = self.middle;
        let d: [f64; 4] = std::array::from_fn(|k| sides[k].mean * self.stride);
        [cx - d[0], cy - d[1], cx + d[2], cy + d[3]]
    }

    /// 1 − CIoU and DFL, times their gains; writes the gradient of the numbers.
    pub(super) fn loss(&self, target: &Target, gains: [f64; 2], gradient: &mut [f32]) -> [f64; 2] {
        let mut sides = Sides::default();
        let t = target.corners.map(f64::from);
        let (overlap, d) = ciou(self.corners(&mut sides), t);
        let [cx, cy] = self.middle;
        let wanted = [cx - t[0], cy - t[1], t[2] - cx, t[3] - cy];
        let last = self.bins - 1;
        let mut dfl = 0.0;
        for (k, side) in sides.iter().enumerate() {
            let outward = if k < 2 { -1.0 } else { 1.0 };
            let by_mean = gains[0] * d[k] * outward * self.stride;
            let wanted = (wanted[k] / self.stride).clamp(0.0, last as f64 - 0.01);
            let (low, part) = (wanted.floor() as usize, wanted - wanted.floor());
            let share = gains[1] / 4.0;
            let log = |bin: usize| libm::log(side.p[bin].max(1e-30));
            dfl -= share * ((1.0 - part) * log(low) + part * log((low + 1).min(last)));
            for (bin, p) in side.p.iter().enumerate() {
                // Cross-entropy against two bins: p − t.
                let t = match bin {
                    b if b == low => 1.0 - part,
                    b if b == low + 1 => part,
                    _ => 0.0,
                };
                let slope = by_mean * p * (bin as f64 - side.mean) + share * (p - t);
                gradient[(self.at)(k * self.bins + bin)] = slope as f32;
            }
        }
        [gains[0] * overlap, dfl]
    }
}
