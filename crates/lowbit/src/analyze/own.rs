//! What each place adds by itself, in front of the float network's own values, beside what a fresh rounding of the same width would add.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use engine::{Held, Step};
use graph::{Graph, NodeId, ValueId, WeightAnnotation};
use kernels::{Isa, Pool};
use quant::calibrate::{Observer, ObserverKind};
use quant::{Granularity, ProjectOptions, project_weight};
use tensor::{Data, Tensor};

use super::sites::{Rounds, Site, layer_with};
use super::sums::Sums;
use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{RunOptions, Runner};
use crate::side_by_side::{self, Share};
use crate::{Control, Error, Grid, Model, Result};

/// What was measured at one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    /// Σ y² of the float network's values, of each output channel; one for an edge.
    pub(super) signal: Vec<f64>,
    /// Σ of the squared deviations of the values from their mean, of each channel.
    pub(super) spread: Vec<f64>,
    /// What these deviations are multiplied by.
    pub(super) gain: Vec<f64>,
    /// Σ of the squared error around its mean, of each output channel; one for an edge.
    pub(super) own: Vec<f64>,
    /// The same of a fresh rounding to the same grid or width.
    pub(super) fresh: Vec<f64>,
    /// Share of the values beyond the range of the codes.
    pub(super) clipped: f64,
    /// Values of an edge between these ends, outliers in the first and last: the codes' range and a half of it at each side.
    pub(super) counts: Vec<u64>,
    pub(super) ends: (f64, f64),
}

/// Bins of a histogram.
pub(super) const BINS: usize = 97;

/// Instruments at one place, and what they read so far.
enum Probe {
    Weight {
        node: NodeId,
        input: ValueId,
        output: ValueId,
        steps: Box<[Step; 2]>,
    },
    Edge,
}

#[derive(Clone)]
enum Reading {
    Weight(Vec<Sums>),
    Edge {
        sums: Sums,
        clipped: u64,
        counts: Vec<u64>,
        observer: Box<Observer>,
    },
}

/// Goes through the pictures, one float network's values at a time.
pub(super) fn measure(
    float: &Model,
    sites: &[Site],
    pictures: &[PathBuf],
    pool: &Arc<Pool>,
    control: &Control,
    progress: &mut dyn Progress,
) -> Result<Vec<Own>> {
    let graph = float.graph();
    let options = RunOptions {
        control: control.clone(),
        ..RunOptions::default()
    };
    let runner = Runner::on_graph(graph, pool.clone(), &options, true)?;
    let probes = sites
        .iter()
        .map(|s| probe(graph, s))
        .collect::<Result<Vec<_>>>()?;
    let mut readings: Vec<Reading> = sites.iter().map(fresh_reading).collect();
    let mut watch: BTreeSet<ValueId> = BTreeSet::new();
    for (site, probe) in sites.iter().zip(&probes) {
        match probe {
            Probe::Weight { input, output, .. } => watch.extend([*input, *output]),
            Probe::Edge => drop(watch.insert(site.value)),
        }
    }
    let picture = |i: usize| -> Result<Vec<Reading>> {
        control.check()?;
        let path = &pictures[i];
        let (name, input) = input_of(float, &mut Reader::new(control), path)?;
        let mut values: HashMap<ValueId, Tensor> = HashMap::new();
        let mut keep = |_, value, held: &Held| {
            if let Held::Real(tensor) = held {
                values.insert(value, tensor.clone());
            }
        };
        let outputs = runner
            .watch(&[(&name, &input)], Some(&watch), &mut keep)
            .map_err(|e| e.at(path.display()))?;
        values.extend(graph.find(&name).map(|v| (v, input)));
        for (name, tensor) in outputs {
            if let Some(v) = graph.find(&name) {
                values.entry(v).or_insert(tensor);
            }
        }
        let all = sites.iter().zip(&probes);
        all.map(|(site, probe)| read(graph, pool, site, probe, &values))
            .collect()
    };
    // A part at a time, so that readings of few pictures lie in memory.
    let part = side_by_side::at_a_time(pool, control, Share::NOTHING);
    for first in (0..pictures.len()).step_by(part) {
        progress.at("own errors", first, pictures.len());
        let count = part.min(pictures.len() - first);
        for more in side_by_side::map(pool, control, Share::NOTHING, count, &|i| picture(first + i))? {
            readings
                .iter_mut()
                .zip(&more)
                .for_each(|(all, part)| merge(all, part));
        }
    }
    progress.at("own errors", pictures.len(), pictures.len());
    Ok(sites.iter().zip(readings).map(|(s, r)| finish(s, r)).collect())
}

