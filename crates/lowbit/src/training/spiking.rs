//! From a network of ReLUs to one that spikes, as DIET-SNN does it (N. Rathi, K. Roy, arXiv 2008.03658).
//!
//! ```text
//! weights stay, leaks begin at 1, nothing leaks;   layer by layer, with the thresholds found so far:
//! v_l = scale · max over the steps of the percentile (99.7) of layer l's currents
//! ```
//! The first layer's current is the same in all steps and computed once; the last layer with neurons sums its spikes over the steps, since the layer
//! behind it only accumulates: Σ_t W·o_t = W·Σ_t o_t.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use graph::{EdgeQuantizer, Graph, IntegerRule, IntegrateFire, NodeId, Op, Unary, ValueId};
use kernels::Pool;
use tensor::Tensor;
use train::recipe::Recipe;

use crate::runtime::{RunOptions, Runner};
use crate::{Error, Model, Result};

/// Code of a band's mean.
const ZERO: u8 = 128;

/// The network that spikes; the same one where the recipe asks for no steps. Thresholds follow from `inputs`.
pub(super) fn converted(
    recipe: &Recipe,
    source: &Model,
    inputs: &[Tensor],
    pool: &Arc<Pool>,
) -> Result<Model> {
    let steps = recipe.count("spiking.steps") as usize;
    if steps == 0 {
        return Ok(source.clone());
    }
    let mut graph = source.graph().clone();
    let layers = fire(&mut graph, steps)?;
    let name = match graph.inputs[..] {
        [input] => graph.value(input).name.clone(),
        _ => {
            return Err(Error::unsupported(
                "only networks with one input become spiking ones",
            ));
        }
    };
    for &n in &layers {
        let currents = graph.nodes[n].inputs[0].ok_or_else(|| Error::bad("a layer without currents"))?;
        let Op::IntegrateFire(op) = graph.nodes[n].op else {
            continue;
        };
        let runner = Runner::on_graph(&graph, pool.clone(), &RunOptions::default(), true)?;
        let mut by_step = vec![Vec::new(); op.ends()[0]];
        for input in inputs {
            let mut see = |_, value: ValueId, held: &engine::Held| {
                if let (true, engine::Held::Real(t)) = (value == currents, held) {
                    let values = t.as_f32().unwrap_or_default();
                    let each = values.len() / by_step.len();
                    for (all, part) in by_step.iter_mut().zip(values.chunks(each.max(1))) {
                        all.extend_from_slice(part);
                    }
                }
            };
            runner.watch(&[(&name, input)], Some(&BTreeSet::from([currents])), &mut see)?;
        }
        let highest = by_step
            .iter_mut()
            .map(|v| percentile(v, recipe.number("spiking.percentile")));
        let threshold = recipe.number("spiking.scale") * highest.fold(f64::NEG_INFINITY, f64::max);
        if threshold.is_nan() || threshold <= 0.0 {
            let name = graph.nodes[n].name.clone();
            return Err(Error::unsupported(format!(
                "the currents of \"{name}\" are hardly ever above 0: no threshold can be found"
            ))
            .help("train the float network first, or set spiking.percentile=100"));
        }
        set(&mut graph, n, 1, threshold as f32);
    }
    Ok(source.with_graph(graph))
}

/// NumPy's linear interpolation between the neighbours.
fn percentile(values: &mut [f32], p: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_unstable_by(f32::total_cmp);
    let at = p / 100.0 * (values.len() - 1) as f64;
    let (low, t) = (at as usize, at.fract());
    let high = (low + 1).min(values.len() - 1);
    f64::from(values[low]) + t * (f64::from(values[high]) - f64::from(values[low]))
}

fn set(graph: &mut Graph, n: NodeId, input: usize, value: f32) {
    if let Some(v) = graph.nodes[n].inputs[input] {
        graph.constants.insert(v, Tensor::scalar(value));
    }
}

