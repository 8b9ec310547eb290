//! The float and the quantized network side by side, layer by layer, on a bounded set of pictures: corrections are fitted where all earlier
//! layers are quantized and corrected already, activations rounded as the integer engine rounds them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use engine::Step;
use graph::{EdgeQuantizer, Graph, NodeId, Op, ValueId};
use kernels::{Isa, Pool};
use quant::annotate::Plan;
use quant::correct::{Affine, AffineFit, Limits};
use tasks::detect::{Placement, postprocess};
use tensor::{Data, Tensor};

use super::agreement;
use super::weights::Layer;
use crate::control::Progress;
use crate::pictures::{Reader, input_of, spread};
use crate::{Control, Error, Model, Result};

/// Most pictures that are held at the same time.
pub(super) const MOST_PICTURES: usize = 64;

/// Bytes that the values of all pictures may take together.
const BUDGET: usize = 256 << 20;

/// What all runs over the layers share.
pub(super) struct Stage<'a> {
    pub(super) model: &'a Model,
    pub(super) edges: &'a BTreeMap<ValueId, EdgeQuantizer>,
    pub(super) correction: bool,
    pub(super) pool: &'a Pool,
    pub(super) control: &'a Control,
}

/// What a run over the layers found.
#[derive(Debug, Clone, Default)]
pub(super) struct Fitted {
    /// Signal to noise at the output of each product, after its correction.
    pub(super) sqnr_db: BTreeMap<NodeId, f64>,
    /// Mean over the outputs of Σ(y − ŷ)² / Σy².
    pub(super) output_error: f64,
    /// 0…1: how well the quantized network's detections agree with the float one's; absent for models without detections.
    pub(super) agreement: Option<f64>,
}

impl Fitted {
    /// What a choice makes small: detections that disagree, where there are any; else the error of the outputs.
    pub(super) fn harm(&self) -> f64 {
        self.agreement.map_or(self.output_error, |a| 1.0 - a)
    }
}

/// A value of one picture in both networks.
#[derive(Debug, Clone)]
struct Pair {
    float: Tensor,
    quant: Tensor,
}

