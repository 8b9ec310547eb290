//! Per-channel gain and offset folded into the convolution, transposed convolution or Gemm before.

use tensor::Tensor;

use super::view::input;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::Op;

/// Output channels of a convolution or Gemm whose weight and bias are f32 constants; `None` for any other node.
pub(super) fn channels(graph: &Graph, node: &Node) -> Option<usize> {
    let weight = graph.constant_input(node, 1)?;
    weight.as_f32()?;
    let n = match &node.op {
        Op::Conv(_) => *weight.shape().first()?,
        Op::ConvTranspose(t) => weight.shape().get(1)?.checked_mul(t.conv.group)?,
        Op::Gemm {
            alpha, beta, trans_b, ..
        } if *alpha == 1.0 && *beta == 1.0 => *weight.shape().get(usize::from(!trans_b))?,
        _ => return None,
    };
    match input(node, 2) {
        None => Some(n),
        Some(b) => {
            let b = graph.constants.get(&b)?;
            let row = b.as_f32()?.len() == 1 || (b.len() == n && b.shape().last() == Some(&n));
            row.then_some(n)
        }
    }
}

/// Makes node `n` compute `gain · y + offset` per channel; computed in double precision, rounded once. `false`, and nothing changed, where
/// a number would not be finite.
pub(super) fn fold(graph: &mut Graph, n: NodeId, gain: &[f64], offset: &[f64]) -> bool {
    let Some((weight, bias)) = folded(graph, &graph.nodes[n], gain, offset) else {
        return false;
    };
    let node = &graph.nodes[n];
    let name = |graph: &Graph, v: Option<ValueId>, what: &str| match v {
        Some(v) => graph.value(v).name.clone(),
        None => format!("{}/{what}", node.name),
    };
    let (w, b) = (
        name(graph, input(node, 1), "weight"),
        name(graph, input(node, 2), "bias"),
    );
    let mut inputs = vec![node.inputs.first().copied().flatten()];
    // The old ones stay for other readers until nothing reads them.
    inputs.push(Some(graph.add_constant(&w, weight)));
    inputs.push(Some(graph.add_constant(&b, bias)));
    graph.nodes[n].inputs = inputs;
    true
}

fn folded(graph: &Graph, node: &Node, gain: &[f64], offset: &[f64]) -> Option<(Tensor, Tensor)> {
    let channels = channels(graph, node)?;
    if gain.len() != channels || offset.len() != channels {
        return None;
    }
    let weight = graph.constant_input(node, 1)?;
    let channel = channel_of(&node.op, weight.shape())?;
    let scaled: Vec<f32> = weight
        .as_f32()?
        .iter()
        .enumerate()
        .map(|(i, &w)| Some((f64::from(w) * gain.get(channel(i))?) as f32))
        .collect::<Option<_>>()?;
    let old = graph.constant_input(node, 2).and_then(Tensor::as_f32);
    let old = |c: usize| match old {
        None => 0.0,
        Some([b]) => f64::from(*b),
        Some(list) => list.get(c).copied().map_or(0.0, f64::from),
    };
    let bias: Vec<f32> = gain
        .iter()
        .zip(offset)
        .enumerate()
        .map(|(c, (g, o))| (old(c) * g + o) as f32)
        .collect();
    if !scaled.iter().chain(&bias).all(|x| x.is_finite()) {
        return None;
    }
    Some((
        Tensor::new(weight.shape().to_vec(), scaled).ok()?,
        Tensor::vector(bias),
    ))
}

/// Output channel of each element of a weight.
fn channel_of(op: &Op, shape: &[usize]) -> Option<Box<dyn Fn(usize) -> usize>> {
    let inner: usize = shape.get(2..)?.iter().product::<usize>().max(1);
    let (&first, &second) = (shape.first()?, shape.get(1)?);
    let row = second.max(1) * inner;
    Some(match op {
        Op::Conv(_) | Op::Gemm { trans_b: true, .. } => Box::new(move |i| i / row),
        Op::Gemm { .. } => Box::new(move |i| i % second.max(1)),
        Op::ConvTranspose(t) => {
            let per_group = (first / t.conv.group.max(1)).max(1);
            Box::new(move |i| i / row / per_group * second + i / inner % second.max(1))
        }
        _ => return None,
    })
}
