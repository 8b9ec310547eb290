//! Random small graphs, quantized or not.
#![allow(dead_code, unreachable_pub)]

mod blocks;

use std::collections::HashMap;

use graph::{EdgeQuantizer, Graph, Op, Point, ValueId, WeightAnnotation};
use tensor::{DType, Tensor};
use testing::SplitMix64;

/// Values about a normal distribution.
pub fn normals(rng: &mut SplitMix64, shape: &[usize]) -> Tensor {
    let len = shape.iter().product();
    let sum = |rng: &mut SplitMix64| (0..6).map(|_| rng.unit_f32() - 0.5).sum::<f32>() * 1.4;
    let values: Vec<f32> = (0..len).map(|_| sum(rng)).collect();
    Tensor::new(shape.to_vec(), values).unwrap()
}

/// How a random graph is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No annotations.
    Float,
    /// Weights and nearly all edges carry annotations.
    Quantized,
}

/// A graph under construction: picture-like values that later nodes may read.
pub struct Builder {
    pub g: Graph,
    pub rng: SplitMix64,
    pub kind: Kind,
    pub values: Vec<ValueId>,
}

impl Builder {
    /// The shape that inference will find, kept at once.
    pub fn shape(&self, v: ValueId) -> Vec<usize> {
        self.g.value(v).fixed_shape().unwrap()
    }

    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.node_of(op, inputs.iter().map(|&v| Some(v)).collect(), None)
    }

    pub fn node_of(&mut self, op: Op, inputs: Vec<Option<ValueId>>, second: Option<ValueId>) -> ValueId {
        let name = format!("{}_{}", op.name(), self.g.nodes.len());
        let v = self.g.add_node(op, &[], &name);
        let node = self.g.nodes.last_mut().unwrap();
        node.inputs = inputs;
        node.outputs.extend(second);
        graph::shape::infer(&mut self.g).unwrap_or_else(|e| panic!("{e}"));
        v
    }

    pub fn ints(&mut self, values: &[i64]) -> ValueId {
        self.g.add_constant("ints", Tensor::vector(values.to_vec()))
    }

    pub fn floats(&mut self, values: &[f32]) -> ValueId {
        self.g.add_constant("floats", Tensor::vector(values.to_vec()))
    }

    /// A weight of a product over `depth` terms: a constant or an annotation.
    pub fn weight(&mut self, shape: &[usize], axis: Option<usize>, depth: usize) -> ValueId {
        let len: usize = shape.iter().product();
        let unit = 1.0 / (depth as f32).sqrt();
        if self.kind == Kind::Float || self.rng.chance(10) {
            let mut t = normals(&mut self.rng, shape);
            if let tensor::Data::F32(v) = t.data_mut() {
                v.iter_mut().for_each(|x| *x *= unit * 1.6);
            }
            return self.g.add_constant("w", t);
        }
        let bits = self.rng.range(2, 8) as u32;
        let top = (1i32 << (bits - 1)) - 1;
        let power = (3..=5).contains(&bits) && self.rng.chance(50);
        let levels: Vec<i32> = (0..1i32 << bits)
            .map(|c| {
                let signed = if c > top { c - (1 << bits) } else { c };
                match signed {
                    0 => 0,
                    s if power => s.signum() << (s.abs() - 1).min(14),
                    s => s,
                }
            })
            .collect();
        let large = levels.iter().map(|l| l.abs()).max().unwrap() as f32;
        let codes = (0..len).map(|_| (self.rng.next() % (1 << bits)) as u8).collect();
        let channels = axis.filter(|_| self.rng.chance(70)).map_or(1, |a| shape[a]);
        let scales = (0..channels)
            .map(|_| (0.5 + self.rng.unit_f32()) * unit * 2.0 / large)
            // Three of them are a number again.
            .map(|s: f32| f32::from_bits(s.to_bits() & 0xffff_f000))
            .collect();
        let zero_points = self
            .rng
            .chance(20)
            .then(|| (0..channels).map(|_| self.rng.range(0, 4) as i32 - 2).collect());
        let mut points = vec![Point::whole(codes, scales)];
        // Further points: of all channels or of some, with a common unit or without.
        while points.len() < 4 && self.rng.chance(25) {
            let ratio = match self.rng.range(0, 9) {
                0 => 0.7,
                1 => 3.0 / 64.0,
                shift => 2f32.powi(-(shift as i32 - 2)),
            };
            let mut more = points[0].clone();
            more.codes.rotate_left(1);
            more.scales.iter_mut().for_each(|s| *s *= ratio);
            if let Some(a) = axis.filter(|_| channels > 1 && zero_points.is_none() && self.rng.chance(50)) {
                let rows: Vec<u32> = (0..channels as u32).filter(|_| self.rng.chance(40)).collect();
                if rows.is_empty() {
                    continue;
                }
                let inner: usize = shape[a + 1..].iter().product();
                for (i, code) in more.codes.iter_mut().enumerate() {
                    if !rows.contains(&((i / inner % channels) as u32)) {
                        *code = 0;
                    }
                }
                more.rows = Some(rows);
            } else if points.iter().any(|p| p.rows.is_some()) {
                break;
            }
            points.push(more);
        }
        let id = self.g.add_value(
            "w",
            Some(DType::F32),
            Some(shape.iter().map(|&d| Some(d)).collect()),
        );
        self.g.weights.insert(
            id,
            WeightAnnotation {
                grid: "test".into(),
                bits,
                shape: shape.to_vec(),
                axis: axis.unwrap_or(0),
                levels,
                zero_points,
                points,
            },
        );
        id
    }

    pub fn bias(&mut self, channels: usize) -> Option<ValueId> {
        self.rng.chance(80).then(|| {
            let t = normals(&mut self.rng, &[channels]);
            self.g.add_constant("b", t)
        })
    }
}

