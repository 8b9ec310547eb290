//! Which layers of a low-bit model hurt, how much, why, and what to do next.
//!
//! Every place where numbers are rounded, the weights of a layer or the values of an edge, is measured on a few pictures in four ways: what it
//! alone adds to the float network's values (beside what a fresh rounding of the same width would add), what the model's outputs and
//! detections become with it alone rounded, how far its value is off with everything rounded, and what its codes cut off. No labels are needed.

mod counterpart;
#[cfg(test)]
mod faults;
mod next;
mod own;
mod page;
mod rank;
mod sites;

use std::path::PathBuf;
use std::sync::Arc;

use graph::Graph;
use kernels::Pool;
use serde::Serialize;
use tasks::detect::NmsOptions;
use tasks::detect::compare::{CompareOptions, compare};

pub use rank::{Finding, Part, Ranked};

use crate::control::Progress;
use crate::evaluate::DataSource;
use crate::pictures::{Reader, spread};
use crate::quantize::trial::{Ground, Network, Trial};
use crate::report::boxes::{annotated, enlargement};
use crate::report::page::Jpeg;
use crate::runtime::RunOptions;
use crate::{Control, Detector, Error, Model, Result};
use own::Own;
use sites::{Alone, Repaired, Rounds, Site};

/// Pictures on which each place is tried alone.
const ALONE: usize = 4;

/// Pictures drawn with the boxes of both models.
const DRAWN: usize = 3;

/// Settings of [`analyze()`].
#[derive(Debug, Clone)]
pub struct AnalyzeOptions {
    /// At most this many pictures are used, spread evenly over the list.
    pub subset: usize,
    /// Boxes from this confidence on are drawn.
    pub box_conf: f32,
    /// How models are run.
    pub run: RunOptions,
}

impl Default for AnalyzeOptions {
    fn default() -> Self {
        AnalyzeOptions {
            subset: 16,
            box_conf: 0.25,
            run: RunOptions::default(),
        }
    }
}

/// One node of the float model, with everything rounded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnalyzedLayer {
    /// Name.
    pub name: String,
    /// Operator.
    pub op: String,
    /// 10·log10(Σy² / Σ(y − ŷ)²) of its first output; absent where the low-bit model has no such value.
    pub sqnr_db: Option<f64>,
    /// Cosine of that output in both models.
    pub cosine: Option<f64>,
}

/// Result of [`analyze()`].
#[derive(Debug, Clone, Serialize)]
pub struct Analysis {
    /// Name of the low-bit model.
    pub name: String,
    /// Pictures used.
    pub pictures: usize,
    /// Pictures on which each place was tried alone.
    pub pictures_alone: usize,
    /// Mean over the model's outputs of Σ(y − ŷ)² / Σy², everything rounded.
    pub output_error: f64,
    /// Agreement of the detections with the float model's, 0…1; absent without detections.
    pub agreement: Option<f64>,
    /// Every place that rounds, what hurts most first.
    pub ranking: Vec<Ranked>,
    /// Every node in the order of the float model.
    pub layers: Vec<AnalyzedLayer>,
    /// The command to type next.
    pub command: String,
    /// The same settings as a file for `quantize --config`.
    pub config: String,
    /// What was odd.
    pub notes: Vec<String>,
    /// SHA-256 of the float model.
    pub float_sha256: String,
    /// SHA-256 of the low-bit model.
    #[serde(skip)]
    pub low_sha256: String,
    /// SHA-256 over the pictures.
    #[serde(skip)]
    pub data_sha256: String,
    #[serde(skip)]
    histograms: Vec<String>,
    #[serde(skip)]
    drawn: Vec<(String, Jpeg)>,
}

impl Analysis {
    /// Everything as one page of HTML that needs nothing beside it.
    pub fn html(&self) -> String {
        page::html(self)
    }
}

