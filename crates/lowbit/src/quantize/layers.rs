//! The float and the quantized network side by side, layer by layer, on a bounded set of pictures: corrections are fitted where all earlier
//! layers are quantized and corrected already, activations rounded as the integer engine rounds them. Values lie on a shelf of fixed size.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Step;
use graph::{EdgeQuantizer, Graph, NodeId, Op, ValueId, WeightAnnotation};
use kernels::{Isa, Pool};
use quant::annotate::Plan;
use quant::correct::{Affine, AffineFit, Limits};
use quant::feedback::{self, ChannelError, Halves, Moments};
use tasks::detect::{Placement, postprocess};
use tensor::{Data, Tensor};

use super::weights::Layer;
use super::{Rounding, agreement, patches};
use crate::control::Progress;
use crate::pictures::{Reader, input_of, spread};
use crate::side_by_side::{self, Share, Team, room, weight_bytes};
use crate::{Control, Error, Model, Result};

mod lifetime;
mod shelf;

use lifetime::{node_bytes, peak_bytes, release, step_bytes, uses};
use shelf::{Kept, Shelf};

/// Bytes that the values of all pictures may take together in memory where no limit is given; the others go to a file.
const VALUES_IN_MEMORY: usize = 16 << 20;

/// Copies of the weights at a time: the file's, equalized, rounded, with their codes and errors, packed for a step.
const NETWORKS: usize = 5;

/// Copies of one step's inputs and outputs in both networks: those on the shelf's way, and its working memory.
const STEP_COPIES: usize = 2;

/// What all runs over the layers share.
pub(crate) struct Stage<'a> {
    pub(crate) model: &'a Model,
    pub(crate) edges: &'a BTreeMap<ValueId, EdgeQuantizer>,
    pub(crate) correction: bool,
    pub(crate) rounding: Rounding,
    /// Other codes of the same weights, whose errors are wanted beside those of the weights themselves.
    pub(crate) others: &'a [BTreeMap<NodeId, Layer>],
    pub(crate) pool: &'a Pool,
    pub(crate) control: &'a Control,
}

/// What a run over the layers found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fitted {
    /// Signal to noise at the output of each product, after its correction.
    pub(super) sqnr_db: BTreeMap<NodeId, f64>,
    /// What rounding does to each layer, where that is wanted.
    pub(super) surveys: BTreeMap<NodeId, Survey>,
    /// Mean over the outputs of Σ(y − ŷ)² / Σy².
    pub(super) output_error: f64,
    /// 0…1: how well the quantized network's detections agree with the float one's; absent for models without detections.
    pub(super) agreement: Option<f64>,
}

/// What rounding does to a layer in several ways.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    /// Channel by channel, as the weights are.
    pub(super) own: Vec<ChannelError>,
    /// The same with each of [`Stage::others`]; `None` where one leaves the layer out.
    pub(super) others: Vec<Option<Other>>,
}

/// Other codes of a weight, rounded like its own.
#[derive(Debug, Clone)]
pub(super) struct Other {
    pub(super) errors: Vec<ChannelError>,
    pub(super) weight: WeightAnnotation,
    /// What their mean error asks of the bias.
    pub(super) shifts: Vec<f64>,
}

impl Other {
    /// Σ(y − ŷ)² / Σy² of the layer's output.
    pub(super) fn share(&self) -> f64 {
        let sums = |s: (f64, f64), e: &ChannelError| (s.0 + e.error, s.1 + e.energy);
        match self.errors.iter().fold((0.0, 0.0), sums) {
            (error, energy) if energy > 0.0 => error / energy,
            _ => 0.0,
        }
    }
}

/// A value of one picture in both networks.
#[derive(Debug)]
struct Pair {
    float: Kept,
    quant: Kept,
}

/// Values of all pictures, by edge.
type Values = HashMap<ValueId, Vec<Pair>>;

