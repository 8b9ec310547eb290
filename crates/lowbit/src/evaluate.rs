//! Average precision of a model on pictures with ground truth.

use std::path::{Path, PathBuf};

use serde::Serialize;
pub use tasks::detect::eval::ClassReport;
use tasks::detect::eval::{Curve, Evaluation, Interval, Kind, Metric, Protocol, Report, Scene};
use tasks::detect::names::ClassMap;
use tasks::detect::{Detection, NmsOptions, Object};

use data::read::{Dataset, Format, PictureId};

use crate::control::Progress;
use crate::detect::{Detector, Speed, Times};
use crate::pictures::{Reader, is_of_the_picture};
use crate::runtime::RunOptions;
use crate::{Control, Error, Model, Result};

/// Where the pictures with ground truth are.
#[derive(Debug, Clone)]
pub struct DataSource {
    /// A folder, or a COCO JSON or YOLO YAML file.
    pub path: PathBuf,
    /// Name of the list, such as `val`.
    pub split: Option<String>,
    /// `None` looks.
    pub format: Option<Format>,
}

impl DataSource {
    /// Reads names, pictures and objects.
    ///
    /// # Errors
    /// What is not there or malformed, with file and line.
    pub fn open(&self) -> Result<Dataset> {
        let limits = data::read::Limits::default();
        Ok(data::read::open(
            &self.path,
            self.split.as_deref(),
            self.format,
            &limits,
        )?)
    }
}

/// How a model is judged.
#[derive(Debug, Clone)]
pub struct EvalOptions {
    /// Which number, and its settings; `None` takes COCO's for COCO files and VOC 2010's elsewhere.
    pub kind: Option<Kind>,
    /// Lowest confidence.
    pub conf: f32,
    /// IoU of the suppression.
    pub iou: f32,
    /// Most boxes per picture; `None` takes 300, and 100 for COCO's numbers.
    pub max_det: Option<usize>,
    /// Objects that a class must have to count.
    pub min_objects: usize,
    /// Mends the known oddities of the reference programs.
    pub fixed: bool,
    /// Resamples of the bootstrap interval; 0 leaves it out.
    pub resamples: usize,
    /// Seed of the resampling.
    pub seed: u64,
    /// Goes on without pictures that cannot be read, and counts them.
    pub allow_skips: bool,
    /// How the model is run.
    pub run: RunOptions,
}

impl Default for EvalOptions {
    /// The project's metric: conf 0.005, IoU 0.45, 300 boxes, all classes, 1000 resamples.
    fn default() -> Self {
        EvalOptions {
            kind: None,
            conf: 0.005,
            iou: 0.45,
            max_det: None,
            min_objects: 1,
            fixed: false,
            resamples: 1000,
            seed: 0,
            allow_skips: false,
            run: RunOptions::default(),
        }
    }
}

impl EvalOptions {
    pub(crate) fn protocol(&self, format: Format) -> Protocol {
        let kind = self.kind.unwrap_or(match format {
            Format::Coco => Kind::Coco,
            Format::Voc | Format::Yolo => Kind::Voc10,
        });
        let mut protocol = Protocol::new(kind);
        protocol.conf = self.conf;
        protocol.nms_iou = self.iou;
        protocol.max_det = self.max_det.unwrap_or(protocol.max_det);
        protocol.min_objects = self.min_objects;
        if self.fixed {
            protocol.mode = tasks::detect::eval::Mode::Fixed;
        }
        protocol
    }
}

/// The three means that a program looks for first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metrics {
    /// mAP at IoU 0.5: area (VOC 2010), 101 points for COCO.
    pub map50: Option<f64>,
    /// mAP at IoU 0.5, 11 points (VOC 2007).
    pub map50_voc07: Option<f64>,
    /// mAP over IoU 0.50:0.95, 101 points.
    pub map50_95: Option<f64>,
}

