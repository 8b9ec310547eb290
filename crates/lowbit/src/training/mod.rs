//! Training by a recipe: from a float model, or from nothing, to a packed low-bit one.
//!
//! ```text
//! recipe ─▶ graph with BatchNormalization unfolded ─plan, calibrate─▶ methods and quantizers ─▶ program ─step, step …─▶ checkpoint
//!        ─running statistics anew─▶ codes and scales ─fold─▶ packed model
//! ```
//! A run writes into one folder: `checkpoint.safetensors`, `results.csv`, `model.onnx`, each whole or not at all. Killed at any moment it goes on from
//! the last checkpoint and ends with the same bytes.

mod data;
mod export;
mod judge;
mod objective;
mod quantizers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ::data::augment::{LoadError, Loader};
use graph::onnx::{Form, WriteOptions};
use graph::passes::{Budget, simplify};
use kernels::{Isa, Pool};
use train::checkpoint::Checkpoint;
use train::exec::Cpu;
use train::optimizer::Optimizer;
use train::optimizer::adamw::AdamW;
use train::optimizer::ema::Ema;
use train::optimizer::schedule::{Schedule, Shape};
use train::optimizer::sgd::Sgd;
use train::program::{BatchNormMode, FakeQuantizer, Program, ProgramOptions};
use train::recipe::Recipe;
pub use train::recipe::{KEYS, Key};
use train::trainer::{Deployed, Settings, StepReport, TrainError, Trainer};

use crate::output::Folder;
use crate::{Control, Error, ErrorKind, LoadOptions, Model, Result};
use objective::Objective;
use quantizers::Quantized;

const CHECKPOINT: &str = "checkpoint.safetensors";
const RESULTS: &str = "results.csv";
const MODEL: &str = "model.onnx";

/// What is to be trained.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// TOML; the keys are [`KEYS`].
    pub recipe: String,
    /// Names the folder of the run where the recipe does not.
    pub name: String,
    /// Overrides, `key=value`.
    pub settings: Vec<String>,
    /// Go on from the folder's checkpoint; without one, from the start.
    pub resume: bool,
    /// Stops the run: a checkpoint is written first.
    pub control: Control,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainLine {
    /// Updates done.
    pub step: u64,
    /// Updates of the run.
    pub steps: u64,
    /// Mean of the loss since the line before, in its parts.
    pub loss: Vec<(String, f64)>,
    /// Rate of the last update.
    pub rate: f64,
    /// Norm of the last gradient.
    pub norm: f64,
    /// Seconds until the end, from this process's own speed.
    pub eta: f64,
    /// mAP at IoU 0.5, or accuracy, where it was evaluated.
    pub score: Option<f64>,
}

impl std::fmt::Display for TrainLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total: f64 = self.loss.iter().map(|l| l.1).sum();
        write!(f, "step {}/{}  loss {total:.4}", self.step, self.steps)?;
        for (name, value) in &self.loss {
            write!(f, "  {name} {value:.4}")?;
        }
        write!(
            f,
            "  rate {:.2e}  norm {:.3}  left {:.0} s",
            self.rate, self.norm, self.eta
        )?;
        match self.score {
            Some(score) => write!(f, "  score {score:.4}"),
            None => Ok(()),
        }
    }
}

/// A finished run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trained {
    /// Folder of the run.
    #[serde(serialize_with = "crate::text::path")]
    pub folder: PathBuf,
    /// Updates done.
    pub steps: u64,
    /// mAP at IoU 0.5, or accuracy, of the packed model.
    pub score: Option<f64>,
    /// Of the float model that the run started from.
    pub start_score: Option<f64>,
    /// Layers whose weights are quantized, and the layers there are.
    pub quantized_layers: usize,
    /// Edges that carry codes.
    pub quantized_edges: usize,
    /// Bytes of the packed model.
    pub model_bytes: usize,
    /// SHA-256 of the packed model.
    pub model_sha256: String,
    /// The complete recipe.
    pub recipe: String,
    /// Seconds of this process.
    pub seconds: f64,
}

