//! What each grid costs in each layer, as numbers that the solver adds up, and what the whole model costs, measured.

use std::time::Duration;

use graph::{Graph, Node, shape};

use super::allocate::Market;
use super::budget::{BitOps, Budget, Unit, too_small};
use super::{Quantized, weights};
use crate::bench::{BenchOptions, Timing, by_turns};
use crate::control::Progress;
use crate::runtime::RunOptions;
use crate::{Form, Model, Result};

/// Runs of a model whose time is taken.
const RUNS: usize = 15;

/// Costs of all choices, in whole units: bits, bytes, bit operations, nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Costs {
    /// By open layer and grid.
    pub(super) each: Vec<Vec<u64>>,
    /// Of everything else.
    pub(super) fixed: u64,
    pub(super) limit: u64,
    /// Units in one of the numbers that are shown.
    pub(super) per: f64,
    pub(super) unit: Unit,
}

impl Costs {
    /// As people read it.
    pub(super) fn shown(&self, units: u64) -> f64 {
        units as f64 / self.per
    }

    /// With the cheapest grid in each layer.
    pub(super) fn least(&self) -> u64 {
        let cheapest = self.each.iter().filter_map(|l| l.iter().min());
        self.fixed + cheapest.sum::<u64>()
    }

    /// With the dearest.
    pub(super) fn most(&self) -> u64 {
        let dearest = self.each.iter().filter_map(|l| l.iter().max());
        self.fixed + dearest.sum::<u64>()
    }

    /// Refuses a budget that nothing keeps to.
    pub(super) fn check(&self, budget: &Budget) -> Result<()> {
        match self.least() > self.limit {
            true => Err(too_small(budget, self.shown(self.least()))),
            false => Ok(()),
        }
    }

    /// What the model that a choice will make costs, where the sum over the layers may miss something.
    pub(super) fn before_fit(
        &self,
        market: &Market<'_>,
        budget: &Budget,
        chosen: &[usize],
    ) -> Result<Option<u64>> {
        let model = || market.unfitted(budget, chosen);
        Ok(match self.unit {
            Unit::Bytes => Some(model().to_onnx(Form::Packed)?.len() as u64),
            Unit::Milliseconds => Some(nanoseconds(&timings(market, &[&model()], &mut silent)?[0])),
            Unit::BitsAWeight | Unit::BitOps => None,
        })
    }

    /// What the model that was made costs.
    pub(super) fn after_fit(&self, market: &Market<'_>, quantized: &Quantized) -> Result<u64> {
        let model = &quantized.model;
        Ok(match self.unit {
            Unit::BitsAWeight => (quantized.report.size.bits_per_weight * self.per).round() as u64,
            Unit::Bytes => model.file_bytes() as u64,
            Unit::BitOps => bit_operations(model.graph()),
            Unit::Milliseconds => nanoseconds(&timings(market, &[model], &mut silent)?[0]),
        })
    }

    /// Choices at most until the unfitted model keeps to the budget: files are written in no time, and what a grid's functions take, once for all its
    /// layers, is known only then.
    pub(super) fn choices(&self) -> usize {
        if self.unit == Unit::Bytes { 32 } else { 4 }
    }

    /// Whether a model that is over the budget is worth another fit: times are not, they differ from run to run by more than a fit changes.
    pub(super) fn repeats(&self) -> bool {
        self.unit == Unit::Bytes
    }
}

fn silent(_: &str, _: usize, _: usize) {}

/// The costs that a budget counts.
pub(super) fn of(market: &Market<'_>, budget: &Budget, progress: &mut dyn Progress) -> Result<Costs> {
    match budget {
        Budget::AverageBits(average) => Ok(bits(market, *average)),
        Budget::FileBytes(bytes) => file(market, budget, *bytes as u64),
        Budget::BitOps(ops) => Ok(bit_ops(market, *ops)),
        Budget::Time(time) => times(market, budget, *time, progress),
    }
}

/// By open layer and grid.
fn each(market: &Market<'_>, cost: impl Fn(usize, usize) -> u64) -> Vec<Vec<u64>> {
    let grids = 0..market.among.len();
    let layer = |l| grids.clone().map(|g| cost(l, g)).collect();
    (0..market.open.len()).map(layer).collect()
}

/// Bits that a layer takes at a grid, whatever codes it will be rounded to.
fn most_bits(market: &Market<'_>, l: usize, g: usize) -> u64 {
    market.at[g][&market.open[l]].weight.most_bits() as u64
}

fn bits(market: &Market<'_>, average: f64) -> Costs {
    let graph = market.prepared.graph();
    let weights = |n: usize| {
        let weight = graph.constant_input(&graph.nodes[n], 1);
        weight.map_or(0, tensor::Tensor::len)
    };
    let quantized: usize = market.plan.weights.iter().map(|t| weights(t.node)).sum();
    let float: usize = market.plan.floats.iter().map(|f| weights(f.node)).sum();
    let closed = market.closed.values().map(|l| l.weight.most_bits() as u64);
    let count = (quantized + float).max(1) as f64;
    Costs {
        each: each(market, |l, g| most_bits(market, l, g)),
        fixed: closed.sum::<u64>() + 32 * float as u64,
        limit: (average * count) as u64,
        per: count,
        unit: Unit::BitsAWeight,
    }
}

