//! A grid for each layer, so that all layers together keep to a budget: the errors of one layer at a time, the sum of least error exactly.
//!
//! ```text
//! error(layer, grid) = λ(layer) · Σ(y − ŷ)² / Σy²       of the layer's output, rounded with feedback behind 8-bit layers
//! λ(layer) = what disagrees of the network's detections (without detections: the error of its outputs) / error of the layer's output,
//!            measured with this layer alone at one grid of few bits
//! ```
//! Errors of different layers are taken to add up, which the run that follows does not rely on: it measures what the network as a whole does. What a
//! choice costs is told by [`costs`](super::costs), and measured on the whole model, too.

use std::collections::BTreeMap;

use graph::{Graph, NodeId, Op};
use quant::allocate::{Allocation, Choice, allocate};
use quant::annotate::{Plan, Rule, WeightTask};
use serde::Serialize;

use super::budget::{Budget, Spent, too_small};
use super::costs::Costs;
use super::layers::{Other, Stage};
use super::prepared::{Prepared, Way};
use super::trial::{Ground, Network, Trial};
use super::weights::{self, Layer};
use super::{Grid, QuantizeOptions, Quantized};
use crate::control::Progress;
use crate::pictures::spread;
use crate::side_by_side::Team;
use crate::{Error, Model, Result};

/// Pictures that λ is measured on.
const PICTURES: usize = 48;

/// Fits at most, until the whole model keeps to the budget.
const FITS: usize = 4;

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
    /// Stored bits at most, scales included.
    pub bits: u64,
    /// What the budget counts: bits, bytes, bit operations, nanoseconds.
    pub cost: u64,
    /// λ · Σ(y − ŷ)² / Σy².
    pub error: f64,
}

/// What each open layer is offered: those that no override names and whose role is not kept.
pub(super) struct Market<'a> {
    pub(super) prepared: &'a Prepared<'a>,
    /// The grids of the layers that are not open; those of the open ones are to be chosen.
    pub(super) plan: Plan,
    pub(super) among: Vec<Grid>,
    /// In the plan's order.
    pub(super) open: Vec<NodeId>,
    /// The layers that are not open.
    pub(super) closed: BTreeMap<NodeId, Layer>,
    /// By grid, the open layers projected to it.
    pub(super) at: Vec<BTreeMap<NodeId, Layer>>,
    /// Filled by [`Market::survey`].
    offered: Vec<Allocated>,
}

