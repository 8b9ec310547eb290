//! `lowbit quantize`

mod list;
mod refusal;
mod summary;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lowbit::bench::by_turns;
use lowbit::quantize::{
    BitOps, Budget, Effort, ExtraRows, Granularity, Learn, MaxDrop, ObserverKind, ProjectOptions,
    QuantizeReport, Role, Rounding, Rule, ScaleKind, Solver, dry_run,
};
use lowbit::text::printable;
use lowbit::{BenchOptions, Choice, Error, ErrorKind, Form, Grid, Model, QuantizeOptions};
use serde::Serialize;

use super::eval::LabelFlags;
use crate::context::{Common, Context, ModelFlags, Outcome};
use crate::values;
use list::list;
use refusal::refusal;
use summary::summary;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Float ONNX model
    #[arg(value_name = "MODEL", required_unless_present = "list")]
    model: Option<PathBuf>,
    /// Weight grid, such as int8, lbw4, pow2-4, ternary; --list prints all
    #[arg(long, conflicts_with_all = ["bits", "budget"])]
    grid: Option<Grid>,
    /// Width of weights, 1…8: the grid of that width with the smallest output error on the calibration pictures
    #[arg(long, value_parser = values::whole::<u32>(1..=8, 4))]
    bits: Option<u32>,
    /// So many stored bits a weight at most, scales included: each layer gets one of --among, by what its error does to the outputs
    #[arg(long, visible_alias = "target-bpw", value_name = "BITS", group = "budget", conflicts_with = "bits", value_parser = values::positive)]
    average_bits: Option<f64>,
    /// The same, in a file of so many bytes at most, such as 700KiB or 1MB
    #[arg(long, visible_alias = "target-size", value_name = "BYTES", group = "budget", conflicts_with = "bits", value_parser = values::bytes)]
    budget_size: Option<usize>,
    /// The same, in so many bit operations a picture at most (multiply-accumulates × bits of a weight × bits of an activation, 32 × 32 in float
    /// layers): a share of what 8 × 8 bits everywhere take, such as 60%, or a number such as 2.5G
    #[arg(long, value_name = "SHARE|N", group = "budget", conflicts_with = "bits")]
    budget_bitops: Option<BitOps>,
    /// The same, in so much time a picture at most, such as 3ms: each grid is timed in each layer on this CPU with --threads, so that the result
    /// depends on the machine
    #[arg(long, value_name = "TIME", group = "budget", conflicts_with = "bits", value_parser = values::duration)]
    budget_time: Option<Duration>,
    /// Grids that a budget or --max-drop chooses from [default: ternary,
    /// lbw3,pow2-3,lbw4,pow2-4,int4,lbw5,int5,lbw6,int6,int7,int8,pow2-4x2]; a layer is not asked about those that another beats there at no more cost
    #[arg(long, value_name = "GRIDS", value_delimiter = ',')]
    among: Vec<Grid>,
    /// Roles that a budget or --max-drop gives int8: first, head, depthwise, … or none [default: first,head]
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    keep: Vec<String>,
    /// Lose at most this, as a share (0.02: two points): agreement of the detections with the float model's on the calibration pictures, or mAP
    /// where --data gives ground truth. Grid, width or budget are a wish: where it loses more, wider grids are tried up to int8, and the
    /// narrowest that is good enough is written; exit code 1 where none is
    #[arg(long, value_name = "SHARE", value_parser = values::share::<f64>)]
    max_drop: Option<f64>,
    #[command(flatten)]
    labels: LabelFlags,
    /// fast (seconds: ranges by squared error, nearest levels, correction), good, or best (as good, on several times as many pictures, then --learn gains)
    #[arg(long, default_value_t = Effort::Good)]
    effort: Effort,
    /// What is learned over the whole network after its layers were fitted one by one, from the float network's values where branches meet and its outputs: nothing,
    /// gains (with biases), or codes (those and learned rounding, AdaRound, for four times the time); taken where detections on pictures kept apart agree better. Nano at
    /// int4, on pictures that nothing saw, F1 of agreement: 0.886, 0.899, 0.892 [default: gains with --effort best, else nothing]
    #[arg(long)]
    learn: Option<Learn>,
    /// Width of activations, 1…8
    #[arg(long, default_value_t = 8, value_parser = values::whole::<u32>(1..=8, 4))]
    act_bits: u32,
    /// Folder of calibration pictures; labels are not needed
    #[arg(long, value_name = "DIR")]
    calib: Option<PathBuf>,
    /// Take the pictures of this list of the folder, such as train
    #[arg(long, value_name = "NAME", requires = "calib")]
    calib_split: Option<String>,
    /// At most this many pictures, spread evenly
    #[arg(long, default_value_t = 300, value_parser = values::count(1, 300))]
    subset_size: usize,
    /// Go on without pictures that cannot be read, and count them
    #[arg(long)]
    allow_skips: bool,
    /// How ranges of activations are chosen: min-max, percentile[=TAIL], mse, kl [default: the one of min-max, two percentiles and mse
    /// whose detections agree best with the float model's on a few calibration pictures]
    #[arg(long)]
    observer: Option<ObserverKind>,
    /// One scale per output channel, or one per tensor
    #[arg(long, default_value_t = Granularity::Channel)]
    per: Granularity,
    /// Scales: real, or power-of-two as in LBW-Net
    #[arg(long, default_value_t = ScaleKind::Real)]
    scale: ScaleKind,
    /// How scales and levels are found: optimum, LBW-Net's formulas paper-ternary and semi-analytic, or, for ternary, max-rule (beyond
    /// 0.05·max|w|) and mean-rule (beyond 0.75·mean|w|, Ternary Weight Networks)
    #[arg(long, default_value_t = Solver::Optimum)]
    solver: Solver,
    /// The free parameter of semi-analytic, relative to max|w|
    #[arg(long, default_value_t = 0.75, value_parser = values::positive)]
    mu: f64,
    /// Another grid, or float, for some layers (repeatable, later ones win): depthwise=int8, NODE=float, re:REGEX=int8, type:Gemm=float.
    /// Roles: first, head, depthwise, pointwise, dense, linear
    #[arg(long = "tensor-type", visible_alias = "rule", value_name = "PATTERN=GRID")]
    rules: Vec<Rule>,
    /// The bare projection of the weights as they are: neither refit gain and mean of each channel on the calibration pictures, nor equalize
    #[arg(long)]
    no_correction: bool,
    /// How weights find their level: each the nearest, or with error feedback on the calibration pictures (GPTQ) [default: feedback; nearest
    /// with --no-correction and with the paper's solvers]
    #[arg(long)]
    rounding: Option<Rounding>,
    /// Do not try to bring the channels between two convolutions to like ranges before quantizing
    #[arg(long)]
    no_equalization: bool,
    /// Compute activations (LeakyRelu, SiLU, …) by tables from codes to codes, as FORMAT.md 1.9 has them: rounded twice instead of once
    #[arg(long)]
    activation_tables: bool,
    /// Every layer that can be integer is; else, with weights of 7 and more bits, a few early layers and sums of branches stay float where rounding their inputs costs most
    #[arg(long)]
    integer_only: bool,
    /// So many percent more bits of weights may be stored, as a second point (row) of the output channels whose layer gains most by one; a row's scale and number count
    #[arg(long, value_name = "PERCENT", value_parser = values::percent)]
    extra_rows: Option<f64>,
    /// Second and further points (rows) for each output channel until its signal to noise on the calibration pictures is so many dB, such as 20, or 12
    /// bits a weight are reached: as many rows as that takes
    #[arg(long, value_name = "DB", conflicts_with = "extra_rows", value_parser = values::decibels)]
    extra_rows_until: Option<f64>,
    /// The file to write [default: MODEL-GRID.onnx in the current folder]
    #[arg(long, short, value_name = "OUT.onnx")]
    output: Option<PathBuf>,
    /// Write the model even where its detections are gone, or it keeps to no budget or --max-drop
    #[arg(long)]
    force: bool,
    /// Write the report of all layers as JSON into this file
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Print all grids with their widths and levels, and stop
    #[arg(long)]
    list: bool,
    /// Print layers, sizes and weight errors, and stop; needs no pictures
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Serialize)]
struct Written<'a> {
    output: Option<String>,
    output_sha256: Option<String>,
    output_bytes: Option<usize>,
    #[serde(flatten)]
    report: &'a QuantizeReport,
}