/// Runs a recipe to its end; `line` sees the run's lines.
///
/// # Errors
/// A recipe with a mistake, data that cannot be read, a graph with an operator that cannot be trained (named), a run that diverged (with advice),
/// cancellation: then a checkpoint has been written.
pub fn train(options: &TrainOptions, line: &mut dyn FnMut(&TrainLine)) -> Result<Trained> {
    let begin = Instant::now();
    let recipe =
        Recipe::parse(&options.recipe, &options.settings).map_err(|e| Error::usage(e.to_string()))?;
    let source = float_model(&recipe, &options.control)?;
    let path = match recipe.text("output") {
        "" => Path::new("runs").join(&options.name),
        text => PathBuf::from(text),
    };
    if !options.resume && path.join(CHECKPOINT).exists() {
        return Err(Error::usage("the folder holds a run already")
            .at(path.display())
            .help("go on with it by --resume, or give another folder with --set output=DIR"));
    }
    let mut run = Run::new(recipe, source)?;
    let folder = Folder::create(&path, options.resume)?;
    let mut rows = Rows::default();
    if options.resume {
        run.resume(&folder, &mut rows)?;
    }
    run.steps(&folder, &mut rows, &options.control, line)?;
    run.finish(&folder, &mut rows, &options.control, begin)
}

/// The text of a recipe file.
///
/// # Errors
/// When it cannot be read, is no UTF-8, or is larger than 1 MiB.
pub fn read_recipe(path: &Path) -> Result<String> {
    let bytes = crate::provenance::read_capped(path, 1 << 20, &Control::default())?;
    String::from_utf8(bytes).map_err(|_| Error::bad("the recipe is not UTF-8").at(path.display()))
}

fn float_model(recipe: &Recipe, control: &Control) -> Result<Model> {
    let text = recipe.text("model");
    let options = LoadOptions {
        head: Some(recipe.text("head"))
            .filter(|h| !h.is_empty())
            .map(PathBuf::from),
        keep_batch_norm: true,
        control: control.clone(),
        ..LoadOptions::default()
    };
    let model = match text {
        "" => {
            return Err(Error::usage("the recipe says no model")
                .help("give an ONNX file, or model = \"zoo:tiny\" to start from random weights"));
        }
        "zoo:tiny" | "zoo:small" => {
            let names = ::data::synth::NAMES.map(String::from).to_vec();
            let names = match recipe.text("data.kind") {
                "synth" => names,
                _ => data::open(recipe, "data", &no_input())?.names,
            };
            let (width, size) = (
                recipe.count("zoo.width") as usize,
                recipe.count("zoo.size") as usize,
            );
            if !(1..=256).contains(&width) || size == 0 || size % 16 != 0 || size > 4096 {
                return Err(Error::usage(
                    "zoo.width is 1 … 256 and zoo.size a multiple of 16 up to 4096",
                ));
            }
            let build = match text {
                "zoo:tiny" => train::zoo::tiny,
                _ => train::zoo::small,
            };
            let graph = build(&names, width, size, recipe.count("seed"));
            let form = WriteOptions {
                form: Form::Float,
                producer_version: crate::TOOL_VERSION.into(),
            };
            Model::from_bytes(&graph::onnx::write(&graph, &form)?, &options)?
        }
        path => Model::load(Path::new(path), &options)?,
    };
    if model.is_quantized() {
        return Err(Error::unsupported("the model is quantized already").help("start from its float parent"));
    }
    if model.graph().inputs.len() != 1 {
        return Err(Error::unsupported("only models with one input can be trained"));
    }
    Ok(model)
}

/// Sizes matter to drawn scenes alone.
fn no_input() -> tasks::detect::Input {
    tasks::detect::Input {
        name: String::new(),
        width: 96,
        height: 96,
        color: tasks::detect::ColorOrder::Rgb,
        layout: tasks::detect::Channels::Nchw,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        resize: tasks::detect::Resize::Letterbox,
        pad_value: None,
    }
}

