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
use super::trial::{Ground, Network};
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
    let open: Vec<NodeId> = open_layers(graph, plan, options);
    let int8: Grid = "int8".parse()?;
    for task in &mut plan.weights {
        if !open.contains(&task.node) && !named(graph, task, options) {
            task.grid = int8;
        }
    }
    let at = |grid: Grid| -> Result<BTreeMap<NodeId, Layer>> {
        let mut only = plan.clone();
        only.weights.retain(|t| open.contains(&t.node));
        only.weights.iter_mut().for_each(|t| t.grid = grid);
        weights::project(graph, &only, &options.project)
    };
    let others = options.among.iter().map(|&g| at(g)).collect::<Result<Vec<_>>>()?;
    let fixed = weights::project(graph, plan, &options.project)?;
    let surveys = {
        let mut eight = plan.clone();
        eight.weights.iter_mut().for_each(|t| t.grid = int8);
        let mut layers = weights::project(graph, &eight, &options.project)?;
        let survey = Stage {
            others: &others,
            ..*stage
        };
        survey.run(&eight, &mut layers, pictures, progress)?.surveys
    };

    // What one layer alone does to the outputs.
    let probe = probe(&options.among);
    let probes: Vec<Probe<'_>> = plan
        .weights
        .iter()
        .filter(|t| open.contains(&t.node))
        .map(|task| Probe {
            graph,
            plan: Plan {
                weights: vec![task.clone()],
                ..Plan::default()
            },
            layer: probe_layer(
                &others[probe][&task.node],
                surveys.get(&task.node).and_then(|s| s.others[probe].as_ref()),
            ),
        })
        .collect();
    let ground = Ground {
        float,
        pictures: &spread(pictures, PICTURES),
        pool,
        control: stage.control,
    };
    let trials = ground.run("sensitivity", &probes, progress)?;

    let share = |n: NodeId, g: usize| -> f64 {
        let surveyed = surveys.get(&n).and_then(|s| s.others[g].as_ref());
        match surveyed {
            Some(other) => {
                let sums = other
                    .errors
                    .iter()
                    .fold((0.0, 0.0), |s, e| (s.0 + e.error, s.1 + e.energy));
                if sums.1 > 0.0 { sums.0 / sums.1 } else { 0.0 }
            }
            // No error feedback here: what the weights lose stands for what the output does.
            None => others[g][&n].weight_error,
        }
    };
    let mut allocated = Vec::new();
    let mut choices = Vec::new();
    for (probed, trial) in probes.iter().zip(&trials) {
        let n = probed.plan.weights[0].node;
        let lost = share(n, probe);
        let sensitivity = if lost > 0.0 { trial.harm() / lost } else { 0.0 };
        let offers: Vec<Offer> = (0..options.among.len())
            .map(|g| Offer {
                grid: options.among[g].to_string(),
                bits: others[g][&n].weight.stored_bits() as u64,
                error: sensitivity * share(n, g),
            })
            .collect();
        choices.push(
            offers
                .iter()
                .map(|o| Choice {
                    cost: o.bits,
                    error: o.error,
                })
                .collect::<Vec<_>>(),
        );
        allocated.push(Allocated {
            layer: graph.nodes[n].name.clone(),
            grid: String::new(),
            sensitivity,
            offers,
        });
    }

    let taken: u64 = fixed
        .iter()
        .filter(|(n, _)| !open.contains(n))
        .map(|(_, l)| l.weight.stored_bits() as u64)
        .sum();
    let (count, float_bits) = sizes(graph, plan, &fixed);
    let budget = (average * count as f64) as u64;
    let best = budget
        .checked_sub(taken + float_bits)
        .and_then(|left| allocate(&choices, left));
    let Some(best) = best else {
        let least: u64 = choices
            .iter()
            .filter_map(|c| c.iter().map(|c| c.cost).min())
            .sum();
        let bits = (least + taken + float_bits) as f64 / count.max(1) as f64;
        return Err(Error::usage(format!(
            "no choice of grids takes {average} bits a weight or less; the least is {bits:.2}"
        ))
        .help("ask for more, or give --among narrower grids"));
    };
    for ((layer, n), &c) in allocated.iter_mut().zip(&open).zip(&best.chosen) {
        layer.grid = options.among[c].to_string();
        for task in plan.weights.iter_mut().filter(|t| t.node == *n) {
            task.grid = options.among[c];
        }
    }
    Ok(allocated)
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
fn sizes(graph: &Graph, plan: &Plan, layers: &BTreeMap<NodeId, Layer>) -> (usize, u64) {
    let quantized: usize = layers.values().map(|l| l.weight.len()).sum();
    let weights = |n: NodeId| {
        graph
            .constant_input(&graph.nodes[n], 1)
            .map_or(0, tensor::Tensor::len)
    };
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