impl Stage<'_> {
    /// Network inputs of as many pictures as the memory allows, `most` at most, spread evenly.
    pub(super) fn inputs(&self, pictures: &[PathBuf], most: usize) -> Result<Vec<(String, Tensor)>> {
        let budget = self.control.memory().map_or(BUDGET, |m| (m / 2).min(BUDGET));
        let fit = (budget / peak_bytes(self.model.graph()).max(1)).clamp(1, most);
        let mut reader = Reader::new(self.control);
        spread(pictures, fit)
            .iter()
            .map(|path| input_of(self.model, &mut reader, path))
            .collect()
    }

    /// Goes through all nodes; with `correction` the layers' scales and biases are refitted on the way.
    pub(super) fn run(
        &self,
        plan: &Plan,
        layers: &mut BTreeMap<NodeId, Layer>,
        inputs: &[(String, Tensor)],
        progress: &mut dyn Progress,
    ) -> Result<Fitted> {
        debug_assert_eq!(plan.weights.len(), layers.len());
        let graph = self.model.graph();
        // The network with the weights as they will be stored.
        let mut rounded = graph.clone();
        let mut values = self.start(inputs);
        let mut left = uses(graph);
        let mut fitted = Fitted::default();
        for (n, node) in graph.nodes.iter().enumerate() {
            self.control.check()?;
            progress.at("correct", n, graph.nodes.len());
            let at = |e: Error| e.at(format!("node \"{}\"", node.name));
            let plain = Step::new(graph, n, Isa::best())
                .map_err(Error::from)
                .map_err(at)?;
            let quantized = match layers.get(&n) {
                Some(layer) => {
                    let weight = Tensor::new(layer.weight.shape.clone(), layer.weight.decode());
                    rounded.constants.insert(
                        layer.task.weight,
                        weight.map_err(|e| at(Error::bad(e.to_string())))?,
                    );
                    Some(
                        Step::new(&rounded, n, Isa::best())
                            .map_err(Error::from)
                            .map_err(at)?,
                    )
                }
                None => None,
            };
            // A step takes each input that is no constant once.
            let mut reads: Vec<ValueId> = Vec::new();
            for v in node.inputs.iter().flatten().filter(|v| !graph.is_constant(**v)) {
                if !reads.contains(v) {
                    reads.push(*v);
                }
            }
            let mut outputs: Vec<Vec<Pair>> = vec![Vec::with_capacity(inputs.len()); node.outputs.len()];
            for picture in 0..inputs.len() {
                let mut float = Vec::new();
                let mut quant = Vec::new();
                for v in &reads {
                    let pair = values.get(v).and_then(|all| all.get(picture));
                    let pair = pair.ok_or_else(|| at(Error::bad("an input was never computed")))?;
                    float.push(&pair.float);
                    quant.push(&pair.quant);
                }
                let float = plain.run(self.pool, &float).map_err(Error::from).map_err(at)?;
                let step = quantized.as_ref().unwrap_or(&plain);
                let quant = step.run(self.pool, &quant).map_err(Error::from).map_err(at)?;
                for ((slot, float), quant) in outputs.iter_mut().zip(float).zip(quant) {
                    slot.push(Pair { float, quant });
                }
            }
            if let (Some(layer), Some(pairs)) = (layers.get_mut(&n), outputs.first_mut()) {
                if self.correction {
                    correct(&node.op, layer, pairs);
                }
                fitted.sqnr_db.insert(n, sqnr(pairs));
            }
            for (&v, mut pairs) in node.outputs.iter().zip(outputs) {
                if let Some(edge) = self.edges.get(&v) {
                    pairs.iter_mut().for_each(|p| round_to(edge, &mut p.quant));
                }
                values.insert(v, pairs);
            }
            release(graph, n, &mut values, &mut left);
        }
        progress.at("correct", graph.nodes.len(), graph.nodes.len());
        fitted.output_error = output_error(graph, &values);
        fitted.agreement = self.agreement(&values, inputs.len());
        Ok(fitted)
    }

    /// Decodes both networks' outputs and compares the boxes.
    fn agreement(&self, values: &HashMap<ValueId, Vec<Pair>>, pictures: usize) -> Option<f64> {
        let head = self.model.detector_head().ok()?;
        let graph = self.model.graph();
        let placement = Placement::identity(head.input.width, head.input.height);
        let mut total = agreement::Agreement::default();
        for picture in 0..pictures {
            let boxes = |of: fn(&Pair) -> &Tensor| {
                let named =
                    |v: &ValueId| Some((graph.value(*v).name.as_str(), of(values.get(v)?.get(picture)?)));
                let outputs: Vec<(&str, &Tensor)> = graph.outputs.iter().filter_map(named).collect();
                postprocess(head, &outputs, 0, &placement, &agreement::BOXES).ok()
            };
            total.add(&boxes(|p| &p.float)?, &boxes(|p| &p.quant)?);
        }
        total.value()
    }

    fn start(&self, inputs: &[(String, Tensor)]) -> HashMap<ValueId, Vec<Pair>> {
        let mut values: HashMap<ValueId, Vec<Pair>> = HashMap::new();
        for (name, tensor) in inputs {
            let Some(v) = self.model.graph().find(name) else {
                continue;
            };
            let mut quant = tensor.clone();
            if let Some(edge) = self.edges.get(&v) {
                round_to(edge, &mut quant);
            }
            values.entry(v).or_default().push(Pair {
                float: tensor.clone(),
                quant,
            });
        }
        values
    }
}

/// Fits y_float ≈ g·y_quant + b for each channel and puts it into scales, bias and the values at hand.
fn correct(op: &Op, layer: &mut Layer, pairs: &mut [Pair]) {
    // MatMul has no place for a bias.
    if matches!(op, Op::MatMul) {
        return;
    }
    const AXIS: usize = 1;
    let Some(&channels) = pairs.first().and_then(|p| p.float.shape().get(AXIS)) else {
        return;
    };
    let mut fit = AffineFit::new(channels);
    for p in pairs.iter() {
        if let (Some(float), Some(quant)) = (p.float.as_f32(), p.quant.as_f32()) {
            fit.add(p.float.shape(), AXIS, float, quant);
        }
    }
    let limits = Limits {
        fit_gain: layer.takes_gain(),
        ..Limits::default()
    };
    let affine = fit.solve(&limits);
    layer.fold(&affine);
    for p in pairs {
        apply(&affine, AXIS, &mut p.quant);
    }
}