/// A model's detections on a data set, and its numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluated {
    /// The three means.
    pub metrics: Metrics,
    /// 95 % bootstrap interval of the headline.
    pub interval: Option<Interval>,
    /// Which mean the interval belongs to.
    pub headline: Metric,
    /// Everything else: protocol, classes, counts.
    #[serde(flatten)]
    pub report: Report,
    /// Mean times.
    pub speed: Speed,
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// Pictures left out.
    pub skipped: usize,
    /// What was odd in the data.
    pub notes: Vec<String>,
    /// Where the head was found.
    pub head: String,
    /// SHA-256 of the model.
    #[serde(skip)]
    pub model_sha256: String,
    /// SHA-256 of pictures and ground truth.
    #[serde(skip)]
    pub data_sha256: String,
    /// Precision and recall of each class.
    #[serde(skip)]
    pub curves: Vec<Curve>,
    /// For resampling in pairs.
    #[serde(skip)]
    pub evaluation: Evaluation,
    /// Detections of each picture, classes of the model.
    #[serde(skip)]
    pub detections: Vec<(PictureId, Vec<Detection>)>,
}

/// The twelve lines of pycocotools' summary.
pub const COCO_LABELS: [&str; 12] = [
    "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]",
    "Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ]",
    "Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ]",
    "Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ]",
    "Average Precision  (AP) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ]",
    "Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ]",
    "Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ]",
    "Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ]",
    "Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]",
    "Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ]",
    "Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ]",
    "Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ]",
];

impl Evaluated {
    /// The mean that is the headline of the protocol.
    pub fn headline_value(&self) -> Option<f64> {
        match self.headline {
            Metric::Map50 => self.metrics.map50,
            Metric::Map50Voc07 => self.metrics.map50_voc07,
            Metric::Map5095 => self.metrics.map50_95,
        }
    }

    /// All detections as COCO results, with COCO's category ids where the model's classes are COCO's.
    ///
    /// # Errors
    /// A model without head.
    pub fn coco_results(&self, model: &Model) -> Result<String> {
        let ids = data::write::category_ids(&model.head()?.classes);
        let rows = self.detections.iter().map(|(id, found)| (id, found.as_slice()));
        Ok(data::write::coco_results(rows, &ids))
    }
}

/// Detects on every picture and scores.
///
/// ```no_run
/// # fn main() -> lowbit::Result<()> {
/// use lowbit::{DataSource, EvalOptions, LoadOptions, Model};
/// let model = Model::load("detector.onnx".as_ref(), &LoadOptions::default())?;
/// let data = DataSource { path: "voc".into(), split: Some("val".into()), format: None };
/// let result = lowbit::evaluate(&model, &data, &EvalOptions::default(), &mut |_: &str, _, _| {})?;
/// println!("{} {:?}", result.report.protocol_line, result.metrics.map50);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Data or pictures that cannot be read (unless skips are allowed), classes that do not meet, what running refuses.
pub fn evaluate(
    model: &Model,
    source: &DataSource,
    options: &EvalOptions,
    progress: &mut dyn Progress,
) -> Result<Evaluated> {
    evaluate_on(model, &source.open()?, options, progress)
}

/// As [`evaluate`], on a data set that was read already.
pub(crate) fn evaluate_on(
    model: &Model,
    set: &Dataset,
    options: &EvalOptions,
    progress: &mut dyn Progress,
) -> Result<Evaluated> {
    let detector = Detector::new(model, &options.run)?;
    let protocol = options.protocol(set.format);
    // COCO keeps the best of each class itself; what it keeps must not be cut off before.
    let nms = NmsOptions {
        conf: protocol.conf,
        iou: protocol.nms_iou,
        top: protocol.max_det.max(300),
    };
    let nms = match protocol.kind {
        Kind::Coco => nms,
        _ => NmsOptions {
            top: protocol.max_det,
            ..nms
        },
    };
    let map = ClassMap::new(&detector.head().classes, &set.names);
    if map.common.is_empty() {
        return Err(Error::bad(format!(
            "model and data have no class in common: the model knows {}, the data {}",
            some(&detector.head().classes),
            some(&set.names)
        ))
        .help(
            "take data of the model's classes; where only the names differ, correct \"classes\" in the head description, NAME.json beside \
             NAME.onnx (`lowbit inspect --template` prints one)",
        ));
    }
    let seen = detect_all(
        &detector,
        set,
        &nms,
        options.allow_skips,
        &options.run.control,
        progress,
    )?;
    let scenes: Vec<Scene> = seen
        .pictures
        .iter()
        .map(|(i, found)| scene(&map, &set.pictures[*i].objects, found))
        .collect();
    let evaluation = tasks::detect::eval::evaluate(&scenes, &map.common, &protocol);
    let headline = protocol.kind.headline();
    let report = evaluation.report.clone();
    let mut notes = set.notes.lines();
    notes.extend(seen.notes);
    Ok(Evaluated {
        metrics: Metrics {
            map50: report.map50,
            map50_voc07: report.map50_voc07,
            map50_95: report.map50_95,
        },
        interval: evaluation.interval(headline, options.resamples, options.seed),
        headline,
        speed: seen.times.mean(seen.pictures.len()),
        integer_mac_share: detector.runner().integer_mac_share(),
        skipped: seen.skipped,
        notes,
        head: model.head_source().to_string(),
        model_sha256: model.sha256().to_string(),
        data_sha256: seen.sha256,
        curves: evaluation.curves.clone(),
        report,
        evaluation,
        detections: seen
            .pictures
            .into_iter()
            .map(|(i, found)| (set.pictures[i].id.clone(), found))
            .collect(),
    })
}