/// Everything of a run but its place.
struct Run {
    recipe: Recipe,
    source: Model,
    quantized: Quantized,
    activations: Vec<FakeQuantizer>,
    set: data::Set,
    judged: Option<(data::Set, Vec<Option<usize>>)>,
    objective: Objective,
    trainer: Trainer,
}

impl Run {
    fn new(recipe: Recipe, source: Model) -> Result<Run> {
        let head = source.head()?.clone();
        let pool = Arc::new(Pool::new(recipe.count("threads") as usize));
        let set = data::open_cached(&recipe, &head.input)?;
        let classes = data::classes(&set, &head.classes);
        let distill = recipe.text("loss.kind") == "distill";
        // A teacher needs no labels.
        let classes = if distill {
            classes.unwrap_or_default()
        } else {
            classes?
        };
        let mut folded = source.graph().clone();
        simplify(&mut folded, &oracle::Reference, &Budget::default())?;
        let folded = source.with_graph(folded);
        let pictures = calibration(&recipe, &set, &head.input)?;
        let quantized = quantizers::plan(&recipe, source.graph(), &folded, &pictures, &pool)?;
        let (activations, steps) = quantized.activations(&recipe, folded.graph())?;
        let mut methods = BTreeMap::new();
        for layer in &quantized.layers {
            methods.insert(layer.weight.clone(), layer.method(&recipe)?);
        }
        let mut outputs: Vec<String> = head.outputs().into_iter().map(String::from).collect();
        if distill {
            outputs.extend(recipe.texts("loss.features").into_iter().map(String::from));
        }
        let program = program(&recipe, &source, activations.clone(), outputs.clone(), false)?;
        let (parameters, ports) = (program.parameters().to_vec(), program.outputs().to_vec());
        let exec = Cpu::new(program, pool.clone(), Isa::best()).map_err(|e| Error::limit(e.to_string()))?;
        let teacher = match distill {
            true => {
                let program = program_of_teacher(&recipe, &source, outputs)?;
                Some(Cpu::new(program, pool, Isa::best()).map_err(|e| Error::limit(e.to_string()))?)
            }
            false => None,
        };
        let objective = Objective::new(&recipe, &head, classes, teacher, ports.clone())?;
        let trainer = Trainer::new(
            Box::new(exec),
            &parameters,
            &ports,
            settings(&recipe),
            methods,
            &steps,
        );
        let judged = match recipe.text("eval.kind") {
            "" => None,
            _ => {
                let set = data::open(&recipe, "eval", &head.input)?;
                let classes = data::classes(&set, &head.classes)?;
                Some((set, classes))
            }
        };
        Ok(Run {
            recipe,
            source,
            quantized,
            activations,
            set,
            judged,
            objective,
            trainer,
        })
    }