fn probe(graph: &Graph, site: &Site) -> Result<Probe> {
    let (Rounds::Weight { weight, bias }, Some(node)) = (&site.rounds, site.node) else {
        return Ok(Probe::Edge);
    };
    let at = |e: Error| e.at(format!("node \"{}\"", graph.nodes[node].name));
    let step = |weight: &WeightAnnotation, bias: Option<&Tensor>| {
        let layer = layer_with(graph, node, weight, bias)?;
        Step::new(&layer, 0, Isa::best()).map_err(Error::from)
    };
    let own = step(weight, bias.as_ref()).map_err(at)?;
    let fresh = step(fresh(graph, site, weight).as_ref().unwrap_or(weight), None).map_err(at)?;
    let input = graph.nodes[node].inputs[0];
    Ok(Probe::Weight {
        node,
        input: input.ok_or_else(|| at(Error::bad("it has no input")))?,
        output: graph.nodes[node].outputs[0],
        steps: Box::new([own, fresh]),
    })
}

/// The float weight on the same grid, each number at its nearest level.
fn fresh(graph: &Graph, site: &Site, weight: &WeightAnnotation) -> Option<WeightAnnotation> {
    let grid: Grid = weight.grid.parse().ok()?;
    let float = graph.constants.get(&site.value)?.as_f32()?;
    let options = ProjectOptions {
        granularity: match weight.points.first()?.scales.len() {
            1 => Granularity::Tensor,
            _ => Granularity::Channel,
        },
        ..ProjectOptions::default()
    };
    let made = project_weight(&grid, float, &weight.shape, weight.axis, &options);
    made.ok().map(|(weight, _)| weight)
}

fn fresh_reading(site: &Site) -> Reading {
    match site.rounds {
        Rounds::Weight { .. } => Reading::Weight(Vec::new()),
        Rounds::Edge(_) => Reading::Edge {
            sums: Sums::default(),
            clipped: 0,
            counts: vec![0; BINS],
            observer: Box::new(Observer::new(ObserverKind::Mse)),
        },
    }
}

fn read(
    graph: &Graph,
    pool: &Pool,
    site: &Site,
    probe: &Probe,
    values: &HashMap<ValueId, Tensor>,
) -> Result<Reading> {
    let mut reading = fresh_reading(site);
    match (probe, &site.rounds, &mut reading) {
        (
            Probe::Weight {
                node,
                input,
                output,
                steps,
            },
            _,
            Reading::Weight(channels),
        ) => {
            let (Some(x), Some(y)) = (values.get(input), values.get(output)) else {
                return Ok(reading);
            };
            let run = |step: &Step| -> Result<Option<Tensor>> {
                Ok(step.run(pool, &[x]).map_err(Error::from)?.into_iter().next())
            };
            let (Some(own), Some(fresh)) = (run(&steps[0])?, run(&steps[1])?) else {
                return Ok(reading);
            };
            let axis = Site::channel_axis(graph, *node, y.shape().len());
            let inner: usize = y.shape()[axis + 1..].iter().product::<usize>().max(1);
            *channels = vec![Sums::default(); y.shape().get(axis).copied().unwrap_or(1)];
            let all = (y.as_f32(), own.as_f32(), fresh.as_f32());
            if let (Some(y), Some(own), Some(fresh)) = all {
                let blocks = y.chunks(inner).zip(own.chunks(inner)).zip(fresh.chunks(inner));
                let many = channels.len();
                for (k, ((y, own), fresh)) in blocks.enumerate() {
                    let sums = &mut channels[k % many];
                    (y.iter().zip(own).zip(fresh)).for_each(|((y, o), f)| sums.add(*y, *o, *f));
                }
            }
        }
        (
            _,
            Rounds::Edge(edge),
            Reading::Edge {
                sums,
                clipped,
                counts,
                observer,
            },
        ) => {
            let x = values.get(&site.value).map(Tensor::data);
            let Some(Data::F32(x)) = x else {
                return Ok(reading);
            };
            let (from, to) = site.read;
            let x: Vec<f32> = x.iter().map(|x| x.clamp(from, to)).collect();
            observer.observe(&x);
            let (low, high) = (
                edge.dequantize(0).clamp(from, to),
                edge.dequantize(edge.max_code()).clamp(from, to),
            );
            let (start, end) = ends(edge, site.read);
            let bins = BINS as f64 / (end - start);
            let half = edge.scale / 2.0;
            for &x in &x {
                *clipped += u64::from(x < low - half || x > high + half);
                // Saturating, as every cast of Rust.
                counts[(((f64::from(x) - start) * bins) as usize).min(BINS - 1)] += 1;
                sums.add(x, edge.dequantize(edge.quantize(x)).clamp(from, to), 0.0);
            }
        }
        _ => {}
    }
    Ok(reading)
}