/// Times of both models on this machine, in milliseconds, by turns.
#[derive(Debug, Clone, Copy)]
struct Time {
    float_ms: f64,
    quantized_ms: f64,
}

/// Runs of each model.
const TIMED: usize = 9;

/// What the quantized model gains in time; nothing where it cannot be measured within the limits.
fn time(float: &Model, quantized: &Model, context: &Context) -> Option<Time> {
    let options = BenchOptions {
        warmup: 2,
        runs: TIMED,
        run: lowbit::RunOptions {
            threads: context.threads,
            control: context.control.clone(),
            ..lowbit::RunOptions::default()
        },
        ..BenchOptions::default()
    };
    let timings = by_turns(&[float, quantized], &options, &mut context.bar()).ok()?;
    let [(float, _), (quantized, _)] = &timings[..] else {
        return None;
    };
    Some(Time {
        float_ms: float.stats.median_ms,
        quantized_ms: quantized.stats.median_ms,
    })
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    if a.list {
        return Ok(list(context));
    }
    lowbit::runtime::return_large_blocks();
    let usage = |message: &str| Error::new(ErrorKind::Usage, message);
    let path = a.model.as_ref().ok_or_else(|| usage("MODEL is missing"))?;
    let choice = match (a.grid, a.bits, budget(a)) {
        (Some(grid), ..) => Choice::Grid(grid),
        (_, Some(bits), _) => Choice::Bits(bits),
        (.., Some(budget)) => Choice::Budget(budget),
        _ => {
            return Err(usage(
                "give --grid NAME, --bits N, --average-bits N or another budget; `lowbit quantize --list` prints the grids",
            ));
        }
    };
    // What an option needs is not asked for where another rules it out.
    if budget(a).or(a.max_drop.map(Budget::AverageBits)).is_none()
        && !(a.among.is_empty() && a.keep.is_empty())
    {
        return Err(usage(
            "--among and --keep go with --average-bits, another budget, or --max-drop",
        ));
    }
    if a.labels.source().is_some() && a.max_drop.is_none() {
        return Err(usage(
            "--data is what --max-drop measures on; pictures to calibrate on are given by --calib",
        ));
    }
    let output = a.output.clone().unwrap_or_else(|| default_output(path, choice));
    if !a.dry_run && a.calib.is_none() {
        return Err(usage(
            "--calib DIR is missing: 16 pictures of the kind the model will see are enough to start with",
        ));
    }
    let model = a.flags.load(path, context)?;
    let pictures = match &a.calib {
        Some(folder) => lowbit::pictures::find(folder, a.calib_split.as_deref())?,
        None => Vec::new(),
    };
    let mut inputs = a.common.inputs(&model);
    inputs.extend(pictures.iter().map(PathBuf::as_path));
    if !a.dry_run {
        lowbit::output::check(&output, &inputs)?;
    }
    if let Some(report) = &a.report {
        lowbit::output::check(report, &inputs)?;
        if lowbit::output::same_target(report, &output) {
            return Err(usage("--report and -o name the same file"));
        }
    }
    let mut options = QuantizeOptions {
        project: ProjectOptions {
            granularity: a.per,
            scale_kind: a.scale,
            solver: a.solver,
            mu: a.mu,
        },
        effort: a.effort,
        learn: a.learn,
        act_bits: a.act_bits,
        observer: a.observer,
        rules: a.rules.clone(),
        correction: !a.no_correction,
        rounding: a.rounding,
        equalization: !a.no_correction && !a.no_equalization,
        activation_tables: a.activation_tables,
        integer_only: a.integer_only,
        extra_rows: extra_rows(a),
        max_drop: a.max_drop.map(|most| MaxDrop {
            most,
            data: a.labels.source(),
        }),
        subset: a.subset_size,
        allow_skips: a.allow_skips,
        threads: context.threads,
        control: context.control.clone(),
        ..QuantizeOptions::new(choice, pictures.clone())
    };
    if !a.among.is_empty() {
        options.among.clone_from(&a.among);
    }
    if !a.keep.is_empty() {
        let roles = a.keep.iter().filter(|r| *r != "none").map(|r| r.parse::<Role>());
        options.keep = roles
            .collect::<Result<_, _>>()
            .map_err(|e| usage(&format!("--keep: {e}")))?;
    }
    let p = context.provenance(Some(model.sha256()), None);
    if a.dry_run {
        let report = dry_run(&model, &options)?;
        let written = Written {
            output: None,
            output_sha256: None,
            output_bytes: None,
            report: &report,
        };
        let outcome = Outcome::new(summary(&model, &report, None), &p, &written);
        return write_report(a, &outcome, &inputs).map(|()| outcome);
    }
    let q = lowbit::quantize(&model, &options, &mut context.bar())?;
    q.report.notes.iter().for_each(|note| context.note(note));
    let refused = refusal(&q.report);
    if let Some(why) = refused.as_ref().filter(|_| !a.force) {
        return Err(Error::new(
            ErrorKind::Gate,
            format!("{why}; --force writes it as it is"),
        ));
    }
    let bytes = q.model.to_onnx(Form::Packed)?;
    context.control.check()?;
    lowbit::output::file(&output, &bytes, &inputs)?;
    let written = Written {
        output: Some(output.to_string_lossy().into_owned()),
        output_sha256: Some(q.model.sha256().to_string()),
        output_bytes: Some(bytes.len()),
        report: &q.report,
    };
    let mut text = summary(&model, &q.report, Some(bytes.len()));
    // Times are no part of the report, which is the same for the same input.
    if let Some(t) = (!context.json).then(|| time(&model, &q.model, context)).flatten() {
        let ratio = t.float_ms / t.quantized_ms.max(f64::MIN_POSITIVE);
        let _ = writeln!(
            text,
            "time     {:.2} ms instead of {:.2} ms on this CPU: {:.2}x as fast{}",
            t.quantized_ms,
            t.float_ms,
            ratio,
            if ratio > 1.0 {
                ""
            } else {
                "; smaller, but no faster here (`lowbit bench --vs` tells which layers)"
            }
        );
    }
    let _ = writeln!(text, "written  {}", printable(&output.to_string_lossy()));
    let mut outcome = Outcome::new(text, &p, &written);
    // Who asked for a most is told, forced or not.
    outcome.fail(refused.filter(|_| q.report.search.is_some()));
    write_report(a, &outcome, &inputs)?;
    Ok(outcome)
}

