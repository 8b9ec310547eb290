//! Reconstruction: after the layers were fitted one by one, the trainer's program runs the quantized network beside the float one and moves gains and biases of all channels,
//! where that is asked for codes, too ([`train::method::adaround`]), so that the values where branches meet and the outputs follow the float network's (BRECQ: Li et al.,
//! arXiv 2102.05426; here all blocks at once, each with the error that the blocks before it leave, from the codes that error feedback chose).
//!
//! ```text
//! minimize over gains g, biases b (codes):  Σ over outputs, weighted by what the float network sees  +  3 · Σ over blocks ‖f − f̂‖² / ‖f‖²
//! ```
//! Every eighth picture is kept apart: the result counts only if detections on those agree better than before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use graph::{Binary, EdgeQuantizer, Graph, NodeId, Op, Unary, ValueId};
use kernels::Isa;
use tensor::Tensor;
use train::exchange::Ranks;
use train::exec::{Cpu, Exec, Mode};
use train::loss::Output;
use train::loss::distill::{Distill, Measure};
use train::method::WeightMethod;
use train::method::adaround::AdaRound;
use train::method::gains::Gains;
use train::method::offset::Offset;
use train::optimizer::Optimizer;
use train::optimizer::adamw::AdamW;
use train::optimizer::schedule::{Schedule, Shape};
use train::program::{
    BatchNormMode, FakeQuantizer, Parameter, ParameterKind, Program, ProgramOptions, QuantizerGradient,
    Rounding,
};
use train::trainer::{Deployed, Settings, TrainError, Trainer};

use super::batch_norm::Norms;
use super::prepared::{Prepared, Way};
use super::trial::{Ground, Network};
use super::weights::Layer;
use super::{Learn, Learned};
use crate::control::Progress;
use crate::pictures::{Reader, input_of};
use crate::side_by_side::Team;
use crate::{Error, Result};

/// Updates, and pictures of each: three times as many, three times as far, agreed no better on pictures that were kept apart.
const STEPS: u64 = 60;

/// Updates where codes are learned, too: they have to get past the middle, and back to a level.
const CODE_STEPS: u64 = 240;

const BATCH: usize = 8;

/// A step of Adam, in units of gains and biases.
const RATE: f64 = 0.01;

/// Unit of a bias, relative to the root mean square of its layer's.
const UNIT: f64 = 0.05;

/// One in so many pictures judges.
const JUDGES: usize = 8;

/// Gains of the outputs' and of the blocks' errors.
const GAINS: [f64; 2] = [1.0, 3.0];

/// Moves the layers' scales and biases, where that helps; `None` for networks that have no training program.
pub(super) fn run(
    prepared: &Prepared<'_>,
    way: &Way,
    layers: &mut BTreeMap<NodeId, Layer>,
    norms: &Norms,
    progress: &mut dyn Progress,
) -> Result<Option<Learned>> {
    let judges = |judges: bool| -> Vec<PathBuf> {
        let all = prepared.pictures.iter().enumerate();
        all.filter(|(i, _)| (i % JUDGES == JUDGES - 1) == judges)
            .map(|(_, path)| path.clone())
            .collect()
    };
    let (pictures, judges) = (judges(false), judges(true));
    if judges.is_empty() {
        return Ok(None);
    }
    let graph = |layers: &BTreeMap<NodeId, Layer>| prepared.annotated(way, layers, norms);
    let before = graph(layers);
    let Some(moved) = learned(prepared, &before, layers, &pictures, progress)? else {
        return Ok(None);
    };
    let ground = Ground {
        float: &prepared.setting.model,
        pictures: &judges,
        pool: &prepared.pool,
        control: &prepared.options.control,
    };
    let networks = [Fixed(before), Fixed(graph(&moved))];
    let trials = ground.run("judge reconstruction", &networks, progress)?;
    let kept = trials[1].harm() < trials[0].harm();
    let changed = |(a, b): (&Layer, &Layer)| -> usize {
        let points = a.weight.points.iter().zip(&b.weight.points);
        let pairs = points.flat_map(|(a, b)| a.codes.iter().zip(&b.codes));
        pairs.filter(|(a, b)| a != b).count()
    };
    let codes_changed = layers.values().zip(moved.values()).map(changed).sum();
    if kept {
        *layers = moved;
    }
    Ok(Some(Learned {
        what: prepared.options.learn(),
        codes_changed,
        agreement: [trials[0].agreement, trials[1].agreement],
        output_error: [trials[0].output_error, trials[1].output_error],
        kept,
    }))
}

