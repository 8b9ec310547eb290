//! `lowbit eval`

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lowbit::evaluate::Evaluated;
use lowbit::text::{counted, printable, shortened, table};
use lowbit::{DataSource, EvalOptions};

use crate::context::{Common, Context, ModelFlags, Outcome, RunFlags};
use crate::values;

/// Where pictures and ground truth are.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataFlags {
    /// Folder of the data set, or a COCO JSON or YOLO YAML file
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Name of the list, such as val: DIR/val.txt or DIR/ImageSets/Main/val.txt
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,
    /// How the data is stored; without it the folder is looked at
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    Voc,
    Coco,
    Yolo,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Protocol {
    /// VOC 2007: 11 points
    Voc07,
    /// VOC 2010 and later: area
    Voc10,
    /// COCO: 101 points over IoU 0.50:0.95
    Coco,
}

impl DataFlags {
    pub(crate) fn source(&self) -> DataSource {
        DataSource {
            path: self.data.clone(),
            split: self.split.clone(),
            format: self.format.map(|f| match f {
                Format::Voc => lowbit::Format::Voc,
                Format::Coco => lowbit::Format::Coco,
                Format::Yolo => lowbit::Format::Yolo,
            }),
        }
    }
}

/// The same, where it may be left out.
#[derive(Debug, Clone, Args)]
pub(crate) struct LabelFlags {
    /// Data set with ground truth: a folder, or a COCO JSON or YOLO YAML file
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Name of its list, such as val
    #[arg(long, value_name = "NAME", requires = "data")]
    split: Option<String>,
    /// How it is stored; without it the folder is looked at
    #[arg(long, value_enum, requires = "data")]
    format: Option<Format>,
}

impl LabelFlags {
    pub(crate) fn source(&self) -> Option<DataSource> {
        let data = self.data.clone()?;
        let flags = DataFlags {
            data,
            split: self.split.clone(),
            format: self.format,
        };
        Some(flags.source())
    }
}

/// How average precision is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProtocolFlags {
    /// Which average precision; without it COCO's for COCO files, voc10 elsewhere
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Boxes of lower confidence do not enter mAP
    #[arg(long, default_value_t = 0.005, value_parser = values::share::<f32>)]
    conf: f32,
    /// Boxes of a class that overlap a better one by more are dropped
    #[arg(long, default_value_t = 0.45, value_parser = values::share::<f32>)]
    iou: f32,
    /// Most boxes per picture [default: 300; COCO: 100 of each class]
    #[arg(long, value_parser = values::count(1, 300))]
    max_det: Option<usize>,
    /// Objects that a class must have to enter the mean
    #[arg(long, default_value_t = 1, value_parser = values::count(1, 10))]
    min_objects: usize,
    /// Mend the known oddities of the reference programs instead of copying them
    #[arg(long)]
    fixed: bool,
    /// Resamples of the 95 % bootstrap interval; 0 leaves it out
    #[arg(long, default_value_t = 1000, value_parser = values::count(0, 1000))]
    resamples: usize,
    /// Go on without pictures that cannot be read, and count them
    #[arg(long)]
    allow_skips: bool,
}

