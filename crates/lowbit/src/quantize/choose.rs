//! What is left open is decided on a few calibration pictures: the observer and whether channels are equalized by the agreement of
//! detections with the float model's, the grid of `--bits N` by the error of the outputs.

use std::path::PathBuf;
use std::sync::Arc;

use kernels::Pool;
use quant::annotate;

use super::layers::Stage;
use super::report::Tried;
use super::{Grid, ObserverKind, QuantizeOptions, calibrate, equalize, weights};
use crate::control::Progress;
use crate::{Error, Model, Result};

/// Pictures that the grid is chosen on.
const PICTURES: usize = 8;

/// Pictures that detections are compared on: with 8 the choice was the wrong one on Yolo-Fastest.
const COMPARED: usize = 24;

/// Pictures that give ranges for the choice.
const RANGES: usize = 48;

/// Observers tried where none is asked for.
const OBSERVERS: [ObserverKind; 4] = [
    ObserverKind::MinMax,
    ObserverKind::Percentile { tail: 1e-5 },
    ObserverKind::Percentile { tail: 1e-4 },
    ObserverKind::Mse,
];

/// The float network to quantize, equalized or not, and the observer.
pub(super) struct Setting {
    pub(super) model: Model,
    pub(super) equalized: bool,
    pub(super) observer: ObserverKind,
    /// Every setting that was tried; none where the options leave nothing open.
    pub(super) tried: Vec<Tried>,
}

/// Tries what the options leave open.
pub(super) fn setting(
    model: &Model,
    grid: Grid,
    options: &QuantizeOptions,
    pictures: &[PathBuf],
    pool: &Arc<Pool>,
    progress: &mut dyn Progress,
) -> Result<Setting> {
    let control = &options.control;
    let observers = match &options.observer {
        Some(one) => std::slice::from_ref(one),
        None => &OBSERVERS[..],
    };
    let mut models = vec![(model.clone(), false)];
    if options.equalization {
        let few = crate::pictures::spread(pictures, super::layers::MOST_PICTURES);
        let graph = equalize::run(model, &few, pool, control, progress)?;
        if graph != *model.graph() {
            models.insert(0, (model.with_graph(graph), true));
        }
    }
    if let ([_], [observer]) = (&models[..], observers) {
        return Ok(Setting {
            model: model.clone(),
            equalized: false,
            observer: *observer,
            tried: Vec::new(),
        });
    }
    let few = crate::pictures::spread(pictures, RANGES);
    let mut best: Option<(f64, Setting)> = None;
    let mut tried = Vec::new();
    for (candidate, equalized) in models {
        // Equalized channels are nearly always better; without them only the observer that was best with them is tried.
        let found = best.as_ref().map(|(_, setting)| setting.observer);
        let observers = found.as_ref().map_or(observers, std::slice::from_ref);
        let plans: Vec<annotate::Plan> = observers
            .iter()
            .map(|o| annotate::plan(candidate.graph(), &options.request(grid, *o)))
            .collect::<std::result::Result<_, _>>()?;
        let all = calibrate::run(
            &candidate,
            &plans,
            options.activation_tables,
            &few,
            pool,
            control,
            progress,
        )?;
        let mut inputs = Vec::new();
        for ((observer, plan), calibrated) in observers.iter().zip(&plans).zip(&all) {
            let stage = Stage {
                model: &candidate,
                edges: &calibrated.edges,
                correction: options.correction,
                rounding: options.rounding(),
                pool,
                control,
            };
            if inputs.is_empty() {
                inputs = stage.inputs(pictures, COMPARED)?;
            }
            progress.at("choose observer", 0, 1);
            let mut weights = weights::project(candidate.graph(), plan, &options.project)?;
            let fitted = stage.run(plan, &mut weights, &inputs, &mut |_: &str, _, _| {})?;
            tried.push(Tried {
                observer: observer.to_string(),
                equalization: equalized,
                agreement: fitted.agreement,
                output_error: fitted.output_error,
            });
            let harm = fitted.harm();
            if best.as_ref().is_none_or(|(least, _)| harm < *least) {
                let setting = Setting {
                    model: candidate.clone(),
                    equalized,
                    observer: *observer,
                    tried: Vec::new(),
                };
                best = Some((harm, setting));
            }
        }
    }
    best.map(|(_, setting)| Setting { tried, ..setting })
        .ok_or_else(|| Error::usage("no observer was given to choose from"))
}

/// All grids of a width; the first is the uniform one where there is one.
pub(super) fn candidates(bits: u32) -> Result<Vec<Grid>> {
    let mut all: Vec<Grid> = Grid::all().into_iter().filter(|g| g.bits() == bits).collect();
    all.sort_by_key(|g| g.family() != quant::grid::Family::Int);
    if all.is_empty() {
        return Err(Error::usage(format!("weights have 1 to 8 bits, not {bits}")));
    }
    Ok(all)
}

/// Quantizes with each candidate and compares the outputs.
pub(super) fn best(
    bits: u32,
    stage: &Stage<'_>,
    options: &QuantizeOptions,
    observer: ObserverKind,
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<Grid> {
    let inputs = stage.inputs(pictures, PICTURES)?;
    let mut best: Option<(f64, Grid)> = None;
    let all = candidates(bits)?;
    for (done, &grid) in all.iter().enumerate() {
        progress.at("choose grid", done, all.len());
        let graph = stage.model.graph();
        let plan = annotate::plan(graph, &options.request(grid, observer))?;
        // A solver that does not fit a grid rules that grid out.
        let Ok(mut weights) = weights::project(graph, &plan, &options.project) else {
            continue;
        };
        let fitted = stage.run(&plan, &mut weights, &inputs, &mut |_: &str, _, _| {})?;
        if best.is_none_or(|(least, _)| fitted.output_error < least) {
            best = Some((fitted.output_error, grid));
        }
    }
    match best {
        Some((_, grid)) => Ok(grid),
        None => Err(Error::usage(format!(
            "no grid of {bits} bits goes with solver {} and scale {}",
            options.project.solver, options.project.scale_kind
        ))),
    }
}