fn merge(all: &mut Reading, part: &Reading) {
    match (all, part) {
        (Reading::Weight(all), Reading::Weight(part)) => {
            all.resize(all.len().max(part.len()), Sums::default());
            all.iter_mut().zip(part).for_each(|(a, p)| a.merge(p));
        }
        (
            Reading::Edge {
                sums,
                clipped,
                counts,
                observer,
            },
            Reading::Edge {
                sums: s,
                clipped: c,
                counts: n,
                observer: o,
            },
        ) => {
            sums.merge(s);
            *clipped += c;
            counts.iter_mut().zip(n).for_each(|(a, b)| *a += b);
            observer.merge(o);
        }
        _ => {}
    }
}

fn finish(site: &Site, reading: Reading) -> Own {
    match (reading, &site.rounds) {
        (Reading::Weight(channels), _) => Own {
            signal: channels.iter().map(|c| c.signal).collect(),
            spread: channels.iter().map(|c| c.spread((c.sum, c.signal))).collect(),
            gain: channels.iter().map(Sums::gain).collect(),
            own: channels.iter().map(|c| c.spread(c.own)).collect(),
            fresh: channels.iter().map(|c| c.spread(c.fresh)).collect(),
            ..Own::default()
        },
        (
            Reading::Edge {
                sums,
                clipped,
                counts,
                observer,
            },
            Rounds::Edge(edge),
        ) => {
            // The best of the ranges that `quantize` would have tried.
            let kinds = [ObserverKind::MinMax, ObserverKind::Mse];
            let error = |kind| {
                let q = observer.of_kind(kind).finish(edge.bits);
                observer.error(&q, None)
            };
            let fresh = kinds.into_iter().filter_map(error).fold(f64::INFINITY, f64::min);
            Own {
                signal: vec![sums.signal],
                spread: vec![sums.spread((sums.sum, sums.signal))],
                gain: vec![sums.gain()],
                own: vec![sums.own.1],
                fresh: vec![if fresh.is_finite() {
                    fresh * sums.count
                } else {
                    sums.own.1
                }],
                clipped: clipped as f64 / sums.count.max(1.0),
                counts,
                ends: ends(edge, site.read),
            }
        }
        (Reading::Edge { .. }, Rounds::Weight { .. }) => Own::default(),
    }
}

/// The range of the codes, as far as it is read, and a half of it at each side.
fn ends(edge: &graph::EdgeQuantizer, (from, to): (f32, f32)) -> (f64, f64) {
    let low = f64::from(edge.dequantize(0).max(from));
    let high = f64::from(edge.dequantize(edge.max_code()).min(to));
    let half = 0.5 * (high - low).max(f64::from(edge.scale));
    (if low < 0.0 { low - half } else { low }, high + half)
}
