//! What is left open is decided on a few calibration pictures: the observer and whether channels are equalized by the agreement of
//! detections with the float model's, the grid of `--bits N` by the error of the outputs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use graph::NodeId;
use kernels::Pool;
use quant::annotate::{self, Request};

use super::layers::Stage;
use super::report::{Tried, TriedGrid};
use super::trial::{Candidate, Eight, Ground, Trial};
use super::{Effort, Grid, ObserverKind, QuantizeOptions, calibrate, equalize, float_layers, weights};
use crate::control::Progress;
use crate::pictures::spread;
use crate::{Error, Model, Result};

/// Pictures that the grid is chosen on.
const PICTURES: usize = 8;

/// Observers tried where none is asked for.
const OBSERVERS: [ObserverKind; 4] = [
    ObserverKind::MinMax,
    ObserverKind::Percentile { tail: 1e-5 },
    ObserverKind::Percentile { tail: 1e-4 },
    ObserverKind::Mse,
];

/// The float network to quantize, equalized or not, and how.
pub(super) struct Setting {
    pub(super) model: Model,
    pub(super) equalized: bool,
    pub(super) observer: ObserverKind,
    /// Layers whose inputs stay f32.
    pub(super) float_layers: BTreeSet<NodeId>,
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
        None if options.effort == Effort::Fast => &[ObserverKind::Mse],
        None => &OBSERVERS[..],
    };
    let mut models = vec![model.clone()];
    if options.equalization && options.effort > Effort::Fast {
        let few = spread(pictures, options.effort.corrected(model.graph()).0);
        let graph = equalize::run(model, &few, pool, control, progress)?;
        if graph != *model.graph() {
            models.push(model.with_graph(graph));
        }
    }
    let mut setting = Setting {
        model: model.clone(),
        equalized: false,
        observer: observers[0],
        float_layers: BTreeSet::new(),
        tried: Vec::new(),
    };
    let keeps = options.keeps_float_layers(grid);
    if models.len() * observers.len() == 1 && !keeps {
        return Ok(setting);
    }
    let few = spread(pictures, options.effort.compared(model.graph()));
    let mut candidates = Vec::new();
    for candidate in &models {
        let plan = |o: &ObserverKind| annotate::plan(candidate.graph(), &options.request(grid, *o));
        let plans: Vec<annotate::Plan> = observers
            .iter()
            .map(plan)
            .collect::<std::result::Result<_, _>>()?;
        let tables = options.activation_tables;
        let all = calibrate::run(candidate, &plans, tables, &few, pool, control, progress)?;
        let weights = Arc::new(Eight::default());
        candidates.extend(plans.into_iter().zip(all).map(|(plan, calibrated)| Candidate {
            model: candidate,
            plan,
            edges: calibrated.edges,
            weights: weights.clone(),
        }));
    }
    let ground = Ground {
        float: model,
        pictures: &few,
        pool,
        control,
    };
    let trials = ground.run("choose ranges", &candidates, progress)?;
    let harms = trials.iter().map(Trial::harm).enumerate();
    let Some((best, _)) = harms.min_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Ok(setting);
    };
    let of = |i: usize| {
        (
            &models[i / observers.len()],
            i >= observers.len(),
            observers[i % observers.len()],
        )
    };
    for (i, trial) in trials.iter().enumerate() {
        let (_, equalized, observer) = of(i);
        setting.tried.push(tried(observer, equalized, Vec::new(), trial));
    }
    let (chosen, equalized, observer) = of(best);
    setting.model = chosen.clone();
    (setting.equalized, setting.observer) = (equalized, observer);
    if keeps {
        let request = options.request(grid, observer);
        let kept = float_layers::choose(&ground, &candidates[best], &trials[best], &request, progress)?;
        setting.float_layers = kept.layers;
        for (names, trial) in kept.rounds {
            setting.tried.push(tried(observer, equalized, names, &trial));
        }
    }
    Ok(setting)
}

fn tried(observer: ObserverKind, equalization: bool, float_layers: Vec<String>, trial: &Trial) -> Tried {
    Tried {
        observer: observer.to_string(),
        equalization,
        float_layers,
        agreement: trial.agreement,
        output_error: trial.output_error,
    }
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
    request: &dyn Fn(Grid) -> Request,
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<(Grid, Vec<TriedGrid>)> {
    let inputs = stage.inputs(pictures, (PICTURES, 1 << 30))?;
    let mut best: Option<(f64, Grid)> = None;
    let mut tried = Vec::new();
    let all = candidates(bits)?;
    for (done, &grid) in all.iter().enumerate() {
        progress.at("choose grid", done, all.len());
        let graph = stage.model.graph();
        let plan = annotate::plan(graph, &request(grid))?;
        // A solver that does not fit a grid rules that grid out.
        let Ok(mut weights) = weights::project(graph, &plan, &options.project, stage.workers()) else {
            continue;
        };
        let fitted = stage.run(&plan, &mut weights, &inputs, &mut |_: &str, _, _| {})?;
        tried.push(TriedGrid {
            grid: grid.to_string(),
            output_error: fitted.output_error,
        });
        if best.is_none_or(|(least, _)| fitted.output_error < least) {
            best = Some((fitted.output_error, grid));
        }
    }
    match best {
        Some((_, grid)) => Ok((grid, tried)),
        None => Err(Error::usage(format!(
            "no grid of {bits} bits goes with solver {} and scale {}",
            options.project.solver, options.project.scale_kind
        ))),
    }
}