impl ProtocolFlags {
    pub(crate) fn options(&self, run: &RunFlags, context: &Context) -> EvalOptions {
        EvalOptions {
            kind: self.protocol.map(|p| match p {
                Protocol::Voc07 => lowbit::Kind::Voc07,
                Protocol::Voc10 => lowbit::Kind::Voc10,
                Protocol::Coco => lowbit::Kind::Coco,
            }),
            conf: self.conf,
            iou: self.iou,
            max_det: self.max_det,
            min_objects: self.min_objects,
            fixed: self.fixed,
            resamples: self.resamples,
            seed: context.seed,
            allow_skips: self.allow_skips,
            run: run.options(context),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// ONNX model, float or quantized
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    protocol: ProtocolFlags,
    /// Of a hyperspectral scene (--data CUBE): the file of its classes 1, 2, …; --split is then the file of 1 training, 2 validation, 3 test pixels
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Of a spiking network: constants of the energy model in place of those of this build, a TOML file like crates/lowbit/src/energy.toml
    #[arg(long, value_name = "FILE.toml", requires = "labels")]
    energy: Option<PathBuf>,
    /// Exit code 1 when the overall accuracy on a scene is lower, 0…1
    #[arg(long, value_name = "OA", requires = "labels", value_parser = values::share::<f64>)]
    min_oa: Option<f64>,
    /// Write the detections as COCO results into this file
    #[arg(long, value_name = "FILE.json")]
    save_json: Option<PathBuf>,
    /// Exit code 1 when the headline mAP is lower, 0…1
    #[arg(long, value_name = "MAP", value_parser = values::share::<f64>)]
    min_map: Option<f64>,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let model = a.flags.load(&a.model, context)?;
    if model.has_scene_head() || a.labels.is_some() {
        return super::scene::evaluate(&scene(a), &model, context);
    }
    let inputs = a.common.inputs(&model);
    if let Some(path) = &a.save_json {
        lowbit::output::check(path, &inputs)?;
        lowbit::output::check_beside(path, &a.data.data)?;
    }
    let options = a.protocol.options(&a.run, context);
    let e = lowbit::evaluate(&model, &a.data.source(), &options, &mut context.bar())?;
    e.notes.iter().for_each(|n| context.note(n));
    if let Some(path) = &a.save_json {
        save(path, &e, &model, &inputs)?;
    }
    let p = context.provenance(Some(&e.model_sha256), Some(&e.data_sha256));
    let mut outcome = Outcome::new(text(&e), &p, &e);
    let headline = e.headline_value();
    if let Some(least) = a.min_map
        && headline.is_none_or(|m| m < least)
    {
        let have = headline.map_or("absent".into(), |m| format!("{m:.4}"));
        outcome.fail([format!("mAP is {have}, --min-map asks for {least}")]);
    }
    Ok(outcome)
}

fn scene(a: &Arguments) -> super::scene::Judged<'_> {
    super::scene::Judged {
        cube: &a.data.data,
        labels: a.labels.as_deref(),
        split: a.data.split.as_deref(),
        energy: a.energy.as_deref(),
        least: a.min_oa,
        run: &a.run,
    }
}

fn save(path: &Path, e: &Evaluated, model: &lowbit::Model, inputs: &[&Path]) -> lowbit::Result<()> {
    lowbit::output::file(path, e.coco_results(model)?.as_bytes(), inputs)
}

fn text(e: &Evaluated) -> String {
    let r = &e.report;
    let number = |x: f64| format!("{x:.4}");
    let maybe = |x: Option<f64>| x.map_or("-".into(), number);
    let judged: Vec<_> = r.classes.iter().filter(|c| c.counted).collect();
    let mean = |f: &dyn Fn(&lowbit::evaluate::ClassReport) -> f64| {
        (!judged.is_empty()).then(|| judged.iter().map(|c| f(c)).sum::<f64>() / judged.len() as f64)
    };
    let mut rows = vec![vec![
        "all".to_string(),
        r.pictures.to_string(),
        judged.iter().map(|c| c.instances).sum::<usize>().to_string(),
        maybe(mean(&|c| c.precision)),
        maybe(mean(&|c| c.recall)),
        maybe(r.map50),
        maybe(r.map50_voc07),
        maybe(r.map50_95),
    ]];
    for c in &r.classes {
        let note = if c.counted { "" } else { " (not counted)" };
        rows.push(vec![
            format!("{}{note}", shortened(&c.name, 40)),
            c.images.to_string(),
            c.instances.to_string(),
            number(c.precision),
            number(c.recall),
            number(c.ap50),
            number(c.ap50_voc07),
            number(c.ap50_95),
        ]);
    }
    let header = [
        "Class",
        "Images",
        "Instances",
        "P",
        "R",
        "mAP50",
        "mAP50-07",
        "mAP50-95",
    ];
    let mut out = table(&header, &rows);
    let _ = writeln!(out, "{}", e.speed);
    if let Some(coco) = &r.coco {
        for (label, value) in lowbit::evaluate::COCO_LABELS.iter().zip(coco.to_array()) {
            let _ = writeln!(out, " {label} = {}", maybe(value));
        }
    }
    let _ = writeln!(out, "\nprotocol {}", r.protocol_line);
    if let Some(i) = &e.interval {
        let _ = writeln!(
            out,
            "interval {:.4} … {:.4} ({:.0} %, {} of the pictures, seed {})",
            i.low,
            i.high,
            100.0 * i.level,
            counted(i.resamples, "resample"),
            i.seed
        );
    }
    let _ = writeln!(
        out,
        "model    {:.1} % of the MACs in integers, head {}",
        100.0 * e.integer_mac_share,
        printable(&e.head)
    );
    if e.skipped > 0 {
        let _ = writeln!(out, "skipped  {}", counted(e.skipped, "picture"));
    }
    out
}
