//! DequantizeLinear of a constant: a quantized weight where a weighted operator reads it, else a float constant.

use std::collections::{BTreeSet, HashMap};

use tensor::{DType, Data, Tensor};

use super::{integers, parameters, remove, width};
use crate::annotation::{Point, WeightAnnotation};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::Op;

pub(super) fn run(graph: &mut Graph, narrow: &HashMap<ValueId, u32>) {
    let consumers = graph.consumers();
    let mut gone = BTreeSet::new();
    for n in 0..graph.nodes.len() {
        let node = &graph.nodes[n];
        let &[out] = &node.outputs[..] else { continue };
        let made = match node.op {
            Op::QuantizeLinear { axis } => quantized(graph, narrow, node, axis).map(Made::Constant),
            Op::DequantizeLinear { axis } => {
                let readers = consumers.get(&out).map_or(&[][..], Vec::as_slice);
                let channel = output_axis(graph, readers, out);
                dequantized(graph, narrow, node, axis, channel)
            }
            _ => None,
        };
        match made {
            None => continue,
            Some(Made::Constant(t)) => {
                let value = graph.value_mut(out);
                value.dtype = Some(t.dtype());
                value.shape = Some(t.shape().iter().map(|&d| Some(d)).collect());
                graph.constants.insert(out, t);
            }
            Some(Made::Weight(w)) => {
                let value = graph.value_mut(out);
                value.dtype = Some(DType::F32);
                value.shape = Some(w.shape.iter().map(|&d| Some(d)).collect());
                graph.weights.insert(out, w);
            }
        }
        gone.insert(n);
    }
    remove(graph, &gone);
}

enum Made {
    Constant(Tensor),
    Weight(WeightAnnotation),
}

/// Axis of the output channel, when every reader takes the value as its weight and means the same axis.
fn output_axis(graph: &Graph, readers: &[NodeId], weight: ValueId) -> Option<usize> {
    let axis = |&n: &NodeId| {
        let node = &graph.nodes[n];
        if node.inputs.iter().filter(|v| **v == Some(weight)).count() != 1
            || node.inputs.get(1) != Some(&Some(weight))
        {
            return None;
        }
        match node.op {
            Op::Conv(_) => Some(0),
            Op::ConvTranspose(_) | Op::MatMul => Some(1),
            Op::Gemm { trans_b, .. } => Some(usize::from(!trans_b)),
            _ => None,
        }
    };
    let first = axis(readers.first()?)?;
    (!graph.outputs.contains(&weight) && readers.iter().all(|n| axis(n) == Some(first))).then_some(first)
}

/// QuantizeLinear of a float constant to 8 bits: what fake quantizers leave in a file.
fn quantized(graph: &Graph, narrow: &HashMap<ValueId, u32>, node: &Node, axis: i64) -> Option<Tensor> {
    let x = graph.constant_input(node, 0)?;
    let p = parameters(graph, narrow, node)?;
    let (dtype, bits) = p.codes.unwrap_or((DType::U8, 8));
    if bits != 8 {
        return None;
    }
    let channel = channels(x.shape(), axis, p.scales.len())?;
    let code = |i: usize, x: f32, low: f32| {
        let c = channel(i);
        let zero = p.zero_points.get(c).copied().unwrap_or(0);
        let q = (x / p.scales[c]).round_ties_even() + zero as f32;
        q.clamp(low, low + 255.0)
    };
    let values = x.as_f32()?.iter().enumerate();
    let data: Data = match dtype {
        DType::U8 => values
            .map(|(i, &x)| code(i, x, 0.0) as u8)
            .collect::<Vec<_>>()
            .into(),
        DType::I8 => values
            .map(|(i, &x)| code(i, x, -128.0) as i8)
            .collect::<Vec<_>>()
            .into(),
        _ => return None,
    };
    Tensor::new(x.shape().to_vec(), data).ok()
}

fn dequantized(
    graph: &Graph,
    narrow: &HashMap<ValueId, u32>,
    node: &Node,
    axis: i64,
    output_axis: Option<usize>,
) -> Option<Made> {
    let id = node.inputs.first().copied().flatten()?;
    let codes = graph.constants.get(&id)?;
    let p = parameters(graph, narrow, node)?;
    let channel = channels(codes.shape(), axis, p.scales.len())?;
    if let Some(output) = output_axis
        && (p.scales.len() == 1 || normal(axis, codes.rank()) == Some(output))
        && let Some(w) = weight(codes, width(codes, id, narrow), &p, output)
    {
        return Some(Made::Weight(w));
    }
    let values = integers(codes)?.into_iter().enumerate().map(|(i, q)| {
        let c = channel(i);
        let zero = p.zero_points.get(c).copied().unwrap_or(0);
        p.scales[c] * (i64::from(q) - i64::from(zero)) as f32
    });
    let values: Vec<f32> = values.collect();
    Tensor::new(codes.shape().to_vec(), values)
        .ok()
        .map(Made::Constant)
}

/// The annotation of a weight in 8, 4 or 2 bits.
fn weight(codes: &Tensor, bits: u32, p: &super::Parameters<'_>, axis: usize) -> Option<WeightAnnotation> {
    let mask = u8::MAX >> (8 - bits.min(8));
    let (signed, codes_of): (bool, Vec<u8>) = match codes.data() {
        Data::I8(v) => (true, v.iter().map(|&q| q as u8 & mask).collect()),
        Data::U8(v) => (false, v.clone()),
        _ => return None,
    };
    // The most negative number is a level only where it is used: symmetric grids leave it out.
    let lowest = 1u8 << (bits - 1);
    let full = codes_of.contains(&lowest);
    let level = |code: i32| match code {
        c if !signed || c < i32::from(lowest) => c,
        c if c == i32::from(lowest) && !full => 0,
        c => c - (1 << bits),
    };
    let symmetric = signed && p.zero_points.iter().all(|&z| z == 0);
    let zero_points = if p.zero_points.is_empty() {
        vec![0; p.scales.len()]
    } else {
        p.zero_points.clone()
    };
    let w = WeightAnnotation {
        grid: format!("{}{bits}", if signed { "int" } else { "affine" }),
        bits,
        shape: codes.shape().to_vec(),
        axis,
        levels: (0..1 << bits).map(level).collect(),
        zero_points: (!symmetric).then_some(zero_points),
        points: vec![Point::whole(codes_of, p.scales.to_vec())],
    };
    w.check().is_ok().then_some(w)
}

fn normal(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&a| a < rank)
}

/// Which scale an element takes; `None` when their number fits neither one nor the axis.
fn channels(shape: &[usize], axis: i64, scales: usize) -> Option<impl Fn(usize) -> usize + use<>> {
    let (inner, count) = if scales == 1 {
        (1, 1)
    } else {
        let axis = normal(axis, shape.len())?;
        if shape[axis] != scales {
            return None;
        }
        (shape[axis + 1..].iter().product::<usize>().max(1), scales)
    };
    Some(move |i: usize| i / inner % count)
}
