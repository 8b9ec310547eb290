//! The float and the quantized network side by side, layer by layer, on a bounded set of pictures: corrections are fitted where all earlier
//! layers are quantized and corrected already, activations rounded as the integer engine rounds them. Values lie on a shelf of fixed size.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Step;
use graph::{EdgeQuantizer, Graph, NodeId, Op, ValueId};
use kernels::{Isa, Pool};
use quant::annotate::Plan;
use quant::correct::{Affine, AffineFit, Limits};
use tasks::detect::{Placement, postprocess};
use tensor::{Data, Tensor};

use super::batch_norm::{self, Norms};
use super::weights::Layer;
use super::{Rounding, agreement, patches};
use crate::control::Progress;
use crate::pictures::{Reader, input_of, spread};
use crate::side_by_side::{self, Share, Team, room, weight_bytes};
use crate::{Control, Error, Model, Result};

mod lifetime;
mod shelf;
mod survey;

use lifetime::{node_bytes, peak_bytes, release, step_bytes, uses};
use shelf::{Kept, Shelf};
pub(super) use survey::{Other, Survey};

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
    /// BatchNormalizations as they are to be; `None`: with `correction` re-estimated on the way, else the float network's.
    pub(crate) norms: Option<&'a Norms>,
    pub(crate) pool: &'a Pool,
    pub(crate) control: &'a Control,
}

/// What a run over the layers found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fitted {
    /// Signal to noise at the output of each product and re-estimated BatchNormalization, after its correction.
    pub(super) sqnr_db: BTreeMap<NodeId, f64>,
    /// BatchNormalizations that were re-estimated.
    pub(super) norms: Norms,
    /// What rounding does to each layer, where that is wanted.
    pub(super) surveys: BTreeMap<NodeId, Survey>,
    /// Mean over the outputs of Σ(y − ŷ)² / Σy².
    pub(super) output_error: f64,
    /// 0…1: how well the quantized network's detections agree with the float one's; absent for models without detections.
    pub(super) agreement: Option<f64>,
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
        batch_norm::put(&mut rounded, self.norms.unwrap_or(&Norms::new()));
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
                None if self.norms.is_some_and(|norms| norms.contains_key(&n)) => Some(
                    Step::new(&rounded, n, Isa::best())
                        .map_err(Error::from)
                        .map_err(at)?,
                ),
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
            let is_norm = self.correction && self.norms.is_none() && batch_norm::stays(graph, n);
            let refitted = is_norm || layers.contains_key(&n);
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
                    match refitted && o == 0 {
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
            if let Some(pairs) = outputs.first_mut().filter(|_| refitted) {
                let affine = fit.map(|fit| fit.solve(&limits(layers.get(&n))));
                match (layers.get_mut(&n), &affine) {
                    (Some(layer), Some(affine)) => layer.fold(affine),
                    (None, Some(affine)) => drop(fitted.norms.insert(n, affine.clone())),
                    (_, None) => {}
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

/// A BatchNormalization, which is no layer, takes every gain.
fn limits(layer: Option<&Layer>) -> Limits {
    Limits {
        fit_gain: layer.is_none_or(Layer::takes_gain),
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
