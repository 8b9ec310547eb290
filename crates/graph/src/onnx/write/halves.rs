//! Scales and biases of 16 bits (FORMAT.md 2.3): those of one rank and axis end to end in one tensor, so that a few channels more cost no node more.

use std::collections::BTreeMap;

use half::f16;
use tensor::{DType, Tensor};

use super::packed::scale_shape;
use super::{Draft, node};
use crate::graph::ValueId;
use crate::halves::exact;
use crate::op::Op;
use crate::planes::Planes;

/// Tensors of one rank, longer than 1 along one axis at most.
#[derive(Default)]
struct Together {
    values: Vec<f32>,
    names: Vec<String>,
    sizes: Vec<i64>,
}

impl Draft<'_> {
    /// Writes what [`Graph::halves`](crate::Graph::halves) marks of `read`, for each axis a tensor, a Cast and a Split.
    pub(super) fn halves(&mut self, read: &[ValueId]) {
        let graph = self.graph;
        let mut all: BTreeMap<(usize, usize), Together> = BTreeMap::new();
        for &v in read.iter().filter(|v| graph.halves.contains(v)) {
            let (shape, values) = if let Some(w) = graph.weights.get(&v) {
                let [point] = &w.points[..] else { continue };
                let mut shape = scale_shape(w);
                if Planes::of(w).is_none() {
                    shape.insert(0, 1);
                }
                (shape, &point.scales[..])
            } else if let Some((t, values)) = graph.constants.get(&v).and_then(|t| Some((t, t.as_f32()?))) {
                (t.shape().to_vec(), values)
            } else {
                continue;
            };
            let long = || shape.iter().enumerate().filter(|(_, n)| **n != 1);
            if shape.is_empty() || long().count() > 1 || !exact(values) {
                continue;
            }
            let name = match (&graph.value(v).name, graph.weights.contains_key(&v)) {
                (name, true) => self.fresh(&format!("{name}/scale")),
                (name, false) => name.clone(),
            };
            let axis = long().next().map_or(0, |(axis, _)| axis);
            let part = all.entry((shape.len(), axis)).or_default();
            part.values.extend(values);
            part.names.push(name.clone());
            part.sizes.push(values.len() as i64);
            self.halved.insert(v, name);
        }
        for ((rank, axis), part) in all {
            let mut shape = vec![1; rank];
            shape[axis] = part.values.len();
            let raw: Vec<u8> = part
                .values
                .iter()
                .flat_map(|x| f16::from_f32(*x).to_le_bytes())
                .collect();
            let halves = self.fresh("halves");
            self.initializers
                .message(5, |t| node::raw_tensor(&halves, &shape, node::FLOAT16, &raw, t));
            let floats = self.fresh("halves/floats");
            self.node(&floats, &Op::Cast { to: DType::F32 }, &[&halves], &[&floats]);
            let sizes = self.named("halves/sizes", &Tensor::vector(part.sizes));
            let outputs: Vec<&str> = part.names.iter().map(String::as_str).collect();
            let op = Op::Split { axis: axis as i64 };
            self.node(&format!("{halves}/parts"), &op, &[&floats, &sizes], &outputs);
        }
    }
}