/// Objects and detections of one picture in the common classes.
pub(crate) fn scene(map: &ClassMap, objects: &[Object], found: &[Detection]) -> Scene {
    let objects = objects.iter().filter_map(|o| {
        let class = map.data.get(o.class).copied().flatten()?;
        Some(Object { class, ..*o })
    });
    let detections = found.iter().filter_map(|d| {
        let class = map.model.get(d.class).copied().flatten()?;
        Some(Detection { class, ..*d })
    });
    Scene {
        objects: objects.collect(),
        detections: detections.collect(),
    }
}

/// Detections on the pictures of a data set.
pub(crate) struct Seen {
    /// Index of the picture and what was found.
    pub(crate) pictures: Vec<(usize, Vec<Detection>)>,
    pub(crate) times: Times,
    pub(crate) skipped: usize,
    pub(crate) notes: Vec<String>,
    pub(crate) sha256: String,
}

pub(crate) fn detect_all(
    detector: &Detector,
    set: &Dataset,
    nms: &NmsOptions,
    allow_skips: bool,
    control: &Control,
    progress: &mut dyn Progress,
) -> Result<Seen> {
    let absent = set.notes.skipped_pictures();
    if absent > 0 && !allow_skips {
        return Err(Error::bad(format!(
            "{} of the list cannot be read: {}",
            crate::text::counted(absent, "picture"),
            set.notes.lines().join("; ")
        ))
        .help("complete the data, or count the skipped ones with --allow-skips"));
    }
    let mut seen = Seen {
        pictures: Vec::with_capacity(set.pictures.len()),
        times: Times::default(),
        skipped: absent,
        notes: Vec::new(),
        sha256: String::new(),
    };
    let mut reader = Reader::new(control);
    reader.add("names", &set.names.join("\n"));
    for (i, entry) in set.pictures.iter().enumerate() {
        progress.at("detect", i, set.pictures.len());
        reader.add("objects", &objects_text(&entry.objects));
        let picture = match reader.read(&entry.path) {
            Ok(picture) => picture,
            Err(e) if allow_skips && is_of_the_picture(&e) => {
                seen.skipped += 1;
                seen.notes.push(format!("skipped: {e}"));
                continue;
            }
            Err(e) => return Err(e),
        };
        let (found, times) = detector
            .detect_timed(&picture, nms)
            .map_err(|e| e.at(entry.path.display()))?;
        seen.times += times;
        seen.pictures.push((i, found));
    }
    progress.at("detect", set.pictures.len(), set.pictures.len());
    if seen.pictures.is_empty() {
        return Err(Error::bad("no picture could be read").at(path_of(set)));
    }
    seen.sha256 = reader.finish();
    Ok(seen)
}

fn path_of(set: &Dataset) -> String {
    set.pictures
        .first()
        .and_then(|p| p.path.parent())
        .unwrap_or(Path::new("."))
        .display()
        .to_string()
}

fn objects_text(objects: &[Object]) -> String {
    let one = |o: &Object| {
        format!(
            "{} {:?} {:?} {:?} {:?}\n",
            o.class, o.bbox, o.status, o.area, o.id
        )
    };
    objects.iter().map(one).collect()
}

fn some(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(5)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > 5 {
        text.push_str(&format!(" and {} more", names.len() - 5));
    }
    text
}
