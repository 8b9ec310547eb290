//! Ranges of edges: pictures stream through the float plan, observers of fixed size see every value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use engine::Held;
use graph::{Binary, EdgeQuantizer, Graph, NodeId, Op, Unary, ValueId};
use kernels::Pool;
use quant::annotate::Plan;
use quant::calibrate::{Observer, ObserverKind};
use tensor::Tensor;

use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{RunOptions, Runner};
use crate::side_by_side::{self, Share, weight_bytes};
use crate::{Control, Error, Model, Result};

/// Quantizers of all edges that carry codes.
#[derive(Debug, Clone, Default)]
pub(super) struct Calibrated {
    pub(super) edges: BTreeMap<ValueId, EdgeQuantizer>,
    pub(super) pictures: usize,
    pub(super) sha256: Option<String>,
}

/// Bytes of an observer: a histogram of f64 or u64 counts.
const OBSERVER_BYTES: usize = 64 << 10;

/// Runs all pictures, for several plans of the same edges at a time; memory is the plan's and 64 KiB per edge, however many pictures.
pub(super) fn run(
    model: &Model,
    plans: &[Plan],
    activation_tables: bool,
    pictures: &[PathBuf],
    pool: &Arc<Pool>,
    control: &Control,
    progress: &mut dyn Progress,
) -> Result<Vec<Calibrated>> {
    let graph = model.graph();
    let Some(first) = plans.first() else {
        return Ok(Vec::new());
    };
    // What a histogram has seen serves every kind of observer: plans of the same edges differ in nothing else.
    let observed = first.observed();
    let watch: BTreeSet<ValueId> = observed.keys().copied().collect();
    let fresh = || -> Vec<Observer> {
        let with_histogram = |g: usize| {
            let kinds = plans.iter().map(move |p| p.groups[g].observer);
            kinds.reduce(|a, b| if a == ObserverKind::MinMax { b } else { a })
        };
        let kinds = (0..first.groups.len()).filter_map(with_histogram);
        kinds.map(Observer::new).collect()
    };
    let see = |observers: &mut [Observer], value: ValueId, tensor: &Tensor| {
        if let (Some(values), Some(&group)) = (tensor.as_f32(), observed.get(&value)) {
            observers[group].observe(values);
        }
    };
    // The plan shares the memory with the weights that are held beside it and with the observers.
    let weights = weight_bytes(graph);
    let counts = 2 * first.groups.len() * OBSERVER_BYTES;
    let options = RunOptions {
        control: control.less(2 * weights + counts, "calibrating")?,
        ..RunOptions::default()
    };
    let runner = Runner::on_graph(graph, pool.clone(), &options, true)?;
    let mut reader = Reader::new(control);
    let mut observers = fresh();
    let share = Share::of(runner.memory().activations + counts / 2, graph);
    // Pictures that are in work together have observers of their own: what they saw adds up to the same in any order.
    let together = side_by_side::at_a_time(pool, control, share);
    let mut sets: Vec<Vec<Observer>> = (0..together).map(|_| fresh()).collect();
    for start in (0..pictures.len()).step_by(together) {
        progress.at("calibrate", start, pictures.len());
        let mut inputs = Vec::new();
        for path in &pictures[start..pictures.len().min(start + together)] {
            inputs.push((path, input_of(model, &mut reader, path)?));
        }
        let one = |i: usize, observers: &mut Vec<Observer>| {
            let (path, (name, input)) = &inputs[i];
            if let Some(id) = graph.find(name) {
                see(observers, id, input);
            }
            let mut show = |_, value, held: &Held| {
                if let Held::Real(tensor) = held {
                    see(observers, value, tensor);
                }
            };
            let run = runner.watch(&[(name, input)], Some(&watch), &mut show);
            run.map(drop).map_err(|e| e.at(path.display()))
        };
        let count = inputs.len();
        side_by_side::change(pool, control, share, &mut sets[..count], &one)?;
    }
    for set in &sets {
        observers
            .iter_mut()
            .zip(set)
            .for_each(|(all, part)| all.merge(part));
    }
    progress.at("calibrate", pictures.len(), pictures.len());
    let sha256 = Some(reader.finish());
    let finish = |plan: &Plan| {
        let kinds = plan.groups.iter().map(|g| g.observer);
        let observers: Vec<Observer> = observers
            .iter()
            .zip(kinds)
            .map(|(o, kind)| o.of_kind(kind))
            .collect();
        seen(graph, plan, &observers)?;
        let mut edges = plan.quantizers(graph, &observers)?;
        if !activation_tables {
            round_once(graph, &mut edges);
        }
        Ok(Calibrated {
            edges,
            pictures: pictures.len(),
            sha256: sha256.clone(),
        })
    };
    plans.iter().map(finish).collect()
}

/// An edge that the float plan did not show would get an arbitrary range: never silently.
fn seen(graph: &Graph, plan: &Plan, observers: &[Observer]) -> Result<()> {
    for (group, observer) in plan.groups.iter().zip(observers) {
        let filled = |v: &ValueId| {
            graph
                .value(*v)
                .fixed_shape()
                .is_some_and(|s| tensor::numel(&s) != Ok(0))
        };
        if observer.count() == 0
            && let Some(edge) = group.observe.iter().find(|v| filled(v))
        {
            let name = &graph.value(*edge).name;
            return Err(Error::unsupported(format!(
                "edge \"{name}\" was not seen while calibrating"
            )));
        }
    }
    Ok(())
}

/// Takes the quantizers from edges between a convolution and the end of what follows it alone: an activation, the product that brings its
/// channels to like ranges. The convolution's exact sum becomes f32 (`FORMAT.md` 1.4) and is rounded to codes once, at the end. With codes
/// before an activation, the wide negative range that it is about to shrink would set the step: on Yolo-Fastest that costs a point of mAP,
/// on YOLOX-nano three. Relu and clamps need nothing: they take the convolution's codes.
pub(crate) fn round_once(graph: &Graph, edges: &mut BTreeMap<ValueId, EdgeQuantizer>) {
    let consumers = graph.consumers();
    let continues = |n: NodeId| match &graph.nodes[n].op {
        Op::Unary(Unary::Relu) => false,
        Op::Unary(_) => true,
        Op::Binary(Binary::Mul) => graph.constant_input(&graph.nodes[n], 1).is_some(),
        _ => false,
    };
    for node in graph.nodes.iter().filter(|n| matches!(n.op, Op::Conv(_))) {
        let mut v = node.outputs[0];
        while let Some(&[only]) = consumers.get(&v).map(Vec::as_slice)
            && continues(only)
            && !graph.outputs.contains(&v)
        {
            edges.remove(&v);
            v = graph.nodes[only].outputs[0];
        }
    }
}
