//! What a run learns from: pictures with boxes or classes, volumes with masks, or the pixels of a hyperspectral scene.

pub(super) mod cubes;
pub(super) mod pictures;
pub(super) mod volumes;

use tensor::Tensor;
use train::exchange::Ranks;
use train::exec::Exec;
use train::loss::{LossParts, Output};
use train::program::Port;
use train::recipe::Recipe;
use train::trainer::TrainError;

use super::data::Set;
use crate::runtime::RunOptions;
use crate::{Control, Model, Result};

/// Accuracy of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    /// What runs are compared by.
    pub(super) value: f64,
    /// By class, where the measure has that.
    pub(super) classes: Vec<(String, f64)>,
}

/// Inputs of the evaluation, one sample each, on which the training network itself is compared with the engine.
pub(super) struct Samples<'a> {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) classes: usize,
    /// Of the input.
    pub(super) shape: Vec<usize>,
    /// With the class, where a sample has one.
    pub(super) all: Box<dyn Iterator<Item = (Vec<f32>, Option<usize>)> + 'a>,
}

/// The data, the loss and the measure of a run. Batches are made in order; the targets of the last one are kept for [`loss`](Task::loss).
pub(super) trait Task {
    /// Names of the values that the loss reads.
    fn outputs(&self) -> Vec<String>;

    /// Inputs that choose the ranges of activations.
    fn calibration(&self, recipe: &Recipe) -> Result<Vec<Tensor>>;

    /// The network for the size of training samples.
    fn sized(&self, model: &Model) -> Result<Model>;

    /// Makes the loss of these outputs.
    fn prepare(&mut self, recipe: &Recipe, teacher: Option<Box<dyn Exec>>, ports: Vec<Port>) -> Result<()>;

    /// The next batch will be that of this step.
    fn begin(&mut self, first: u64);

    /// The input of the next batch.
    fn next(&mut self) -> Result<Vec<f32>>;

    /// The input of some batch, beside the order.
    fn input(&self, step: u64) -> Result<Vec<f32>>;

    /// The loss of the outputs for the batch that was made last.
    fn loss(
        &mut self,
        input: &[f32],
        outputs: &[Output],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> std::result::Result<LossParts, TrainError>;

    /// Accuracy of a model on the evaluation data, where there are any.
    fn score(&self, model: &Model, recipe: &Recipe, control: &Control) -> Result<Option<Score>>;

    /// What the score is.
    fn measure(&self) -> &'static str;

    /// Pictures of the evaluation with the classes of their boxes, for the report.
    fn pictures(&self) -> Option<(&Set, &[Option<usize>])> {
        None
    }

    /// What the score by class is.
    fn class_measure(&self) -> &'static str {
        "accuracy"
    }

    /// Inputs on which the classes by the training network itself are compared with the engine's.
    fn samples(&self, _recipe: &Recipe) -> Result<Option<Samples<'_>>> {
        Ok(None)
    }
}

/// The task of a recipe; `source` is the float model.
pub(super) fn open(recipe: &Recipe, source: &Model, ranks: &Ranks) -> Result<Box<dyn Task>> {
    Ok(match recipe.text("data.kind") {
        "cube" | "synth-cube" => Box::new(cubes::Cubes::open(recipe, source, ranks)?),
        "volumes" | "synth-volumes" => Box::new(volumes::Volumes::open(recipe, source, ranks)?),
        _ => Box::new(pictures::Pictures::open(recipe, source, ranks)?),
    })
}

/// How a recipe's models run in the engine.
pub(super) fn run_options(recipe: &Recipe, control: &Control) -> RunOptions {
    RunOptions {
        threads: recipe.count("threads") as usize,
        control: control.clone(),
        ..RunOptions::default()
    }
}
