//! Ranges of edges: pictures stream through the float plan, observers of fixed size see every value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use engine::Held;
use graph::{Binary, EdgeQuantizer, Graph, NodeId, Op, Unary, ValueId};
use kernels::Pool;
use quant::annotate::Plan;
use quant::calibrate::Observer;
use tensor::Tensor;

use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::runtime::{RunOptions, Runner};
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
    let observed: Vec<BTreeMap<ValueId, usize>> = plans.iter().map(Plan::observed).collect();
    let watch: BTreeSet<ValueId> = observed.iter().flat_map(|o| o.keys().copied()).collect();
    let mut observers: Vec<Vec<Observer>> = plans.iter().map(Plan::observers).collect();
    let counts = observers.iter().map(Vec::len).sum::<usize>() * OBSERVER_BYTES;
    let mut see = |value: ValueId, tensor: &Tensor| {
        let Some(values) = tensor.as_f32() else { return };
        for (observed, observers) in observed.iter().zip(&mut observers) {
            if let Some(&group) = observed.get(&value) {
                observers[group].observe(values);
            }
        }
    };
    // The plan shares the memory with the weights that are held beside it and with the observers.
    let weights: usize = graph.constants.values().map(Tensor::bytes).sum();
    let options = RunOptions {
        control: control.less(2 * weights + counts, "calibrating")?,
        ..RunOptions::default()
    };
    let runner = Runner::on_graph(graph, pool.clone(), &options, true)?;
    let mut reader = Reader::new(control);
    for (done, path) in pictures.iter().enumerate() {
        progress.at("calibrate", done, pictures.len());
        let (name, input) = input_of(model, &mut reader, path)?;
        if let Some(id) = graph.find(&name) {
            see(id, &input);
        }
        runner
            .watch(&[(&name, &input)], Some(&watch), &mut |_, value, held| {
                if let Held::Real(tensor) = held {
                    see(value, tensor);
                }
            })
            .map_err(|e| e.at(path.display()))?;
    }
    progress.at("calibrate", pictures.len(), pictures.len());
    let sha256 = Some(reader.finish());
    let finish = |(plan, observers): (&Plan, &Vec<Observer>)| {
        seen(graph, plan, observers)?;
        let mut edges = plan.quantizers(graph, observers)?;
        if !activation_tables {
            round_once(graph, &mut edges);
        }
        Ok(Calibrated {
            edges,
            pictures: pictures.len(),
            sha256: sha256.clone(),
        })
    };
    plans.iter().zip(&observers).map(finish).collect()
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
