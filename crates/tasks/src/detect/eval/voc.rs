//! PASCAL VOC (Everingham et al., *The PASCAL Visual Object Classes Challenge*, IJCV 2010, §4.2): a detection belongs
//! to the object it overlaps most; the second on the same object is false; on a difficult object it is ignored.

use super::super::Status;
use super::outcomes::{Outcomes, envelope, interpolate};
use super::{Mode, PerClass, THRESHOLDS};

/// Outcomes at IoU 0.50, 0.55 … 0.95.
pub(super) fn outcomes(class: &PerClass) -> Vec<Outcomes> {
    let mut all = vec![Outcomes::default(); THRESHOLDS];
    for picture in &class.pictures {
        let counted = picture
            .objects
            .iter()
            .filter(|o| o.status == Status::Counted)
            .count();
        for o in &mut all {
            o.add_positives(picture.index, counted);
        }
        let mut used = vec![[false; THRESHOLDS]; picture.objects.len()];
        for (rank, d) in picture.detections.iter().enumerate() {
            // The first of equal overlaps.
            let mut best: Option<(usize, f64)> = None;
            for (j, o) in picture.objects.iter().enumerate() {
                let iou = d.bbox.iou(&o.bbox);
                if best.is_none_or(|(_, b)| iou > b) {
                    best = Some((j, iou));
                }
            }
            for (t, outcome) in all.iter_mut().enumerate() {
                let threshold = 0.5 + t as f64 * 0.05;
                let hit = match best {
                    Some((j, iou)) if iou >= threshold => {
                        if picture.objects[j].status != Status::Counted {
                            continue;
                        }
                        !std::mem::replace(&mut used[j][t], true)
                    }
                    _ => false,
                };
                outcome.push(d.score, picture.index, rank, hit);
            }
        }
    }
    for o in &mut all {
        o.sort();
    }
    all
}

/// Area under the interpolated curve (VOC 2010 and later). `None` without an object.
pub(super) fn area(o: &Outcomes, weights: Option<&[u32]>) -> Option<f64> {
    let total = o.total(weights);
    if total == 0 {
        return None;
    }
    let steps = o.steps(weights, usize::MAX);
    let mut precision: Vec<f64> = steps.iter().map(|s| s.hits as f64 / s.all as f64).collect();
    envelope(&mut precision);
    let (mut sum, mut last) = (0.0, 0.0);
    for (s, p) in steps.iter().zip(&precision) {
        let recall = s.hits as f64 / total as f64;
        sum += (recall - last) * p;
        last = recall;
    }
    Some(sum)
}

/// Mean of the interpolated precision at `points` equidistant recalls (11: VOC 2007). `None` without an object.
pub(super) fn at_points(o: &Outcomes, weights: Option<&[u32]>, points: usize, mode: Mode) -> Option<f64> {
    let total = o.total(weights);
    if total == 0 {
        return None;
    }
    let steps = o.steps(weights, usize::MAX);
    let mut precision: Vec<f64> = steps.iter().map(|s| s.hits as f64 / s.all as f64).collect();
    envelope(&mut precision);
    Some(interpolate(
        &steps,
        &precision,
        total,
        points,
        mode == Mode::Fixed,
    ))
}
