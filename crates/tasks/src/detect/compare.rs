//! Two models on the same pictures: which boxes were lost, gained or moved, and how much that harms.

use serde::Serialize;

use super::{Detection, Object, Status};

/// What happened to one box between model A and model B.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum Change {
    /// Found by A, not by B.
    Lost {
        /// A's detection.
        a: Detection,
    },
    /// Found by B, not by A.
    Gained {
        /// B's detection.
        b: Detection,
    },
    /// Found by both at different places.
    Shifted {
        /// A's detection.
        a: Detection,
        /// B's detection.
        b: Detection,
        /// IoU of the two boxes.
        iou: f64,
    },
}

/// A change and its harm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Judged {
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
    /// How much it harms, 0…1; negative = B is better. Lost or gained: the confidence, with the sign of whether the
    /// box was right; shifted: the loss of IoU with the truth (without truth, 1 − IoU of the two).
    pub harm: f64,
}

/// Settings of [`compare`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompareOptions {
    /// Detections below this confidence are not looked at.
    pub conf: f64,
    /// Two boxes of a class belong together from this IoU on.
    pub iou: f64,
    /// A pair below this IoU counts as shifted.
    pub shifted: f64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions {
            conf: 0.25,
            iou: 0.5,
            shifted: 0.9,
        }
    }
}

/// All changes of one picture, most harmful first.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PictureChange {
    /// Changed boxes.
    pub changes: Vec<Judged>,
    /// Boxes that both models found.
    pub common: usize,
    /// Boxes of A above the confidence.
    pub a: usize,
    /// Boxes of B above the confidence.
    pub b: usize,
    /// Sum of the harms.
    pub harm: f64,
}

/// Compares the detections of two models on one picture; `truth` may be empty when there is none.
pub fn compare(
    a: &[Detection],
    b: &[Detection],
    truth: Option<&[Object]>,
    o: &CompareOptions,
) -> PictureChange {
    let pass = |d: &&Detection| d.score >= o.conf && d.bbox.is_finite();
    let a: Vec<&Detection> = a.iter().filter(pass).collect();
    let b: Vec<&Detection> = b.iter().filter(pass).collect();
    let pairs = pair(&a, &b, o.iou);
    let mut changes = Vec::new();
    for (i, d) in a.iter().enumerate() {
        match pairs[i] {
            None => changes.push(Judged {
                change: Change::Lost { a: **d },
                harm: d.score * worth(d, truth, o.iou),
            }),
            Some((j, iou)) if iou < o.shifted => {
                let harm = match truth.map(|t| (best_iou(d, t), best_iou(b[j], t))) {
                    Some((before, after)) => before - after,
                    None => 1.0 - iou,
                };
                changes.push(Judged {
                    change: Change::Shifted {
                        a: **d,
                        b: *b[j],
                        iou,
                    },
                    harm,
                });
            }
            Some(_) => {}
        }
    }
    let paired: Vec<usize> = pairs.iter().flatten().map(|(j, _)| *j).collect();
    for (_, d) in b.iter().enumerate().filter(|(j, _)| !paired.contains(j)) {
        changes.push(Judged {
            change: Change::Gained { b: **d },
            harm: match truth {
                Some(_) => -d.score * worth(d, truth, o.iou),
                None => d.score,
            },
        });
    }
    changes.sort_by(|x, y| y.harm.total_cmp(&x.harm));
    PictureChange {
        common: paired.len(),
        a: a.len(),
        b: b.len(),
        harm: changes.iter().map(|c| c.harm).sum(),
        changes,
    }
}

/// Agreement of two models over pictures: F1 of B's boxes against A's, at `options.iou`, same class. 1 when both are empty.
pub fn agreement_f1<'a>(pictures: impl IntoIterator<Item = &'a PictureChange>) -> f64 {
    let (mut common, mut all) = (0, 0);
    for p in pictures {
        common += p.common;
        all += p.a + p.b;
    }
    if all == 0 {
        1.0
    } else {
        2.0 * common as f64 / all as f64
    }
}

/// For each box of A the box of B it belongs to: the best overlaps of equal class first, each box once.
fn pair(a: &[&Detection], b: &[&Detection], iou: f64) -> Vec<Option<(usize, f64)>> {
    let mut all = Vec::new();
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate().filter(|(_, y)| y.class == x.class) {
            let v = x.bbox.iou(&y.bbox);
            if v >= iou {
                all.push((v, i, j));
            }
        }
    }
    all.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    let mut of_a = vec![None; a.len()];
    let mut used = vec![false; b.len()];
    for (v, i, j) in all {
        if of_a[i].is_none() && !used[j] {
            of_a[i] = Some((j, v));
            used[j] = true;
        }
    }
    of_a
}

/// +1 when the box lies on an object that counts (or there is no truth), 0 on one that does not, −1 on nothing.
fn worth(d: &Detection, truth: Option<&[Object]>, iou: f64) -> f64 {
    let Some(truth) = truth else { return 1.0 };
    let mut worth = -1.0f64;
    for o in truth
        .iter()
        .filter(|o| o.class == d.class && o.bbox.iou(&d.bbox) >= iou)
    {
        worth = worth.max(if o.status == Status::Counted { 1.0 } else { 0.0 });
    }
    worth
}

fn best_iou(d: &Detection, truth: &[Object]) -> f64 {
    truth
        .iter()
        .filter(|o| o.class == d.class)
        .map(|o| o.bbox.iou(&d.bbox))
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::super::BBox;
    use super::*;

    fn at(x: f64, class: usize, score: f64) -> Detection {
        Detection {
            class,
            score,
            bbox: BBox::new(x, 0.0, x + 10.0, 10.0),
        }
    }

    #[test]
    fn lost_true_boxes_harm_most_and_lost_false_ones_help() {
        let truth = [
            Object::new(0, at(0.0, 0, 0.0).bbox),
            Object::new(0, at(100.0, 0, 0.0).bbox),
        ];
        let a = [
            at(0.0, 0, 0.9),
            at(100.0, 0, 0.8),
            at(200.0, 0, 0.7),
            at(0.0, 1, 0.1),
        ];
        let b = [at(102.0, 0, 0.8), at(300.0, 0, 0.6)];
        let r = compare(&a, &b, Some(&truth), &CompareOptions::default());
        let harms: Vec<f64> = r
            .changes
            .iter()
            .map(|c| (c.harm * 1000.0).round() / 1000.0)
            .collect();
        assert_eq!(harms, [0.9, 0.6, 0.333, -0.7]);
        assert!(matches!(r.changes[2].change, Change::Shifted { .. }));
        assert_eq!((r.common, r.a, r.b), (1, 3, 2));
        assert!((agreement_f1([&r]) - 0.4).abs() < 1e-12);
    }

    #[test]
    fn same_detections_agree() {
        let a = [at(0.0, 0, 0.9), at(3.0, 0, 0.8)];
        let r = compare(&a, &a, None, &CompareOptions::default());
        assert_eq!((r.changes.len(), r.common), (0, 2));
        assert_eq!(agreement_f1([&r]), 1.0);
        assert_eq!(agreement_f1([]), 1.0);
    }
}