/// Neurons in place of all ReLUs, in the order of their layers; spikes and what moves them carry their quantizers.
fn fire(graph: &mut Graph, steps: usize) -> Result<Vec<NodeId>> {
    let is_relu = |op: &Op| matches!(op, Op::Unary(Unary::Relu));
    let layers: Vec<NodeId> = (0..graph.nodes.len())
        .filter(|&n| is_relu(&graph.nodes[n].op))
        .collect();
    let refused = |what: String| {
        Error::unsupported(what).help("networks become spiking whose layers are convolutions and full layers without bias, ReLU between them")
    };
    if layers.is_empty() {
        return Err(refused(
            "the network has no ReLU that could become neurons".into(),
        ));
    }
    let (producers, consumers) = (graph.producers(), graph.consumers());
    for node in &graph.nodes {
        let product = node.op.integer_rule() == Some(IntegerRule::Product);
        let moves = node.op.integer_rule() == Some(IntegerRule::Moves) && node.inputs.len() <= 2;
        let biased = product && node.inputs.get(2).is_some_and(Option::is_some);
        if biased || !(product || moves || is_relu(&node.op)) {
            let what = if biased {
                "a bias"
            } else {
                "no neuron's counterpart"
            };
            return Err(refused(format!(
                "node \"{}\" ({}) has {what}",
                node.name,
                node.op.name()
            )));
        }
    }
    for &n in &layers {
        let x = graph.nodes[n].inputs[0];
        let before = x
            .and_then(|x| producers.get(&x))
            .map(|&p| graph.nodes[p].op.integer_rule());
        let alone = x.is_some_and(|x| consumers.get(&x).is_some_and(|r| r.len() == 1));
        if before != Some(Some(IntegerRule::Product)) || !alone {
            return Err(refused(format!(
                "\"{}\" does not follow a layer with weights",
                graph.nodes[n].name
            )));
        }
    }
    for (k, &n) in layers.iter().enumerate() {
        let op = IntegrateFire {
            steps,
            constant: k == 0,
            count: k + 1 == layers.len(),
        };
        let name = graph.nodes[n].name.clone();
        let threshold = graph.add_constant(&format!("{name}.threshold"), Tensor::scalar(1f32));
        let leak = graph.add_constant(&format!("{name}.leak"), Tensor::scalar(1f32));
        let node = &mut graph.nodes[n];
        node.op = Op::IntegrateFire(op);
        node.inputs.extend([Some(threshold), Some(leak)]);
        let edge = EdgeQuantizer {
            scale: 1.0,
            zero_point: 0,
            bits: op.bits(),
        };
        let y = node.outputs[0];
        graph.edges.insert(y, edge);
    }
    for n in 0..graph.nodes.len() {
        let node = &graph.nodes[n];
        let from = node
            .inputs
            .first()
            .copied()
            .flatten()
            .and_then(|x| graph.edges.get(&x).copied());
        if let (Some(IntegerRule::Moves), Some(edge)) = (node.op.integer_rule(), from) {
            let outputs = node.outputs.clone();
            graph.edges.extend(outputs.into_iter().map(|y| (y, edge)));
        }
    }
    crate::model::infer_again(graph)?;
    Ok(layers)
}

/// The quantizer of the standardized input, of a recipe with steps of time.
pub(super) fn input_edge(recipe: &Recipe, graph: &Graph) -> Option<BTreeMap<ValueId, EdgeQuantizer>> {
    let edge = EdgeQuantizer {
        scale: (2.0 * recipe.number("spiking.range") / 255.0) as f32,
        zero_point: ZERO,
        bits: 8,
    };
    (recipe.count("spiking.steps") > 0).then(|| graph.inputs.iter().map(|&v| (v, edge)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated() {
        let mut values: Vec<f32> = (0..=10).rev().map(|v| v as f32).collect();
        assert_eq!(percentile(&mut values, 97.0), 9.7);
        assert_eq!(percentile(&mut values, 100.0), 10.0);
        assert!(percentile(&mut [], 50.0).is_nan());
    }
}
