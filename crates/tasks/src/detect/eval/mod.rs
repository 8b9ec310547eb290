//! Average precision, as a pure function over ground truth and detections.
//!
//! In [`Mode::Reference`] the numbers equal those of pycocotools 2.0.11 (COCO) and of the independent VOC
//! implementation `data/check/evaluate.py`, oddities included. [`Mode::Fixed`] mends the oddities listed in
//! [`Protocol::quirks`]; its numbers are better founded and not comparable with published ones to the last digit.

mod bootstrap;
mod coco;
mod outcomes;
mod voc;

use serde::{Deserialize, Serialize};

pub use bootstrap::{Interval, paired_interval};
pub use coco::CocoNumbers;
pub use outcomes::Curve;

use super::{Detection, Object, Status};
use outcomes::Outcomes;

/// One picture: what is there and what was found. Class indices of both refer to the same list of names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scene {
    /// Ground truth.
    pub objects: Vec<Object>,
    /// Detections in any order; ties in score keep it.
    pub detections: Vec<Detection>,
}

/// Which average precision is the headline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// VOC 2007: mean of 11 interpolated precisions at IoU 0.5.
    Voc07,
    /// VOC 2010 and later: area under the interpolated curve at IoU 0.5.
    Voc10,
    /// COCO: mean of 101 interpolated precisions over IoU 0.50:0.05:0.95.
    Coco,
}

/// Whether known oddities of the reference programs are copied or mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Equal to the reference programs.
    #[default]
    Reference,
    /// With the oddities of [`Protocol::quirks`] mended.
    Fixed,
}

/// Everything that must be known to compare two numbers. Printed with each of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// The headline number.
    pub kind: Kind,
    /// Oddities copied or mended.
    pub mode: Mode,
    /// Confidence floor of the detections (for the record: it is applied in decoding).
    pub conf: f32,
    /// IoU of the NMS (for the record: it is applied in decoding).
    pub nms_iou: f32,
    /// Detections per picture. COCO: the best this many of each class; VOC: for the record, applied in decoding.
    pub max_det: usize,
    /// Counted objects that a class needs to enter the means (at least 1).
    pub min_objects: usize,
}

impl Protocol {
    /// The project's metric: conf 0.005, NMS IoU 0.45, 300 boxes (COCO: 100).
    pub fn new(kind: Kind) -> Self {
        Protocol {
            kind,
            mode: Mode::Reference,
            conf: 0.005,
            nms_iou: 0.45,
            max_det: if kind == Kind::Coco { 100 } else { 300 },
            min_objects: 1,
        }
    }

    /// Oddities of the reference programs that matter for this kind, in the words printed with a result: copied in
    /// reference mode, mended in fixed mode.
    pub fn quirks(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Voc07 | Kind::Voc10 => {
                &["recall-rounding: recall 3/10 does not reach the point 0.30000000000000004"]
            }
            Kind::Coco => &[
                "id-zero: a detection matched to annotation id 0 counts as false",
                "ignore-overwritten: the field `ignore` of an annotation is overwritten by `iscrowd`",
                "area-overlap: areas of exactly 32² and 96² count in two size classes",
                "max-det-100: AP is absent unless max_det is 100",
                "precision-spacing: 2⁻⁵² is added to the number of detections",
                "recall-rounding: recall thresholds are rounded binary numbers",
            ],
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.kind {
            Kind::Voc07 => "VOC 2007 AP (11 points, IoU 0.5)",
            Kind::Voc10 => "VOC 2010 AP (area, IoU 0.5)",
            Kind::Coco => "COCO AP (101 points, IoU 0.50:0.95)",
        };
        let mode = match self.mode {
            Mode::Reference => "reference mode",
            Mode::Fixed => "fixed mode",
        };
        let (conf, nms, top, min) = (self.conf, self.nms_iou, self.max_det, self.min_objects.max(1));
        write!(
            f,
            "{what}, conf > {conf}, NMS IoU {nms}, {top} boxes, difficult and crowd ignored, classes with >= {min} \
             objects, {mode}"
        )
    }
}

/// A mean that resampling can be applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// AP at IoU 0.5 (area for VOC, 101 points for COCO).
    Map50,
    /// 11-point AP at IoU 0.5 by VOC's matching.
    Map50Voc07,
    /// 101-point AP, mean over IoU 0.50:0.05:0.95.
    Map5095,
}

impl Kind {
    /// The metric that is the headline of this kind.
    pub fn headline(self) -> Metric {
        match self {
            Kind::Voc07 => Metric::Map50Voc07,
            Kind::Voc10 => Metric::Map50,
            Kind::Coco => Metric::Map5095,
        }
    }
}

