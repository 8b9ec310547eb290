//! Ranked true and false detections of one class at one IoU, and the curve they make.

/// One detection that counts, right or wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) score: f64,
    pub(crate) picture: u32,
    /// Position among the detections of its class in its picture, best = 0.
    pub(crate) rank: u32,
    pub(crate) hit: bool,
}

/// Outcomes of one class at one IoU. Matching works picture by picture, so resampling only changes how often each
/// picture counts: one matching serves the estimate and every bootstrap sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes {
    /// (picture, counted objects), only where there are any.
    positives: Vec<(u32, u32)>,
    /// Best score first; ties by picture, then rank.
    ranked: Vec<Ranked>,
}

/// Running totals along the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// True detections so far.
    pub(crate) hits: u64,
    /// All detections so far.
    pub(crate) all: u64,
}

impl Outcomes {
    pub(crate) fn add_positives(&mut self, picture: usize, count: usize) {
        if count > 0 {
            self.positives.push((picture as u32, count as u32));
        }
    }

    pub(crate) fn push(&mut self, score: f64, picture: usize, rank: usize, hit: bool) {
        self.ranked.push(Ranked {
            score: score + 0.0,
            picture: picture as u32,
            rank: rank as u32,
            hit,
        });
    }

    /// Brings the ranking into order; the pictures were added in theirs, so a stable sort breaks ties as the
    /// reference programs do.
    pub(crate) fn sort(&mut self) {
        self.ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    }

    /// Objects to be found.
    pub(crate) fn total(&self, weights: Option<&[u32]>) -> u64 {
        self.positives
            .iter()
            .map(|&(p, n)| weight(weights, p) * u64::from(n))
            .sum()
    }

    /// Running totals, using only the first `max_rank` detections of each picture.
    pub(crate) fn steps(&self, weights: Option<&[u32]>, max_rank: usize) -> Vec<Step> {
        let mut now = Step { hits: 0, all: 0 };
        let mut steps = Vec::with_capacity(self.ranked.len());
        for r in self.ranked.iter().filter(|r| (r.rank as usize) < max_rank) {
            let w = weight(weights, r.picture);
            if w > 0 {
                now.all += w;
                now.hits += if r.hit { w } else { 0 };
                steps.push(now);
            }
        }
        steps
    }

    pub(crate) fn curve(&self) -> Curve {
        let total = self.total(None);
        let steps = self.steps(None, usize::MAX);
        Curve {
            scores: self.ranked.iter().map(|r| r.score).collect(),
            precision: steps.iter().map(|s| s.hits as f64 / s.all as f64).collect(),
            recall: steps
                .iter()
                .map(|s| s.hits as f64 / total.max(1) as f64)
                .collect(),
        }
    }
}

fn weight(weights: Option<&[u32]>, picture: u32) -> u64 {
    weights.map_or(1, |w| w.get(picture as usize).copied().unwrap_or(0).into())
}

/// Highest precision at this or any later step, in place: the interpolated precision of VOC and COCO.
pub(crate) fn envelope(precision: &mut [f64]) {
    let mut best = 0.0f64;
    for p in precision.iter_mut().rev() {
        best = best.max(*p);
        *p = best;
    }
}

/// Interpolated precision at the recalls 0, 1/(n−1) … 1, meaned. `exact` compares fractions instead of rounded numbers.
pub(crate) fn interpolate(steps: &[Step], precision: &[f64], total: u64, points: usize, exact: bool) -> f64 {
    let divisions = points - 1;
    let step = 1.0 / divisions as f64;
    let (mut i, mut sum) = (0, 0.0);
    for k in 0..points {
        let threshold = if k == divisions { 1.0 } else { k as f64 * step };
        let reached = |s: &Step| {
            if exact {
                u128::from(s.hits) * divisions as u128 >= k as u128 * u128::from(total)
            } else {
                s.hits as f64 / total as f64 >= threshold
            }
        };
        while steps.get(i).is_some_and(|s| !reached(s)) {
            i += 1;
        }
        sum += precision.get(i).copied().unwrap_or(0.0);
    }
    sum / points as f64
}

/// Precision and recall of one class along falling confidence; the three lists are equally long.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Curve {
    /// Confidence of each detection, falling.
    pub scores: Vec<f64>,
    /// Precision of the detections down to this one.
    pub precision: Vec<f64>,
    /// Recall of the detections down to this one.
    pub recall: Vec<f64>,
}

impl Curve {
    /// Precision and recall of the detections with at least confidence `conf`; (0, 0) when there are none.
    pub fn at(&self, conf: f64) -> (f64, f64) {
        let n = self.scores.partition_point(|s| *s >= conf);
        let pick = |v: &[f64]| n.checked_sub(1).and_then(|k| v.get(k).copied()).unwrap_or(0.0);
        (pick(&self.precision), pick(&self.recall))
    }
}

/// Harmonic mean of precision and recall.
pub(crate) fn f1(precision: f64, recall: f64) -> f64 {
    if precision + recall > 0.0 {
        2.0 * precision * recall / (precision + recall)
    } else {
        0.0
    }
}

/// Confidence on a grid of 1/1000 at which the mean F1 of the counted classes is highest (the lowest such).
pub(crate) fn best_confidence(curves: &[Curve], counted: &[bool]) -> f64 {
    let (mut best, mut at) = (0.0, 0.0);
    for k in 0..=1000u32 {
        let conf = f64::from(k) / 1000.0;
        let used = curves.iter().zip(counted).filter(|(_, c)| **c);
        let sum: f64 = used.map(|(c, _)| c.at(conf)).map(|(p, r)| f1(p, r)).sum();
        if sum > best {
            (best, at) = (sum, conf);
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_rounding_is_seen_in_one_mode_only() {
        // 3 of 10 found, all right: recall 0.3 reaches points 0…3 exactly, but 3·0.1 is more than 0.3.
        let steps: Vec<Step> = (1..=3).map(|k| Step { hits: k, all: k }).collect();
        let precision = [1.0; 3];
        let exact = interpolate(&steps, &precision, 10, 11, true);
        let rounded = interpolate(&steps, &precision, 10, 11, false);
        assert!((exact - 4.0 / 11.0).abs() < 1e-12);
        assert!((rounded - 3.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn curve_below_and_above_all_scores() {
        let c = Curve {
            scores: vec![0.9, 0.5],
            precision: vec![1.0, 0.5],
            recall: vec![0.2, 0.2],
        };
        assert_eq!(c.at(0.95), (0.0, 0.0));
        assert_eq!(c.at(0.9), (1.0, 0.2));
        assert_eq!(c.at(0.0), (0.5, 0.2));
        assert_eq!(best_confidence(&[c], &[true]), 0.501);
    }
}
