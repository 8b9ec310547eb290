//! `lowbit bench`

mod kernels;
mod worker;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use lowbit::bench::Timing;
use lowbit::text::{self, printable, shortened, table};
use lowbit::{BenchOptions, Error, ErrorKind};

use crate::context::{Common, Context, ModelFlags, Outcome, RunFlags};
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// ONNX model, float or quantized
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Another model, run by turns with the first
    #[arg(long, value_name = "MODEL_B")]
    vs: Option<PathBuf>,
    /// Measured runs of each model
    #[arg(long, default_value_t = 50, value_parser = values::count(1, 50))]
    runs: usize,
    /// Runs before measuring
    #[arg(long, default_value_t = 5, value_parser = values::count(0, 5))]
    warmup: usize,
    /// Rows of the layer table, slowest first; 0 prints all in order
    #[arg(long, default_value_t = 20, value_parser = values::count(0, 20))]
    top: usize,
    /// Exit code 1 when time / time of --vs is higher
    #[arg(long, value_name = "RATIO", requires = "vs", value_parser = values::positive)]
    max_ratio: Option<f64>,
    /// Time the kernels of this CPU instead of a model: against the scalar row, whose bytes they must give, and the peak
    #[arg(long, conflicts_with_all = ["model", "vs", "worker"])]
    kernels: bool,
    /// Stay loaded for a harness: print a line of JSON when ready, then one for each number of runs read from stdin
    #[arg(long, conflicts_with_all = ["vs", "json"])]
    worker: bool,
    /// Input of --worker: raw little-endian float32, in ONNX order
    #[arg(long, value_name = "FILE", requires = "worker")]
    input: Option<PathBuf>,
    /// Where --worker writes the outputs of its first run: raw little-endian float32, in ONNX order
    #[arg(long, short, value_name = "FILE", requires = "worker")]
    output: Option<PathBuf>,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Arguments {
    fn model(&self) -> lowbit::Result<&Path> {
        let none = || {
            Error::new(
                ErrorKind::Usage,
                "bench needs a model: give the path of an ONNX file",
            )
        };
        self.model.as_deref().ok_or_else(none)
    }
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    if a.kernels {
        return kernels::run(context);
    }
    if a.worker {
        return worker::run(a, context);
    }
    let model = a.flags.load(a.model()?, context)?;
    let versus = a.vs.as_ref().map(|p| a.flags.load(p, context)).transpose()?;
    let options = BenchOptions {
        warmup: a.warmup,
        runs: a.runs,
        seed: context.seed,
        run: a.run.options(context),
    };
    let b = lowbit::bench(&model, versus.as_ref(), &options, &mut context.bar())?;
    let p = context.provenance(Some(model.sha256()), None);
    let mut out = format!(
        "{}, {}, {}, input {}\n",
        printable(&p.cpu),
        p.isa,
        text::counted(p.threads, "thread"),
        printable(&b.input)
    );
    let all: Vec<&Timing> = std::iter::once(&b.a).chain(&b.b).collect();
    let ms = |x: f64| format!("{x:.3}");
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|t| {
            let s = &t.stats;
            vec![
                shortened(&t.model, 40),
                s.runs.to_string(),
                ms(s.median_ms),
                ms(s.mean_ms),
                ms(s.min_ms),
                ms(s.p10_ms),
                ms(s.p90_ms),
                ms(s.p99_ms),
                ms(s.max_ms),
                format!("{:.1}", s.per_second),
                format!("{:.1}", 100.0 * t.integer_mac_share),
                format!("{:.1}", 100.0 * t.float_time_share),
                text::bytes(t.file_bytes),
            ]
        })
        .collect();
    let header = [
        "model",
        "runs",
        "median",
        "mean",
        "min",
        "p10",
        "p90",
        "p99",
        "max ms",
        "per s",
        "int MAC %",
        "float time %",
        "file",
    ];
    out.push_str(&table(&header, &rows));
    if let Some(ratio) = b.ratio {
        let (low, high) = b.ratio_p10_p90.unwrap_or((ratio, ratio));
        let _ = writeln!(
            out,
            "ratio    {ratio:.3} (p10 {low:.3}, p90 {high:.3}); below 1 the first is faster"
        );
    }
    for t in all {
        roofline(&mut out, t);
        layers(&mut out, t, a.top);
    }
    let mut outcome = Outcome::new(out, &p, &b);
    if let (Some(most), Some(ratio)) = (a.max_ratio, b.ratio)
        && ratio > most
    {
        outcome.fail([format!("the ratio is {ratio:.3}, --max-ratio allows {most}")]);
    }
    Ok(outcome)
}

fn roofline(out: &mut String, t: &Timing) {
    let (Some(r), Some(ideal), Some(share)) = (&t.roofline, t.ideal_ms, t.roofline_share) else {
        return;
    };
    let peaks: Vec<String> = r
        .gmacs
        .iter()
        .map(|(name, g)| format!("{name} {g:.0} GMAC/s"))
        .collect();
    let _ = writeln!(
        out,
        "\n{}: {:.1} % of the roofline, {ideal:.3} ms\nmeasured: {}; activations {:.0} GB/s, weights {:.0} GB/s",
        printable(&t.model),
        100.0 * share,
        peaks.join(", "),
        r.near_gbytes,
        r.far_gbytes,
    );
}

fn layers(out: &mut String, t: &Timing, top: usize) {
    let mut order: Vec<_> = t.layers.iter().filter(|l| l.median_ms > 0.0).collect();
    if top > 0 {
        order.sort_by(|x, y| y.median_ms.total_cmp(&x.median_ms));
        order.truncate(top);
    }
    let total: f64 = t.layers.iter().map(|l| l.median_ms).sum();
    let rows: Vec<Vec<String>> = order
        .iter()
        .map(|l| {
            vec![
                shortened(&l.name, 40),
                l.op.clone(),
                format!("{:.3}", l.median_ms),
                format!("{:.1}", 100.0 * l.median_ms / total.max(1e-12)),
                l.ideal_ms
                    .map_or("-".into(), |ms| format!("{:.0}", 100.0 * ms / l.median_ms)),
                text::count(l.macs),
                if l.integer { "integer" } else { "float" }.into(),
                printable(&l.kernel).into_owned(),
            ]
        })
        .collect();
    let _ = write!(out, "\n{}\n", printable(&t.model));
    out.push_str(&table(
        &[
            "layer",
            "op",
            "ms",
            "%",
            "of roofline %",
            "MACs",
            "runs in",
            "kernel",
        ],
        &rows,
    ));
    let floats: Vec<Vec<String>> = t
        .layers
        .iter()
        .filter(|l| l.product && !l.integer)
        .filter_map(|l| {
            let reason = printable(l.reason.as_ref()?).into_owned();
            Some(vec![
                shortened(&l.name, 40),
                format!("{:.3}", l.median_ms),
                reason,
            ])
        })
        .collect();
    if t.integer_mac_share > 0.0 && !floats.is_empty() {
        let _ = write!(
            out,
            "float products\n{}",
            table(&["layer", "ms", "reason"], &floats)
        );
    }
}