/// Numbers of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassReport {
    /// Name.
    pub name: String,
    /// Pictures with at least one counted object.
    pub images: usize,
    /// Counted objects.
    pub instances: usize,
    /// Whether it enters the means (enough objects).
    pub counted: bool,
    /// AP at IoU 0.5 (area for VOC, 101 points for COCO).
    pub ap50: f64,
    /// 11-point AP at IoU 0.5.
    pub ap50_voc07: f64,
    /// 101-point AP over IoU 0.50:0.95.
    pub ap50_95: f64,
    /// Precision at [`Report::best_conf`].
    pub precision: f64,
    /// Recall at [`Report::best_conf`].
    pub recall: f64,
    /// F1 at [`Report::best_conf`].
    pub f1: f64,
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How the numbers were made.
    pub protocol: Protocol,
    /// The same in one line.
    pub protocol_line: String,
    /// Oddities mended (fixed mode) or copied (reference mode).
    pub quirks: Vec<&'static str>,
    /// Pictures evaluated.
    pub pictures: usize,
    /// Counted objects of all classes.
    pub objects: usize,
    /// Detections of all classes.
    pub detections: usize,
    /// Classes that enter the means.
    pub classes_counted: usize,
    /// Mean AP at IoU 0.5; absent when no class counts.
    pub map50: Option<f64>,
    /// Mean 11-point AP at IoU 0.5.
    pub map50_voc07: Option<f64>,
    /// Mean 101-point AP over IoU 0.50:0.95.
    pub map50_95: Option<f64>,
    /// The 12 numbers, for COCO.
    pub coco: Option<CocoNumbers>,
    /// Confidence at which the mean F1 of the counted classes is best.
    pub best_conf: f64,
    /// One row for each class, in the order of the names.
    pub classes: Vec<ClassReport>,
}

/// Matched detections of a data set: the report, and what resampling needs.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The numbers.
    pub report: Report,
    /// Precision and recall at IoU 0.5 for each class, by VOC's matching (COCO's for COCO).
    pub curves: Vec<Curve>,
    kind: Kind,
    mode: Mode,
    counted: Vec<bool>,
    /// `[class][IoU]`.
    voc: Vec<Vec<Outcomes>>,
    /// `[class][IoU]`, all areas; empty unless COCO.
    coco: Vec<Vec<Outcomes>>,
}

/// IoU thresholds 0.50, 0.55 … 0.95.
pub(crate) const THRESHOLDS: usize = 10;

/// Scores detections against ground truth. Detections with a score or box that is no number, and classes beyond
/// `names`, are left out.
///
/// ```
/// use tasks::detect::{BBox, Detection, Object, eval::*};
/// let bbox = BBox::new(10.0, 10.0, 50.0, 40.0);
/// let scene = Scene { objects: vec![Object::new(0, bbox)], detections: vec![Detection { class: 0, score: 0.9, bbox }] };
/// let result = evaluate(&[scene], &["cat".into()], &Protocol::new(Kind::Voc10));
/// assert_eq!(result.report.map50, Some(1.0));
/// ```
pub fn evaluate(scenes: &[Scene], names: &[String], protocol: &Protocol) -> Evaluation {
    let by_class = PerClass::collect(scenes, names.len());
    let (mode, kind) = (protocol.mode, protocol.kind);
    let voc: Vec<Vec<Outcomes>> = by_class.iter().map(voc::outcomes).collect();
    let instances: Vec<usize> = by_class
        .iter()
        .map(|c| c.pictures.iter().map(|p| p.positives(mode, kind)).sum())
        .collect();
    let counted: Vec<bool> = instances
        .iter()
        .map(|n| *n >= protocol.min_objects.max(1))
        .collect();
    let (numbers, coco) = match kind {
        Kind::Coco => {
            let (numbers, all) = coco::evaluate(&by_class, protocol, &counted);
            (Some(numbers), all)
        }
        _ => (None, Vec::new()),
    };
    let base = if kind == Kind::Coco { &coco } else { &voc };
    let curves: Vec<Curve> = base
        .iter()
        .filter_map(|o| o.first())
        .map(Outcomes::curve)
        .collect();
    let best_conf = outcomes::best_confidence(&curves, &counted);
    let mut classes = Vec::with_capacity(names.len());
    for (k, name) in names.iter().enumerate() {
        let ap = |metric| class_ap(metric, kind, mode, &voc[k], coco.get(k), None).unwrap_or(0.0);
        let (precision, recall) = curves.get(k).map_or((0.0, 0.0), |c| c.at(best_conf));
        classes.push(ClassReport {
            name: name.clone(),
            images: by_class[k]
                .pictures
                .iter()
                .filter(|p| p.positives(mode, kind) > 0)
                .count(),
            instances: instances[k],
            counted: counted[k],
            ap50: ap(Metric::Map50),
            ap50_voc07: ap(Metric::Map50Voc07),
            ap50_95: ap(Metric::Map5095),
            precision,
            recall,
            f1: outcomes::f1(precision, recall),
        });
    }
    let mut result = Evaluation {
        report: Report {
            protocol: protocol.clone(),
            protocol_line: protocol.to_string(),
            quirks: protocol.quirks().to_vec(),
            pictures: scenes.len(),
            objects: instances.iter().sum(),
            detections: by_class
                .iter()
                .flat_map(|c| &c.pictures)
                .map(|p| p.detections.len())
                .sum(),
            classes_counted: counted.iter().filter(|c| **c).count(),
            map50: None,
            map50_voc07: None,
            map50_95: None,
            coco: numbers,
            best_conf,
            classes,
        },
        curves,
        kind,
        mode,
        counted,
        voc,
        coco,
    };
    result.report.map50 = result.mean(Metric::Map50, None);
    result.report.map50_voc07 = result.mean(Metric::Map50Voc07, None);
    result.report.map50_95 = match &result.report.coco {
        Some(numbers) => numbers.ap,
        None => result.mean(Metric::Map5095, None),
    };
    result
}

