//! A grid for each layer, so that all weights together take so many bits: the errors of one layer at a time, the sum of least error exactly.
//!
//! ```text
//! error(layer, grid) = λ(layer) · Σ(y − ŷ)² / Σy²       of the layer's output, rounded with feedback behind 8-bit layers
//! λ(layer) = what disagrees of the network's detections (without detections: the error of its outputs) / error of the layer's output,
//!            measured with this layer alone at one grid of few bits
//! ```
//! Errors of different layers are taken to add up, which the run that follows does not rely on: it measures what the network as a whole does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use graph::{Graph, NodeId};
use kernels::Pool;
use quant::allocate::{Choice, allocate};
use quant::annotate::{Plan, Rule, WeightTask};
use serde::Serialize;

use super::layers::{Other, Stage};
use super::trial::{Ground, Network, Trial};
use super::weights::{self, Layer};
use super::{Grid, QuantizeOptions};
use crate::control::Progress;
use crate::pictures::spread;
use crate::{Error, Model, Result};

/// Pictures that λ is measured on.
const PICTURES: usize = 48;

/// What a layer could have had, and has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Allocated {
    /// Node name.
    pub layer: String,
    /// The grid it got.
    pub grid: String,
    /// λ: detections that disagree, or else error of the model's outputs, for each unit of error in this layer's output.
    pub sensitivity: f64,
    /// Every grid that was looked at.
    pub offers: Vec<Offer>,
}

/// One grid of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// Its name.
    pub grid: String,
    /// Stored bits, scales included.
    pub bits: u64,
    /// λ · Σ(y − ŷ)² / Σy².
    pub error: f64,
}

