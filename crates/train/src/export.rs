//! What was trained as a graph that runs in integers: projected weights with their codes, edges with their steps, BatchNormalization
//! folded into scales.
//!
//! Folding never projects again: the gain γ/σ of a channel multiplies the channel's scale, and where it is negative the codes are
//! turned to those of the opposite levels, so that scales stay positive. What the trainer's weights were is what the file holds.

use std::collections::HashMap;

use graph::{EdgeQuantizer, Graph, NodeId, Op, ValueId, WeightAnnotation};
use tensor::Tensor;

use crate::program::{FakeQuantizer, ParameterKind, Rounding};
use crate::trainer::Deployed;

/// Why a trained network has no integer form.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExportError {
    #[error("the graph has no value \"{name}\": it is not the one that was trained")]
    NoValue { name: String },
    #[error("parameter \"{name}\" has {have} numbers, the graph {want}")]
    Length { name: String, have: usize, want: usize },
    #[error(
        "node \"{node}\": its BatchNormalization turns channel {channel} around, and grid {grid} has no level opposite to {level}"
    )]
    NoOpposite {
        node: String,
        channel: usize,
        grid: String,
        level: i32,
    },
    #[error("\"{name}\" {reason}")]
    Numbers { name: String, reason: String },
    #[error("edge \"{edge}\" rounds up, and the node before it takes no bias")]
    RoundsUp { edge: String },
    #[error(transparent)]
    Shape(#[from] graph::shape::ShapeError),
    #[error(transparent)]
    Structure(#[from] graph::GraphError),
}

/// The graph of which a program was derived, with what was trained. A graph input and every quantized edge carries its quantizer; a
/// weight without codes stays float.
///
/// An edge that rounds up is exported as one that rounds to the nearest, with half a step more in the bias before it.
///
/// # Errors
/// Parameters of another graph; a grid without opposite levels behind a negative gain; numbers that are not finite.
pub fn export(
    graph: &Graph,
    quantizers: &[FakeQuantizer],
    deployed: &[Deployed],
) -> Result<Graph, ExportError> {
    let mut out = graph.clone();
    let mut steps: HashMap<&str, f32> = HashMap::new();
    for d in deployed {
        let name = &d.parameter.name;
        if let ParameterKind::Step { edge } = &d.parameter.kind {
            steps.insert(edge, d.values.first().copied().unwrap_or(f32::NAN));
            continue;
        }
        let v = out
            .find(name)
            .ok_or_else(|| ExportError::NoValue { name: name.clone() })?;
        let shape = d.parameter.shape.clone();
        let want = shape.iter().product();
        let have = d
            .annotation
            .as_ref()
            .map_or(d.values.len(), WeightAnnotation::len);
        if have != want {
            return Err(ExportError::Length {
                name: name.clone(),
                have,
                want,
            });
        }
        match &d.annotation {
            Some(annotation) => {
                annotation.check().map_err(|reason| ExportError::Numbers {
                    name: name.clone(),
                    reason,
                })?;
                out.constants.remove(&v);
                out.weights.insert(v, annotation.clone());
            }
            None => {
                let finite = d.values.iter().all(|x| x.is_finite());
                let tensor = Tensor::new(shape, d.values.clone()).ok().filter(|_| finite);
                let reason = || "is not finite".to_string();
                let tensor = tensor.ok_or_else(|| ExportError::Numbers {
                    name: name.clone(),
                    reason: reason(),
                })?;
                out.weights.remove(&v);
                out.constants.insert(v, tensor);
            }
        }
    }
    fold(&mut out)?;
    for q in quantizers {
        let v = out
            .find(&q.edge)
            .ok_or_else(|| ExportError::NoValue { name: q.edge.clone() })?;
        let owner = q.step_of.as_ref().unwrap_or(&q.edge);
        let scale = steps.get(owner.as_str()).copied().unwrap_or(q.step);
        let edge = EdgeQuantizer {
            scale,
            zero_point: q.zero_point,
            bits: q.bits,
        };
        edge.check().map_err(|reason| ExportError::Numbers {
            name: q.edge.clone(),
            reason,
        })?;
        out.edges.insert(v, edge);
        if q.rounding == Rounding::Up {
            half_a_step(&mut out, v, scale).ok_or_else(|| ExportError::RoundsUp { edge: q.edge.clone() })?;
        }
    }
    out.check()?;
    graph::shape::infer(&mut out)?;
    Ok(out)
}

/// Folds every BatchNormalization that alone reads a product with a constant weight.
fn fold(graph: &mut Graph) -> Result<(), ExportError> {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let mut gone = vec![false; graph.nodes.len()];
    for (n, gone) in gone.iter_mut().enumerate() {
        let Op::BatchNormalization { epsilon } = graph.nodes[n].op else {
            continue;
        };
        let Some(x) = graph.nodes[n].inputs.first().copied().flatten() else {
            continue;
        };
        let Some(&before) = producers.get(&x) else {
            continue;
        };
        let alone = consumers.get(&x).is_some_and(|r| r.len() == 1) && !graph.outputs.contains(&x);
        let Some((gain, offset)) =
            affine(graph, n, epsilon).filter(|_| alone && !graph.edges.contains_key(&x))
        else {
            continue;
        };
        if fold_into(graph, before, &gain, &offset)? {
            graph.nodes[before].outputs = graph.nodes[n].outputs.clone();
            *gone = true;
        }
    }
    let mut gone = gone.into_iter();
    graph.nodes.retain(|_| gone.next() != Some(true));
    Ok(())
}

/// γ/σ and β − mean · γ/σ of each channel.
fn affine(graph: &Graph, n: NodeId, epsilon: f32) -> Option<(Vec<f64>, Vec<f64>)> {
    let node = &graph.nodes[n];
    let list = |i: usize| graph.constant_input(node, i)?.as_f32();
    let (gamma, beta, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
    let gain: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(epsilon)).sqrt())
        .collect();
    let offset = gain
        .iter()
        .zip(beta)
        .zip(mean)
        .map(|((g, &b), &m)| f64::from(b) - f64::from(m) * g)
        .collect();
    Some((gain, offset))
}