impl<'a> Market<'a> {
    /// Without errors yet: those ask for a [`Market::survey`].
    pub(super) fn new(prepared: &'a Prepared<'a>, among: &[Grid]) -> Result<Market<'a>> {
        let (graph, options) = (prepared.graph(), prepared.options);
        let int8: Grid = "int8".parse()?;
        let plan = prepared.plan(int8)?;
        let open = open_layers(graph, &plan, options);
        let project = |open_ones: bool, grid: Option<Grid>| {
            let mut only = plan.clone();
            only.weights.retain(|t| open.contains(&t.node) == open_ones);
            for task in &mut only.weights {
                task.grid = grid.unwrap_or(task.grid);
            }
            weights::project(graph, &only, &options.project, prepared.stage().workers())
        };
        let closed = project(false, None)?;
        let each = among.iter().map(|&grid| project(true, Some(grid)));
        let at = each.collect::<Result<Vec<_>>>()?;
        Ok(Market {
            prepared,
            plan,
            among: among.to_vec(),
            open,
            closed,
            at,
            offered: Vec::new(),
        })
    }

    /// Measures what each grid does in each open layer.
    pub(super) fn survey(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let (prepared, graph) = (self.prepared, self.prepared.graph());
        let mut eight = self.plan.clone();
        let int8: Grid = "int8".parse()?;
        eight.weights.iter_mut().for_each(|t| t.grid = int8);
        let mut layers = weights::project(
            graph,
            &eight,
            &prepared.options.project,
            prepared.stage().workers(),
        )?;
        let survey = Stage {
            others: &self.at,
            ..prepared.stage()
        };
        let surveys = survey
            .run(&eight, &mut layers, &prepared.inputs, progress)?
            .surveys;
        let surveyed = |n: NodeId, g: usize| surveys.get(&n).and_then(|s| s.others[g].as_ref());

        // What one layer alone does to the outputs.
        let probe = probe(&self.among);
        let tasks = self.plan.weights.iter().filter(|t| self.open.contains(&t.node));
        let probes: Vec<Probe<'_>> = tasks
            .map(|task| Probe {
                graph,
                plan: Plan {
                    weights: vec![task.clone()],
                    ..Plan::default()
                },
                layer: probe_layer(&self.at[probe][&task.node], surveyed(task.node, probe)),
            })
            .collect();
        let ground = Ground {
            float: prepared.float,
            pictures: &spread(&prepared.inputs, PICTURES),
            pool: &prepared.pool,
            control: &prepared.options.control,
        };
        let trials = ground.run("sensitivity", &probes, progress)?;
        let share = |n: NodeId, g: usize| match surveyed(n, g) {
            Some(other) => other.share(),
            // No error feedback here: what the weights lose stands for what the output does.
            None => self.at[g][&n].weight_error,
        };
        let one = |(probed, trial): (&Probe<'_>, &Trial)| {
            let n = probed.plan.weights[0].node;
            let lost = share(n, probe);
            let sensitivity = if lost > 0.0 { trial.harm() / lost } else { 0.0 };
            let offer = |(g, grid): (usize, &Grid)| Offer {
                grid: grid.to_string(),
                bits: self.at[g][&n].weight.most_bits() as u64,
                cost: 0,
                error: sensitivity * share(n, g),
            };
            Allocated {
                layer: graph.nodes[n].name.clone(),
                grid: String::new(),
                sensitivity,
                offers: self.among.iter().enumerate().map(offer).collect(),
            }
        };
        self.offered = probes.iter().zip(&trials).map(one).collect();
        Ok(())
    }

    /// The least error within a budget; `None` where nothing keeps to it.
    fn choose(&self, costs: &Costs) -> Option<Allocation> {
        let choice = |(offer, &cost): (&Offer, &u64)| Choice {
            cost,
            error: offer.error,
        };
        let choices: Vec<Vec<Choice>> = (self.offered.iter().zip(&costs.each))
            .map(|(l, costs)| l.offers.iter().zip(costs).map(choice).collect())
            .collect();
        allocate(&choices, costs.limit.checked_sub(costs.fixed)?)
    }

    /// The plan with these grids of the open layers.
    pub(super) fn way(&self, budget: &Budget, chosen: &[usize]) -> Way {
        let mut plan = self.plan.clone();
        for (n, &g) in self.open.iter().zip(chosen) {
            for task in plan.weights.iter_mut().filter(|t| t.node == *n) {
                task.grid = self.among[g];
            }
        }
        Way {
            choice: super::Choice::Budget(*budget),
            grid: self.among[probe(&self.among)],
            plan,
        }
    }

    /// The model with these grids before its weights are fitted: as large and as fast as it will be.
    pub(super) fn unfitted(&self, budget: &Budget, chosen: &[usize]) -> Model {
        let mut layers = self.closed.clone();
        for (n, &g) in self.open.iter().zip(chosen) {
            layers.insert(*n, self.at[g][n].clone());
        }
        if self.prepared.options.correction {
            let graph = self.prepared.graph();
            for (n, layer) in &mut layers {
                // A correction needs a bias, except where there is no place for one.
                if !matches!(graph.nodes[*n].op, Op::MatMul) {
                    let channels = layer.weight.shape[layer.weight.axis];
                    layer.bias.get_or_insert_with(|| vec![0.0; channels]);
                }
            }
        }
        self.prepared.assembled(&self.way(budget, chosen), &layers)
    }

    /// The fitted model of least error within a budget. Where the whole takes more than its layers one by one, the choice is made again with that
    /// much less.
    pub(super) fn within(
        &self,
        budget: &Budget,
        costs: &mut Costs,
        progress: &mut dyn Progress,
    ) -> Result<Quantized> {
        let least = costs.least();
        let mut fits = 0;
        for rounds in 1.. {
            let Some(best) = self.choose(costs) else {
                return Err(too_small(budget, costs.shown(costs.least())));
            };
            let sum = costs.fixed + best.cost;
            let last = rounds >= costs.choices() || fits + 1 >= FITS;
            let unfitted = costs.before_fit(self, budget, &best.chosen)?.unwrap_or(sum);
            if !last && unfitted > costs.limit {
                costs.fixed += unfitted.saturating_sub(sum).max(1);
                continue;
            }
            // Times are taken again and again, and are another each time: the sum is what was chosen by.
            let predicted = if costs.repeats() { unfitted } else { sum };
            let way = self.way(budget, &best.chosen);
            let mut quantized = self.prepared.fit(way, progress)?;
            fits += 1;
            let measured = costs.after_fit(self, &quantized)?;
            if !last && costs.repeats() && measured > costs.limit {
                costs.fixed += measured.saturating_sub(sum).max(1);
                continue;
            }
            quantized.report.allocation = self.allocated(costs, &best.chosen);
            quantized.report.spent = Some(Spent {
                unit: budget.unit(),
                limit: costs.shown(costs.limit),
                least: costs.shown(least),
                predicted: costs.shown(predicted),
                measured: costs.shown(measured),
                gap: best.gap,
                rounds,
            });
            return Ok(quantized);
        }
        Err(Error::limit("no round was left"))
    }

    fn allocated(&self, costs: &Costs, chosen: &[usize]) -> Vec<Allocated> {
        let mut all = self.offered.clone();
        for ((layer, each), &g) in all.iter_mut().zip(&costs.each).zip(chosen) {
            layer.grid = self.among[g].to_string();
            for (offer, &cost) in layer.offers.iter_mut().zip(each) {
                offer.cost = cost;
            }
        }
        all
    }
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
    fn graph(&self, _: Team<'_>) -> Result<Graph> {
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