/// Bytes of codes and scales, and what a layer of a grid has beside them, its node and its table of levels: the mean over files with all open
/// layers at one grid.
fn file(market: &Market<'_>, budget: &Budget, limit: u64) -> Result<Costs> {
    let (layers, grids) = (market.open.len(), market.among.len());
    let bytes = |l: usize, g: usize| most_bits(market, l, g).div_ceil(8);
    let mut beside = Vec::with_capacity(grids);
    for g in 0..grids {
        let file = market
            .unfitted(budget, &vec![g; layers])
            .to_onnx(Form::Packed)?
            .len() as u64;
        let codes: u64 = (0..layers).map(|l| bytes(l, g)).sum();
        beside.push(file.saturating_sub(codes));
    }
    let fixed = beside.iter().min().copied().unwrap_or(0);
    let more = |g: usize| (beside[g] - fixed).div_ceil(layers.max(1) as u64);
    Ok(Costs {
        each: each(market, |l, g| bytes(l, g) + more(g)),
        fixed,
        limit,
        per: 1.0,
        unit: Unit::Bytes,
    })
}

/// Bits of a float number.
const FLOAT: u64 = 32;

fn bit_ops(market: &Market<'_>, ops: BitOps) -> Costs {
    let graph = market.prepared.graph();
    let macs = |n: usize| shape::macs(graph, &graph.nodes[n]);
    let read = |n: usize| {
        let edge = graph.nodes[n].inputs.first().copied().flatten();
        let edge = edge.and_then(|v| market.prepared.calibrated.edges.get(&v));
        edge.map_or(FLOAT, |e| u64::from(e.bits))
    };
    let cost = |n: usize, layer: &weights::Layer| {
        let weight = &layer.weight;
        macs(n).saturating_mul(u64::from(weight.bits) * weight.points.len() as u64 * read(n))
    };
    let closed = market.closed.iter().map(|(&n, layer)| cost(n, layer));
    let closed: u64 = closed.sum();
    let planned: std::collections::BTreeSet<usize> = market.plan.weights.iter().map(|t| t.node).collect();
    let all: u64 = (0..graph.nodes.len()).map(macs).sum();
    let float: u64 = (0..graph.nodes.len())
        .filter(|n| !planned.contains(n))
        .map(macs)
        .sum();
    let open = |l: usize, g: usize| cost(market.open[l], &market.at[g][&market.open[l]]);
    Costs {
        each: each(market, open),
        fixed: float.saturating_mul(FLOAT * FLOAT).saturating_add(closed),
        limit: match ops {
            BitOps::Share(share) => share * 64.0 * all as f64,
            BitOps::Absolute(count) => count,
        } as u64,
        per: 1.0,
        unit: Unit::BitOps,
    }
}

/// Multiply-accumulates × bits of a weight and its points × bits of an activation over a low-bit graph.
fn bit_operations(graph: &Graph) -> u64 {
    let one = |node: &Node| {
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let weight = input(1).and_then(|v| graph.weights.get(&v));
        let bits = weight.map_or(FLOAT, |w| u64::from(w.bits) * w.points.len() as u64);
        let edge = input(0).and_then(|v| graph.edges.get(&v));
        shape::macs(graph, node).saturating_mul(bits * edge.map_or(FLOAT, |e| u64::from(e.bits)))
    };
    graph.nodes.iter().map(one).sum()
}

/// Times of the open layers in models that have all of them at one grid, by turns; everything else at its median. Grids that one kernel runs
/// take one time: what they differ by is chance, which the solver would follow.
fn times(market: &Market<'_>, budget: &Budget, time: Duration, progress: &mut dyn Progress) -> Result<Costs> {
    let layers = market.open.len();
    let models: Vec<Model> = (0..market.among.len())
        .map(|g| market.unfitted(budget, &vec![g; layers]))
        .collect();
    let models: Vec<&Model> = models.iter().collect();
    let all = timings(market, &models, progress)?;
    let graph = market.prepared.graph();
    let of = |l: usize, timing: &Timing| -> (String, u64) {
        let name = &graph.nodes[market.open[l]].name;
        let found = timing.layers.iter().find(|t| t.product && t.name == *name);
        found.map_or_else(Default::default, |t| {
            (t.kernel.clone(), (1e6 * t.median_ms) as u64)
        })
    };
    let layer = |l: usize| -> Vec<u64> {
        let measured: Vec<(String, u64)> = all.iter().map(|t| of(l, t)).collect();
        let same = |kernel: &String| {
            let times = measured.iter().filter(|m| m.0 == *kernel);
            median(times.map(|m| m.1).collect())
        };
        measured.iter().map(|m| same(&m.0)).collect()
    };
    let each: Vec<Vec<u64>> = (0..layers).map(layer).collect();
    let rest = all.iter().enumerate().map(|(g, timing)| {
        let open: u64 = each.iter().map(|l| l[g]).sum();
        nanoseconds(timing).saturating_sub(open)
    });
    Ok(Costs {
        fixed: median(rest.collect()),
        each,
        limit: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        per: 1e6,
        unit: Unit::Milliseconds,
    })
}

/// By turns; one after another where memory is limited.
fn timings(market: &Market<'_>, models: &[&Model], progress: &mut dyn Progress) -> Result<Vec<Timing>> {
    let options = &market.prepared.options;
    let bench = BenchOptions {
        warmup: 2,
        runs: RUNS,
        run: RunOptions {
            threads: options.threads,
            control: options.control.clone(),
            ..RunOptions::default()
        },
        ..BenchOptions::default()
    };
    let together = match options.control.memory() {
        Some(_) => 1,
        None => models.len().max(1),
    };
    let mut all = Vec::with_capacity(models.len());
    for part in models.chunks(together) {
        options.control.check()?;
        all.extend(by_turns(part, &bench, progress)?.into_iter().map(|t| t.0));
    }
    Ok(all)
}

fn nanoseconds(timing: &Timing) -> u64 {
    (1e6 * timing.stats.median_ms) as u64
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}
