//! A run: its parts made of a recipe, its steps, its end.

use std::sync::Arc;
use std::time::Instant;

use graph::onnx::Form;
use graph::passes::{Budget, simplify};
use kernels::Pool;
use train::checkpoint::Checkpoint;
use train::dropout::Dropout;
use train::exchange::Ranks;
use train::program::FakeQuantizer;
use train::recipe::Recipe;
use train::trainer::{Deployed, TrainError, Trainer};

use super::executor::{self, Executors};
use super::log::{Rows, TrainEvent};
use super::quantizers::{self, Quantized};
use super::table::Table;
use super::task::{self, Score, Task};
use super::{
    CHECKPOINT, EVENTS, JSON, MODEL, PREVIOUS, PrunedSize, REPORT, RESULTS, Trained, agreement, events,
    exchange_fault, export, report, resume, setup, spiking, start,
};
use crate::output::Folder;
use crate::{Control, Error, ErrorKind, Model, Provenance, Result};

/// Everything of a run but its place.
pub(super) struct Run {
    pub(super) name: String,
    pub(super) recipe: Recipe,
    /// The float model: teacher, and what results are compared with.
    pub(super) source: Model,
    /// The network whose parameters are trained.
    trained: Model,
    quantized: Quantized,
    pub(super) activations: Vec<FakeQuantizer>,
    pub(super) task: Box<dyn Task>,
    executors: Executors,
    trainer: Trainer,
    ranks: Ranks,
}

impl Run {
    pub(super) fn new(name: String, recipe: Recipe, source: Model, ranks: &Ranks) -> Result<Run> {
        let pool = Arc::new(Pool::new(recipe.count("threads") as usize));
        let executors = Executors::new(&recipe, &pool)?;
        let mut task = task::open(&recipe, &source, ranks)?;
        let distill = recipe.text("loss.kind") == "distill";
        let inputs = task.calibration(&recipe)?;
        let network = spiking::converted(&recipe, &source, &inputs, &pool)?;
        let mut folded = network.graph().clone();
        simplify(&mut folded, &oracle::Reference, &Budget::default())?;
        let folded = network.with_graph(folded);
        let quantized = quantizers::plan(&recipe, network.graph(), &folded, &inputs, &pool)?;
        let (activations, steps) = quantized.activations(&recipe, folded.graph())?;
        let parts = start::Parts {
            recipe: &recipe,
            source: &network,
            folded: &folded,
            quantized: &quantized,
            activations: &activations,
            inputs: &inputs,
            pool: &pool,
        };
        let begin = parts.start()?;
        let outputs = task.outputs();
        let program = setup::program(
            &recipe,
            &task.sized(&begin.model)?,
            activations.clone(),
            outputs.clone(),
            ranks,
            false,
        )?;
        let (mut parameters, ports) = (program.parameters().to_vec(), program.outputs().to_vec());
        let methods = quantized.methods(&recipe, &begin.codes, &mut parameters)?;
        // Every rank draws its own.
        let seed = recipe.count("seed") ^ (ranks.rank() as u64) << 32;
        let dropout = Dropout::new(&program, recipe.number("dropout.rate") as f32, seed);
        let sync = recipe.flag("batch_norm.sync_stats").then_some(ranks);
        let exec = executors.executor(program, sync)?;
        let teacher = match distill {
            true => {
                let program = setup::program_of_teacher(&recipe, &source, outputs, ranks)?;
                Some(executors.executor(program, None)?)
            }
            false => None,
        };
        task.prepare(&recipe, teacher, ports.clone())?;
        let trainer = Trainer::new(
            exec,
            &parameters,
            &ports,
            setup::settings(&recipe),
            methods,
            &steps,
        )
        .dropping(dropout)
        .shared(ranks);
        Ok(Run {
            name,
            recipe,
            source,
            trained: begin.model,
            quantized,
            activations,
            task,
            executors,
            trainer,
            ranks: ranks.clone(),
        })
    }

