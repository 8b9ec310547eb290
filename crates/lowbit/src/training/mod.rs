//! Training by a recipe: from a float model, or from nothing, to a packed low-bit one.
//!
//! ```text
//! recipe ─▶ graph with BatchNormalization unfolded ─plan, calibrate─▶ methods and quantizers ─▶ program ─step, step …─▶ checkpoint
//!        ─running statistics anew─▶ codes and scales ─fold─▶ packed model
//! ```
//! A run writes into one folder, each file whole or not at all: `checkpoint.safetensors`, the one before it as `checkpoint.previous.safetensors`,
//! `results.csv` and TensorBoard's event file as it goes; at the end `model.onnx`, `results.json` and `report.html`. Killed at any moment it goes on from
//! the last checkpoint that is whole and ends with the same model.

mod agreement;
mod data;
mod events;
mod executor;
mod export;
mod judge;
mod log;
mod maps;
mod objective;
mod quantizers;
mod report;
mod resume;
mod run;
mod setup;
mod source;
mod spiking;
mod start;
mod table;
mod task;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Instant;

use train::exchange::ExchangeError;
pub use train::exchange::Ranks;
pub use train::recipe::{KEYS, Key};
use train::recipe::{Place, Recipe, RecipeError};

use crate::output::Folder;
use crate::{Control, Error, ErrorKind, Result};
use log::Rows;
pub use log::{TrainEvent, TrainLine};
use run::Run;

const CHECKPOINT: &str = "checkpoint.safetensors";
/// The checkpoint before it: each new one moves the last here.
const PREVIOUS: &str = "checkpoint.previous.safetensors";
const RESULTS: &str = "results.csv";
const MODEL: &str = "model.onnx";
const EVENTS: &str = "events.out.tfevents.0.lowbit";
const JSON: &str = "results.json";
const REPORT: &str = "report.html";

/// What is to be trained.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// TOML; the keys are [`KEYS`].
    pub recipe: String,
    /// The file that it is from, where it is from one: errors name it.
    pub file: Option<PathBuf>,
    /// Names the folder of the run where the recipe does not.
    pub name: String,
    /// Overrides, `key=value`.
    pub settings: Vec<String>,
    /// Go on from the folder's newest checkpoint that is whole; where it never had one, from the start.
    pub resume: bool,
    /// Stops the run: a checkpoint is written first.
    pub control: Control,
    /// Which part of the run this process is: [`Ranks::default`] is all of it. Of several, the first alone writes files, tells lines and scores.
    pub ranks: Ranks,
}

/// The ranks that `mpirun` has started; once in a process.
///
/// # Errors
/// A build without the feature `mpi`, MPI that cannot be initialized.
pub fn mpi() -> Result<Ranks> {
    #[cfg(feature = "mpi")]
    return train::exchange::mpi::ranks().map_err(exchange_fault);
    #[cfg(not(feature = "mpi"))]
    Err(Error::unsupported("this lowbit is built without MPI")
        .help("build it with --features mpi: that needs mpicc and libclang"))
}

/// What the vendor calls the CUDA device of a number, which can be used.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported): a build without the feature `cuda`, a driver, library or device that is missing.
pub fn cuda(ordinal: usize) -> Result<String> {
    #[cfg(feature = "cuda")]
    return match kernels::cuda::Device::cuda(ordinal) {
        Ok(device) => Ok(device.name()),
        Err(e) => Err(unusable(&e)),
    };
    #[cfg(not(feature = "cuda"))]
    {
        let _ = ordinal;
        Err(Error::unsupported("this lowbit is built without CUDA")
            .help(format!("build it with --features cuda, or {}", executor::CPU)))
    }
}

#[cfg(feature = "cuda")]
fn unusable(e: &kernels::cuda::CudaError) -> Error {
    use kernels::cuda::CudaError as E;
    let way_out = match e {
        E::Library { .. } => format!(
            "install it where the loader looks (LD_LIBRARY_PATH), or {}",
            executor::CPU
        ),
        _ => executor::CPU.to_string(),
    };
    Error::unsupported(e.to_string()).help(way_out)
}

fn exchange_fault(e: ExchangeError) -> Error {
    Error::new(ErrorKind::Io, e.to_string())
}

/// What structured pruning left.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PrunedSize {
    /// Groups of the layers that are pruned.
    pub groups: usize,
    /// Those of zeros alone: what was pruned, and what its codes left empty.
    pub empty: usize,
    /// 32 bits for every parameter of the network, divided by the bits that the packed file has for them: codes, or a bit for each group and planes of what
    /// is left, 32 for scales, biases and what stays float.
    pub compression: f64,
}

/// Answers that differ between the engine and the training network's own f32 forward, on the data of the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// What is counted: voxels, pixels or pictures, which differ by their class, or boxes above confidence 0.25. A box differs where only one of the two
    /// has one of its class with an IoU of 0.5, or where the two have an IoU below 0.9.
    pub what: &'static str,
    /// Those that differ.
    pub differing: u64,
    /// All that were compared; boxes that both have count once.
    pub compared: u64,
    /// Share of right classes by the training forward, where samples have one class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_score: Option<f64>,
}