/// Values of all nodes by the oracle's meaning of each operator, annotations of edges left aside.
pub fn float_values(g: &Graph, input: &Tensor) -> HashMap<ValueId, Tensor> {
    let mut held: HashMap<ValueId, Tensor> = g.constants.iter().map(|(&v, t)| (v, t.clone())).collect();
    for (&v, w) in &g.weights {
        held.insert(v, Tensor::new(w.shape.clone(), w.decode()).unwrap());
    }
    held.insert(g.inputs[0], input.clone());
    for node in &g.nodes {
        let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|v| v.map(|v| &held[&v])).collect();
        let results = oracle::evaluate(&node.op, &inputs, node.outputs.len())
            .unwrap_or_else(|e| panic!("{} ({}): {e}", node.name, node.op.name()));
        for (&v, t) in node.outputs.iter().zip(results) {
            held.insert(v, t);
        }
    }
    held
}

/// A random graph with one input, and an input for it.
pub fn random_graph(seed: u64, kind: Kind, nodes: usize) -> (Graph, Tensor) {
    let mut rng = SplitMix64(seed);
    let volume = rng.chance(15);
    let batch = rng.pick(&[1, 1, 1, 2]);
    let channels = rng.pick(&[1, 2, 3, 4, 8, 12, 16, 20]);
    let shape = match volume {
        true => vec![batch, channels, rng.range(2, 4), rng.range(3, 6), rng.range(3, 6)],
        false => vec![batch, channels, rng.range(4, 12), rng.range(4, 12)],
    };
    let mut g = Graph::new(format!("random {seed}"));
    let x = g.add_value(
        "x",
        Some(DType::F32),
        Some(shape.iter().map(|&d| Some(d)).collect()),
    );
    g.inputs.push(x);
    let input = normals(&mut rng, &shape);
    let mut b = Builder {
        g,
        rng,
        kind,
        values: vec![x],
    };
    while b.g.nodes.len() < nodes {
        blocks::block(&mut b);
    }
    let Builder {
        mut g,
        mut rng,
        values,
        ..
    } = b;
    g.outputs = vec![*values.last().unwrap()];
    for &v in &values {
        let read = g.nodes.iter().any(|n| n.inputs.contains(&Some(v)));
        if !read && !g.outputs.contains(&v) || (rng.chance(3) && v != x && !g.outputs.contains(&v)) {
            g.outputs.push(v);
        }
    }
    if kind == Kind::Quantized {
        annotate(&mut g, &mut rng, &input);
    }
    (g, input)
}

/// Quantizers for nearly all edges, now and then shared with the input, now and then too narrow.
fn annotate(g: &mut Graph, rng: &mut SplitMix64, input: &Tensor) {
    let held = float_values(g, input);
    let outputs: Vec<(ValueId, Option<ValueId>)> = g
        .nodes
        .iter()
        .flat_map(|n| {
            let first = n.inputs.first().copied().flatten();
            n.outputs.iter().map(move |&v| (v, first))
        })
        .collect();
    let inputs: Vec<_> = g.inputs.iter().map(|&v| (v, None)).collect();
    for (v, before) in inputs.into_iter().chain(outputs) {
        let Some(x) = held[&v].as_f32() else {
            continue;
        };
        if rng.chance(8) {
            continue;
        }
        let shared = before
            .and_then(|b| g.edges.get(&b).copied())
            .filter(|_| rng.chance(30));
        let low = x.iter().copied().fold(0f32, f32::min).max(-1e6);
        let high = x.iter().copied().fold(0f32, f32::max).min(1e6);
        let bits = rng.pick(&[8, 8, 8, 8, 7, 4, 2, 1]);
        let top = ((1u32 << bits) - 1) as f32;
        let scale = ((high - low).max(1e-3) / top * (0.5 + rng.unit_f32())).max(1e-6);
        let zero = (-low / scale).round().clamp(0.0, top) as u8;
        let own = EdgeQuantizer {
            scale,
            zero_point: zero,
            bits,
        };
        g.edges.insert(v, shared.unwrap_or(own));
    }
}
