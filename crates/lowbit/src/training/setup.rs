//! From a recipe to the parts of a run.

use train::exchange::Ranks;
use train::optimizer::Optimizer;
use train::optimizer::adamw::AdamW;
use train::optimizer::ema::Ema;
use train::optimizer::schedule::{Schedule, Shape};
use train::optimizer::sgd::Sgd;
use train::program::{BatchNormMode, FakeQuantizer, Program, ProgramOptions};
use train::recipe::Recipe;
use train::trainer::Settings;

use super::data;
use crate::{Error, Model, Result};

/// Pictures that choose the ranges: the first of the training data, unchanged.
pub(super) fn calibration(
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

pub(super) fn program(
    recipe: &Recipe,
    source: &Model,
    quantizers: Vec<FakeQuantizer>,
    outputs: Vec<String>,
    ranks: &Ranks,
    frozen: bool,
) -> Result<Program> {
    let mut options = ProgramOptions::new(recipe.count("batch") as usize / ranks.size());
    options.batch_norm = match recipe.text("batch_norm.mode") {
        "batch" if !frozen => BatchNormMode::Batch {
            momentum: recipe.number("batch_norm.momentum") as f32,
        },
        _ => BatchNormMode::Frozen,
    };
    options.quantizers = quantizers;
    options.outputs = outputs;
    options.dropout = !frozen && recipe.number("dropout.rate") > 0.0;
    Program::new(source.graph(), &options).map_err(|e| Error::unsupported(e.to_string()))
}

pub(super) fn program_of_teacher(
    recipe: &Recipe,
    source: &Model,
    outputs: Vec<String>,
    ranks: &Ranks,
) -> Result<Program> {
    program(recipe, source, Vec::new(), outputs, ranks, true)
}

pub(super) fn settings(recipe: &Recipe) -> Settings {
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
        frozen_from: (recipe.count("steps") as f64 * (1.0 - recipe.number("batch_norm.freeze"))).round()
            as u64,
    }
}
