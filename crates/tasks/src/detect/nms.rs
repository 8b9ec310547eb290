//! Greedy non-maximum suppression per class.

use super::boxes::iou_f32;
use super::{BBox, Candidate, Detection};

/// Settings of [`nms`] and of [`super::postprocess`].
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NmsOptions {
    /// Only scores above this survive, 0…1.
    pub conf: f32,
    /// A box that overlaps a better one of its class by more than this is dropped, 0…1.
    pub iou: f32,
    /// Detections kept per picture.
    pub top: usize,
}

impl Default for NmsOptions {
    /// The project's metric: conf 0.005, IoU 0.45, 300 boxes.
    fn default() -> Self {
        NmsOptions {
            conf: 0.005,
            iou: 0.45,
            top: 300,
        }
    }
}

/// Keeps, class by class, the best box of each overlapping group; then the `top` best of all, best first.
///
/// Ties keep the order of `candidates` (within a class) and of the classes, so the result does not depend on the
/// sorting algorithm. Scores that are not above `conf`, and NaN, are dropped.
pub fn nms(candidates: &[Candidate], options: &NmsOptions) -> Vec<Detection> {
    let mut order: Vec<&Candidate> = candidates.iter().filter(|c| c.score > options.conf).collect();
    order.sort_by(|a, b| a.class.cmp(&b.class).then(b.score.total_cmp(&a.score)));
    let mut kept = Vec::new();
    for class in order.chunk_by(|a, b| a.class == b.class) {
        let first = kept.len();
        for &c in class {
            let covered = |k: &Candidate| iou_f32(&k.corners, &c.corners) > options.iou;
            if !kept.iter().skip(first).any(covered) {
                kept.push(*c);
            }
        }
    }
    best(kept, options.top)
}

/// The `top` best candidates, best first; ties keep their order.
pub(crate) fn best(mut candidates: Vec<Candidate>, top: usize) -> Vec<Detection> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(top);
    let widen = |c: &Candidate| {
        let [x1, y1, x2, y2] = c.corners.map(f64::from);
        Detection {
            class: c.class,
            score: c.score.into(),
            bbox: BBox::new(x1, y1, x2, y2),
        }
    };
    candidates.iter().map(widen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(x: f32, class: usize, score: f32) -> Candidate {
        Candidate {
            corners: [x, 0.0, x + 10.0, 10.0],
            class,
            score,
        }
    }

    #[test]
    fn suppresses_within_a_class_only() {
        let all = [
            at(0.0, 0, 0.8),
            at(1.0, 0, 0.9),
            at(1.0, 1, 0.7),
            at(50.0, 0, 0.1),
        ];
        let kept = nms(&all, &NmsOptions::default());
        let brief: Vec<_> = kept.iter().map(|d| (d.class, d.bbox.x1)).collect();
        assert_eq!(brief, [(0, 1.0), (1, 1.0), (0, 50.0)]);
    }

    #[test]
    fn ties_keep_input_order_and_nan_is_dropped() {
        let all = [
            at(0.0, 0, f32::NAN),
            at(90.0, 1, 0.5),
            at(30.0, 0, 0.5),
            at(60.0, 0, 0.5),
        ];
        let xs: Vec<f64> = nms(&all, &NmsOptions::default())
            .iter()
            .map(|d| d.bbox.x1)
            .collect();
        assert_eq!(xs, [30.0, 60.0, 90.0]);
    }

    proptest! {
        #[test]
        fn nothing_kept_overlaps_and_everything_dropped_does(
            raw in prop::collection::vec((0f32..60.0, 0usize..3, 0.01f32..1.0), 0..60), iou in 0.1f32..0.9
        ) {
            let all: Vec<Candidate> = raw.iter().map(|&(x, c, s)| at(x, c, s)).collect();
            let o = NmsOptions { conf: 0.0, iou, top: usize::MAX };
            let kept = nms(&all, &o);
            let corners = |d: &Detection| [d.bbox.x1 as f32, 0.0, d.bbox.x2 as f32, 10.0];
            for (i, a) in kept.iter().enumerate() {
                for b in kept.iter().skip(i + 1).filter(|b| b.class == a.class) {
                    prop_assert!(iou_f32(&corners(a), &corners(b)) <= iou);
                }
            }
            for c in &all {
                let same = |d: &&Detection| d.class == c.class && d.score >= f64::from(c.score);
                prop_assert!(kept.iter().filter(same).any(|d| corners(d) == c.corners
                    || iou_f32(&corners(d), &c.corners) > iou));
            }
        }
    }
}
