//! Two models on the same pictures: boxes lost, gained and moved, most harmful picture first.

use serde::Serialize;
use tasks::detect::compare::agreement_f1;
pub use tasks::detect::compare::{Change, CompareOptions, Judged, PictureChange};
use tasks::detect::eval::{Interval, Metric, Scene, paired_interval};
use tasks::detect::names::{ClassMap, canonical};
use tasks::detect::{Detection, NmsOptions, Object};

use data::read::{Dataset, Entry, PictureId, ReadFault};

use crate::control::Progress;
use crate::detect::Detector;
use crate::evaluate::{DataSource, EvalOptions, scene};
use crate::names::{Names, common_folder};
use crate::pictures::Reader;
use crate::text::counted;
use crate::{Error, Model, Result};

/// What is compared.
#[derive(Debug, Clone, Default)]
pub struct CompareSettings {
    /// Confidence from which boxes are looked at, overlap from which two belong together, overlap below which they count as shifted.
    pub boxes: CompareOptions,
    /// Protocol of the two mAPs where there is ground truth, and how the models are run.
    pub eval: EvalOptions,
}

/// One picture.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedPicture {
    /// Its id in the data set: a number where its name consists of digits alone.
    pub picture: PictureId,
    /// Its file, by the path from the folder that holds all pictures: `000123.jpg`.
    pub file: String,
    /// What changed.
    #[serde(flatten)]
    pub change: PictureChange,
}

/// The mAPs of both models.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Accuracy {
    /// Which mean.
    pub metric: Metric,
    /// Model A's.
    pub a: f64,
    /// Model B's.
    pub b: f64,
    /// a − b.
    pub drop: f64,
    /// 95 % paired bootstrap interval of the drop.
    pub interval: Option<Interval>,
}

/// Result of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Pictures, most harmful first.
    pub pictures: Vec<ComparedPicture>,
    /// Boxes of A that B does not find.
    pub lost: usize,
    /// Boxes of B that A does not find.
    pub gained: usize,
    /// Boxes that both find at different places.
    pub shifted: usize,
    /// Boxes that both find.
    pub common: usize,
    /// F1 of B's boxes against A's.
    pub agreement_f1: f64,
    /// mAPs, where there is ground truth.
    pub accuracy: Option<Accuracy>,
    /// Protocol of the mAPs in one line.
    pub protocol_line: Option<String>,
    /// Class names of the detections.
    pub classes: Vec<String>,
    /// SHA-256 of model A.
    pub a_sha256: String,
    /// SHA-256 of model B.
    pub b_sha256: String,
    /// SHA-256 of pictures and ground truth.
    #[serde(skip)]
    pub data_sha256: String,
    /// What was odd in the data.
    pub notes: Vec<String>,
}

