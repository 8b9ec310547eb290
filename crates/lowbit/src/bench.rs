//! Time of one model, or of two by turns so that a change of the machine's speed meets both.

mod kernels;
mod roofline;
mod worker;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::control::Progress;
use crate::runtime::{RunOptions, Runner, borrowed, noise};
use crate::{Error, Model, Result};

pub use self::kernels::{KernelRow, KernelTime, kernels, time_kernels};
pub use roofline::Roofline;
pub use worker::{Input, Worker};

/// How long to measure.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Runs before measuring.
    pub warmup: usize,
    /// Measured runs of each model at least.
    pub runs: usize,
    /// Seed of the input.
    pub seed: u64,
    /// How the models are run.
    pub run: RunOptions,
}

impl Default for BenchOptions {
    fn default() -> Self {
        BenchOptions {
            warmup: 5,
            runs: 50,
            seed: 0,
            run: RunOptions::default(),
        }
    }
}

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    pub runs: usize,
    pub median_ms: f64,
    pub mean_ms: f64,
    pub min_ms: f64,
    pub max_ms: f64,
    pub p10_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    /// Pictures per second at the median.
    pub per_second: f64,
}

impl Stats {
    /// Statistics of durations; the nearest rank is a percentile.
    ///
    /// ```
    /// use std::time::Duration;
    /// let ms: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
    /// let s = lowbit::bench::Stats::of(&ms);
    /// assert_eq!((s.median_ms, s.p90_ms, s.p99_ms), (50.5, 90.0, 99.0));
    /// ```
    pub fn of(times: &[Duration]) -> Stats {
        let mut ms: Vec<f64> = times.iter().map(|d| d.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let n = ms.len();
        let rank = |q: f64| ms.get(((q * n as f64).ceil() as usize).clamp(1, n.max(1)) - 1);
        let at = |q: f64| rank(q).copied().unwrap_or(0.0);
        let median = median(&ms);
        Stats {
            runs: n,
            median_ms: median,
            mean_ms: ms.iter().sum::<f64>() / n.max(1) as f64,
            min_ms: ms.first().copied().unwrap_or(0.0),
            max_ms: ms.last().copied().unwrap_or(0.0),
            p10_ms: at(0.1),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            per_second: if median > 0.0 { 1e3 / median } else { 0.0 },
        }
    }
}

/// Median of sorted numbers.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerTime {
    /// Node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Kernels that ran.
    pub kernel: String,
    /// Runs in integers.
    pub integer: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Convolution or matrix product.
    pub product: bool,
    /// Median time.
    pub median_ms: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of the activations that it reads and writes, each once.
    pub moved_bytes: usize,
    /// The least time that it can take ([`Roofline`]).
    pub ideal_ms: Option<f64>,
}

/// One model's times.
#[derive(Debug, Clone, Serialize)]
pub struct Timing {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Bytes of its file.
    pub file_bytes: usize,
    /// Bytes of packed weights and activations.
    pub memory_bytes: usize,
    /// Whole runs.
    pub stats: Stats,
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// Share of the time of all layers that float layers take.
    pub float_time_share: f64,
    /// What the machine reached; of [`bench()`] alone.
    pub roofline: Option<Roofline>,
    /// The least time that all layers can take.
    pub ideal_ms: Option<f64>,
    /// That time / the median time.
    pub roofline_share: Option<f64>,
    /// Nodes that do something, in execution order.
    pub layers: Vec<LayerTime>,
}

/// Result of [`bench()`].
#[derive(Debug, Clone, Serialize)]
pub struct Bench {
    /// The model.
    pub a: Timing,
    /// The one it is compared with.
    pub b: Option<Timing>,
    /// Median over the rounds of time of A / time of B: below 1 the model is faster.
    pub ratio: Option<f64>,
    /// 10th and 90th percentile of those ratios.
    pub ratio_p10_p90: Option<(f64, f64)>,
    /// Shape of the inputs, in words.
    pub input: String,
}

struct Subject<'a> {
    model: &'a Model,
    runner: Runner,
    inputs: crate::runtime::Outputs,
    times: Vec<Duration>,
    layers: Vec<Vec<Duration>>,
}

impl<'a> Subject<'a> {
    fn new(model: &'a Model, options: &BenchOptions) -> Result<Self> {
        let runner = Runner::new(model, &options.run)?;
        let inputs = noise(&model.inputs()?, options.seed)?;
        Ok(Subject {
            layers: vec![Vec::new(); runner.layers().len()],
            model,
            runner,
            inputs,
            times: Vec::new(),
        })
    }

    fn once(&self) -> Result<Duration> {
        let inputs = borrowed(&self.inputs);
        let start = Instant::now();
        let outputs = self.runner.run(&inputs)?;
        let time = start.elapsed();
        drop(outputs);
        Ok(time)
    }

    fn by_layer(&mut self) -> Result<()> {
        let (_, times) = self.runner.run_timed(&borrowed(&self.inputs))?;
        self.layers.iter_mut().zip(times).for_each(|(all, t)| all.push(t));
        Ok(())
    }