/// Axis of the output channels, and channels, of a product's weight.
fn channels(op: &Op, shape: &[usize]) -> Option<(usize, usize)> {
    let axis = match op {
        Op::Conv(_) | Op::Gemm { trans_b: true, .. } => 0,
        Op::Gemm { .. } => 1,
        Op::ConvTranspose(t) if t.conv.group == 1 => 1,
        _ => return None,
    };
    Some((axis, *shape.get(axis)?))
}

/// Makes a product compute `gain · y + offset`; false, and nothing changed, where it is none.
fn fold_into(graph: &mut Graph, n: NodeId, gain: &[f64], offset: &[f64]) -> Result<bool, ExportError> {
    let node = graph.nodes[n].clone();
    let Some(w) = node.inputs.get(1).copied().flatten() else {
        return Ok(false);
    };
    let shape = match (graph.weights.get(&w), graph.constants.get(&w)) {
        (Some(a), _) => a.shape.clone(),
        (None, Some(t)) => t.shape().to_vec(),
        _ => return Ok(false),
    };
    let Some((axis, count)) = channels(&node.op, &shape).filter(|&(_, count)| count == gain.len()) else {
        return Ok(false);
    };
    let Some(bias) = bias_of(graph, n, count) else {
        return Ok(false);
    };
    let bias: Vec<f32> = bias
        .iter()
        .zip(gain)
        .zip(offset)
        .map(|((b, g), o)| (b * g + o) as f32)
        .collect();
    let name = graph.value(w).name.clone();
    let weight = if let Some(annotation) = graph.weights.get(&w) {
        let folded = scaled(annotation, gain, &node.name)?;
        let reason = |reason| ExportError::Numbers {
            name: name.clone(),
            reason,
        };
        folded.check().map_err(reason)?;
        let dims = shape.iter().map(|&d| Some(d)).collect();
        let id = graph.add_value(&name, Some(tensor::DType::F32), Some(dims));
        graph.weights.insert(id, folded);
        id
    } else {
        let inner: usize = shape[axis + 1..].iter().product();
        let Some(values) = graph.constants.get(&w).and_then(|t| t.as_f32()) else {
            return Ok(false);
        };
        let channel = |i: usize| i / inner.max(1) % count;
        let values: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(i, &w)| (f64::from(w) * gain[channel(i)]) as f32)
            .collect();
        let Ok(tensor) = Tensor::new(shape, values) else {
            return Ok(false);
        };
        graph.add_constant(&name, tensor)
    };
    let bias = graph.add_constant(&format!("{}/bias", node.name), Tensor::vector(bias));
    graph.nodes[n].inputs = vec![node.inputs[0], Some(weight), Some(bias)];
    // The unfolded ones go, unless others read them.
    if !graph.nodes.iter().any(|node| node.inputs.contains(&Some(w))) {
        graph.weights.remove(&w);
        graph.constants.remove(&w);
    }
    Ok(true)
}

