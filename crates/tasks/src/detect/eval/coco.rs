//! COCO's twelve numbers, after `pycocotools.cocoeval.COCOeval` (bounding boxes).
//!
//! A detection takes the free object it overlaps most, objects that do not count coming last; crowds can be taken
//! any number of times. Detections on an object that does not count, and unmatched detections outside the size class,
//! are ignored.

use serde::Serialize;

use super::super::{BBox, Object, Status};
use super::outcomes::{Outcomes, envelope, interpolate};
use super::{Mode, PerClass, PerPicture, Protocol, THRESHOLDS, mean};

/// The twelve numbers; absent where no class has an object.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CocoNumbers {
    /// AP, IoU 0.50:0.95, all areas.
    pub ap: Option<f64>,
    /// AP at IoU 0.50.
    pub ap50: Option<f64>,
    /// AP at IoU 0.75.
    pub ap75: Option<f64>,
    /// AP of objects below 32² pixels.
    pub ap_small: Option<f64>,
    /// AP of objects between 32² and 96² pixels.
    pub ap_medium: Option<f64>,
    /// AP of objects above 96² pixels.
    pub ap_large: Option<f64>,
    /// Average recall with one detection per class and picture.
    pub ar1: Option<f64>,
    /// Average recall with 10.
    pub ar10: Option<f64>,
    /// Average recall with `max_det` (100).
    pub ar100: Option<f64>,
    /// Average recall, small.
    pub ar_small: Option<f64>,
    /// Average recall, medium.
    pub ar_medium: Option<f64>,
    /// Average recall, large.
    pub ar_large: Option<f64>,
}

impl CocoNumbers {
    /// In the order of `COCOeval.stats`.
    pub fn to_array(&self) -> [Option<f64>; 12] {
        [
            self.ap,
            self.ap50,
            self.ap75,
            self.ap_small,
            self.ap_medium,
            self.ap_large,
            self.ar1,
            self.ar10,
            self.ar100,
            self.ar_small,
            self.ar_medium,
            self.ar_large,
        ]
    }
}

/// All, small, medium, large: lower and upper bound in square pixels.
const AREAS: [(f64, f64); 4] = [(0.0, 1e10), (0.0, 1024.0), (1024.0, 9216.0), (9216.0, 1e10)];

/// The numbers, and for each class its outcomes over all areas at the ten IoUs.
pub(super) fn evaluate(
    classes: &[PerClass],
    protocol: &Protocol,
    counted: &[bool],
) -> (CocoNumbers, Vec<Vec<Outcomes>>) {
    let (mode, max) = (protocol.mode, protocol.max_det);
    // [area][class][IoU]
    let all: Vec<Vec<Vec<Outcomes>>> = (0..AREAS.len())
        .map(|area| classes.iter().map(|c| outcomes(c, area, mode, max)).collect())
        .collect();
    let over = |area: usize, ious: std::ops::Range<usize>, value: &dyn Fn(&Outcomes) -> Option<f64>| {
        let used = all[area].iter().zip(counted).filter(|(_, c)| **c);
        let values: Vec<f64> = used
            .flat_map(|(o, _)| &o[ious.clone()])
            .filter_map(value)
            .collect();
        mean(&values)
    };
    let ap = |area, ious| over(area, ious, &|o| precision(o, None, max, mode));
    let ar = |area, max_det: usize| over(area, 0..THRESHOLDS, &|o| recall(o, max_det.min(max)));
    let every = 0..THRESHOLDS;
    let headline = (mode == Mode::Fixed || max == 100)
        .then(|| ap(0, every.clone()))
        .flatten();
    let numbers = CocoNumbers {
        ap: headline,
        ap50: ap(0, 0..1),
        ap75: ap(0, 5..6),
        ap_small: ap(1, every.clone()),
        ap_medium: ap(2, every.clone()),
        ap_large: ap(3, every),
        ar1: ar(0, 1),
        ar10: ar(0, 10),
        ar100: ar(0, max),
        ar_small: ar(1, max),
        ar_medium: ar(2, max),
        ar_large: ar(3, max),
    };
    (numbers, all.into_iter().next().unwrap_or_default())
}

/// 101-point AP. `None` without an object.
pub(super) fn precision(o: &Outcomes, weights: Option<&[u32]>, max_det: usize, mode: Mode) -> Option<f64> {
    let total = o.total(weights);
    if total == 0 {
        return None;
    }
    let spacing = if mode == Mode::Reference {
        f64::EPSILON
    } else {
        0.0
    };
    let steps = o.steps(weights, max_det);
    let mut p: Vec<f64> = steps
        .iter()
        .map(|s| s.hits as f64 / (s.all as f64 + spacing))
        .collect();
    envelope(&mut p);
    Some(interpolate(&steps, &p, total, 101, mode == Mode::Fixed))
}