/// Detects with both models on every picture. A folder without annotations is compared without ground truth.
///
/// # Errors
/// Models whose classes differ, data that cannot be read, what running refuses.
pub fn compare(
    a: &Model,
    b: &Model,
    source: &DataSource,
    settings: &CompareSettings,
    progress: &mut dyn Progress,
) -> Result<Comparison> {
    let run = &settings.eval.run;
    let (first, second) = (Detector::new(a, run)?, Detector::new(b, run)?);
    let classes = &first.head().classes;
    if let Some(difference) = difference(classes, &second.head().classes) {
        return Err(
            Error::bad(format!("the two models have different classes: {difference}"))
                .help("compare a model with one that was made from it"),
        );
    }
    let (set, truth) = open(source)?;
    let protocol = settings.eval.protocol(set.format);
    let nms = NmsOptions {
        conf: protocol.conf.min(settings.boxes.conf as f32),
        iou: protocol.nms_iou,
        top: protocol.max_det.max(300),
    };
    let map = ClassMap::new(classes, &set.names);
    let paths: Vec<_> = set.pictures.iter().map(|entry| entry.path.clone()).collect();
    let names = Names::of(common_folder(&paths), &paths);
    let mut reader = Reader::new(&run.control);
    let mut pictures = Vec::with_capacity(set.pictures.len());
    let (mut scenes_a, mut scenes_b) = (Vec::new(), Vec::new());
    for (i, entry) in set.pictures.iter().enumerate() {
        progress.at("compare", i, set.pictures.len());
        let picture = reader.read(&entry.path)?;
        let at = |e: Error| e.at(entry.path.display());
        let found_a = first.detect(&picture, &nms).map_err(at)?;
        let found_b = second.detect(&picture, &nms).map_err(at)?;
        let objects = truth.then(|| in_model_classes(&map, &entry.objects));
        let change = tasks::detect::compare::compare(&found_a, &found_b, objects.as_deref(), &settings.boxes);
        pictures.push(ComparedPicture {
            picture: entry.id.clone(),
            file: names.0[i].file.clone(),
            change,
        });
        if truth {
            scenes_a.push(above(&map, entry, &found_a, protocol.conf));
            scenes_b.push(above(&map, entry, &found_b, protocol.conf));
        }
    }
    progress.at("compare", set.pictures.len(), set.pictures.len());
    let (mut lost, mut gained, mut shifted) = (0, 0, 0);
    for judged in pictures.iter().flat_map(|p| &p.change.changes) {
        use tasks::detect::compare::Change as C;
        match judged.change {
            C::Lost { .. } => lost += 1,
            C::Gained { .. } => gained += 1,
            C::Shifted { .. } => shifted += 1,
        }
    }
    let accuracy = (truth && !map.common.is_empty()).then(|| {
        let of = |scenes: &[Scene]| tasks::detect::eval::evaluate(scenes, &map.common, &protocol);
        let (a, b) = (of(&scenes_a), of(&scenes_b));
        let metric = protocol.kind.headline();
        let value = |e: &tasks::detect::eval::Evaluation| {
            let r = &e.report;
            match metric {
                Metric::Map50 => r.map50,
                Metric::Map50Voc07 => r.map50_voc07,
                Metric::Map5095 => r.map50_95,
            }
            .unwrap_or(0.0)
        };
        Accuracy {
            metric,
            a: value(&a),
            b: value(&b),
            drop: value(&a) - value(&b),
            interval: paired_interval(&b, &a, metric, settings.eval.resamples, settings.eval.seed),
        }
    });
    let agreement = agreement_f1(pictures.iter().map(|p| &p.change));
    let common = pictures.iter().map(|p| p.change.common).sum();
    pictures.sort_by(|x, y| y.change.harm.total_cmp(&x.change.harm));
    Ok(Comparison {
        lost,
        gained,
        shifted,
        common,
        agreement_f1: agreement,
        protocol_line: accuracy.map(|_| protocol.to_string()),
        accuracy,
        pictures,
        classes: classes.clone(),
        a_sha256: a.sha256().to_string(),
        b_sha256: b.sha256().to_string(),
        data_sha256: reader.finish(),
        notes: set.notes.lines(),
    })
}

/// Where two lists of class names part.
fn difference(a: &[String], b: &[String]) -> Option<String> {
    if a.len() != b.len() {
        return Some(format!("{} and {}", counted(a.len(), "class"), b.len()));
    }
    let (k, (x, y)) = (a.iter().zip(b).enumerate()).find(|(_, (x, y))| canonical(x) != canonical(y))?;
    Some(format!("class {k} is \"{x}\" and \"{y}\""))
}

/// The data set, or the pictures of a folder alone.
pub(crate) fn open(source: &DataSource) -> Result<(Dataset, bool)> {
    let limits = data::read::Limits::default();
    match data::read::open(&source.path, source.split.as_deref(), source.format, &limits) {
        Ok(set) => Ok((set, true)),
        Err(e)
            if source.split.is_none()
                && source.format.is_none()
                && matches!(e.fault, ReadFault::Missing(_)) =>
        {
            let entry = |path: std::path::PathBuf| Entry {
                id: PictureId::of_name(&path.file_stem().unwrap_or_default().to_string_lossy()),
                path,
                objects: Vec::new(),
                width: None,
                height: None,
            };
            let pictures = data::read::pictures_in(&source.path)?
                .into_iter()
                .map(entry)
                .collect();
            let set = Dataset {
                format: data::read::Format::Voc,
                names: Vec::new(),
                category_ids: Vec::new(),
                pictures,
                notes: data::read::Notes::default(),
            };
            Ok((set, false))
        }
        Err(e) => {
            let needs_truth = matches!(e.fault, ReadFault::Missing(_));
            let e = Error::from(e);
            match needs_truth {
                true => {
                    Err(e.help("without --split and --format pictures are compared without ground truth"))
                }
                false => Err(e),
            }
        }
    }
}

/// Objects in the model's own classes, as its detections are.
fn in_model_classes(map: &ClassMap, objects: &[Object]) -> Vec<Object> {
    let to_model = |o: &Object| {
        let common = map.data.get(o.class).copied().flatten()?;
        let class = map.model.iter().position(|m| *m == Some(common))?;
        Some(Object { class, ..*o })
    };
    objects.iter().filter_map(to_model).collect()
}

fn above(map: &ClassMap, entry: &Entry, found: &[Detection], conf: f32) -> Scene {
    let kept: Vec<Detection> = found
        .iter()
        .filter(|d| d.score > f64::from(conf))
        .copied()
        .collect();
    scene(map, &entry.objects, &kept)
}