/// The bias of a product in f64, zeros where there is none; `None` where it is not one constant per channel.
fn bias_of(graph: &Graph, n: NodeId, count: usize) -> Option<Vec<f64>> {
    match graph.nodes[n].inputs.get(2).copied().flatten() {
        None => Some(vec![0.0; count]),
        Some(b) => {
            let list = graph.constants.get(&b)?.as_f32()?;
            (list.len() == count).then(|| list.iter().map(|&b| f64::from(b)).collect())
        }
    }
}

/// A gain below this leaves nothing of a channel but its bias, which could not be an integer at so small a scale.
const OFF: f64 = 1.0 / (1 << 20) as f64;

/// The annotation whose weights are `gain` times as large. A channel that BatchNormalization has switched off ([`OFF`]) gets zeros
/// where the grid has one, and weights of that size where it has none.
fn scaled(annotation: &WeightAnnotation, gain: &[f64], node: &str) -> Result<WeightAnnotation, ExportError> {
    let mut out = annotation.clone();
    // A level and the one that takes its place when the weight is turned around: −level, or with zero points the level as far from the other end, the
    // zero point turned in the same way.
    let ends = annotation.levels.iter().min().copied().unwrap_or(0)
        + annotation.levels.iter().max().copied().unwrap_or(0);
    let mirror = if annotation.zero_points.is_some() { ends } else { 0 };
    let one_or_each = |list: &[i32], c: usize| if list.len() == 1 { list[0] } else { list[c] };
    let zero = |c: usize| annotation.zero_points.as_ref().map_or(0, |z| one_or_each(z, c));
    let code_of = |level: i32| {
        annotation
            .levels
            .iter()
            .position(|&l| l == level)
            .map(|c| c as u8)
    };
    let nothing: Vec<Option<u8>> = gain
        .iter()
        .enumerate()
        .map(|(c, g)| code_of(zero(c)).filter(|_| g.abs() < OFF))
        .collect();
    let turned: Vec<bool> = gain
        .iter()
        .zip(&nothing)
        .map(|(&g, n)| g < 0.0 && n.is_none())
        .collect();
    for (point, to) in annotation.points.iter().zip(&mut out.points) {
        let scale = |c: usize| {
            f64::from(if point.scales.len() == 1 {
                point.scales[0]
            } else {
                point.scales[c]
            })
        };
        to.scales = (0..gain.len())
            .map(|c| match nothing[c] {
                Some(_) => scale(c) as f32,
                None => (scale(c) * gain[c].abs().max(OFF)) as f32,
            })
            .collect();
        for (i, code) in to.codes.iter_mut().enumerate() {
            let c = annotation.channel(i);
            if let Some(nothing) = nothing[c] {
                *code = nothing;
            } else if turned[c] {
                let level = annotation.levels[usize::from(*code)];
                let fault = || ExportError::NoOpposite {
                    node: node.to_string(),
                    channel: c,
                    grid: annotation.grid.clone(),
                    level,
                };
                *code = code_of(mirror - level).ok_or_else(fault)?;
            }
        }
    }
    if annotation.zero_points.is_some() {
        out.zero_points = Some(
            (0..gain.len())
                .map(|c| if turned[c] { mirror - zero(c) } else { zero(c) })
                .collect(),
        );
    }
    Ok(out)
}

/// Adds half a step to the bias of the product that leads to an edge, alone or through a clamp at zero: ⌈u⌉ is ⌊u + ½⌉ but at ties.
fn half_a_step(graph: &mut Graph, edge: ValueId, step: f32) -> Option<()> {
    let producers = graph.producers();
    let mut n = *producers.get(&edge)?;
    while !matches!(
        graph.nodes[n].op,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. }
    ) {
        if !matches!(graph.nodes[n].op, Op::Unary(graph::Unary::Relu) | Op::Clip) {
            return None;
        }
        n = *producers.get(&graph.nodes[n].inputs.first().copied().flatten()?)?;
    }
    let w = graph.nodes[n].inputs.get(1).copied().flatten()?;
    let shape = match graph.weights.get(&w) {
        Some(a) => a.shape.clone(),
        None => graph.constants.get(&w)?.shape().to_vec(),
    };
    let (_, count) = channels(&graph.nodes[n].op, &shape)?;
    let bias: Vec<f32> = bias_of(graph, n, count)?
        .iter()
        .map(|b| (b + 0.5 * f64::from(step)) as f32)
        .collect();
    let id = graph.add_constant(&format!("{}/bias", graph.nodes[n].name), Tensor::vector(bias));
    graph.nodes[n].inputs.resize(3, None);
    graph.nodes[n].inputs[2] = Some(id);
    Some(())
}