impl<'a> Stage<'a> {
    /// Who works on it, and what may stop them.
    pub(super) fn workers(&self) -> Team<'a> {
        (self.pool, self.control)
    }

    /// The pictures that a run goes through, `most` at most, spread evenly: as many as so many bytes of values allow, whatever the memory. They lie in a
    /// file as far as `--limit-mem` or [`VALUES_IN_MEMORY`] does not hold them.
    pub(crate) fn inputs<T: Clone>(&self, pictures: &[T], (most, values): (usize, usize)) -> Result<Vec<T>> {
        let fit = (values / peak_bytes(self.model.graph()).max(1)).clamp(1, most);
        self.control.check()?;
        Ok(spread(pictures, fit))
    }

    /// Memory for values, and bytes for a layer's moments, beside the two networks and what one step works with.
    fn shelf(&self) -> Result<(Shelf, usize)> {
        let graph = self.model.graph();
        let fixed =
            (NETWORKS * weight_bytes(graph)).saturating_add(step_bytes(graph).saturating_mul(STEP_COPIES));
        self.control.admit(fixed, "correcting weights")?;
        let left = self.control.memory().map(|most| most - fixed);
        let (values, moments) = match (left, self.rounding) {
            (None, _) => (usize::MAX, usize::MAX),
            (Some(left), Rounding::Nearest) => (left, 0),
            (Some(left), Rounding::Feedback) => (left / 2, left / 2),
        };
        Ok((Shelf::new(values.min(room(VALUES_IN_MEMORY, graph))), moments))
    }

    /// Goes through all nodes; with `correction` the layers' scales and biases are refitted on the way.
    pub(super) fn run(
        &self,
        plan: &Plan,
        layers: &mut BTreeMap<NodeId, Layer>,
        pictures: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<Fitted> {
        let mut reader = Reader::new(self.control);
        let mut input = |picture: usize| {
            let (_, tensor) = input_of(self.model, &mut reader, &pictures[picture])?;
            Ok(tensor)
        };
        self.run_on(plan, layers, pictures.len(), &mut input, progress)
    }

    /// As [`run`](Self::run), on so many inputs of the network.
    pub(crate) fn run_on(
        &self,
        plan: &Plan,
        layers: &mut BTreeMap<NodeId, Layer>,
        pictures: usize,
        input: &mut dyn FnMut(usize) -> Result<Tensor>,
        progress: &mut dyn Progress,
    ) -> Result<Fitted> {
        debug_assert_eq!(plan.weights.len(), layers.len());
        let graph = self.model.graph();
        // The network with the weights as they will be stored.
        let mut rounded = graph.clone();
        let (mut shelf, most_moments) = self.shelf()?;
        let mut values = self.start(pictures, input, &mut shelf)?;
        let shelf = Mutex::new(shelf);
        let mut left = uses(graph);
        let mut fitted = Fitted::default();
        for (n, node) in graph.nodes.iter().enumerate() {
            progress.at("correct", n, graph.nodes.len());
            let at = |e: Error| e.at(format!("node \"{}\"", node.name));
            let plain = Step::new(graph, n, Isa::best())
                .map_err(Error::from)
                .map_err(at)?;
            let quantized = match layers.get_mut(&n) {
                Some(layer) => {
                    if self.rounding == Rounding::Feedback {
                        let survey = self.feed_back(n, layer, &values, &shelf, most_moments)?;
                        fitted.surveys.extend(survey.map(|s| (n, s)));
                    }
                    layer.put_into(&mut rounded).map_err(at)?;
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
            let share = Share::of(node_bytes(graph, node).saturating_mul(STEP_COPIES), graph);
            let is_layer = layers.contains_key(&n);
            let step = |picture: usize| -> Result<(Vec<Pair>, Option<AffineFit>)> {
                self.control.check()?;
                let run = |step: &Step, of: fn(&Pair) -> &Kept| {
                    let input = |v: &ValueId| {
                        let pair = values.get(v).and_then(|all| all.get(picture));
                        let pair = pair.ok_or_else(|| at(Error::bad("an input was never computed")))?;
                        look(&shelf, of(pair))
                    };
                    let inputs = reads
                        .iter()
                        .map(input)
                        .collect::<Result<Vec<Cow<'_, Tensor>>>>()?;
                    let inputs: Vec<&Tensor> = inputs.iter().map(|t| &**t).collect();
                    step.run(self.pool, &inputs).map_err(Error::from).map_err(at)
                };
                let floats = run(&plain, |pair| &pair.float)?;
                let quants = run(quantized.as_ref().unwrap_or(&plain), |pair| &pair.quant)?;
                let (mut pairs, mut fit) = (Vec::new(), None);
                for (o, (float, mut quant)) in floats.into_iter().zip(quants).enumerate() {
                    match is_layer && o == 0 {
                        // Rounded once its correction is known.
                        true if self.correction => fit = observe(&node.op, &float, &quant),
                        true => {}
                        false => self.round(node.outputs[o], &mut quant),
                    }
                    let mut shelf = lock(&shelf);
                    pairs.push(Pair {
                        float: shelf.keep(float)?,
                        quant: shelf.keep(quant)?,
                    });
                }
                Ok((pairs, fit))
            };
            let mut outputs: Vec<Vec<Pair>> = node.outputs.iter().map(|_| Vec::new()).collect();
            let mut fit: Option<AffineFit> = None;
            for (pairs, of_picture) in side_by_side::map(self.pool, self.control, share, pictures, &step)? {
                outputs
                    .iter_mut()
                    .zip(pairs)
                    .for_each(|(all, pair)| all.push(pair));
                match (&mut fit, of_picture) {
                    (Some(fit), Some(more)) => fit.merge(&more),
                    (fit, more) => *fit = fit.take().or(more),
                }
            }
            if let (Some(layer), Some(pairs)) = (layers.get_mut(&n), outputs.first_mut()) {
                let affine = fit.map(|fit| fit.solve(&limits(layer)));
                if let Some(affine) = &affine {
                    layer.fold(affine);
                }
                let finish = |_, pair: &mut Pair| {
                    let placeholder = Kept::Here(Tensor::scalar(0f32));
                    let kept = std::mem::replace(&mut pair.quant, placeholder);
                    let mut quant = lock(&shelf).take(kept)?;
                    if let Some(affine) = &affine {
                        apply(affine, AXIS, &mut quant);
                    }
                    let mut squares = (0f64, 0f64);
                    add_squares(&mut squares, &*look(&shelf, &pair.float)?, &quant);
                    self.round(node.outputs[0], &mut quant);
                    pair.quant = lock(&shelf).keep(quant)?;
                    Ok(squares)
                };
                let squares = side_by_side::change(self.pool, self.control, share, pairs, &finish)?;
                let sum = squares.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                fitted.sqnr_db.insert(n, sqnr(sum));
            }
            values.extend(node.outputs.iter().copied().zip(outputs));
            let mut shelf = lock(&shelf);
            for pair in release(graph, n, &mut values, &mut left).into_iter().flatten() {
                shelf.give_back(pair.float);
                shelf.give_back(pair.quant);
            }
        }
        progress.at("correct", graph.nodes.len(), graph.nodes.len());
        let shelf = shelf.into_inner().unwrap_or_else(PoisonError::into_inner);
        fitted.output_error = output_error(graph, &values, &shelf)?;
        fitted.agreement = self.agreement(&values, pictures, &shelf)?;
        Ok(fitted)
    }

    /// Rounds a layer's weights again, so that they answer for the errors in what the quantized network gives it, and with error feedback. A layer
    /// whose moments do not fit into the memory keeps the nearest levels. Gives the survey where [`Stage::others`] are wanted.
    fn feed_back(
        &self,
        n: NodeId,
        layer: &mut Layer,
        values: &Values,
        shelf: &Mutex<Shelf>,
        most_bytes: usize,
    ) -> Result<Option<Survey>> {
        let node = &self.model.graph().nodes[n];
        let shape = layer.weight.shape.clone();
        let transposed = matches!(node.op, Op::Gemm { .. }) && layer.weight.axis != 0;
        let float = self.model.graph().constants.get(&layer.task.weight);
        let float = float.and_then(Tensor::as_f32);
        let (Some(groups), Some(float), false) = (
            patches::moments(&node.op, &shape, most_bytes),
            float,
            transposed || layer.stored_once,
        ) else {
            return Ok(None);
        };
        let inputs = values.get(&layer.task.input).map_or(&[][..], Vec::as_slice);
        let add = |half: usize, moments: &mut Vec<Moments>| {
            for (picture, pair) in inputs.iter().enumerate().skip(half).step_by(2) {
                self.control.check()?;
                let (quant, plain) = (look(shelf, &pair.quant)?, look(shelf, &pair.float)?);
                let at = (picture, inputs.len());
                patches::add(moments, &node.op, &shape, [&*quant, &*plain], at, self.pool);
            }
            let product = |size: [usize; 3], a: &[f32], b: &[f32]| patches::product(self.pool, size, a, b);
            let each = float.len() / moments.len().max(1);
            for (moments, weights) in moments.iter_mut().zip(float.chunks(each.max(1))) {
                moments.weighted(weights, &product);
            }
            if self.correction {
                moments.iter_mut().for_each(Moments::centre);
            }
            Ok(())
        };
        let (a, b): (Vec<Moments>, Vec<Moments>) = groups.into_iter().map(|[a, b]| (a, b)).unzip();
        let share = Share::of(node_bytes(self.model.graph(), node), self.model.graph());
        let mut halves = [a, b];
        side_by_side::change(self.pool, self.control, share, &mut halves, &add)?;
        let [a, b] = halves;
        let groups: Vec<Halves> = a.into_iter().zip(b).map(|(a, b)| [a, b]).collect();
        let workers: feedback::Workers<'_> = &|count, work| self.pool.run(count, work);
        let own = feedback::round(&mut layer.weight, float, &groups, layer.scales, workers);
        if self.others.is_empty() || own.is_empty() {
            return Ok(None);
        }
        let other = |all: &BTreeMap<NodeId, Layer>| {
            let layer = all.get(&n)?;
            let mut weight = layer.weight.clone();
            let errors = feedback::round(&mut weight, float, &groups, layer.scales, workers);
            let shifts = feedback::shifts(&weight, float, &groups);
            Some(Other {
                errors,
                weight,
                shifts,
            })
        };
        let one = |i: usize| Ok(other(&self.others[i]));
        let others = side_by_side::map(self.pool, self.control, Share::NOTHING, self.others.len(), &one)?;
        Ok(Some(Survey { own, others }))
    }

    /// Decodes both networks' outputs and compares the boxes; `None` for models without detections.
    fn agreement(&self, values: &Values, pictures: usize, shelf: &Shelf) -> Result<Option<f64>> {
        let Ok(head) = self.model.detector_head() else {
            return Ok(None);
        };
        let graph = self.model.graph();
        let placement = Placement::identity(head.input.width, head.input.height);
        let mut total = agreement::Agreement::default();
        for picture in 0..pictures {
            let boxes = |of: fn(&Pair) -> &Kept| -> Result<_> {
                let mut outputs = Vec::new();
                for v in &graph.outputs {
                    if let Some(pair) = values.get(v).and_then(|all| all.get(picture)) {
                        outputs.push((graph.value(*v).name.as_str(), shelf.look(of(pair))?));
                    }
                }
                let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (*n, &**t)).collect();
                Ok(postprocess(head, &outputs, 0, &placement, &agreement::BOXES).ok())
            };
            let (Some(float), Some(quant)) = (boxes(|p| &p.float)?, boxes(|p| &p.quant)?) else {
                return Ok(None);
            };
            total.add(&float, &quant);
        }
        Ok(total.value())
    }

    fn start(
        &self,
        pictures: usize,
        input: &mut dyn FnMut(usize) -> Result<Tensor>,
        shelf: &mut Shelf,
    ) -> Result<Values> {
        let mut values = Values::new();
        let Some(v) = self.model.graph().find(&self.model.head()?.input.name) else {
            return Ok(values);
        };
        for picture in 0..pictures {
            let float = input(picture)?;
            let mut quant = float.clone();
            self.round(v, &mut quant);
            values.entry(v).or_default().push(Pair {
                float: shelf.keep(float)?,
                quant: shelf.keep(quant)?,
            });
        }
        Ok(values)
    }

    /// The value after a trip through the edge's codes.
    fn round(&self, v: ValueId, tensor: &mut Tensor) {
        if let (Some(edge), Data::F32(values)) = (self.edges.get(&v), tensor.data_mut()) {
            let edge = kernels::int::Edge {
                scale: edge.scale,
                zero: edge.zero_point,
                hi: edge.max_code(),
            };
            let mut codes = vec![0; values.len()];
            kernels::int::quantize(self.pool, Isa::best(), edge, values, &mut codes);
            kernels::int::dequantize(self.pool, Isa::best(), edge, &codes, values);
        }
    }
}

/// Axis of the channels in a product's output.
const AXIS: usize = 1;

/// A picture's part of the fit of y_float ≈ g·y_quant + b for each channel.
fn observe(op: &Op, float: &Tensor, quant: &Tensor) -> Option<AffineFit> {
    // MatMul has no place for a bias.
    if matches!(op, Op::MatMul) {
        return None;
    }
    let mut fit = AffineFit::new(*float.shape().get(AXIS)?);
    fit.add(float.shape(), AXIS, float.as_f32()?, quant.as_f32()?);
    Some(fit)
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tensor that stays where it is; what lies in memory is lent, whoever works with the shelf.
fn look<'k>(shelf: &Mutex<Shelf>, kept: &'k Kept) -> Result<Cow<'k, Tensor>> {
    match kept {
        Kept::Here(tensor) => Ok(Cow::Borrowed(tensor)),
        Kept::There { .. } => lock(shelf).look(kept),
    }
}

