//! A second point for the output channels that gain most by one, within a budget over all layers (Liu, Ye, Zhou, Liu, arXiv 2002.09049):
//! what mixed widths do, with codes of one width.

use std::collections::BTreeMap;
use std::path::PathBuf;

use graph::{NodeId, Point, WeightAnnotation};
use quant::annotate::Plan;
use quant::multipoint::budget::{Row, by_gain};

use super::layers::{Stage, Survey};
use super::weights::{self, Layer};
use super::{ProjectOptions, Rounding};
use crate::control::Progress;
use crate::{Error, Result};

/// Bits that a row takes beside its codes: its number and its scale.
const OVERHEAD: u64 = 32 + 32;

/// Layers with a second point on some rows: `share` of the bits of all codes more at most, in the rows whose layer's output gains most for each bit
/// stored.
pub(super) fn extended(
    stage: &Stage<'_>,
    plan: &Plan,
    project: &ProjectOptions,
    share: f64,
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<BTreeMap<NodeId, Layer>> {
    if stage.rounding != Rounding::Feedback {
        return Err(Error::usage(
            "extra rows are chosen by the errors of the layers' outputs, which error feedback alone measures",
        )
        .help("leave --rounding, --solver and --no-correction out, or --extra-rows"));
    }
    let graph = stage.model.graph();
    let mut twice = plan.clone();
    twice.weights.retain_mut(|task| match task.grid.with_points(2) {
        Some(grid) if task.grid.points() == 1 => {
            task.grid = grid;
            true
        }
        _ => false,
    });
    let wider = [weights::project(graph, &twice, project, stage.workers())?];
    let mut layers = weights::project(graph, plan, project, stage.workers())?;
    let survey = Stage {
        others: &wider,
        ..*stage
    };
    let surveys = survey.run(plan, &mut layers.clone(), pictures, progress)?.surveys;
    let bits = |w: &WeightAnnotation| w.len() as u64 * u64::from(w.bits);
    let all: u64 = surveys.keys().map(|n| bits(&layers[n].weight)).sum();
    let rows: Vec<(NodeId, u32, Row)> = surveys
        .iter()
        .flat_map(|(n, s)| rows(*n, s, &layers[n].weight))
        .collect();
    let offers: Vec<Row> = rows.iter().map(|r| r.2.clone()).collect();
    let mut chosen: BTreeMap<NodeId, Vec<u32>> = BTreeMap::new();
    for ((n, c, _), points) in rows.iter().zip(by_gain(&offers, (share * all as f64) as u64)) {
        if points > 0 {
            chosen.entry(*n).or_default().push(*c);
        }
    }
    for (n, channels) in chosen {
        if let (Some(layer), Some(wide)) = (layers.get_mut(&n), wider[0].get(&n)) {
            extend(&mut layer.weight, &wide.weight, channels);
        }
    }
    Ok(layers)
}

/// What the budget chooses from: the channels of a layer, their errors as shares of the layer's output.
fn rows(n: NodeId, survey: &Survey, weight: &WeightAnnotation) -> Vec<(NodeId, u32, Row)> {
    let energy: f64 = survey.own.iter().map(|e| e.energy).sum();
    let [Some(wide)] = &survey.others[..] else {
        return Vec::new();
    };
    if energy <= 0.0 {
        return Vec::new();
    }
    let each = (weight.len() / survey.own.len()) as u64;
    let cost = each * u64::from(weight.bits) + OVERHEAD;
    let pairs = survey.own.iter().zip(&wide.errors).zip(0..);
    pairs
        .map(|((own, wide), c)| {
            let errors = vec![own.error / energy, wide.error / energy];
            (n, c, Row { errors, cost })
        })
        .collect()
}

/// Takes both points of some channels from the same weight with two points.
fn extend(weight: &mut WeightAnnotation, wide: &WeightAnnotation, channels: Vec<u32>) {
    let all = weight.shape[weight.axis];
    let each = weight.len() / all;
    let scale = |p: &Point, c: usize| p.scales[if p.scales.len() == 1 { 0 } else { c }];
    let ([first, ..], [wide_first, wide_second, ..]) = (&mut weight.points[..], &wide.points[..]) else {
        return;
    };
    if first.scales.len() == 1 {
        first.scales = vec![first.scales[0]; all];
    }
    let mut second = Point {
        codes: vec![0; first.codes.len()],
        scales: vec![1.0; all],
        rows: None,
    };
    for &c in &channels {
        let c = c as usize;
        let at = c * each..(c + 1) * each;
        first.codes[at.clone()].copy_from_slice(&wide_first.codes[at.clone()]);
        first.scales[c] = scale(wide_first, c);
        second.codes[at.clone()].copy_from_slice(&wide_second.codes[at]);
        second.scales[c] = scale(wide_second, c);
    }
    second.rows = Some(channels);
    weight.points.push(second);
}