/// Measures every place of `low`, which was made from `float`, on some pictures of `source`.
///
/// # Errors
/// Models that do not belong together or are not a float and a low-bit one, data that cannot be read, what running refuses.
pub fn analyze(
    float: &Model,
    low: &Model,
    source: &DataSource,
    options: &AnalyzeOptions,
    progress: &mut dyn Progress,
) -> Result<Analysis> {
    check(float, low)?;
    let control = &options.run.control;
    let (set, _) = crate::compare::open(source)?;
    let pictures: Vec<PathBuf> = set.pictures.into_iter().map(|p| p.path).collect();
    let pictures = spread(&pictures, options.subset.max(1));
    if pictures.is_empty() {
        return Err(Error::bad("there is no picture to measure on").at(source.path.display()));
    }
    let mut reader = Reader::new(control);
    for path in &pictures {
        reader.read(path)?;
    }
    let pool = Arc::new(Pool::new(options.run.threads));
    let plain = counterpart::of(float, low);
    let graph = plain.graph();
    let (sites, lost) = sites::find(graph, low.graph())?;
    // Beside the plans: the values of both networks, of each picture in work.
    let values = value_bytes(graph).saturating_mul(2);
    let inner = control.less(values, "comparing values")?;
    let accumulated = own::accumulate(&plain, low, &pictures, &pool, &inner, progress)?;
    let measured = measure(&plain, &sites, &pictures, &pool, &inner, progress)?;
    let whole = ground(&plain, &pictures, &pool, control, &mut |ground| {
        ground.run("both networks", &[Whole(low)], progress)
    })?;
    let whole = whole.first().copied().unwrap_or_default();
    let mut ranked: Vec<(Ranked, usize)> = measured
        .iter()
        .enumerate()
        .map(|(i, (own, alone))| {
            let ranked = rank::judge(graph, &sites[i], own, alone, whole.output_error, &accumulated);
            (ranked, i)
        })
        .collect();
    ranked.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
    let first: Vec<&Site> = ranked.iter().take(rank::REPAIRED).map(|r| &sites[r.1]).collect();
    let errors = repaired(&plain, low, &first, (&pictures, &pool), control, progress)?;
    for (i, (ranked, _)) in ranked.iter_mut().enumerate() {
        ranked.repaired_error = errors.get(i).copied();
        ranked.score = rank::confirmed(ranked.score, ranked.repaired_error, whole.output_error);
    }
    ranked.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
    let histograms = ranked
        .iter()
        .map(|(r, i)| histogram(graph, r, &sites[*i], &measured[*i].0))
        .collect();
    let placed: Vec<(Ranked, &Site)> = ranked.into_iter().map(|(r, i)| (r, &sites[i])).collect();
    let settings = next::settings(graph, low, source, &placed);
    let layers = graph.nodes.iter().map(|node| {
        let like = node
            .outputs
            .first()
            .and_then(|v| accumulated.get(v))
            .map(|s| rank::likeness(*s));
        AnalyzedLayer {
            name: node.name.clone(),
            op: node.op.name().to_string(),
            sqnr_db: like.map(|l| l.0),
            cosine: like.map(|l| l.1),
        }
    });
    let mut notes = set.notes.lines();
    if lost > 0 {
        notes.push(format!(
            "{lost} rounded places of the low-bit model have no place in the float one and were left out"
        ));
    }
    Ok(Analysis {
        name: low.name(),
        pictures: pictures.len(),
        pictures_alone: ALONE.min(pictures.len()),
        output_error: whole.output_error,
        agreement: whole.agreement,
        command: next::command(float, &settings),
        config: next::config(&settings),
        layers: layers.collect(),
        ranking: placed.into_iter().map(|p| p.0).collect(),
        notes,
        float_sha256: float.sha256().to_string(),
        low_sha256: low.sha256().to_string(),
        data_sha256: reader.finish(),
        histograms,
        drawn: draw(float, low, &pictures, options)?,
    })
}

fn check(float: &Model, low: &Model) -> Result<()> {
    if float.is_quantized() {
        return Err(Error::usage("the first model is quantized")
            .help("give the float model first, then the low-bit one"));
    }
    if !low.is_quantized() {
        return Err(Error::usage("the second model is not quantized")
            .help("give the float model first, then the low-bit one"));
    }
    if float.inputs()? != low.inputs()? {
        return Err(Error::bad("the two models have different inputs")
            .help("give the float model that the low-bit one was made from"));
    }
    Ok(())
}

/// The low-bit network as it is.
struct Whole<'a>(&'a Model);

impl Network for Whole<'_> {
    fn graph(&self) -> Result<Graph> {
        Ok(self.0.graph().clone())
    }
}