struct Fixed(Graph);

impl Network for Fixed {
    fn graph(&self, _: Team<'_>) -> Result<Graph> {
        Ok(self.0.clone())
    }
}

/// The layers after training.
fn learned(
    prepared: &Prepared<'_>,
    low: &Graph,
    layers: &BTreeMap<NodeId, Layer>,
    pictures: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<Option<BTreeMap<NodeId, Layer>>> {
    let (model, control) = (&prepared.setting.model, &prepared.options.control);
    let float = prepared.graph();
    let Ok(head) = model.head() else { return Ok(None) };
    let batch = BATCH.min(pictures.len());
    let loss = Distill::new(head, blocks(float), GAINS, Measure::Squares);
    let options = ProgramOptions {
        batch_norm: BatchNormMode::Frozen,
        outputs: loss.names(),
        ..ProgramOptions::new(batch)
    };
    let student = ProgramOptions {
        quantizers: quantizers(float, &prepared.calibrated.edges),
        ..options.clone()
    };
    let programs = (
        Program::new(float, &options),
        Program::new(&decoded(low), &student),
    );
    let (teacher, student) = match programs {
        (Ok(teacher), Ok(student)) => (teacher, student),
        (Err(e), _) | (_, Err(e)) => {
            progress.note(&format!("nothing is learned over the network: {e}"));
            return Ok(None);
        }
    };
    let bytes = student.arena_bytes().saturating_add(teacher.arena_bytes());
    control.admit(bytes, "reconstruction")?;
    let ports = student.outputs().to_vec();
    let mut parameters = student.parameters().to_vec();
    let learn = prepared.options.learn();
    let steps = if learn == Learn::Codes { CODE_STEPS } else { STEPS };
    // What codes round; with gains alone they stay.
    let rounded = (learn == Learn::Codes).then_some(float);
    let methods = methods((low, rounded), layers, &mut parameters);
    let cpu = |program| Cpu::new(program, prepared.pool.clone(), Isa::best()).map_err(fault);
    let mut teacher = cpu(teacher)?;
    let settings = Settings {
        steps,
        optimizer: Optimizer::AdamW(AdamW::default()),
        schedule: Schedule {
            base: RATE,
            warmup: steps / 20,
            shape: Shape::Cosine { end: 0.05 },
        },
        decay: 0.0,
        clip: 0.0,
        relative: false,
        ema: None,
        train_affine: true,
        frozen_from: u64::MAX,
    };
    let exec = Box::new(cpu(student)?);
    let mut trainer = Trainer::new(exec, &parameters, &ports, settings, methods, &BTreeMap::new());
    let (ranks, mut reader) = (Ranks::default(), Reader::new(control));
    let mut wanted: Vec<Vec<f32>> = Vec::new();
    for step in 0..steps {
        progress.at("reconstruct", step as usize, steps as usize);
        control.check()?;
        let mut input = Vec::new();
        for k in 0..batch {
            let at = (step as usize * batch + k) % pictures.len();
            let (_, tensor) = input_of(model, &mut reader, &pictures[at])?;
            input.extend_from_slice(tensor.as_f32().unwrap_or_default());
        }
        teacher
            .forward(&[&input], Mode::Evaluate, &mut wanted)
            .map_err(fault)?;
        let mut objective = |outputs: &[Output], gradients: &mut Vec<Vec<f32>>| {
            let wanted = ports.iter().zip(&wanted).map(|(port, values)| Output {
                name: &port.name,
                shape: &port.shape,
                values,
            });
            Ok(loss.evaluate(outputs, &wanted.collect::<Vec<_>>(), &ranks, gradients)?)
        };
        match trainer.step(&[&input], &mut objective) {
            Ok(_) => {}
            Err(TrainError::Diverged { .. }) => return Ok(None),
            Err(e) => return Err(fault(e)),
        }
    }
    progress.at("reconstruct", steps as usize, steps as usize);
    let found = trainer.deploy(&[]).map_err(fault)?;
    let mut moved = layers.clone();
    for (&n, layer) in &mut moved {
        take(low, n, layer, &found);
    }
    Ok(Some(moved))
}

/// Scales and bias of a layer from what was trained.
fn take(low: &Graph, n: NodeId, layer: &mut Layer, found: &[Deployed]) {
    let of = |input: usize| {
        let v = low.nodes[n].inputs.get(input).copied().flatten()?;
        let name = &low.value(v).name;
        found.iter().find(|d| d.parameter.name == *name)
    };
    if let Some(weight) = of(1).and_then(|d| d.annotation.clone()) {
        layer.weight = weight;
    }
    if let (Some(bias), Some(found)) = (&mut layer.bias, of(2)) {
        bias.clone_from(&found.values);
    }
}

/// What each parameter may do: gains and biases of layers move, the codes too where the float network that they round is given; all else stays.
fn methods(
    (low, float): (&Graph, Option<&Graph>),
    layers: &BTreeMap<NodeId, Layer>,
    parameters: &mut [Parameter],
) -> BTreeMap<String, Box<dyn WeightMethod>> {
    let mut methods: BTreeMap<String, Box<dyn WeightMethod>> = BTreeMap::new();
    let nodes: BTreeMap<&str, NodeId> = (low.nodes.iter().enumerate())
        .map(|(n, node)| (node.name.as_str(), n))
        .collect();
    for p in parameters {
        let layer = |node: &str| layers.get(nodes.get(node)?).filter(|l| !l.stored_once);
        let method: Box<dyn WeightMethod> = match &p.kind {
            ParameterKind::Bias { node } if layer(node).is_some() => {
                let squares: f64 = p.initial.iter().map(|b| f64::from(*b).powi(2)).sum();
                let size = (squares / p.len().max(1) as f64).sqrt();
                Box::new(Offset::new((UNIT * size) as f32, &mut p.initial))
            }
            ParameterKind::Weight { node } => match layer(node).filter(|l| l.takes_gain()) {
                Some(layer) => {
                    let float = float.and_then(|g| g.constants.get(&layer.task.weight)?.as_f32());
                    let codes = float.and_then(|w| AdaRound::new(&layer.weight, w, &mut p.initial));
                    match codes {
                        Some(codes) => Box::new(codes),
                        None => Box::new(Gains::new(&layer.weight)),
                    }
                }
                None => Box::new(Offset::held(&mut p.initial)),
            },
            _ => Box::new(Offset::held(&mut p.initial)),
        };
        methods.insert(p.name.clone(), method);
    }
    methods
}

/// The network with its weights as numbers.
fn decoded(low: &Graph) -> Graph {
    let mut graph = low.clone();
    for (v, weight) in std::mem::take(&mut graph.weights) {
        if let Ok(tensor) = Tensor::new(weight.shape.clone(), weight.decode()) {
            graph.constants.insert(v, tensor);
        }
    }
    graph.edges.clear();
    graph
}

/// Names of the values where branches meet: what sums and concatenations of pictures give.
fn blocks(graph: &Graph) -> Vec<String> {
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    let is_map = |v: ValueId| graph.value(v).shape.as_ref().is_some_and(|s| s.len() == 4);
    let meets = |op: &Op| matches!(op, Op::Concat { .. } | Op::Binary(Binary::Add));
    let varying = |n: &graph::Node| n.inputs.iter().flatten().all(|v| !graph.is_constant(*v));
    (graph.nodes.iter())
        .filter(|n| meets(&n.op) && varying(n) && is_map(n.outputs[0]) && !outputs.contains(&n.outputs[0]))
        .map(|n| graph.value(n.outputs[0]).name.clone())
        .collect()
}

/// Edges that carry codes, as the trainer rounds them. One before a clamp that has the same quantizer is left out: the clamp's own does the same.
fn quantizers(graph: &Graph, edges: &BTreeMap<ValueId, EdgeQuantizer>) -> Vec<FakeQuantizer> {
    let consumers = graph.consumers();
    let clamped = |v: &ValueId, q: &EdgeQuantizer| match consumers.get(v).map(Vec::as_slice) {
        Some([n]) if !graph.outputs.contains(v) => {
            let node = &graph.nodes[*n];
            let clamp = matches!(node.op, Op::Unary(Unary::Relu) | Op::Clip);
            clamp && edges.get(&node.outputs[0]) == Some(q)
        }
        _ => false,
    };
    (edges.iter())
        .filter(|(v, q)| !clamped(v, q))
        .map(|(v, q)| FakeQuantizer {
            edge: graph.value(*v).name.clone(),
            bits: q.bits,
            step: q.scale,
            zero_point: q.zero_point,
            rounding: Rounding::Nearest,
            gradient: QuantizerGradient::Fixed,
            step_of: None,
        })
        .collect()
}

fn fault(e: impl std::fmt::Display) -> Error {
    Error::bad(e.to_string()).help("take --effort good, which leaves this out")
}