/// Gives the layers that no override names grids of `options.among`, `average` bits a weight at most over all weighted layers.
pub(super) fn grids(
    stage: &Stage<'_>,
    plan: &mut Plan,
    (options, average): (&QuantizeOptions, f64),
    (float, pool): (&Model, &Arc<Pool>),
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<Vec<Allocated>> {
    let graph = stage.model.graph();
    let open = open_layers(graph, plan, options);
    let int8: Grid = "int8".parse()?;
    for task in &mut plan.weights {
        if !open.contains(&task.node) && !named(graph, task, options) {
            task.grid = int8;
        }
    }
    let ground = Ground {
        float,
        pictures: &spread(pictures, PICTURES),
        pool,
        control: stage.control,
    };
    let mut layers = offered(stage, plan, &open, options, &ground, pictures, progress)?;
    let chosen = chosen(graph, plan, &open, options, &layers, average)?;
    for ((layer, n), c) in layers.iter_mut().zip(&open).zip(chosen) {
        layer.grid = options.among[c].to_string();
        for task in plan.weights.iter_mut().filter(|t| t.node == *n) {
            task.grid = options.among[c];
        }
    }
    Ok(layers)
}

/// What each grid would cost and do in each open layer.
fn offered(
    stage: &Stage<'_>,
    plan: &Plan,
    open: &[NodeId],
    options: &QuantizeOptions,
    ground: &Ground<'_>,
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<Vec<Allocated>> {
    let graph = stage.model.graph();
    let at = |grid: Grid| -> Result<BTreeMap<NodeId, Layer>> {
        let mut only = plan.clone();
        only.weights.retain(|t| open.contains(&t.node));
        only.weights.iter_mut().for_each(|t| t.grid = grid);
        weights::project(graph, &only, &options.project)
    };
    let others = options.among.iter().map(|&g| at(g)).collect::<Result<Vec<_>>>()?;
    let mut eight = plan.clone();
    let int8: Grid = "int8".parse()?;
    eight.weights.iter_mut().for_each(|t| t.grid = int8);
    let mut layers = weights::project(graph, &eight, &options.project)?;
    let survey = Stage {
        others: &others,
        ..*stage
    };
    let surveys = survey.run(&eight, &mut layers, pictures, progress)?.surveys;
    let surveyed = |n: NodeId, g: usize| surveys.get(&n).and_then(|s| s.others[g].as_ref());

    // What one layer alone does to the outputs.
    let probe = probe(&options.among);
    let tasks = plan.weights.iter().filter(|t| open.contains(&t.node));
    let probes: Vec<Probe<'_>> = tasks
        .map(|task| Probe {
            graph,
            plan: Plan {
                weights: vec![task.clone()],
                ..Plan::default()
            },
            layer: probe_layer(&others[probe][&task.node], surveyed(task.node, probe)),
        })
        .collect();
    let trials = ground.run("sensitivity", &probes, progress)?;
    let share = |n: NodeId, g: usize| match surveyed(n, g) {
        Some(other) => other.share(),
        // No error feedback here: what the weights lose stands for what the output does.
        None => others[g][&n].weight_error,
    };
    let one = |(probed, trial): (&Probe<'_>, &Trial)| {
        let n = probed.plan.weights[0].node;
        let lost = share(n, probe);
        let sensitivity = if lost > 0.0 { trial.harm() / lost } else { 0.0 };
        let offer = |(g, grid): (usize, &Grid)| Offer {
            grid: grid.to_string(),
            bits: others[g][&n].weight.stored_bits() as u64,
            error: sensitivity * share(n, g),
        };
        Allocated {
            layer: graph.nodes[n].name.clone(),
            grid: String::new(),
            sensitivity,
            offers: options.among.iter().enumerate().map(offer).collect(),
        }
    };
    Ok(probes.iter().zip(&trials).map(one).collect())
}

/// For each open layer the index of its offer: the least error in `average` bits a weight over all layers, those that are not open included.
fn chosen(
    graph: &Graph,
    plan: &Plan,
    open: &[NodeId],
    options: &QuantizeOptions,
    layers: &[Allocated],
    average: f64,
) -> Result<Vec<usize>> {
    let mut rest = plan.clone();
    rest.weights.retain(|t| !open.contains(&t.node));
    let fixed = weights::project(graph, &rest, &options.project)?;
    let fixed: u64 = fixed.values().map(|l| l.weight.stored_bits() as u64).sum();
    let (count, float_bits) = sizes(graph, plan);
    let choice = |o: &Offer| Choice {
        cost: o.bits,
        error: o.error,
    };
    let choices: Vec<Vec<Choice>> = (layers.iter())
        .map(|l| l.offers.iter().map(choice).collect())
        .collect();
    let best = ((average * count as f64) as u64)
        .checked_sub(fixed + float_bits)
        .and_then(|left| allocate(&choices, left));
    best.map(|b| b.chosen).ok_or_else(|| {
        let cheapest = choices.iter().filter_map(|c| c.iter().map(|c| c.cost).min());
        let least = cheapest.sum::<u64>() + fixed + float_bits;
        Error::usage(format!(
            "no choice of grids takes {average} bits a weight or less; the least is {:.2}",
            least as f64 / count.max(1) as f64
        ))
        .help("ask for more, or give --among narrower grids")
    })
}

/// Whether an override says what a layer gets.
fn named(graph: &Graph, task: &WeightTask, options: &QuantizeOptions) -> bool {
    let node = &graph.nodes[task.node];
    let names = |r: &Rule| r.matches(&node.name, node.op.name(), task.role);
    options.rules.iter().any(names)
}

/// Layers that no override names, and whose role is not kept, in the plan's order.
fn open_layers(graph: &Graph, plan: &Plan, options: &QuantizeOptions) -> Vec<NodeId> {
    let open = |t: &&WeightTask| !named(graph, t, options) && !options.keep.contains(&t.role);
    plan.weights.iter().filter(open).map(|t| t.node).collect()
}

/// Weights of all weighted layers, and the bits of those that stay float.
fn sizes(graph: &Graph, plan: &Plan) -> (usize, u64) {
    let weights = |n: NodeId| {
        graph
            .constant_input(&graph.nodes[n], 1)
            .map_or(0, tensor::Tensor::len)
    };
    let quantized: usize = plan.weights.iter().map(|t| weights(t.node)).sum();
    let float: usize = plan.floats.iter().map(|f| weights(f.node)).sum();
    (quantized + float, 32 * float as u64)
}

/// The grid that λ is measured with: errors large enough to be seen, small enough to add up.
fn probe(among: &[Grid]) -> usize {
    let bits = |g: &Grid| (g.bits() * g.points()).abs_diff(5);
    (0..among.len()).min_by_key(|&g| bits(&among[g])).unwrap_or(0)
}

/// The float network with one layer rounded.
struct Probe<'a> {
    graph: &'a Graph,
    plan: Plan,
    layer: Layer,
}

impl Network for Probe<'_> {
    fn graph(&self) -> Result<Graph> {
        let layers = BTreeMap::from([(self.plan.weights[0].node, self.layer.clone())]);
        Ok(weights::annotated(
            self.graph,
            &self.plan,
            &layers,
            BTreeMap::new(),
        ))
    }
}

/// A layer as the survey rounded it, the mean of its error in the bias.
fn probe_layer(projected: &Layer, surveyed: Option<&Other>) -> Layer {
    let mut layer = projected.clone();
    if let Some(other) = surveyed {
        layer.weight = other.weight.clone();
        if layer.task.axis.is_some() && !layer.stored_once {
            let bias = layer.bias.get_or_insert_with(|| vec![0.0; other.shifts.len()]);
            bias.iter_mut()
                .zip(&other.shifts)
                .for_each(|(b, s)| *b = (f64::from(*b) + s) as f32);
        }
    }
    layer
}