/// The budget that is asked for.
fn budget(a: &Arguments) -> Option<Budget> {
    let bits = a.average_bits.map(Budget::AverageBits);
    let bytes = || a.budget_size.map(Budget::FileBytes);
    let ops = || a.budget_bitops.map(Budget::BitOps);
    let time = || a.budget_time.map(Budget::Time);
    bits.or_else(bytes).or_else(ops).or_else(time)
}

/// Which channels are to get more than one point.
fn extra_rows(a: &Arguments) -> Option<ExtraRows> {
    let share = a.extra_rows.filter(|percent| *percent > 0.0);
    let share = share.map(|percent| ExtraRows::Share(percent / 100.0));
    share.or(a.extra_rows_until.map(ExtraRows::Until))
}

fn write_report(a: &Arguments, outcome: &Outcome, inputs: &[&Path]) -> lowbit::Result<()> {
    match (&a.report, &outcome.json) {
        (Some(path), Some(json)) => lowbit::output::file(path, format!("{json:#}\n").as_bytes(), inputs),
        _ => Ok(()),
    }
}

fn default_output(model: &Path, choice: Choice) -> PathBuf {
    let mut name = model.file_stem().unwrap_or_default().to_owned();
    let kind = match choice {
        Choice::Grid(grid) => grid.to_string(),
        Choice::Bits(bits) => format!("{bits}bit"),
        Choice::Budget(Budget::AverageBits(bits)) => format!("{bits}bpw"),
        Choice::Budget(Budget::FileBytes(bytes)) => format!("{bytes}B"),
        Choice::Budget(Budget::BitOps(BitOps::Share(share))) => format!("{}percent", 100.0 * share),
        Choice::Budget(budget) => budget.flag().1,
    };
    name.push(format!("-{kind}.onnx"));
    PathBuf::from(name)
}
