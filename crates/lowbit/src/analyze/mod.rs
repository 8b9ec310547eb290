//! Which layers of a low-bit model hurt, how much, why, and what to do next.
//!
//! Every place where numbers are rounded, the weights of a layer or the values of an edge, is measured on a few pictures in four ways: what it
//! alone adds to the float network's values (beside what a fresh rounding of the same width would add), what the model's outputs and
//! detections become with it alone rounded, how far its value is off with everything rounded, and what its codes cut off. No labels are needed; where
//! the pictures have them, mAP with each of the first places alone rounded is told, too.

mod accumulate;
mod accuracy;
mod counterpart;
mod drawn;
#[cfg(test)]
mod faults;
mod next;
mod own;
mod page;
mod rank;
mod sites;
mod sums;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use graph::Graph;
use kernels::Pool;
use serde::Serialize;

pub use accuracy::Accuracy;
pub use rank::{Finding, Part, Ranked};

use crate::control::Progress;
use crate::evaluate::DataSource;
use crate::pictures::{Reader, spread};
use crate::report::page::Jpeg;
use crate::runtime::RunOptions;
use crate::{Control, Error, Model, Result};
use accumulate::Accumulated;
use sites::Site;
use work::Work;

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
    /// mAP of both models, where the pictures have ground truth.
    pub accuracy: Option<Accuracy>,
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
    let paths: Vec<PathBuf> = set.pictures.iter().map(|p| p.path.clone()).collect();
    let pictures = spread(&paths, options.subset.max(1));
    if pictures.is_empty() {
        return Err(Error::bad("there is no picture to measure on").at(source.path.display()));
    }
    let data_sha256 = hash(&pictures, control)?;
    let pool = Arc::new(Pool::new(options.run.threads));
    let plain = counterpart::of(float, low);
    let graph = plain.graph();
    let (sites, lost) = sites::find(graph, low.graph())?;
    let work = Work {
        plain: &plain,
        low,
        pictures: &pictures,
        pool: &pool,
        control,
    };
    // Beside the plans: the values of both networks, of each picture in work.
    let values = value_bytes(graph).saturating_mul(2);
    let inner = control.less(values, "comparing values")?;
    let accumulated = accumulate::run(&plain, low, &pictures, &pool, &inner, progress)?;
    let within = Work {
        control: &inner,
        ..work
    };
    let measured = within.measure(&sites, progress)?;
    let whole = work.whole(progress)?;
    let ranked = work.ranked(&sites, &measured, &whole, &accumulated, progress)?;
    let histograms = ranked
        .iter()
        .map(|(r, i)| drawn::histogram(graph, r, &sites[*i], &measured[*i].0))
        .collect();
    let mut placed: Vec<(Ranked, &Site)> = ranked.into_iter().map(|(r, i)| (r, &sites[i])).collect();
    let settings = next::settings(graph, low, source, &placed);
    let mut notes = set.notes.lines();
    if lost > 0 {
        notes.push(format!(
            "{lost} rounded places of the low-bit model have no place in the float one and were left out"
        ));
    }
    let models = (float, low);
    let accuracy = accuracy::measure(models, (&plain, &mut placed), &set, options, progress)?;
    if let Some(a) = accuracy.filter(|a| a.places_alone < placed.len()) {
        notes.push(format!(
            "mAP was measured with each of the first {} of {} places alone: all of them would take too long",
            a.places_alone,
            placed.len()
        ));
    }
    Ok(Analysis {
        name: low.name(),
        pictures: pictures.len(),
        pictures_alone: work::ALONE.min(pictures.len()),
        output_error: whole.output_error,
        agreement: whole.agreement,
        accuracy,
        command: next::command(float, &settings),
        config: next::config(&settings),
        layers: layers(graph, &accumulated),
        ranking: placed.into_iter().map(|p| p.0).collect(),
        notes,
        float_sha256: float.sha256().to_string(),
        low_sha256: low.sha256().to_string(),
        data_sha256,
        histograms,
        drawn: drawn::pictures(float, low, &pictures, options)?,
    })
}

/// SHA-256 over the pictures; what cannot be read is told before long work.
fn hash(pictures: &[PathBuf], control: &Control) -> Result<String> {
    let mut reader = Reader::new(control);
    for path in pictures {
        reader.read(path)?;
    }
    Ok(reader.finish())
}

/// How far each node's value is from the float one.
fn layers(graph: &Graph, accumulated: &Accumulated) -> Vec<AnalyzedLayer> {
    let one = |node: &graph::Node| {
        let sums = node.outputs.first().and_then(|v| accumulated.get(v));
        let like = sums.map(|s| rank::likeness(*s));
        AnalyzedLayer {
            name: node.name.clone(),
            op: node.op.name().to_string(),
            sqnr_db: like.map(|l| l.0),
            cosine: like.map(|l| l.1),
        }
    };
    graph.nodes.iter().map(one).collect()
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