fn limits(layer: &Layer) -> Limits {
    Limits {
        fit_gain: layer.takes_gain(),
        ..Limits::default()
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

/// Adds Σ y² and Σ (y − ŷ)² of a picture.
pub(super) fn add_squares((signal, noise): &mut (f64, f64), float: &Tensor, quant: &Tensor) {
    if let (Some(float), Some(quant)) = (float.as_f32(), quant.as_f32()) {
        for (&f, &q) in float.iter().zip(quant) {
            let (f, d) = (f64::from(f), f64::from(f) - f64::from(q));
            *signal += f * f;
            *noise += d * d;
        }
    }
}

fn sqnr((signal, noise): (f64, f64)) -> f64 {
    // Equal values have no noise: 200 dB is beyond f32.
    (10.0 * (signal.max(f64::MIN_POSITIVE) / noise.max(f64::MIN_POSITIVE)).log10()).clamp(-200.0, 200.0)
}

fn output_error(graph: &Graph, values: &Values, shelf: &Shelf) -> Result<f64> {
    let mut outputs = Vec::new();
    for pairs in graph.outputs.iter().filter_map(|v| values.get(v)) {
        let mut squares = (0f64, 0f64);
        for pair in pairs {
            add_squares(
                &mut squares,
                &*shelf.look(&pair.float)?,
                &*shelf.look(&pair.quant)?,
            );
        }
        outputs.push(squares);
    }
    Ok(relative(&outputs))
}

/// Mean over the outputs of Σ (y − ŷ)² / Σ y², from those sums.
pub(super) fn relative(outputs: &[(f64, f64)]) -> f64 {
    let errors = outputs.iter().filter(|s| s.0 > 0.0).map(|s| s.1 / s.0);
    let count = errors.clone().count();
    errors.sum::<f64>() / count.max(1) as f64
}
