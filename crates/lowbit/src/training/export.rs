//! From a trained graph to a model: BatchNormalization goes into the scales and the bias of a quantized layer, never into its codes.
//!
//! ```text
//! γ·(u·ℓ·x + b − μ)/σ + β  =  (u·g)·ℓ·x + ((b − μ)·g + β),   g = γ/σ;  g < 0: levels change sign;  g = 0: levels become 0
//! ```

use std::collections::BTreeMap;

use graph::passes::{Budget, simplify};
use graph::{EdgeQuantizer, Graph, NodeId, Op, ValueId, WeightAnnotation};
use tensor::Tensor;
use train::program::ParameterKind;
use train::trainer::Deployed;

use crate::{Error, Model, Result};

/// The trained model: `source` with the numbers of the run.
pub(super) fn model(
    source: &Model,
    all: &[Deployed],
    edges: &BTreeMap<ValueId, EdgeQuantizer>,
) -> Result<Model> {
    let mut graph = source.graph().clone();
    let mut edges = edges.clone();
    for d in all {
        if let ParameterKind::Step { edge } = &d.parameter.kind {
            let step = d.values.first().copied().unwrap_or(1.0);
            set_step(&graph, &mut edges, edge, step);
            continue;
        }
        let missing = || Error::bad(format!("the graph has no constant \"{}\"", d.parameter.name));
        let id = graph.find(&d.parameter.name).ok_or_else(missing)?;
        match &d.annotation {
            Some(annotation) => {
                graph.constants.remove(&id);
                graph.weights.insert(id, annotation.clone());
            }
            None => {
                let value = Tensor::new(d.parameter.shape.clone(), d.values.clone());
                graph
                    .constants
                    .insert(id, value.map_err(|e| Error::bad(e.to_string()))?);
            }
        }
    }
    fold(&mut graph)?;
    graph.edges = edges;
    simplify(&mut graph, &oracle::Reference, &Budget::default())?;
    // What simplifying has taken out carries nothing.
    let read: std::collections::BTreeSet<ValueId> = (graph.nodes.iter())
        .flat_map(|n| n.inputs.iter().flatten().chain(&n.outputs).copied())
        .collect();
    graph.edges.retain(|v, _| read.contains(v));
    Ok(source.with_graph(graph))
}

/// A learned step, and the steps of edges before clamps that share its quantizer.
fn set_step(graph: &Graph, edges: &mut BTreeMap<ValueId, EdgeQuantizer>, edge: &str, step: f32) {
    let Some(old) = graph.find(edge).and_then(|v| Some((v, *edges.get(&v)?))) else {
        return;
    };
    let (mut at, quantizer) = old;
    let producers = graph.producers();
    loop {
        match edges.get_mut(&at) {
            Some(q) if *q == quantizer => q.scale = step,
            _ => return,
        }
        let Some(node) = producers.get(&at).map(|&n| &graph.nodes[n]) else {
            return;
        };
        let clamp = matches!(node.op, Op::Unary(graph::Unary::Relu) | Op::Clip);
        match node.inputs.first().copied().flatten() {
            Some(before) if clamp => at = before,
            _ => return,
        }
    }
}

/// Folds every BatchNormalization behind a layer with a quantized weight; the others are left to the passes.
fn fold(graph: &mut Graph) -> Result<()> {
    let producers = graph.producers();
    let consumers = graph.consumers();
    let mut gone = vec![false; graph.nodes.len()];
    for (n, gone) in gone.iter_mut().enumerate() {
        let Op::BatchNormalization { epsilon } = graph.nodes[n].op else {
            continue;
        };
        let before = graph.nodes[n].inputs[0].and_then(|x| producers.get(&x).copied());
        let Some(before) = before else { continue };
        let weight = graph.nodes[before].inputs.get(1).copied().flatten();
        let Some(weight) = weight.filter(|w| graph.weights.contains_key(w)) else {
            continue;
        };
        let y = graph.nodes[before].outputs[0];
        let alone = |v: &ValueId| consumers.get(v).is_some_and(|c| c.len() == 1);
        if !alone(&y) || !alone(&weight) || graph.outputs.contains(&y) {
            let name = graph.nodes[n].name.clone();
            return Err(Error::unsupported(
                "a BatchNormalization whose layer has other readers cannot be folded into it",
            )
            .at(format!("node \"{name}\"")));
        }
        let Some((gain, offset)) = parameters(graph, n, epsilon) else {
            continue;
        };
        let annotation = graph.weights.get_mut(&weight).expect("was looked up");
        scale(annotation, &gain);
        let bias = bias(graph, before, &gain, &offset);
        let name = format!("{}.bias", graph.nodes[before].name);
        let bias = graph.add_constant(&name, Tensor::vector(bias));
        let output = graph.nodes[n].outputs[0];
        let node = &mut graph.nodes[before];
        node.inputs.resize(node.inputs.len().max(3), None);
        node.inputs[2] = Some(bias);
        node.outputs[0] = output;
        *gone = true;
    }
    let mut flags = gone.iter();
    graph.nodes.retain(|_| flags.next() != Some(&true));
    Ok(())
}

