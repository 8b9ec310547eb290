//! What the weights of a channel may become, and what they have chosen.

use graph::WeightAnnotation;

/// What a weight of a channel may choose from: a code of each point that the channel has. A choice is those codes, `bits` each, the first point's
/// lowest.
pub(super) struct Levels {
    /// (value, choice), ascending.
    sorted: Vec<(f64, u32)>,
    pub(super) by_choice: Vec<f64>,
    /// Points that the channel has.
    pub(super) points: Vec<usize>,
    pub(super) bits: u32,
}

impl Levels {
    pub(super) fn of(weight: &WeightAnnotation, channel: usize) -> Self {
        let pick = |len: usize| if len == 1 { 0 } else { channel };
        let has = |p: &usize| {
            let rows = &weight.points[*p].rows;
            rows.as_ref()
                .is_none_or(|r| r.binary_search(&(channel as u32)).is_ok())
        };
        let points: Vec<usize> = (0..weight.points.len()).filter(has).collect();
        let zero = weight.zero_points.as_ref().map_or(0, |z| z[pick(z.len())]);
        let mut by_choice = vec![0.0];
        for &p in &points {
            let scales = &weight.points[p].scales;
            let scale = f64::from(scales[pick(scales.len())]);
            let of_code = |l: &i32| scale * f64::from(l - zero);
            let with = |l: &i32| {
                by_choice
                    .iter()
                    .map(move |sum| sum + of_code(l))
                    .collect::<Vec<f64>>()
            };
            by_choice = weight.levels.iter().flat_map(with).collect();
        }
        let mut sorted: Vec<(f64, u32)> = by_choice.iter().copied().zip(0..).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Codes that a grid does not use stand for 0, which has code 0 before them.
        sorted.dedup_by(|later, kept| later.0 == kept.0);
        Levels {
            sorted,
            by_choice,
            points,
            bits: weight.bits,
        }
    }

    /// What the weights of a channel have chosen.
    pub(super) fn chosen(&self, weight: &WeightAnnotation, channel: usize) -> Vec<u32> {
        let dim = weight.len() / weight.shape[0];
        let code = |p: usize, i: usize| u32::from(weight.points[p].codes[channel * dim + i]);
        let places = || self.points.iter().zip(0..);
        let one = |i: usize| {
            places()
                .map(|(&p, place)| code(p, i) << (place * self.bits))
                .sum()
        };
        (0..dim).map(one).collect()
    }

    /// Writes a channel's choices into the points' codes.
    pub(super) fn store(&self, choices: &[u32], weight: &mut WeightAnnotation, channel: usize) {
        let all = channel * choices.len()..(channel + 1) * choices.len();
        for (&p, place) in self.points.iter().zip(0..) {
            for (code, choice) in weight.points[p].codes[all.clone()].iter_mut().zip(choices) {
                *code = (choice >> (place * self.bits) & ((1 << self.bits) - 1)) as u8;
            }
        }
    }

    /// Multiplies the scales of a channel.
    pub(super) fn scale(&self, gain: f64, weight: &mut WeightAnnotation, channel: usize) {
        for &p in &self.points {
            let scale = &mut weight.points[p].scales[channel];
            *scale = ((f64::from(*scale) * gain) as f32).clamp(f32::MIN_POSITIVE, f32::MAX / 65_536.0);
        }
    }

    /// Value and choice next to x.
    pub(super) fn nearest(&self, x: f64) -> (f64, u32) {
        let above = self.sorted.partition_point(|(v, _)| *v < x);
        let (low, high) = (
            self.sorted[above.saturating_sub(1)],
            self.sorted[above.min(self.sorted.len() - 1)],
        );
        if x - low.0 <= high.0 - x { low } else { high }
    }
}