    pub(super) fn resume(
        &mut self,
        folder: &Folder,
        rows: &mut Rows,
        control: &Control,
        tell: &mut dyn FnMut(TrainEvent<'_>),
    ) -> Result<()> {
        let found = match self.ranks.is_first() {
            true => resume::newest(folder, control)?,
            false => None,
        };
        let mut bytes = found.as_ref().map_or(Vec::new(), |f| f.checkpoint.to_bytes());
        self.ranks.broadcast(&mut bytes).map_err(exchange_fault)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let path = found
            .as_ref()
            .map_or_else(|| folder.path().join(CHECKPOINT), |f| f.path.clone());
        let bad = |e: String| Error::bad(e).at(path.display());
        let from = Checkpoint::from_bytes(&bytes).map_err(|e| resume::refused(&e, &path))?;
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
        self.trainer.restore(&from).map_err(|e| match e {
            TrainError::Checkpoint(e) => resume::refused(&e, &path),
            e => fault(e).at(path.display()),
        })?;
        rows.get(&from);
        if let Some(why) = found.and_then(|f| f.fallback) {
            tell(TrainEvent::Note(&why));
            // The next checkpoint moves the newest to the place of this one, which must not be a damaged one.
            folder.put_back(CHECKPOINT, PREVIOUS)?;
        }
        Ok(())
    }

    fn save(&self, folder: &Folder, rows: &Rows) -> Result<()> {
        let mut checkpoint = self.trainer.checkpoint().map_err(fault)?;
        checkpoint.meta.insert("recipe".into(), self.recipe.to_toml());
        rows.put(&mut checkpoint);
        folder.replace(CHECKPOINT, PREVIOUS, &checkpoint.to_bytes())?;
        write_rows(folder, rows).map(drop)
    }

    pub(super) fn steps(
        &mut self,
        folder: &Folder,
        rows: &mut Rows,
        control: &Control,
        tell: &mut dyn FnMut(TrainEvent<'_>),
    ) -> Result<()> {
        let first = self.trainer.step_count();
        let steps = self.recipe.count("steps");
        self.task.begin(first);
        let interval = |key: &str| self.recipe.count(key);
        let (evaluate, save, log) = (
            interval("eval.every"),
            interval("checkpoint.every"),
            interval("log.every"),
        );
        let due = |n: u64, step: u64| n > 0 && step.is_multiple_of(n);
        let from_weights = !self.recipe.text("model").starts_with("zoo:");
        if first == 0 && from_weights && !self.quantized.layers.is_empty() {
            rows.start = self.score(&[], control)?;
        }
        let begin = Instant::now();
        while !self.trainer.is_done() {
            let stop = control.check().err().map(|e| e.kind());
            if self.ranks.any(stop.is_some()).map_err(exchange_fault)? {
                self.save(folder, rows)?;
                let at = self.trainer.step_count();
                return Err(Error::new(
                    stop.unwrap_or(ErrorKind::Interrupted),
                    format!("stopped at step {at} of {steps}; a checkpoint was written"),
                )
                .at(folder.path().display())
                .help("go on with --resume"));
            }
            let input = self.task.next()?;
            let (task, ranks) = (&mut self.task, &self.ranks);
            let report = self.trainer.step(&[&input], &mut |outputs, gradients| {
                task.loss(&input, outputs, ranks, gradients)
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
                let told = rows.line(steps, eta, score);
                if self.ranks.is_first() {
                    tell(TrainEvent::Line(&told));
                }
            }
            if due(save, step) {
                self.save(folder, rows)?;
            }
        }
        Ok(())
    }

    /// Accuracy of the model as it would be exported now.
    fn score(&mut self, batches: &[Vec<&[f32]>], control: &Control) -> Result<Option<f64>> {
        if self.recipe.text("eval.kind").is_empty() {
            return Ok(None);
        }
        let model = self.model(batches)?;
        Ok(self.judge(&model, control)?.map(|s| s.value))
    }

    pub(super) fn judge(&self, model: &Model, control: &Control) -> Result<Option<Score>> {
        match self.ranks.is_first() {
            true => self.task.score(model, &self.recipe, control),
            false => Ok(None),
        }
    }

    pub(super) fn model(&mut self, batches: &[Vec<&[f32]>]) -> Result<Model> {
        let deployed = self.trainer.deploy(batches).map_err(fault)?;
        self.exported(&deployed)
    }

    /// What structured pruning left of the network that is exported.
    fn pruned(&self, deployed: &[Deployed]) -> Result<Option<PrunedSize>> {
        let (mut groups, mut empty, mut floats, mut stored) = (0, 0, 0, 0);
        for d in deployed {
            floats += 32 * d.values.len();
            stored += match &d.annotation {
                Some(weight) => weight.stored_bits(),
                None => 32 * d.values.len(),
            };
            let of = self
                .quantized
                .layers
                .iter()
                .find(|l| l.weight == d.parameter.name);
            if let Some(of) = of.map(|l| l.groups(&self.recipe)).transpose()?.flatten() {
                groups += of.len();
                let zeros = |g: &usize| of.weights(*g).all(|i| d.values[i] == 0.0);
                empty += (0..of.len()).filter(zeros).count();
            }
        }
        Ok((groups > 0).then(|| PrunedSize {
            groups,
            empty,
            compression: floats as f64 / stored.max(1) as f64,
        }))
    }

    fn exported(&self, deployed: &[Deployed]) -> Result<Model> {
        let model = export::model(&self.trained, deployed, &self.activations, &self.quantized.edges)?;
        Ok(match self.recipe.flag("method.half") {
            true => model.halved().0,
            false => model,
        })
    }

    pub(super) fn finish(
        mut self,
        folder: &Folder,
        rows: &mut Rows,
        control: &Control,
        begin: Instant,
    ) -> Result<Trained> {
        self.save(folder, rows)?;
        let count = match self.recipe.text("batch_norm.mode") {
            "batch" => self.recipe.count("batch_norm.reestimate"),
            _ => 0,
        };
        let mut batches = Vec::new();
        for k in 0..count {
            let step = self.recipe.count("steps") + k;
            batches.push(self.task.input(step)?);
        }
        let inputs: Vec<Vec<&[f32]>> = batches.iter().map(|b| vec![b.as_slice()]).collect();
        let deployed = self.trainer.deploy(&inputs).map_err(fault)?;
        let mut model = self.exported(&deployed)?;
        let bytes = match model.is_quantized() {
            true => {
                model.set_metadata("lowbit.recipe", self.recipe.to_toml());
                model.to_onnx(Form::Packed)?
            }
            // BatchNormalization stays in the file, so that a low-bit run can start from it.
            false => {
                let mut unfolded = export::unfolded(&self.trained, &deployed)?;
                unfolded.set_metadata("lowbit.recipe", self.recipe.to_toml());
                unfolded.to_onnx(Form::Float)?
            }
        };
        model.written_as(&bytes);
        folder.write(MODEL, &bytes, &[])?;
        let score = self.judge(&model, control)?;
        let start_score = match self.recipe.text("model").starts_with("zoo:") {
            true => None,
            false => self.judge(&self.source, control)?.map(|s| s.value),
        };
        let agreement = match (model.is_quantized(), self.task.samples(&self.recipe)?) {
            (true, Some(samples)) if self.ranks.is_first() => {
                let parts = agreement::Parts {
                    recipe: &self.recipe,
                    trained: &self.trained,
                    deployed: &deployed,
                    quantizers: &self.activations,
                    executors: &self.executors,
                };
                Some(parts.compare(&model, samples, control)?)
            }
            _ => None,
        };
        rows.finish(score.as_ref().map(|s| s.value));
        let table = write_rows(folder, rows)?;
        let made = Trained {
            folder: folder.path().to_owned(),
            steps: self.trainer.step_count(),
            score: score.as_ref().map(|s| s.value),
            classes: score.map_or_else(Vec::new, |s| s.classes),
            class_measure: self.task.class_measure(),
            agreement,
            start_score,
            rounded_score: rows.start,
            quantized_layers: self.quantized.layers.len(),
            quantized_edges: model.graph().edges.len(),
            pruned: self.pruned(&deployed)?,
            model_bytes: model.file_bytes(),
            model_sha256: model.sha256().to_string(),
            recipe: self.recipe.to_toml(),
            seconds: begin.elapsed().as_secs_f64(),
        };
        let state = self.trainer.checkpoint().map_err(fault)?;
        if self.ranks.is_first() {
            let page = report::html(&self, &made, &model, &deployed, &state, &table)?;
            folder.write(REPORT, page.as_bytes(), &[])?;
        }
        folder.write(JSON, &json(&self.recipe, &made, &table), &[])?;
        Ok(made)
    }
}

/// The rows for spreadsheets and for TensorBoard.
fn write_rows(folder: &Folder, rows: &Rows) -> Result<Table> {
    let table = Table::parse(&rows.text);
    folder.write(RESULTS, rows.text.as_bytes(), &[])?;
    folder.write(EVENTS, &events::file(&table), &[])?;
    Ok(table)
}

/// Everything that is known of a finished run.
fn json(recipe: &Recipe, made: &Trained, table: &Table) -> Vec<u8> {
    let provenance = Provenance::new(recipe.count("threads") as usize, recipe.count("seed"));
    let all = serde_json::json!({ "provenance": provenance, "run": made, "history": table });
    format!("{all:#}\n").into_bytes()
}

fn fault(e: TrainError) -> Error {
    match e {
        TrainError::Diverged { step, what, advice } => Error::new(
            ErrorKind::Gate,
            format!("the run diverged at step {step}: {what}"),
        )
        .help(advice),
        TrainError::Checkpoint(e) => Error::bad(e.to_string()),
        TrainError::Exchange(e) => exchange_fault(e),
        TrainError::Exec(e) => executor::fault(e),
        e => Error::bad(e.to_string()),
    }
}