fn apply(affine: &[Affine], axis: usize, tensor: &mut Tensor) {
    let inner: usize = tensor.shape()[axis + 1..].iter().product();
    if let Data::F32(values) = tensor.data_mut() {
        for (block, a) in values.chunks_mut(inner.max(1)).zip(affine.iter().cycle()) {
            for x in block {
                *x = (a.gain * f64::from(*x) + a.shift) as f32;
            }
        }
    }
}

/// The value after a trip through the edge's codes.
fn round_to(edge: &EdgeQuantizer, tensor: &mut Tensor) {
    if let Data::F32(values) = tensor.data_mut() {
        for x in values {
            *x = edge.dequantize(edge.quantize(*x));
        }
    }
}

fn squares(pairs: &[Pair]) -> (f64, f64) {
    let (mut signal, mut noise) = (0f64, 0f64);
    for p in pairs {
        if let (Some(float), Some(quant)) = (p.float.as_f32(), p.quant.as_f32()) {
            for (&f, &q) in float.iter().zip(quant) {
                let (f, d) = (f64::from(f), f64::from(f) - f64::from(q));
                signal += f * f;
                noise += d * d;
            }
        }
    }
    (signal, noise)
}

fn sqnr(pairs: &[Pair]) -> f64 {
    let (signal, noise) = squares(pairs);
    // Equal values have no noise: 200 dB is beyond f32.
    (10.0 * (signal.max(f64::MIN_POSITIVE) / noise.max(f64::MIN_POSITIVE)).log10()).clamp(-200.0, 200.0)
}

fn output_error(graph: &Graph, values: &HashMap<ValueId, Vec<Pair>>) -> f64 {
    let errors: Vec<f64> = graph
        .outputs
        .iter()
        .filter_map(|v| values.get(v))
        .map(|pairs| squares(pairs))
        .filter(|(signal, _)| *signal > 0.0)
        .map(|(signal, noise)| noise / signal)
        .collect();
    errors.iter().sum::<f64>() / errors.len().max(1) as f64
}

/// How many nodes still read each value.
fn uses(graph: &Graph) -> HashMap<ValueId, usize> {
    graph.consumers().into_iter().map(|(v, c)| (v, c.len())).collect()
}

/// Drops what no later node reads.
fn release<T>(
    graph: &Graph,
    n: NodeId,
    values: &mut HashMap<ValueId, T>,
    left: &mut HashMap<ValueId, usize>,
) {
    let node = &graph.nodes[n];
    let mut read: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    read.sort_unstable();
    read.dedup();
    for v in read {
        if let Some(count) = left.get_mut(&v) {
            *count = count.saturating_sub(1);
        }
    }
    let gone = |v: &ValueId| left.get(v).copied().unwrap_or(0) == 0 && !graph.outputs.contains(v);
    for v in node.inputs.iter().flatten().chain(&node.outputs) {
        if gone(v) {
            values.remove(v);
        }
    }
}

/// Most bytes that one picture's values take at a time, in both networks.
fn peak_bytes(graph: &Graph) -> usize {
    let bytes = |v: &ValueId| {
        let shape = graph.value(*v).fixed_shape().unwrap_or_default();
        tensor::numel(&shape).unwrap_or(usize::MAX / 8).saturating_mul(8)
    };
    let mut left = uses(graph);
    let mut live: HashMap<ValueId, usize> = graph.inputs.iter().map(|v| (*v, bytes(v))).collect();
    let mut peak = 0usize;
    for (n, node) in graph.nodes.iter().enumerate() {
        live.extend(node.outputs.iter().map(|v| (*v, bytes(v))));
        peak = peak.max(live.values().fold(0usize, |a, b| a.saturating_add(*b)));
        release(graph, n, &mut live, &mut left);
    }
    peak
}