    fn resume(&mut self, folder: &Folder, rows: &mut Rows) -> Result<()> {
        let path = folder.path().join(CHECKPOINT);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io(&path, &e)),
        };
        let bad = |e: String| Error::bad(e).at(path.display());
        let from = Checkpoint::from_bytes(&bytes).map_err(|e| bad(e.to_string()))?;
        let text = from.meta.get("recipe").map(String::as_str).unwrap_or_default();
        let old = Recipe::parse(text, &[]).map_err(|e| bad(e.to_string()))?;
        let (old, new) = (old.to_toml(), self.recipe.to_toml());
        if let Some((old, new)) = old.lines().zip(new.lines()).find(|(a, b)| a != b) {
            return Err(
                Error::usage(format!("the run was begun with {old}, and now it is {new}"))
                    .at(path.display())
                    .help("go on with the recipe it was begun with, or give another folder"),
            );
        }
        self.trainer.restore(&from).map_err(|e| bad(e.to_string()))?;
        rows.get(&from);
        Ok(())
    }

    fn save(&self, folder: &Folder, rows: &Rows) -> Result<()> {
        let mut checkpoint = self.trainer.checkpoint().map_err(fault)?;
        checkpoint.meta.insert("recipe".into(), self.recipe.to_toml());
        rows.put(&mut checkpoint);
        folder.write(CHECKPOINT, &checkpoint.to_bytes(), &[])?;
        folder.write(RESULTS, rows.text.as_bytes(), &[])?;
        Ok(())
    }

    fn steps(
        &mut self,
        folder: &Folder,
        rows: &mut Rows,
        control: &Control,
        line: &mut dyn FnMut(&TrainLine),
    ) -> Result<()> {
        let head = self.source.head()?.clone();
        let first = self.trainer.step_count();
        let steps = self.recipe.count("steps");
        let plan = data::plan(&self.recipe, &head.input, data::changes(&self.recipe));
        let mut loader = Loader::new(self.set.source.clone(), plan, first);
        let interval = |key: &str| self.recipe.count(key);
        let (evaluate, save, log) = (
            interval("eval.every"),
            interval("checkpoint.every"),
            interval("log.every"),
        );
        let due = |n: u64, step: u64| n > 0 && step.is_multiple_of(n);
        let begin = Instant::now();
        while !self.trainer.is_done() {
            if let Err(e) = control.check() {
                self.save(folder, rows)?;
                let at = self.trainer.step_count();
                return Err(Error::new(
                    e.kind(),
                    format!("stopped at step {at} of {steps}; a checkpoint was written"),
                )
                .at(folder.path().display())
                .help("go on with --resume"));
            }
            let batch = loader.next_batch().map_err(load_fault)?;
            let objective = &mut self.objective;
            objective.target(&batch)?;
            let input: &[f32] = &batch.input;
            let report = self.trainer.step(&[input], &mut |outputs, gradients| {
                objective.evaluate(input, outputs, gradients)
            });
            let report = report.map_err(|e| fault(e).at(folder.path().display()))?;
            rows.add(&report);
            let step = self.trainer.step_count();
            let score = match due(evaluate, step) && step < steps {
                true => self.score(&[], control)?,
                false => None,
            };
            if due(log, step) || step == steps || score.is_some() {
                let done = (step - first) as f64;
                let eta = begin.elapsed().as_secs_f64() / done * (steps - step) as f64;
                line(&rows.line(steps, eta, score));
            }
            if due(save, step) {
                self.save(folder, rows)?;
            }
        }
        Ok(())
    }

    /// Accuracy of the model as it would be exported now.
    fn score(&mut self, batches: &[Vec<&[f32]>], control: &Control) -> Result<Option<f64>> {
        if self.judged.is_none() {
            return Ok(None);
        }
        let model = self.model(batches)?;
        self.judge(&model, control)
    }

    fn judge(&self, model: &Model, control: &Control) -> Result<Option<f64>> {
        let Some((set, classes)) = &self.judged else {
            return Ok(None);
        };
        let (most, threads) = (
            self.recipe.count("eval.count") as usize,
            self.recipe.count("threads") as usize,
        );
        judge::score(model, set, classes, most, threads, control).map(Some)
    }

    fn model(&mut self, batches: &[Vec<&[f32]>]) -> Result<Model> {
        let deployed = self.trainer.deploy(batches).map_err(fault)?;
        self.exported(&deployed)
    }

    fn exported(&self, deployed: &[Deployed]) -> Result<Model> {
        export::model(&self.source, deployed, &self.activations, &self.quantized.edges)
    }

    fn finish(
        mut self,
        folder: &Folder,
        rows: &mut Rows,
        control: &Control,
        begin: Instant,
    ) -> Result<Trained> {
        self.save(folder, rows)?;
        let head = self.source.head()?.clone();
        let plan = data::plan(&self.recipe, &head.input, data::changes(&self.recipe));
        let count = match self.recipe.text("batch_norm.mode") {
            "batch" => self.recipe.count("batch_norm.reestimate"),
            _ => 0,
        };
        let mut batches = Vec::new();
        for k in 0..count {
            let step = self.recipe.count("steps") + k;
            batches.push(::data::augment::batch(&*self.set.source, &plan, step).map_err(load_fault)?);
        }
        let inputs: Vec<Vec<&[f32]>> = batches.iter().map(|b| vec![b.input.as_slice()]).collect();
        let deployed = self.trainer.deploy(&inputs).map_err(fault)?;
        let mut model = self.exported(&deployed)?;
        let bytes = match model.is_quantized() {
            true => {
                model.set_metadata("lowbit.recipe", self.recipe.to_toml());
                model.to_onnx(Form::Packed)?
            }
            // BatchNormalization stays in the file, so that a low-bit run can start from it.
            false => {
                let mut unfolded = export::unfolded(&self.source, &deployed)?;
                unfolded.set_metadata("lowbit.recipe", self.recipe.to_toml());
                unfolded.to_onnx(Form::Float)?
            }
        };
        model.written_as(&bytes);
        folder.write(MODEL, &bytes, &[])?;
        let score = self.judge(&model, control)?;
        let start_score = match self.recipe.text("model").starts_with("zoo:") {
            true => None,
            false => self.judge(&self.source, control)?,
        };
        rows.finish(score);
        folder.write(RESULTS, rows.text.as_bytes(), &[])?;
        Ok(Trained {
            folder: folder.path().to_owned(),
            steps: self.trainer.step_count(),
            score,
            start_score,
            quantized_layers: self.quantized.layers.len(),
            quantized_edges: model.graph().edges.len(),
            model_bytes: model.file_bytes(),
            model_sha256: model.sha256().to_string(),
            recipe: self.recipe.to_toml(),
            seconds: begin.elapsed().as_secs_f64(),
        })
    }
}

