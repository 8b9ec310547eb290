//! One step after the other: project, forward, loss, backward, update. Knows neither files nor pictures.
//!
//! ```text
//! for every parameter W with a weight method:  Ŵ ← project(W), into the executor
//! forward; (loss, gradients of the outputs) ← objective(outputs); backward; loss and gradients summed over the ranks
//! g ← method's rule; all gradients clipped by their common norm; W ← optimizer; averages
//! ```
//! All that follows the sums is the same on every rank.

mod state;

use std::collections::BTreeMap;

use graph::WeightAnnotation;

use crate::checkpoint::CheckpointError;
use crate::dropout::Dropout;
use crate::exchange::{ExchangeError, Ranks};
use crate::exec::{Exec, ExecError, Mode};
use crate::loss::{LossError, LossParts, Output};
use crate::method::{Progress, WeightMethod, activation};
use crate::optimizer::ema::Ema;
use crate::optimizer::groups::{Group, rms};
use crate::optimizer::schedule::Schedule;
use crate::optimizer::{Optimizer, State, clip};
use crate::program::{Parameter, ParameterKind, Port};

/// How the step of an activation's quantizer moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepRule {
    /// It stays.
    Fixed,
    /// LSQ: the gradient times 1/√(N·K), N the elements of the value, K its largest code.
    Lsq {
        /// That factor.
        scale: f32,
    },
    /// The end K·s of the range moves instead of s: LSQ's gradient, the rate divided by K.
    Range {
        /// 1/√(N·K).
        scale: f32,
        /// K, the largest code.
        top: f32,
    },
    /// BCGD: clip(r·g, −1, 1), weight decay as of weights, the step kept in 1e-3 … 5.
    Bcgd {
        /// r, published 0.01.
        factor: f32,
    },
}

/// Settings of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Steps of the whole run.
    pub steps: u64,
    /// Update rule.
    pub optimizer: Optimizer,
    /// Rate over the run.
    pub schedule: Schedule,
    /// Weight decay of weights, and of BCGD's steps; nothing else decays.
    pub decay: f32,
    /// Largest norm of all gradients together; 0 does not clip.
    pub clip: f64,
    /// The rate of a tensor is multiplied by its root mean square at the start.
    pub relative: bool,
    /// Averaged weights for evaluation and export.
    pub ema: Option<Ema>,
    /// Scales and shifts of BatchNorm and biases are trained.
    pub train_affine: bool,
    /// Step from which statistics of BatchNorm stay: what is trained from there on is what is exported. `steps` or more: never.
    pub frozen_from: u64,
}

/// Smallest root mean square that a relative rate takes: for biases that start at zero.
const RMS_FLOOR: f32 = 0.01;

/// Thresholds of neurons stay above 0.
const LEAST_THRESHOLD: f32 = 1e-3;

/// A loss this many times the median of the last ones, for [`PATIENCE`] steps on end, is a run that has left for good. The first ones tell less: of
/// them it must be [`EARLY`] times the median.
const DIVERGED: f64 = 50.0;
const EARLY: f64 = 1000.0;
const PATIENCE: u32 = 10;
const WINDOW: usize = 50;

/// Why a run stopped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TrainError {
    #[error("step {step}: {what}; {advice}")]
    Diverged {
        step: u64,
        what: String,
        advice: &'static str,
    },
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Loss(#[from] LossError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

const ADVICE: &str = "lower the rate (--set optimizer.rate=…), clip gradients (--set optimizer.clip=1), lengthen the warm-up, \
                      or freeze BatchNorm statistics, and --resume from the last checkpoint or start anew";

/// One step's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Counted from 0.
    pub step: u64,
    /// The loss.
    pub loss: LossParts,
    /// The schedule's rate.
    pub rate: f64,
    /// Norm of all gradients before clipping.
    pub norm: f64,
}

/// Loss of the raw outputs, this rank's part of it; writes their gradients, one vector each.
pub type Objective<'a> = dyn FnMut(&[Output], &mut Vec<Vec<f32>>) -> Result<LossParts, TrainError> + 'a;

/// A trained tensor.
struct Trained {
    parameter: Parameter,
    index: usize,
    group: Group,
    /// What the optimizer moves: shadow weights.
    values: Vec<f32>,
    state: State,
    method: Option<Box<dyn WeightMethod>>,
    projected: Vec<f32>,
    learned: State,
    average: Vec<f32>,
    step_rule: StepRule,
    /// Factor of the rate.
    size: f32,
    frozen: bool,
}

