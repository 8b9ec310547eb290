//! `--bits N`: the grid of a width whose outputs are nearest to the float model's.

use std::path::PathBuf;

use quant::annotate;

use super::layers::Stage;
use super::{Grid, QuantizeOptions, weights};
use crate::control::Progress;
use crate::{Error, Result};

/// Pictures that the choice is made on.
const PICTURES: usize = 8;

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
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<Grid> {
    let inputs = stage.inputs(pictures, PICTURES)?;
    let mut best: Option<(f64, Grid)> = None;
    let all = candidates(bits)?;
    for (done, &grid) in all.iter().enumerate() {
        progress.at("choose grid", done, all.len());
        let graph = stage.model.graph();
        let plan = annotate::plan(graph, &options.request(grid))?;
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