/// Pictures that choose the ranges: the first of the training data, unchanged.
fn calibration(
    recipe: &Recipe,
    set: &data::Set,
    input: &tasks::detect::Input,
) -> Result<Vec<tensor::Tensor>> {
    let count = (recipe.count("activation.calibration") as usize).min(set.source.len());
    let mut out = Vec::with_capacity(count);
    for i in 0..count {
        // Spread over the whole list.
        let (picture, _) = set
            .source
            .sample(i * set.source.len() / count)
            .map_err(|e| Error::bad(e.to_string()))?;
        out.push(::data::prepare(&picture, input)?.0);
    }
    Ok(out)
}

fn program(
    recipe: &Recipe,
    source: &Model,
    quantizers: Vec<FakeQuantizer>,
    outputs: Vec<String>,
    frozen: bool,
) -> Result<Program> {
    let mut options = ProgramOptions::new(recipe.count("batch") as usize);
    options.batch_norm = match recipe.text("batch_norm.mode") {
        "batch" if !frozen => BatchNormMode::Batch {
            momentum: recipe.number("batch_norm.momentum") as f32,
        },
        _ => BatchNormMode::Frozen,
    };
    options.quantizers = quantizers;
    options.outputs = outputs;
    Program::new(source.graph(), &options).map_err(|e| Error::unsupported(e.to_string()))
}

fn program_of_teacher(recipe: &Recipe, source: &Model, outputs: Vec<String>) -> Result<Program> {
    program(recipe, source, Vec::new(), outputs, true)
}

fn settings(recipe: &Recipe) -> Settings {
    let number = |key: &str| recipe.number(key) as f32;
    let optimizer = match recipe.text("optimizer.name") {
        "sgd" => Optimizer::Sgd(Sgd {
            momentum: number("optimizer.momentum"),
            nesterov: recipe.flag("optimizer.nesterov"),
        }),
        _ => Optimizer::AdamW(AdamW {
            betas: [number("optimizer.momentum"), number("optimizer.beta2")],
            ..AdamW::default()
        }),
    };
    let shape = match recipe.text("schedule.shape") {
        "cosine" => Shape::Cosine {
            end: recipe.number("schedule.end"),
        },
        "steps" => Shape::Steps {
            milestones: recipe.numbers("schedule.milestones"),
            factor: recipe.number("schedule.factor"),
        },
        _ => Shape::Constant,
    };
    let decay = recipe.number("ema.decay");
    Settings {
        steps: recipe.count("steps"),
        optimizer,
        schedule: Schedule {
            base: recipe.number("optimizer.rate"),
            warmup: recipe.count("schedule.warmup"),
            shape,
        },
        decay: number("optimizer.decay"),
        clip: recipe.number("optimizer.clip"),
        relative: recipe.flag("optimizer.relative"),
        ema: (decay > 0.0).then(|| Ema {
            decay,
            ramp: recipe.number("ema.ramp"),
        }),
        train_affine: recipe.flag("batch_norm.affine"),
    }
}

