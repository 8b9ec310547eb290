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

use super::batch_norm::Norms;
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

/// A grid is not measured in a layer where another costs no more and leaves less than this share of its weight error. What rounding then does to the
/// outputs may differ from what it does to the weights, but not by as much.
const BEATEN: f64 = 0.8;

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
    /// Every grid that was measured; those that another plainly beats are left out.
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
    /// By grid, the open layers projected to it; [`Market::survey`] drops those where another grid beats it.
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

    /// The grids that a layer is offered, once the beaten ones have been dropped.
    fn grids(&self, n: NodeId) -> impl Iterator<Item = usize> {
        (0..self.among.len()).filter(move |&g| self.at[g].contains_key(&n))
    }

    /// Leaves out, layer by layer, the grids that another one beats by its cost and the error of its weights.
    fn drop_beaten(&mut self, costs: &Costs) {
        for (l, n) in self.open.iter().enumerate() {
            let errors: Vec<f64> = self.at.iter().map(|at| at[n].weight_error).collect();
            for (g, beaten) in beaten(&costs.each[l], &errors).into_iter().enumerate() {
                if beaten {
                    self.at[g].remove(n);
                }
            }
        }
    }

    /// Measures what each grid does in each open layer, but for those that cost as much as better ones.
    pub(super) fn survey(&mut self, costs: &Costs, progress: &mut dyn Progress) -> Result<()> {
        self.drop_beaten(costs);
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
        let probe = |n: NodeId| probe(&self.among, self.grids(n));
        let tasks = self.plan.weights.iter().filter(|t| self.open.contains(&t.node));
        let probes: Vec<Probe<'_>> = tasks
            .map(|task| Probe {
                graph,
                plan: Plan {
                    weights: vec![task.clone()],
                    ..Plan::default()
                },
                layer: {
                    let probe = probe(task.node);
                    probe_layer(&self.at[probe][&task.node], surveyed(task.node, probe))
                },
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
            let lost = share(n, probe(n));
            let sensitivity = if lost > 0.0 { trial.harm() / lost } else { 0.0 };
            let offer = |g: usize| Offer {
                grid: self.among[g].to_string(),
                bits: self.at[g][&n].weight.most_bits() as u64,
                cost: 0,
                error: sensitivity * share(n, g),
            };
            Allocated {
                layer: graph.nodes[n].name.clone(),
                grid: String::new(),
                sensitivity,
                offers: self.grids(n).map(offer).collect(),
            }
        };
        self.offered = probes.iter().zip(&trials).map(one).collect();
        Ok(())
    }

    /// The least error within a budget; `None` where nothing keeps to it.
    fn choose(&self, costs: &Costs) -> Option<Allocation> {
        let choices = |(l, n): (usize, &NodeId)| -> Vec<Choice> {
            let choice = |(g, offer): (usize, &Offer)| Choice {
                cost: costs.each[l][g],
                error: offer.error,
            };
            self.grids(*n).zip(&self.offered[l].offers).map(choice).collect()
        };
        let choices: Vec<Vec<Choice>> = self.open.iter().enumerate().map(choices).collect();
        let mut best = allocate(&choices, costs.limit.checked_sub(costs.fixed)?)?;
        for (c, n) in best.chosen.iter_mut().zip(&self.open) {
            *c = self.grids(*n).nth(*c)?;
        }
        Some(best)
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
            grid: self.among[probe(&self.among, 0..self.among.len())],
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
        self.prepared
            .assembled(&self.way(budget, chosen), &layers, &Norms::new())
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
        for (l, (layer, &g)) in all.iter_mut().zip(chosen).enumerate() {
            layer.grid = self.among[g].to_string();
            for (offer, g) in layer.offers.iter_mut().zip(self.grids(self.open[l])) {
                offer.cost = costs.each[l][g];
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

/// Of some grids the one that λ is measured with: errors large enough to be seen, small enough to add up.
fn probe(among: &[Grid], grids: impl Iterator<Item = usize>) -> usize {
    let bits = |g: &Grid| (g.bits() * g.points()).abs_diff(5);
    grids.min_by_key(|&g| bits(&among[g])).unwrap_or(0)
}

/// Which choices another one beats: no dearer, and with less than [`BEATEN`] of the error.
fn beaten(costs: &[u64], errors: &[f64]) -> Vec<bool> {
    let beats = |a: usize, b: usize| costs[a] <= costs[b] && errors[a] < BEATEN * errors[b];
    let all = 0..costs.len();
    all.clone().map(|b| all.clone().any(|a| beats(a, b))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_beaten_by_one_that_costs_no_more_and_is_plainly_better() {
        // The third costs as much as the second and is a little worse: measured. The fourth costs more and is worse than the second.
        let (costs, errors) = ([2, 4, 4, 8, 9], [0.5, 0.1, 0.12, 0.2, 0.001]);
        assert_eq!(beaten(&costs, &errors), [false, false, false, true, false]);
        // What is cheapest, and what is best, stay; exact weights beat nothing that is exact, too.
        assert_eq!(beaten(&[1, 2], &[0.0, 0.0]), [false, false]);
        assert_eq!(beaten(&[3, 3], &[0.4, 0.1]), [true, false]);
    }

    #[test]
    fn sensitivity_is_measured_at_five_bits_or_what_is_nearest() {
        let among: Vec<Grid> = ["ternary", "lbw3", "int6", "pow2-4x2"]
            .map(|g| g.parse().unwrap())
            .to_vec();
        assert_eq!(probe(&among, 0..4), 2);
        assert_eq!(probe(&among, [0, 1, 3].into_iter()), 1);
    }
}