/// g and β − μ·g of each channel.
fn parameters(graph: &Graph, n: NodeId, epsilon: f32) -> Option<(Vec<f64>, Vec<f64>)> {
    let node = &graph.nodes[n];
    let list = |i: usize| graph.constant_input(node, i)?.as_f32();
    let (gamma, beta, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
    let gain: Vec<f64> = (gamma.iter().zip(variance))
        .map(|(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(epsilon)).sqrt())
        .collect();
    let offset = (gain.iter().zip(beta).zip(mean))
        .map(|((g, &b), &m)| f64::from(b) - f64::from(m) * g)
        .collect();
    Some((gain, offset))
}

fn bias(graph: &Graph, n: NodeId, gain: &[f64], offset: &[f64]) -> Vec<f32> {
    let old = graph.constant_input(&graph.nodes[n], 2).and_then(Tensor::as_f32);
    (gain.iter().zip(offset).enumerate())
        .map(|(c, (g, o))| (old.map_or(0.0, |b| f64::from(b[c])) * g + o) as f32)
        .collect()
}

/// Multiplies the scales of the channels; a negative gain turns the signs of the levels.
fn scale(w: &mut WeightAnnotation, gain: &[f64]) {
    let opposite: Vec<u8> = (w.levels.iter().enumerate())
        .map(|(code, level)| {
            let find = w.levels.iter().position(|l| *l == -level);
            find.unwrap_or(code) as u8
        })
        .collect();
    let zero = w.levels.iter().position(|&l| l == 0).unwrap_or(0) as u8;
    let channels: Vec<usize> = (0..w.len()).map(|i| w.channel(i)).collect();
    for point in &mut w.points {
        let old = |c: usize| f64::from(point.scales[if point.scales.len() == 1 { 0 } else { c }]);
        let scales: Vec<f32> = (gain.iter().enumerate())
            .map(|(c, g)| ((old(c) * g.abs()) as f32).clamp(f32::MIN_POSITIVE, f32::MAX / 65_536.0))
            .collect();
        for (code, &c) in point.codes.iter_mut().zip(&channels) {
            if gain[c] < 0.0 {
                *code = opposite[usize::from(*code)];
            } else if gain[c] == 0.0 {
                *code = zero;
            }
        }
        point.scales = scales;
    }
    if let Some(z) = &mut w.zero_points
        && z.len() == 1
    {
        *z = vec![z[0]; gain.len()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graph::Point;

    #[test]
    fn gains_go_into_scales_and_signs() {
        let mut w = WeightAnnotation {
            grid: "lbw3".into(),
            bits: 3,
            shape: vec![3, 2],
            axis: 0,
            levels: vec![0, 1, 2, 0, 0, 0, -2, -1],
            zero_points: None,
            points: vec![Point {
                codes: vec![1, 6, 2, 7, 1, 2],
                scales: vec![0.5],
            }],
        };
        let before = w.decode();
        let gain = [2.0, -0.25, 0.0];
        scale(&mut w, &gain);
        w.check().unwrap();
        for (i, (a, b)) in before.iter().zip(w.decode()).enumerate() {
            assert_eq!(f64::from(b), f64::from(*a) * gain[i / 2]);
        }
    }
}