fn fault(e: TrainError) -> Error {
    match e {
        TrainError::Diverged { step, what, advice } => Error::new(
            ErrorKind::Gate,
            format!("the run diverged at step {step}: {what}"),
        )
        .help(advice),
        TrainError::Checkpoint(e) => Error::bad(e.to_string()),
        e => Error::bad(e.to_string()),
    }
}

fn load_fault(e: LoadError) -> Error {
    match e {
        LoadError::Source(::data::augment::SourceError::Picture(e)) => e.into(),
        e => Error::bad(e.to_string()),
    }
}

/// Lines of results.csv, and what the next one sums up.
#[derive(Default)]
struct Rows {
    text: String,
    sums: Vec<(String, f64)>,
    count: u64,
    last: (u64, f64, f64),
}

impl Rows {
    /// Rows, and what the next one sums up, go into the checkpoint: a resumed run writes the same file.
    fn put(&self, to: &mut Checkpoint) {
        to.meta.insert("results".into(), self.text.clone());
        to.meta.insert("row/count".into(), self.count.to_string());
        let bits = |s: &(String, f64)| format!("{} {:016x}", s.0, s.1.to_bits());
        let sums: Vec<String> = self.sums.iter().map(bits).collect();
        to.meta.insert("row/sums".into(), sums.join("\n"));
    }

    fn get(&mut self, from: &Checkpoint) {
        let text = |key: &str| from.meta.get(key).map(String::as_str).unwrap_or_default();
        self.text = text("results").to_string();
        self.count = text("row/count").parse().unwrap_or(0);
        let sum = |line: &str| {
            let (name, bits) = line.split_once(' ')?;
            let bits = u64::from_str_radix(bits, 16).ok()?;
            Some((name.to_string(), f64::from_bits(bits)))
        };
        self.sums = text("row/sums").lines().filter_map(sum).collect();
    }

    fn add(&mut self, report: &StepReport) {
        if self.sums.is_empty() {
            self.sums = report.loss.parts.iter().map(|p| (p.0.to_string(), 0.0)).collect();
        }
        for (sum, part) in self.sums.iter_mut().zip(&report.loss.parts) {
            sum.1 += part.1;
        }
        self.count += 1;
        self.last = (report.step + 1, report.rate, report.norm);
    }

    /// Closes a row.
    fn line(&mut self, steps: u64, eta: f64, score: Option<f64>) -> TrainLine {
        let (step, rate, norm) = self.last;
        let count = self.count.max(1) as f64;
        let loss: Vec<(String, f64)> = self.sums.drain(..).map(|s| (s.0, s.1 / count)).collect();
        if self.text.is_empty() {
            let names: Vec<&str> = loss.iter().map(|l| l.0.as_str()).collect();
            let _ = writeln!(self.text, "step,rate,norm,{},score", names.join(","));
        }
        let values: Vec<String> = loss.iter().map(|l| format!("{:.6}", l.1)).collect();
        let score_text = score.map_or(String::new(), |s| format!("{s:.6}"));
        let _ = writeln!(
            self.text,
            "{step},{rate:e},{norm:.6},{},{score_text}",
            values.join(",")
        );
        self.count = 0;
        TrainLine {
            step,
            steps,
            loss,
            rate,
            norm,
            eta,
            score,
        }
    }

    /// The score of the finished model, in a row of its own.
    fn finish(&mut self, score: Option<f64>) {
        if let Some(score) = score {
            let commas = self.text.lines().next().map_or(3, |l| l.matches(',').count());
            let _ = writeln!(self.text, "model{}{score:.6}", ",".repeat(commas));
        }
    }
}
