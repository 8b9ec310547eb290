//! How well two networks' detections agree, without labels: what choices are made by. An error of raw outputs says little, since nearly all of
//! them are background.

use tasks::detect::{Detection, NmsOptions};

/// Boxes that are looked at: faint ones count by their score.
pub(super) const BOXES: NmsOptions = NmsOptions {
    conf: 0.05,
    iou: 0.45,
    top: 300,
};

/// Sums over pictures of `2·Σ min(score, score′)·IoU / (Σ score + Σ score′)`, boxes of one class paired from IoU 0.5 on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Agreement {
    common: f64,
    all: f64,
}

impl Agreement {
    /// Adds one picture; both lists are sorted, best first.
    pub(super) fn add(&mut self, a: &[Detection], b: &[Detection]) {
        let mut free = vec![true; b.len()];
        for x in a {
            let overlap = |(j, y): (usize, &Detection)| {
                (free[j] && y.class == x.class).then(|| (j, y.bbox.iou(&x.bbox)))
            };
            let best = b
                .iter()
                .enumerate()
                .filter_map(overlap)
                .filter(|(_, iou)| *iou >= 0.5)
                .max_by(|p, q| p.1.total_cmp(&q.1));
            if let Some((j, iou)) = best {
                free[j] = false;
                self.common += x.score.min(b[j].score) * iou;
            }
        }
        self.all += a.iter().chain(b).map(|d| d.score).sum::<f64>();
    }

    /// Adds what another one saw.
    pub(super) fn merge(&mut self, other: &Agreement) {
        self.common += other.common;
        self.all += other.all;
    }

    /// 1 for the same detections; absent where nothing was found at all.
    pub(super) fn value(&self) -> Option<f64> {
        (self.all > 0.0).then(|| 2.0 * self.common / self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasks::detect::BBox;

    #[test]
    fn the_same_boxes_agree_and_a_lost_or_fainter_one_costs_its_score() {
        let at = |x: f64, score: f64| Detection {
            class: 0,
            score,
            bbox: BBox::new(x, 0.0, x + 10.0, 10.0),
        };
        let of = |a: &[Detection], b: &[Detection]| {
            let mut all = Agreement::default();
            all.add(a, b);
            all.value()
        };
        let two = [at(0.0, 0.9), at(50.0, 0.1)];
        let close = |x: Option<f64>, y: f64| (x.unwrap() - y).abs() < 1e-9;
        assert!(close(of(&two, &two), 1.0));
        assert!(close(of(&two, &two[..1]), 1.8 / 1.9));
        assert!(close(of(&two[..1], &[at(0.0, 0.5)]), 1.0 / 1.4));
        assert_eq!(of(&[], &[]), None);
        let other = Detection { class: 1, ..two[0] };
        assert!(close(of(&two[..1], &[other]), 0.0));
    }
}