fn ground<T>(
    float: &Model,
    pictures: &[PathBuf],
    pool: &Arc<Pool>,
    control: &Control,
    work: &mut dyn FnMut(&Ground<'_>) -> Result<T>,
) -> Result<T> {
    let pictures = spread(pictures, ALONE);
    work(&Ground {
        float,
        pictures: &pictures,
        pool,
        control,
    })
}

/// What each place adds by itself, and what it alone does to the outputs.
fn measure(
    plain: &Model,
    sites: &[Site],
    pictures: &[PathBuf],
    pool: &Arc<Pool>,
    control: &Control,
    progress: &mut dyn Progress,
) -> Result<Vec<(Own, Trial)>> {
    let own = own::measure(plain, sites, pictures, pool, control, progress)?;
    let graph = plain.graph();
    let networks: Vec<Alone<'_>> = sites.iter().map(|site| Alone { graph, site }).collect();
    let alone = ground(plain, pictures, pool, control, &mut |ground| {
        ground.run("one at a time", &networks, progress)
    })?;
    Ok(own.into_iter().zip(alone).collect())
}

/// Errors of the outputs of the low-bit model with one of the places repaired, with the bias that goes better with it.
fn repaired(
    plain: &Model,
    low: &Model,
    sites: &[&Site],
    (pictures, pool): (&[PathBuf], &Arc<Pool>),
    control: &Control,
    progress: &mut dyn Progress,
) -> Result<Vec<f64>> {
    let (float, low) = (plain.graph(), low.graph());
    let mut networks = Vec::with_capacity(2 * sites.len());
    for &site in sites {
        networks.extend([false, true].map(|bias| Repaired {
            float,
            low,
            site,
            bias,
        }));
    }
    let trials = ground(plain, pictures, pool, control, &mut |ground| {
        ground.run("repairs", &networks, progress)
    })?;
    let better = |t: &[Trial]| t.iter().map(|t| t.output_error).fold(f64::INFINITY, f64::min);
    Ok(trials.chunks(2).map(better).collect())
}

/// Bytes of all values of one picture.
fn value_bytes(graph: &Graph) -> usize {
    let outputs = graph.nodes.iter().flat_map(|n| &n.outputs);
    let bytes = |v: &graph::ValueId| {
        let shape = graph.value(*v).fixed_shape()?;
        Some(tensor::numel(&shape).ok()?.saturating_mul(4))
    };
    outputs.filter_map(bytes).fold(0, usize::saturating_add)
}

/// What a place rounds, over the levels that it has.
fn histogram(graph: &Graph, ranked: &Ranked, site: &Site, own: &Own) -> String {
    use crate::report::chart;
    match &site.rounds {
        Rounds::Weight { weight, .. } => {
            let float = graph.constants.get(&site.value).and_then(|t| t.as_f32());
            chart::weights(&ranked.layer, weight, float.unwrap_or_default())
        }
        Rounds::Edge(edge) => {
            let title = format!("{} → {}", ranked.layer, ranked.grid);
            let ends = [edge.dequantize(0), edge.dequantize(edge.max_code())];
            let levels: Vec<f64> = match edge.bits {
                ..=4 => (0..=edge.max_code())
                    .map(|q| f64::from(edge.dequantize(q)))
                    .collect(),
                _ => ends.map(f64::from).to_vec(),
            };
            chart::histogram(&title, &own.counts, own.ends, &levels)
        }
    }
}

/// The pictures whose boxes changed most, with the boxes of both models; none for models without detections.
fn draw(
    float: &Model,
    low: &Model,
    pictures: &[PathBuf],
    options: &AnalyzeOptions,
) -> Result<Vec<(String, Jpeg)>> {
    if float.detector_head().is_err() {
        return Ok(Vec::new());
    }
    let nms = NmsOptions {
        conf: options.box_conf,
        ..NmsOptions::default()
    };
    let models = [
        Detector::new(float, &options.run)?,
        Detector::new(low, &options.run)?,
    ];
    let boxes = CompareOptions {
        conf: f64::from(options.box_conf),
        ..CompareOptions::default()
    };
    let mut reader = Reader::new(&options.run.control);
    let mut changed = Vec::new();
    for path in pictures {
        let picture = reader.read(path)?;
        let detect = |d: &Detector| d.detect(&picture, &nms).map_err(|e| e.at(path.display()));
        let found = [detect(&models[0])?, detect(&models[1])?];
        let harm = compare(&found[0], &found[1], None, &boxes).harm;
        changed.push((harm, found[0].len(), path, found));
    }
    // Where nothing changed, those with the most boxes.
    changed.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let mut drawn = Vec::new();
    for (_, _, path, found) in changed.iter().take(DRAWN) {
        let picture = reader.read(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        for (what, (found, model)) in ["float", "low-bit"].iter().zip(found.iter().zip(&models)) {
            let large = annotated(
                &picture,
                found,
                &model.head().classes,
                enlargement(picture.width()),
            );
            let caption = format!("{file}, {what}: {}", crate::text::counted(found.len(), "box"));
            drawn.push((caption, Jpeg::of(&large)?));
        }
    }
    Ok(drawn)
}