/// A parameter as it is exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// As in the program.
    pub parameter: Parameter,
    /// What evaluation runs with: projected where there is a method.
    pub values: Vec<f32>,
    /// Codes and scales of a quantized weight.
    pub annotation: Option<WeightAnnotation>,
}

/// A run.
pub struct Trainer {
    exec: Box<dyn Exec>,
    ranks: Ranks,
    dropout: Dropout,
    outputs: Vec<Port>,
    trained: Vec<Trained>,
    /// Running statistics: index and parameter.
    running: Vec<(usize, Parameter)>,
    settings: Settings,
    step: u64,
    recent: Vec<f64>,
    bad: u32,
    raw: Vec<Vec<f32>>,
    output_gradients: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    /// What is exchanged in one piece.
    together: Vec<f32>,
}

impl Trainer {
    /// A run at its start. `methods` are by the name of the weight, `steps` by that of the step; others are trained in float, and stay.
    pub fn new(
        exec: Box<dyn Exec>,
        parameters: &[Parameter],
        outputs: &[Port],
        settings: Settings,
        mut methods: BTreeMap<String, Box<dyn WeightMethod>>,
        steps: &BTreeMap<String, StepRule>,
    ) -> Self {
        let (mut trained, mut running) = (Vec::new(), Vec::new());
        for (index, parameter) in parameters.iter().enumerate() {
            if !parameter.kind.has_gradient() {
                running.push((index, parameter.clone()));
                continue;
            }
            let group = match parameter.kind {
                ParameterKind::Weight { .. } => Group::Weight,
                ParameterKind::Step { .. } => Group::Step,
                _ => Group::Affine,
            };
            let step_rule = steps.get(&parameter.name).copied().unwrap_or(StepRule::Fixed);
            let frozen = match group {
                Group::Weight => false,
                Group::Affine => !settings.train_affine,
                Group::Step => step_rule == StepRule::Fixed,
            };
            trained.push(Trained {
                index,
                group,
                values: parameter.initial.clone(),
                state: State::default(),
                method: methods.remove(&parameter.name),
                projected: vec![0.0; parameter.len()],
                learned: State::default(),
                average: Vec::new(),
                step_rule,
                size: match step_rule {
                    StepRule::Range { top, .. } => 1.0 / top,
                    _ if settings.relative => rms(&parameter.initial, RMS_FLOOR),
                    _ => 1.0,
                },
                frozen,
                parameter: parameter.clone(),
            });
        }
        Trainer {
            exec,
            ranks: Ranks::default(),
            dropout: Dropout::default(),
            outputs: outputs.to_vec(),
            gradients: trained.iter().map(|t| vec![0.0; t.values.len()]).collect(),
            trained,
            running,
            settings,
            step: 0,
            recent: Vec::new(),
            bad: 0,
            raw: Vec::new(),
            output_gradients: Vec::new(),
            together: Vec::new(),
        }
    }

    /// One of several that train together, each on its share of the batches. All are at the same step of the same run.
    pub fn shared(mut self, ranks: &Ranks) -> Self {
        self.ranks = ranks.clone();
        self
    }

