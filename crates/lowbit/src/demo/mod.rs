//! What the program is about in seconds, with nothing but itself: the embedded detectors, float and low-bit, on scenes that no training saw.
//!
//! Scenes are drawn from seeds that training refuses ([`FIRST_SEED`]). All models are judged on the same scenes, timed by turns, and compared value by
//! value with the scalar program of FORMAT.md.

mod models;
mod page;
mod systems;

use std::path::{Path, PathBuf};

use data::Picture;
use data::picture::encode_png;
use serde::Serialize;
use tasks::detect::eval::{Evaluation, Interval, Kind, Metric, Protocol, Scene, evaluate, paired_interval};
use tasks::detect::{Detection, NmsOptions, Object};

pub use models::{
    Entry, MANIFEST, Manifest, System, Task, files, manifest, models, system_files, systems,
    write as write_models,
};
pub use page::{HEADER, cells};
pub use systems::{Own, SYSTEM_HEADER, SystemRow};

use crate::bench::{BenchOptions, by_turns};
use crate::control::Progress;
use crate::output::Folder;
use crate::report::page::Jpeg;
use crate::verify::Difference;
use crate::{Detector, Error, Model, Result, RunOptions, VerifyOptions, inspect, verify};

/// The demo's scenes have this seed and those after it; a recipe that trains on one is refused.
pub const FIRST_SEED: u64 = data::synth::DEMO_SEEDS;

/// Most objects of a scene, as in training.
const MAX_OBJECTS: usize = 6;

/// Boxes below this score are not drawn.
const DRAWN: f64 = 0.3;

/// Annotated pictures are this many times as wide and high as the scenes, so that labels can be read.
const ENLARGED: usize = 2;

/// What is shown.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Other seeds give other scenes: scene seed [`FIRST_SEED`] + this, below 2^32.
    pub seed: u64,
    /// Scenes.
    pub count: usize,
    /// Of these so many are drawn with their boxes.
    pub shown: usize,
    /// Timed runs of each model.
    pub runs: usize,
    /// The other systems, too: a pruned ternary detector, a 3D U-Net in affine integers, a spiking network.
    pub all: bool,
    /// Write into a folder that holds files already.
    pub exist_ok: bool,
    /// How detectors are run; times are taken with one thread.
    pub run: RunOptions,
}

impl Default for DemoOptions {
    fn default() -> Self {
        DemoOptions {
            seed: 0,
            count: 200,
            shown: 6,
            runs: 60,
            all: false,
            exist_ok: false,
            run: RunOptions::default(),
        }
    }
}

