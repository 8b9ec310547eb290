//! Graphs in float64 by the oracle's operators, and derivatives by differences.

use std::collections::HashMap;

use graph::{Evaluate, Graph, Op, ValueId};
use tensor::{Data, Tensor};
use testing::SplitMix64;
use train::exec::{Exec, Mode};
use train::program::{BatchNormMode, ProgramOptions};

/// Values of a graph in float64.
type Values = HashMap<ValueId, Tensor>;

fn wide(t: &Tensor) -> Tensor {
    match t.as_f32() {
        Some(v) => Tensor::new(
            t.shape().to_vec(),
            v.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>(),
        )
        .unwrap(),
        None => t.clone(),
    }
}

fn numbers(t: &Tensor) -> &[f64] {
    match t.data() {
        Data::F64(v) => v,
        other => panic!("{:?} instead of f64", other.dtype()),
    }
}

/// Batch statistics in the places of the running ones.
fn batch_statistics(x: &Tensor) -> [Tensor; 2] {
    let (shape, v) = (x.shape(), numbers(x));
    let (channels, inner) = (shape[1], shape[2..].iter().product::<usize>());
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let n = (v.len() / channels) as f64;
    let channel = |i: usize| i / inner.max(1) % channels;
    v.iter().enumerate().for_each(|(i, x)| mean[channel(i)] += x / n);
    v.iter()
        .enumerate()
        .for_each(|(i, x)| variance[channel(i)] += (x - mean[channel(i)]).powi(2) / n);
    [Tensor::vector(mean), Tensor::vector(variance)]
}

/// The outputs for these inputs and constants.
fn evaluate(graph: &Graph, batch_norm: BatchNormMode, mut values: Values) -> Vec<Vec<f64>> {
    for node in &graph.nodes {
        let mut inputs: Vec<Option<Tensor>> = node
            .inputs
            .iter()
            .map(|v| v.map(|v| values[&v].clone()))
            .collect();
        if let (Op::BatchNormalization { .. }, BatchNormMode::Batch { .. }) = (&node.op, batch_norm) {
            let [mean, variance] = batch_statistics(inputs[0].as_ref().unwrap());
            (inputs[3], inputs[4]) = (Some(mean), Some(variance));
        }
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
        let outputs = oracle::Reference
            .evaluate(&node.op, &inputs, node.outputs.len())
            .unwrap_or_else(|e| panic!("{}: {e}", node.name));
        for (&v, t) in node.outputs.iter().zip(outputs) {
            values.insert(v, t);
        }
    }
    graph
        .outputs
        .iter()
        .map(|v| numbers(&values[v]).to_vec())
        .collect()
}