    /// With masks behind the inputs of every step.
    pub fn dropping(mut self, dropout: Dropout) -> Self {
        self.dropout = dropout;
        self
    }

    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.step >= self.settings.steps
    }

    /// Raw outputs of a batch, with the masks as they are.
    fn forward(&mut self, inputs: &[&[f32]], mode: Mode) -> Result<(), ExecError> {
        let inputs: Vec<&[f32]> = inputs.iter().copied().chain(self.dropout.masks()).collect();
        self.exec.forward(&inputs, mode, &mut self.raw)
    }

    fn progress(&self) -> Progress {
        Progress {
            step: self.step,
            steps: self.settings.steps,
        }
    }

    /// Puts the current weights, projected, into the executor.
    fn load(&mut self, averaged: bool) -> Result<(), TrainError> {
        let progress = self.progress();
        for t in &mut self.trained {
            let values = match averaged && !t.average.is_empty() {
                true => &t.average,
                false => &t.values,
            };
            let Some(method) = &mut t.method else {
                self.exec.set_parameter(t.index, values)?;
                continue;
            };
            let name = &t.parameter.name;
            method
                .project(values, &progress, &mut t.projected)
                .map_err(|e| TrainError::Diverged {
                    step: progress.step,
                    what: format!("weight \"{name}\": {e}"),
                    advice: ADVICE,
                })?;
            self.exec.set_parameter(t.index, &t.projected)?;
        }
        Ok(())
    }

    /// One step on a batch. `objective` gets the raw outputs and writes their gradients.
    ///
    /// # Errors
    /// A run that has diverged, with advice; what the objective says.
    pub fn step(&mut self, inputs: &[&[f32]], objective: &mut Objective) -> Result<StepReport, TrainError> {
        self.load(false)?;
        self.dropout.draw(self.step);
        let mode = match self.step >= self.settings.frozen_from {
            true => Mode::TrainFrozen,
            false => Mode::Train,
        };
        self.forward(inputs, mode)?;
        let outputs = named(&self.outputs, &self.raw);
        let mut loss = objective(&outputs, &mut self.output_gradients)?;
        self.sum_loss(&mut loss)?;
        self.watch(loss.total())?;
        self.exec.backward(&self.output_gradients)?;
        for (t, g) in self.trained.iter().zip(&mut self.gradients) {
            match t.frozen {
                true => g.fill(0.0),
                false => self.exec.gradient(t.index, g)?,
            }
        }
        self.sum_gradients()?;
        for (t, g) in self.trained.iter_mut().zip(&mut self.gradients) {
            if t.frozen {
                continue;
            }
            if let Some(method) = &mut t.method {
                method.gradient(&t.values, &t.projected, g);
            }
            for g in g.iter_mut() {
                match t.step_rule {
                    StepRule::Fixed => {}
                    StepRule::Lsq { scale } | StepRule::Range { scale, .. } => *g *= scale,
                    StepRule::Bcgd { factor } => *g = activation::bcgd_step_gradient(*g, factor),
                }
            }
        }
        let norm = clip::norm(self.gradients.iter().map(Vec::as_slice));
        if !norm.is_finite() {
            return Err(self.diverged("the gradients are no longer finite".into()));
        }
        let rate = self.settings.schedule.rate(self.step, self.settings.steps);
        self.update(norm, rate);
        let report = StepReport {
            step: self.step,
            loss,
            rate,
            norm,
        };
        self.step += 1;
        Ok(report)
    }

    fn sum_loss(&self, loss: &mut LossParts) -> Result<(), TrainError> {
        let mut values: Vec<f64> = loss.parts.iter().map(|p| p.1).collect();
        self.ranks.sum_wide(&mut values)?;
        for (part, value) in loss.parts.iter_mut().zip(values) {
            part.1 = value;
        }
        Ok(())
    }

    /// Gradients become those of all ranks, running statistics their mean.
    fn sum_gradients(&mut self) -> Result<(), TrainError> {
        if self.ranks.size() == 1 {
            return Ok(());
        }
        self.together.clear();
        let moving = |t: &Trained| !t.frozen;
        for (_, g) in self
            .trained
            .iter()
            .zip(&self.gradients)
            .filter(|(t, _)| moving(t))
        {
            self.together.extend_from_slice(g);
        }
        self.ranks.sum(&mut self.together)?;
        let mut rest = self.together.as_slice();
        for (_, g) in (self.trained.iter().zip(&mut self.gradients)).filter(|(t, _)| moving(t)) {
            let (mine, others) = rest.split_at(g.len());
            g.copy_from_slice(mine);
            rest = others;
        }
        self.share_statistics()
    }

    fn share_statistics(&mut self) -> Result<(), TrainError> {
        let mut all: Vec<f32> = Vec::new();
        for (index, parameter) in &self.running {
            let start = all.len();
            all.resize(start + parameter.len(), 0.0);
            self.exec.parameter(*index, &mut all[start..])?;
        }
        self.ranks.sum(&mut all)?;
        let share = 1.0 / self.ranks.size() as f32;
        all.iter_mut().for_each(|v| *v *= share);
        let mut rest = all.as_slice();
        for (index, parameter) in &self.running {
            let (mine, others) = rest.split_at(parameter.len());
            self.exec.set_parameter(*index, mine)?;
            rest = others;
        }
        Ok(())
    }

    fn update(&mut self, norm: f64, rate: f64) {
        let factor = match self.settings.clip {
            most if most > 0.0 => clip::factor(norm, most),
            _ => 1.0,
        };
        let Settings {
            optimizer,
            decay,
            ema,
            ..
        } = &self.settings;
        for (t, g) in self.trained.iter_mut().zip(&mut self.gradients) {
            if t.frozen {
                continue;
            }
            if factor != 1.0 {
                g.iter_mut().for_each(|g| *g *= factor);
            }
            let tensor_rate = rate as f32 * t.size;
            if let Some(method) = &mut t.method {
                method.before_update(&mut t.values, &t.projected);
                if let Some(learned) = method.learned() {
                    let scaled: Vec<f32> = learned.gradients.iter().map(|g| g * factor).collect();
                    optimizer.update(&mut t.learned, learned.values, &scaled, tensor_rate, 0.0);
                }
            }
            let decay = match t.step_rule {
                StepRule::Bcgd { .. } => *decay,
                _ => t.group.decay(*decay),
            };
            optimizer.update(&mut t.state, &mut t.values, g, tensor_rate, decay);
            if let Some(method) = &mut t.method {
                method.after_update(&mut t.values);
            }
            match t.parameter.kind {
                ParameterKind::Threshold { .. } => {
                    t.values.iter_mut().for_each(|v| *v = v.max(LEAST_THRESHOLD))
                }
                ParameterKind::Leak { .. } => t.values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0)),
                _ => {}
            }
            for v in &mut t.values {
                match t.step_rule {
                    StepRule::Fixed => {}
                    StepRule::Lsq { .. } | StepRule::Range { .. } => *v = v.max(1e-6),
                    StepRule::Bcgd { .. } => *v = activation::bcgd_clamp_step(*v),
                }
            }
            if let Some(ema) = ema {
                ema.update(&mut t.average, &t.values, self.step + 1);
            }
        }
    }

    /// Stops a run whose loss is lost.
    fn watch(&mut self, loss: f64) -> Result<(), TrainError> {
        if !loss.is_finite() {
            return Err(self.diverged(format!("the loss is {loss}")));
        }
        let mut sorted = self.recent.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied();
        let factor = if sorted.len() >= WINDOW { DIVERGED } else { EARLY };
        match median {
            Some(median) if loss > factor * median.abs() => self.bad += 1,
            _ => {
                self.bad = 0;
                self.recent.push(loss);
                if self.recent.len() > WINDOW {
                    self.recent.remove(0);
                }
            }
        }
        if self.bad >= PATIENCE {
            let median = median.unwrap_or_default();
            let what = format!(
                "the loss has been above {factor} times its median {median:.3e} for {PATIENCE} steps"
            );
            return Err(self.diverged(what));
        }
        Ok(())
    }

    fn diverged(&self, what: String) -> TrainError {
        TrainError::Diverged {
            step: self.step,
            what,
            advice: ADVICE,
        }
    }

    /// Loads averaged, projected weights into the executor, passes `batches` through it in training mode, so that running statistics become those of
    /// these weights, and gives everything that is exported. The run may go on after it: the statistics follow again. Of several ranks, all do this
    /// together.
    ///
    /// # Errors
    /// Weights that are not finite, batches that do not fit.
    pub fn deploy(&mut self, batches: &[Vec<&[f32]>]) -> Result<Vec<Deployed>, TrainError> {
        self.load(true)?;
        self.dropout.off();
        for inputs in batches {
            self.forward(inputs, Mode::Train)?;
        }
        if self.ranks.size() > 1 && !batches.is_empty() {
            self.share_statistics()?;
        }
        let mut all = Vec::new();
        for t in &self.trained {
            let mut values = vec![0.0; t.values.len()];
            self.exec.parameter(t.index, &mut values)?;
            let annotation = t.method.as_ref().and_then(|m| m.annotation());
            all.push(Deployed {
                parameter: t.parameter.clone(),
                values,
                annotation,
            });
        }
        for (index, parameter) in &self.running {
            let mut values = vec![0.0; parameter.len()];
            self.exec.parameter(*index, &mut values)?;
            all.push(Deployed {
                parameter: parameter.clone(),
                values,
                annotation: None,
            });
        }
        Ok(all)
    }

    /// Outputs for one batch with the averaged, projected weights and running statistics; the run is not changed.
    ///
    /// # Errors
    /// As [`deploy`](Self::deploy).
    pub fn evaluate(&mut self, inputs: &[&[f32]]) -> Result<Vec<Output<'_>>, TrainError> {
        self.load(true)?;
        self.dropout.off();
        self.forward(inputs, Mode::Evaluate)?;
        Ok(named(&self.outputs, &self.raw))
    }
}

fn named<'a>(ports: &'a [Port], values: &'a [Vec<f32>]) -> Vec<Output<'a>> {
    let one = |(port, values): (&'a Port, &'a Vec<f32>)| Output {
        name: &port.name,
        shape: &port.shape,
        values,
    };
    ports.iter().zip(values).map(one).collect()
}
