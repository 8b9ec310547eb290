//! What a run learns from: pictures with boxes or classes, volumes with masks, or the pixels of a hyperspectral scene.

pub(super) mod cubes;
pub(super) mod pictures;
pub(super) mod volumes;

use tasks::detect::{Head, Placement};
use tensor::Tensor;
use train::exchange::Ranks;
use train::exec::Exec;
use train::loss::{LossParts, Output};
use train::program::Port;
use train::recipe::Recipe;
use train::trainer::TrainError;

use crate::report::page::Jpeg;
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

/// Inputs of the evaluation, on which the training network itself is compared with the engine.
pub(super) struct Samples<'a> {
    pub(super) input: String,
    /// Of the input, of one sample.
    pub(super) shape: Vec<usize>,
    pub(super) answer: Answer<'a>,
    pub(super) all: Box<dyn Iterator<Item = Sample> + 'a>,
}

/// What is compared of a network's outputs.
#[derive(Clone, Copy)]
pub(super) enum Answer<'a> {
    /// The class of each element: the largest of so many planes.
    Classes {
        output: &'a str,
        count: usize,
        /// What the elements are, in the plural.
        what: &'static str,
    },
    /// The boxes of a detector.
    Boxes(&'a Head),
}

impl Answer<'_> {
    /// Names of the outputs that are read.
    pub(super) fn outputs(&self) -> Vec<String> {
        match self {
            Answer::Classes { output, .. } => vec![output.to_string()],
            Answer::Boxes(head) => head.outputs().into_iter().map(String::from).collect(),
        }
    }

    /// What is counted, in the plural.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Answer::Classes { what, .. } => what,
            Answer::Boxes(_) => "boxes",
        }
    }
}

/// One input of the evaluation.
pub(super) struct Sample {
    pub(super) values: Vec<f32>,
    /// Where it has one.
    pub(super) class: Option<usize>,
    /// Where a picture lies inside the input.
    pub(super) placement: Placement,
}

impl Sample {
    /// An input that is no picture.
    fn plain(values: Vec<f32>, class: Option<usize>) -> Sample {
        Sample {
            values,
            class,
            placement: Placement::identity(0, 0),
        }
    }
}

/// Who is shown in the report.
pub(super) struct Shown<'a> {
    /// With captions, from left to right.
    pub(super) models: Vec<(&'static str, &'a Model)>,
    pub(super) options: RunOptions,
}

/// What is shown there.
pub(super) struct Examples {
    pub(super) note: String,
    /// Pictures in a row.
    pub(super) columns: usize,
    pub(super) pictures: Vec<(String, Jpeg)>,
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

    /// What the score by class is.
    fn class_measure(&self) -> &'static str {
        "accuracy"
    }

    /// Inputs on which the answers of the training network itself are compared with the engine's.
    fn samples(&self, _recipe: &Recipe) -> Result<Option<Samples<'_>>> {
        Ok(None)
    }

    /// Pictures for the report, where there are evaluation data.
    fn examples(&self, shown: &Shown<'_>) -> Result<Option<Examples>>;
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