/// Compares outputs with the float64 reference and every gradient with differences along random directions.
///
/// With the feature `cuda` both executors are compared, too. The loss is a random linear form of the outputs; differences are central with a step of 1e-6, in float64. Inputs are random in −1…1.
pub(crate) fn check(what: &str, graph: &Graph, options: &ProgramOptions, seed: u64) {
    let mut graph = graph.clone();
    graph::shape::infer(&mut graph).unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut random = SplitMix64(seed);
    let mut options = options.clone();
    options.input_gradients = true;
    let mut cpu = super::cpu(&graph, &options, 2);
    let inputs: Vec<Vec<f32>> = cpu
        .program()
        .inputs()
        .iter()
        .map(|p| (0..p.len()).map(|_| (random.unit() * 2.0 - 1.0) as f32).collect())
        .collect();
    #[cfg(feature = "cuda")]
    super::cuda::check(what, &graph, &options, &inputs);
    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs = Vec::new();
    cpu.forward(&slices, Mode::Train, &mut outputs).unwrap();
    let form: Vec<Vec<f32>> = outputs
        .iter()
        .map(|y| y.iter().map(|_| (random.unit() * 2.0 - 1.0) as f32).collect())
        .collect();
    cpu.backward(&form).unwrap();

    let mut values: Values = graph.constants.iter().map(|(&v, t)| (v, wide(t))).collect();
    for (&v, (x, port)) in graph.inputs.iter().zip(inputs.iter().zip(cpu.program().inputs())) {
        values.insert(v, wide(&Tensor::new(port.shape.clone(), x.clone()).unwrap()));
    }
    let want = evaluate(&graph, options.batch_norm, values.clone());
    for (y, want) in outputs.iter().zip(&want) {
        let size = want.iter().fold(1e-3, |m: f64, w| m.max(w.abs()));
        for (i, (&y, &w)) in y.iter().zip(want).enumerate() {
            assert!(
                (f64::from(y) - w).abs() <= 3e-5 * size,
                "{what}: output {i} is {y}, reference {w}"
            );
        }
    }
    let loss = |values: Values| -> f64 {
        let outputs = evaluate(&graph, options.batch_norm, values);
        outputs
            .iter()
            .zip(&form)
            .flat_map(|(y, r)| y.iter().zip(r).map(|(y, &r)| y * f64::from(r)))
            .sum()
    };
    let mut against = |v: ValueId, gradient: &[f32], name: &str| {
        let size = gradient
            .iter()
            .map(|&g| f64::from(g) * f64::from(g))
            .sum::<f64>()
            .sqrt();
        for _ in 0..2 {
            let direction: Vec<f64> = gradient
                .iter()
                .map(|_| if random.below(2) == 0 { -1.0 } else { 1.0 })
                .collect();
            let moved = |h: f64| {
                let mut values = values.clone();
                let old = &values[&v];
                let new: Vec<f64> = numbers(old)
                    .iter()
                    .zip(&direction)
                    .map(|(x, d)| x + h * d)
                    .collect();
                let t = Tensor::new(old.shape().to_vec(), new).unwrap();
                values.insert(v, t);
                loss(values)
            };
            let h = 1e-6;
            let difference = (moved(h) - moved(-h)) / (2.0 * h);
            let product: f64 = gradient
                .iter()
                .zip(&direction)
                .map(|(&g, d)| f64::from(g) * d)
                .sum();
            let allowed = 2e-4 * (size + difference.abs()) + 1e-5;
            assert!(
                (product - difference).abs() <= allowed,
                "{what}: {name}: {product}, by differences {difference}, size {size}"
            );
        }
    };
    for (i, p) in cpu.program().parameters().iter().enumerate() {
        if p.kind.has_gradient() && graph.find(&p.name).is_some() {
            let mut g = vec![0.0; p.len()];
            cpu.gradient(i, &mut g).unwrap();
            against(graph.find(&p.name).unwrap(), &g, &p.name);
        }
    }
    let ports: Vec<_> = cpu.program().inputs().to_vec();
    for (i, port) in ports.iter().enumerate() {
        let mut g = vec![0.0; port.len()];
        cpu.input_gradient(i, &mut g).unwrap();
        against(graph.find(&port.name).unwrap(), &g, &port.name);
    }
}

/// A graph being written.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    pub(crate) random: SplitMix64,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Net {
        Net {
            graph: Graph::new("net"),
            random: SplitMix64(seed),
        }
    }

    pub(crate) fn input(&mut self, shape: &[usize]) -> ValueId {
        let dims = shape.iter().copied().map(Some).collect();
        let v = self.graph.add_value("x", Some(tensor::DType::F32), Some(dims));
        self.graph.inputs.push(v);
        v
    }

    /// Random in `low..high`.
    pub(crate) fn constant(&mut self, shape: &[usize], low: f64, high: f64) -> ValueId {
        let n = shape.iter().product();
        let list: Vec<f32> = (0..n)
            .map(|_| (low + self.random.unit() * (high - low)) as f32)
            .collect();
        self.graph
            .add_constant("w", Tensor::new(shape.to_vec(), list).unwrap())
    }

    pub(crate) fn integers(&mut self, list: &[i64]) -> ValueId {
        self.graph.add_constant("i", Tensor::vector(list.to_vec()))
    }

    pub(crate) fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.add_node(op, inputs, "y")
    }

    /// Ends with these outputs and compares.
    pub(crate) fn check(mut self, what: &str, outputs: &[ValueId], options: &ProgramOptions) {
        self.graph.outputs = outputs.to_vec();
        check(what, &self.graph, options, self.random.next());
    }
}