/// One model's numbers.
#[derive(Debug, Clone, Serialize)]
pub struct DemoRow {
    /// Name.
    pub model: String,
    /// Bytes of its file.
    pub file_bytes: usize,
    /// Stored bits per weight, scales included.
    pub bits_per_weight: f64,
    /// mAP at IoU 0.5 (area).
    pub map50: f64,
    /// Its 95 % bootstrap interval over the scenes.
    pub interval: Option<Interval>,
    /// 95 % interval of the difference to the float model on the same scenes.
    pub against_float: Option<Interval>,
    /// Median time of the network, one thread.
    pub median_ms: f64,
    /// Median over the rounds of the float model's time / this one's.
    pub faster: f64,
    /// Modelled energy of a picture in microjoule, lower and upper constant of the main memory.
    pub energy_uj: (f64, f64),
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// Elements compared with the scalar program.
    pub verified: usize,
    /// The first layer that differs.
    pub difference: Option<Difference>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Result of [`demo()`].
#[derive(Debug, Clone, Serialize)]
pub struct Demo {
    /// The models, float first.
    pub rows: Vec<DemoRow>,
    /// The other systems, where they are asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<SystemRow>,
    /// Seed of the scenes.
    pub scene_seed: u64,
    /// Scenes.
    pub scenes: usize,
    /// Objects that count.
    pub objects: usize,
    /// Side of the scenes in pixels.
    pub side: usize,
    /// How mAP was measured.
    pub protocol: String,
    /// Where the constants of the energy are from.
    pub energy_source: String,
    /// Folder of pictures and report.
    #[serde(serialize_with = "crate::text::path")]
    pub folder: PathBuf,
    /// The report.
    #[serde(serialize_with = "crate::text::path")]
    pub report: PathBuf,
}

/// A scene, and what each model found there.
struct Shown {
    picture: Picture,
    objects: Vec<Object>,
    found: Vec<Vec<Detection>>,
}

/// Runs everything and writes into `folder`: `report.html`, `scenes/N.png`, `pictures/N-MODEL.jpg` with boxes, and pictures of the other systems into `systems/`.
///
/// # Errors
/// No scenes, a folder that cannot be written, cancellation. A value that differs is a result, not an error.
pub fn demo(folder: &Path, options: &DemoOptions, progress: &mut dyn Progress) -> Result<Demo> {
    if options.count == 0 || options.seed >= FIRST_SEED {
        return Err(Error::usage(format!(
            "the demo has at least one scene, and seeds below {FIRST_SEED}"
        )));
    }
    let models = models()?;
    let out = Folder::create(folder, options.exist_ok)?;
    let input = &models[0].1.head()?.input;
    let drawing = data::synth::Options {
        width: input.width,
        height: input.height,
        max_objects: MAX_OBJECTS,
    };
    let seed = FIRST_SEED + options.seed;
    let mut scenes = Vec::with_capacity(options.count);
    for i in 0..options.count {
        options.run.control.check()?;
        progress.at("draw", i, options.count);
        let (picture, objects) = data::synth::scene(seed, i as u64, &drawing);
        scenes.push(Shown {
            picture,
            objects,
            found: Vec::new(),
        });
    }
    let shown = options.shown.clamp(1, options.count);
    let mut written = Vec::new();
    for (i, scene) in scenes.iter().take(shown).enumerate() {
        let png = encode_png(&scene.picture).map_err(|e| Error::bad(e.to_string()))?;
        written.push(out.write(&format!("scenes/{i}.png"), &png, &[])?);
    }
    let protocol = Protocol::new(Kind::Voc10);
    let mut evaluations = Vec::new();
    for (entry, model) in &models {
        evaluations.push(judge(
            &entry.name,
            model,
            &mut scenes,
            &protocol,
            options,
            progress,
        )?);
    }
    let bench = BenchOptions {
        runs: options.runs.max(1),
        seed: options.seed,
        run: RunOptions {
            threads: 1,
            ..options.run.clone()
        },
        ..BenchOptions::default()
    };
    let all: Vec<&Model> = models.iter().map(|m| &m.1).collect();
    let timings = by_turns(&all, &bench, progress)?;
    let mut rows: Vec<DemoRow> = Vec::new();
    let mut energy_source = String::new();
    for (((entry, model), evaluation), (timing, faster)) in models.iter().zip(&evaluations).zip(&timings) {
        let pictures = VerifyOptions {
            pictures: written[..1].to_vec(),
            seed: options.seed,
            run: options.run.clone(),
        };
        let verified = verify(model, &pictures, progress)?;
        let inspected = inspect(model)?;
        energy_source = inspected.energy.source.clone();
        let draws = (Metric::Map50, 1000, options.seed);
        rows.push(DemoRow {
            model: entry.name.clone(),
            file_bytes: model.file_bytes(),
            bits_per_weight: inspected.bits_per_weight,
            map50: evaluation.report.map50.unwrap_or(0.0),
            interval: evaluation.interval(draws.0, draws.1, draws.2),
            against_float: paired_interval(&evaluations[0], evaluation, draws.0, draws.1, draws.2)
                .filter(|_| !rows.is_empty()),
            median_ms: timing.stats.median_ms,
            faster: *faster,
            energy_uj: inspected.energy.total_uj(),
            integer_mac_share: timing.integer_mac_share,
            verified: verified.elements,
            difference: verified.difference,
            sha256: model.sha256().to_string(),
        });
    }
    let (systems, sections) = match options.all {
        true => {
            let given = systems::Given {
                options,
                seed,
                scenes: &mut scenes,
                protocol: &protocol,
                float: (&models[0].1, &evaluations[0]),
            };
            systems::run(given, &out, progress)?
        }
        false => Default::default(),
    };
    let counted = |s: &Shown| {
        let counts = |o: &&Object| o.status == tasks::detect::Status::Counted;
        s.objects.iter().filter(counts).count()
    };
    let mut result = Demo {
        objects: scenes.iter().map(counted).sum(),
        rows,
        systems,
        scene_seed: seed,
        scenes: scenes.len(),
        side: input.width,
        protocol: protocol.to_string(),
        energy_source,
        folder: folder.to_path_buf(),
        report: PathBuf::new(),
    };
    let classes = &models[0].1.head()?.classes;
    let mut drawn = Vec::new();
    for (i, scene) in scenes.iter().take(shown).enumerate() {
        let mut row = Vec::new();
        for (found, (entry, _)) in scene.found.iter().zip(&models) {
            let jpeg = Jpeg::of(&annotated(&scene.picture, found, classes))?;
            let name = crate::output::safe_name(&entry.name);
            out.write(&format!("pictures/{i}-{name}.jpg"), jpeg.bytes(), &[])?;
            row.push((entry.name.as_str(), jpeg));
        }
        drawn.push(row);
    }
    let html = page::page(&result, &drawn, &sections);
    result.report = out.write("report.html", html.as_bytes(), &[])?;
    Ok(result)
}

/// Detects on every scene and scores.
fn judge(
    name: &str,
    model: &Model,
    scenes: &mut [Shown],
    protocol: &Protocol,
    options: &DemoOptions,
    progress: &mut dyn Progress,
) -> Result<Evaluation> {
    let detector = Detector::new(model, &options.run)?;
    let nms = NmsOptions {
        conf: protocol.conf,
        iou: protocol.nms_iou,
        top: protocol.max_det,
    };
    let count = scenes.len();
    let mut judged = Vec::with_capacity(count);
    for (i, scene) in scenes.iter_mut().enumerate() {
        progress.at(name, i, count);
        let detections = detector.detect(&scene.picture, &nms)?;
        scene.found.push(detections.clone());
        judged.push(Scene {
            objects: scene.objects.clone(),
            detections,
        });
    }
    progress.at(name, count, count);
    Ok(evaluate(&judged, &detector.head().classes, protocol))
}

/// The enlarged scene with the boxes that are likely enough.
fn annotated(picture: &Picture, found: &[Detection], classes: &[String]) -> Picture {
    let drawn: Vec<Detection> = found.iter().filter(|d| d.score >= DRAWN).copied().collect();
    crate::report::boxes::annotated(picture, &drawn, classes, ENLARGED)
}