impl Evaluation {
    /// Mean over the counted classes; `weights` = how often each picture is taken (all once when absent). A class
    /// without an object in the weighted pictures is left out.
    fn mean(&self, metric: Metric, weights: Option<&[u32]>) -> Option<f64> {
        let mut values = Vec::new();
        for (k, _) in self.counted.iter().enumerate().filter(|(_, c)| **c) {
            values.extend(class_ap(
                metric,
                self.kind,
                self.mode,
                &self.voc[k],
                self.coco.get(k),
                weights,
            ));
        }
        mean(&values)
    }
}

/// Mean, `None` of nothing.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn class_ap(
    metric: Metric,
    kind: Kind,
    mode: Mode,
    voc: &[Outcomes],
    coco: Option<&Vec<Outcomes>>,
    weights: Option<&[u32]>,
) -> Option<f64> {
    let all = usize::MAX;
    match (metric, kind, coco) {
        (Metric::Map50, Kind::Coco, Some(c)) => coco::precision(c.first()?, weights, all, mode),
        (Metric::Map5095, Kind::Coco, Some(c)) => {
            let each: Option<Vec<f64>> = c.iter().map(|o| coco::precision(o, weights, all, mode)).collect();
            mean(&each?)
        }
        (Metric::Map50, ..) => voc::area(voc.first()?, weights),
        (Metric::Map50Voc07, ..) => voc::at_points(voc.first()?, weights, 11, mode),
        (Metric::Map5095, ..) => {
            let each: Option<Vec<f64>> = voc
                .iter()
                .map(|o| voc::at_points(o, weights, 101, mode))
                .collect();
            mean(&each?)
        }
    }
}

/// One class: for each picture that has objects or detections of it, both.
pub(crate) struct PerClass<'a> {
    pub(crate) pictures: Vec<PerPicture<'a>>,
}

pub(crate) struct PerPicture<'a> {
    pub(crate) index: usize,
    pub(crate) objects: Vec<&'a Object>,
    /// Best score first; ties in the order of the scene.
    pub(crate) detections: Vec<&'a Detection>,
}

impl PerPicture<'_> {
    fn positives(&self, mode: Mode, kind: Kind) -> usize {
        let ignored = |o: &&&Object| match o.status {
            Status::Counted => false,
            Status::Difficult | Status::Crowd => true,
            Status::Ignored => mode == Mode::Fixed || kind != Kind::Coco,
        };
        self.objects.len() - self.objects.iter().filter(ignored).count()
    }
}

impl<'a> PerClass<'a> {
    fn collect(scenes: &'a [Scene], classes: usize) -> Vec<PerClass<'a>> {
        let mut all: Vec<PerClass> = (0..classes).map(|_| PerClass { pictures: Vec::new() }).collect();
        for (index, scene) in scenes.iter().enumerate() {
            for o in &scene.objects {
                if let Some(p) = all.get_mut(o.class).map(|c| c.picture(index)) {
                    p.objects.push(o);
                }
            }
            for d in &scene.detections {
                if d.score.is_finite()
                    && d.bbox.is_finite()
                    && let Some(p) = all.get_mut(d.class).map(|c| c.picture(index))
                {
                    p.detections.push(d);
                }
            }
        }
        for p in all.iter_mut().flat_map(|c| &mut c.pictures) {
            // Adding 0 makes −0 equal to 0, as comparison does.
            p.detections
                .sort_by(|a, b| (b.score + 0.0).total_cmp(&(a.score + 0.0)));
        }
        all
    }

    fn picture(&mut self, index: usize) -> &mut PerPicture<'a> {
        if self.pictures.last().is_none_or(|p| p.index != index) {
            self.pictures.push(PerPicture {
                index,
                objects: Vec::new(),
                detections: Vec::new(),
            });
        }
        let last = self.pictures.len() - 1;
        &mut self.pictures[last]
    }
}
