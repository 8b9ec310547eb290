//! From a float model and a folder of pictures to a quantized model.
//!
//! ```text
//! equalize (channels of an edge) → plan (what becomes integer) → calibrate (ranges of edges, float plan) → project (weights to codes)
//!      → layer by layer: answer for the errors in the inputs, round with error feedback,
//!        correct (y_float ≈ g·y_quant + b per channel, g into scales, b into biases; BatchNormalizations that stayed take both)
//!      → with the most effort, or where it is asked for, gains and biases (codes, too) learned over the whole network → annotated graph
//! ```

mod agreement;
mod allocate;
pub(crate) mod batch_norm;
mod budget;
pub(crate) mod calibrate;
mod choose;
mod costs;
mod effort;
pub(crate) mod equalize;
mod extra_rows;
mod float_layers;
pub(crate) mod layers;
mod options;
mod patches;
mod prepared;
mod reconstruct;
mod record;
mod report;
mod search;
pub(crate) mod trial;
pub(crate) mod weights;

use quant::annotate;

pub use allocate::{Allocated, Offer};
pub use budget::{BitOps, Budget, Spent, Unit};
pub use effort::{Effort, Learn};
pub use extra_rows::{Extended, ExtraRows};
pub use options::{Choice, QuantizeOptions};
pub use quant::ProjectOptions;
pub use quant::annotate::{Role, Rule};
pub use quant::calibrate::ObserverKind;
pub use quant::grid::Grid;
pub use quant::{Granularity, Rounding, ScaleKind, Solver};
pub use record::Record;
pub use report::{LayerReport, Learned, QuantizeReport, Size, Tried, TriedGrid};
pub use search::{MaxDrop, Measure, Search, Try};

use crate::control::Progress;
use crate::{Error, Model, Result};
use allocate::Market;
use prepared::Prepared;

/// A quantized model and how it came about.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The model: packed by [`Model::to_onnx`].
    pub model: Model,
    /// Layers, bits, errors, sizes.
    pub report: QuantizeReport,
}

/// Quantizes a float model.
///
/// # Errors
/// A model that is quantized already, no calibration pictures, a rule that names nothing, weights that are not finite,
/// cancellation and limits.
pub fn quantize(model: &Model, options: &QuantizeOptions, progress: &mut dyn Progress) -> Result<Quantized> {
    check(model, options)?;
    if options.pictures.is_empty() {
        return Err(Error::usage("there are no calibration pictures").help(
            "give a folder with --calib: 16 pictures of the kind the model will see are enough to start with",
        ));
    }
    if let Some(max) = &options.max_drop {
        return search::run(model, options, max, progress);
    }
    let prepared = Prepared::new(model, options, progress)?;
    match options.choice {
        Choice::Grid(grid) => prepared.fit(prepared.with_grid(grid)?, progress),
        Choice::Bits(bits) => {
            let (grid, tried) = prepared.best_grid(bits, progress)?;
            let mut quantized = prepared.fit(prepared.with_grid(grid)?, progress)?;
            quantized.report.grids = tried;
            Ok(quantized)
        }
        Choice::Budget(budget) => {
            let mut market = Market::new(&prepared, &options.among)?;
            let mut costs = costs::of(&market, &budget, progress)?;
            // What nothing can keep to is told before the survey.
            costs.check(&budget)?;
            market.survey(&costs, progress)?;
            market.within(&budget, &mut costs, progress)
        }
    }
}

/// What would be done, without pictures: layers, grids, exact sizes, weight errors.
///
/// # Errors
/// As [`quantize`].
pub fn dry_run(model: &Model, options: &QuantizeOptions) -> Result<QuantizeReport> {
    check(model, options)?;
    if let Choice::Budget(_) = options.choice {
        return Err(
            Error::usage("grids are chosen by the errors on pictures, and a dry run sees none")
                .help("give one --grid"),
        );
    }
    let grid = options.choice.first()?;
    let observer = options.observer.unwrap_or(ObserverKind::Mse);
    let plan = annotate::plan(model.graph(), &options.request(grid, observer))?;
    let pool = kernels::Pool::new(options.threads);
    let weights = weights::project(model.graph(), &plan, &options.project, (&pool, &options.control))?;
    let way = (options.choice, grid);
    let record = Record::new(model, options, way, &calibrate::Calibrated::default(), 0);
    Ok(report::report(
        model,
        &plan,
        &weights,
        &Default::default(),
        record,
    ))
}

fn check(model: &Model, options: &QuantizeOptions) -> Result<()> {
    if model.is_quantized() {
        return Err(Error::unsupported("the model is quantized already")
            .help("start from the float model it was made from"));
    }
    options.choice.first()?;
    if let Choice::Budget(budget) = &options.choice {
        budget::check(budget)?;
        if options.among.is_empty() {
            return Err(Error::usage("there are no grids to choose from").help("name some with --among"));
        }
        if options.extra_rows.is_some() {
            return Err(Error::usage("extra rows would add to what the budget counts")
                .help("leave --extra-rows out, or give one --grid"));
        }
    }
    if options.max_drop.is_some() && options.extra_rows.is_some() {
        return Err(
            Error::usage("a search for --max-drop chooses wider grids, not extra rows")
                .help("leave one of --max-drop and --extra-rows out"),
        );
    }
    if options.learn() != Learn::Nothing && !options.correction {
        return Err(Error::usage("what is learned begins at corrected layers")
            .help("leave one of --learn and --no-correction out"));
    }
    let in_range = match options.extra_rows {
        Some(ExtraRows::Share(share)) => (0.0..=1.0).contains(&share),
        Some(ExtraRows::Until(decibels)) => decibels.is_finite(),
        None => true,
    };
    if !in_range {
        return Err(Error::usage(
            "extra rows are a share in 0…1 or a finite number of dB",
        ));
    }
    weights::check_finite(model.graph())?;
    options.control.check()
}