    fn roofline(&self) -> Roofline {
        Roofline::measure(self.runner.pool(), self.runner.layers())
    }

    fn timing(&self, roofline: Option<Roofline>) -> Timing {
        let layer = |(layer, times): (&engine::Layer, &Vec<Duration>)| {
            let (integer, reason) = match &layer.numbers {
                engine::Numbers::Integer => (true, None),
                engine::Numbers::Float { reason } => (false, Some(reason.clone())),
            };
            LayerTime {
                name: layer.name.clone(),
                op: layer.op.to_string(),
                kernel: layer.kernel.clone(),
                integer,
                reason,
                product: layer.product,
                median_ms: Stats::of(times).median_ms,
                macs: layer.macs,
                moved_bytes: layer.moved_bytes,
                ideal_ms: roofline.as_ref().and_then(|r| r.ideal_ms(layer)),
            }
        };
        let layers: Vec<LayerTime> = self.runner.layers().iter().zip(&self.layers).map(layer).collect();
        let total: f64 = layers.iter().map(|l| l.median_ms).sum();
        let float: f64 = layers.iter().filter(|l| !l.integer).map(|l| l.median_ms).sum();
        let stats = Stats::of(&self.times);
        let ideal_ms: Option<f64> = layers.iter().map(|l| l.ideal_ms).sum();
        Timing {
            model: self.model.name(),
            sha256: self.model.sha256().to_string(),
            file_bytes: self.model.file_bytes(),
            memory_bytes: self.runner.memory().total(),
            stats,
            integer_mac_share: self.runner.integer_mac_share(),
            float_time_share: if total > 0.0 { float / total } else { 0.0 },
            roofline,
            ideal_ms,
            roofline_share: ideal_ms
                .filter(|_| stats.median_ms > 0.0)
                .map(|ms| ms / stats.median_ms),
            layers,
        }
    }
}

/// Measures a model, by turns with another one where given.
///
/// # Errors
/// No runs; what running refuses.
pub fn bench(
    model: &Model,
    versus: Option<&Model>,
    options: &BenchOptions,
    progress: &mut dyn Progress,
) -> Result<Bench> {
    let models: Vec<&Model> = std::iter::once(model).chain(versus).collect();
    let subjects = measured(&models, options, progress)?;
    let ratios = subjects.get(1).map(|b| ratios(&subjects[0], b));
    let at = |sorted: &[f64], q: f64| sorted[((sorted.len() - 1) as f64 * q).round() as usize];
    let shapes = model.inputs()?;
    Ok(Bench {
        a: subjects[0].timing(Some(subjects[0].roofline())),
        b: subjects.get(1).map(|b| b.timing(Some(b.roofline()))),
        ratio: ratios.as_deref().map(median),
        ratio_p10_p90: ratios.as_deref().map(|r| (at(r, 0.1), at(r, 0.9))),
        input: worker::describe(&shapes),
    })
}

/// Measures any number of models by turns: for each its times, and the median over the rounds of the first one's time / its time, which says how
/// many times faster it is.
///
/// # Errors
/// As [`bench()`].
pub fn by_turns(
    models: &[&Model],
    options: &BenchOptions,
    progress: &mut dyn Progress,
) -> Result<Vec<(Timing, f64)>> {
    let subjects = measured(models, options, progress)?;
    let one = |s: &Subject| (s.timing(None), median(&ratios(&subjects[0], s)));
    Ok(subjects.iter().map(one).collect())
}

/// Time of `a` / time of `b` of each round, sorted.
fn ratios(a: &Subject, b: &Subject) -> Vec<f64> {
    let pairs = a.times.iter().zip(&b.times);
    let mut all: Vec<f64> = pairs
        .map(|(x, y)| x.as_secs_f64() / y.as_secs_f64().max(1e-12))
        .collect();
    all.sort_by(f64::total_cmp);
    all
}

fn measured<'a>(
    models: &[&'a Model],
    options: &BenchOptions,
    progress: &mut dyn Progress,
) -> Result<Vec<Subject<'a>>> {
    if options.runs == 0 {
        return Err(Error::usage("there is nothing to measure in 0 runs"));
    }
    let subjects: Result<Vec<Subject>> = models.iter().map(|m| Subject::new(m, options)).collect();
    let mut subjects = subjects?;
    for s in &subjects {
        for _ in 0..options.warmup {
            s.once()?;
        }
    }
    for round in 0..options.runs {
        progress.at("bench", round, options.runs);
        // Who begins changes from round to round: the second may find a warmer cache.
        let count = subjects.len();
        for k in 0..count {
            let s = &mut subjects[(round + k) % count];
            let time = s.once()?;
            s.times.push(time);
        }
    }
    // Layers are timed apart: reading the clock at each would slow the whole.
    for _ in 0..options.runs.clamp(3, 15) {
        for s in &mut subjects {
            s.by_layer()?;
        }
    }
    progress.at("bench", options.runs, options.runs);
    Ok(subjects)
}