/// A finished run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trained {
    /// Folder of the run.
    #[serde(serialize_with = "crate::text::path")]
    pub folder: PathBuf,
    /// Updates done.
    pub steps: u64,
    /// mAP at IoU 0.5, (overall) accuracy, or the mean dice of the classes, of the packed model.
    pub score: Option<f64>,
    /// The score by class, of volumes and scenes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<(String, f64)>,
    /// What that is: dice or accuracy.
    #[serde(skip)]
    pub class_measure: &'static str,
    /// The engine beside the training forward, where the model is quantized and evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Of the float model that the run started from.
    pub start_score: Option<f64>,
    /// Of the quantized model before the first update.
    pub rounded_score: Option<f64>,
    /// Layers whose weights are quantized, and the layers there are.
    pub quantized_layers: usize,
    /// Edges that carry codes.
    pub quantized_edges: usize,
    /// What structured pruning left; absent where the recipe prunes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PrunedSize>,
    /// Bytes of the packed model.
    pub model_bytes: usize,
    /// SHA-256 of the packed model.
    pub model_sha256: String,
    /// The complete recipe.
    pub recipe: String,
    /// Seconds of this process.
    pub seconds: f64,
}

/// Runs a recipe to its end; `tell` sees what happens on the way.
///
/// # Errors
/// A recipe with a mistake or one that is not the first rank's, data that cannot be read, a graph with an operator that cannot be trained (named), a run that diverged (with advice),
/// cancellation: then a checkpoint has been written.
pub fn train(options: &TrainOptions, tell: &mut dyn FnMut(TrainEvent<'_>)) -> Result<Trained> {
    let begin = Instant::now();
    let recipe = Recipe::parse(&options.recipe, &options.settings).map_err(|e| refused(&e, options))?;
    let ranks = &options.ranks;
    agree(&recipe, ranks)?;
    let source = source::float_model(&recipe, &options.control)?;
    let path = match recipe.text("output") {
        "" => Path::new("runs").join(&options.name),
        text => PathBuf::from(text),
    };
    if ranks.is_first() && !options.resume && crate::output::holds_files(&path).unwrap_or(false) {
        let (what, way_out) = match [CHECKPOINT, PREVIOUS].iter().any(|name| path.join(name).exists()) {
            true => (
                "the folder holds a run already",
                "go on with it by --resume, or give",
            ),
            false => ("the folder of the run holds other files", "give"),
        };
        return Err(Error::usage(what)
            .at(path.display())
            .help(format!("{way_out} another folder with --set output=DIR")));
    }
    let mut run = Run::new(options.name.clone(), recipe, source, ranks)?;
    let folder = match ranks.is_first() {
        true => Folder::create(&path, options.resume)?,
        false => Folder::of_another(&path),
    };
    let mut rows = Rows::default();
    if options.resume {
        run.resume(&folder, &mut rows, &options.control, tell)?;
    }
    run.steps(&folder, &mut rows, &options.control, tell)?;
    let made = run.finish(&folder, &mut rows, &options.control, begin)?;
    ranks.finish();
    Ok(made)
}

/// Ranks that would not make the same steps wait for each other for ever.
fn agree(recipe: &Recipe, ranks: &Ranks) -> Result<()> {
    let (batch, size) = (recipe.count("batch"), ranks.size());
    if batch % size as u64 != 0 {
        return Err(Error::usage(format!(
            "a batch of {} has no {size} equal shares",
            crate::text::counted(batch as usize, "picture")
        ))
        .help(format!(
            "take a number of ranks that divides it, or --set batch={}",
            batch.next_multiple_of(size as u64)
        )));
    }
    let mine = recipe.to_toml();
    let mut first = mine.clone().into_bytes();
    ranks.broadcast(&mut first).map_err(exchange_fault)?;
    let first = String::from_utf8_lossy(&first);
    match mine.lines().zip(first.lines()).find(|(a, b)| a != b) {
        Some((a, b)) => Err(Error::usage(format!(
            "rank {} has {a}, and the first rank {b}",
            ranks.rank()
        ))),
        None => Ok(()),
    }
}

fn refused(e: &RecipeError, options: &TrainOptions) -> Error {
    let error = Error::usage(e.fault.to_string());
    let file = options.file.as_ref().map(|f| f.display().to_string());
    let file = file.unwrap_or_else(|| "recipe".into());
    match &e.place {
        Place::Whole => error.at(file),
        Place::Line(_) => error.at(&e.place).at(file),
        Place::Setting(_) => error.at(&e.place),
    }
}

/// The text of a recipe file.
///
/// # Errors
/// When it cannot be read, is no text, or is larger than 1 MiB.
pub fn read_recipe(path: &Path) -> Result<String> {
    let bytes =
        crate::provenance::read_capped(path, 1 << 20, &Control::default()).map_err(|e| match e.kind() {
            ErrorKind::Limit => Error::usage("this is no recipe: it has more than 1 MiB").at(path.display()),
            _ => e,
        })?;
    String::from_utf8(bytes)
        .map_err(|_| Error::bad("this is no recipe: it is no text in UTF-8").at(path.display()))
}