/// Recall of the first `max_det` detections of each picture. `None` without an object.
fn recall(o: &Outcomes, max_det: usize) -> Option<f64> {
    let total = o.total(None);
    let hits = o.steps(None, max_det).last().map_or(0, |s| s.hits);
    (total > 0).then(|| hits as f64 / total as f64)
}

fn outcomes(class: &PerClass, area: usize, mode: Mode, max_det: usize) -> Vec<Outcomes> {
    let mut all = vec![Outcomes::default(); THRESHOLDS];
    for picture in &class.pictures {
        one_picture(picture, area, mode, max_det, &mut all);
    }
    for o in &mut all {
        o.sort();
    }
    all
}

/// `COCOeval.evaluateImg` for one class and size class, at all IoUs.
fn one_picture(picture: &PerPicture, area: usize, mode: Mode, max_det: usize, all: &mut [Outcomes]) {
    let outside = |a: f64| {
        let (low, high) = AREAS[area];
        a < low
            || if mode == Mode::Reference {
                a > high
            } else {
                a >= high
            }
    };
    let ignored = |o: &Object| {
        let by_status = match o.status {
            Status::Counted => false,
            Status::Difficult | Status::Crowd => true,
            Status::Ignored => mode == Mode::Fixed,
        };
        by_status || outside(o.area.unwrap_or_else(|| o.bbox.area()))
    };
    let mut objects: Vec<(&Object, bool)> = picture.objects.iter().map(|o| (*o, ignored(o))).collect();
    objects.sort_by_key(|(_, ignored)| *ignored);
    let counted = objects.iter().filter(|(_, ignored)| !ignored).count();
    let detections = &picture.detections[..picture.detections.len().min(max_det)];
    let overlaps: Vec<f64> = detections
        .iter()
        .flat_map(|d| {
            objects
                .iter()
                .map(|(o, _)| overlap(&d.bbox, &o.bbox, o.status == Status::Crowd))
        })
        .collect();

    let mut taken = vec![false; objects.len()];
    for (t, outcome) in all.iter_mut().enumerate() {
        outcome.add_positives(picture.index, counted);
        // numpy.linspace(.5, .95, 10), capped so that IoU 1 can pass.
        let step = (0.95 - 0.5) / (THRESHOLDS - 1) as f64;
        let threshold = if t == THRESHOLDS - 1 {
            0.95
        } else {
            0.5 + t as f64 * step
        };
        let threshold = f64::min(threshold, 1.0 - 1e-10);
        taken.fill(false);
        for (rank, d) in detections.iter().enumerate() {
            let row = &overlaps[rank * objects.len()..(rank + 1) * objects.len()];
            let matched = choose(row, &objects, &taken, threshold);
            if let Some(j) = matched {
                taken[j] = true;
            }
            let (hit, ignore) = match matched.map(|j| objects[j]) {
                // pycocotools stores the id of the match and reads 0 as "none".
                Some((o, false)) if mode == Mode::Reference && o.id == Some(0) => {
                    (false, outside(d.bbox.area()))
                }
                Some((_, ignored)) => (!ignored, ignored),
                None => (false, outside(d.bbox.area())),
            };
            if !ignore {
                outcome.push(d.score, picture.index, rank, hit);
            }
        }
    }
}

/// The object that a detection takes: the last of the largest overlaps, counted objects before ignored ones.
fn choose(row: &[f64], objects: &[(&Object, bool)], taken: &[bool], threshold: f64) -> Option<usize> {
    let mut best = threshold;
    let mut found: Option<usize> = None;
    for (j, ((object, ignored), &iou)) in objects.iter().zip(row).enumerate() {
        if taken[j] && object.status != Status::Crowd {
            continue;
        }
        if *ignored && found.is_some_and(|m| !objects[m].1) {
            break;
        }
        if iou >= best {
            best = iou;
            found = Some(j);
        }
    }
    found
}

/// `maskApi.c: bbIou`: intersection over union; over the detection's own area for a crowd.
fn overlap(d: &BBox, o: &BBox, crowd: bool) -> f64 {
    let inter = d.intersection(o);
    if inter <= 0.0 {
        return 0.0;
    }
    inter
        / if crowd {
            d.area()
        } else {
            d.area() + o.area() - inter
        }
}
