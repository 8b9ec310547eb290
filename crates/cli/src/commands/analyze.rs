//! `lowbit analyze`

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lowbit::AnalyzeOptions;
use lowbit::text::{counted, printable, shortened, table};

use super::eval::DataFlags;
use crate::context::{Common, Context, ModelFlags, Outcome, RunFlags};
use crate::values;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Emit {
    /// Settings for `quantize --config`
    Config,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The float model
    #[arg(value_name = "FLOAT.onnx")]
    float: PathBuf,
    /// The low-bit model that was made from it
    #[arg(value_name = "LOWBIT.onnx")]
    low: PathBuf,
    #[command(flatten)]
    data: DataFlags,
    /// At most this many pictures, spread evenly
    #[arg(long, default_value_t = 16, value_parser = values::count(1, 16))]
    subset_size: usize,
    /// Write the page with graph, histograms and pictures into this file
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Print this in place of the table: settings that `quantize --config` takes
    #[arg(long, value_enum, conflicts_with = "json")]
    emit: Option<Emit>,
    /// Rows of the table
    #[arg(long, default_value_t = 12, value_parser = values::count(0, 12))]
    top: usize,
    /// Boxes from this confidence on are drawn
    #[arg(long, default_value_t = 0.25, value_parser = values::share::<f32>)]
    box_conf: f32,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let float = a.flags.load(&a.float, context)?;
    let low = a.flags.load(&a.low, context)?;
    let mut inputs = a.common.inputs(&float);
    inputs.extend(low.files());
    if let Some(path) = &a.html {
        lowbit::output::check(path, &inputs)?;
        lowbit::output::check_beside(path, &a.data.data)?;
    }
    let options = AnalyzeOptions {
        subset: a.subset_size,
        box_conf: a.box_conf,
        run: a.run.options(context),
    };
    let found = lowbit::analyze(&float, &low, &a.data.source(), &options, &mut context.bar())?;
    found.notes.iter().for_each(|n| context.note(n));
    if let Some(path) = &a.html {
        lowbit::output::file(path, found.html().as_bytes(), &inputs)?;
    }
    let p = context.provenance(Some(&found.low_sha256), Some(&found.data_sha256));
    let text = match a.emit {
        Some(Emit::Config) => found.config.clone(),
        None => text(&found, a),
    };
    Ok(Outcome::new(text, &p, &found))
}

fn text(found: &lowbit::analyze::Analysis, a: &Arguments) -> String {
    let rows: Vec<Vec<String>> = found
        .ranking
        .iter()
        .take(a.top)
        .map(|r| {
            let mut row = vec![
                printable(&shortened(&r.layer, 40)).into_owned(),
                format!("{} {}", r.part.name(), r.grid),
                r.finding.name().into(),
                format!("{:.2e}", r.output_error),
                format!("{:.1}", r.own_sqnr_db),
                format!("{:.1}", r.fresh_sqnr_db),
                r.sqnr_db.map_or("-".into(), |s| format!("{s:.1}")),
            ];
            row.extend(r.agreement.map(|a| format!("{a:.4}")));
            row.extend(found.accuracy.map(|a| a.loss_alone(r.map)));
            row
        })
        .collect();
    let mut out = String::new();
    if !rows.is_empty() {
        let mut header = vec![
            "layer", "what", "finding", "alone", "own dB", "fresh dB", "all dB",
        ];
        header.extend(found.agreement.map(|_| "agreement"));
        header.extend(found.accuracy.map(|_| "mAP loss"));
        let _ = writeln!(out, "{}", table(&header, &rows));
    }
    let _ = write!(
        out,
        "{} on {}: error of the outputs {:.2e}",
        counted(found.ranking.len(), "place"),
        counted(found.pictures, "picture"),
        found.output_error
    );
    if let Some(agreement) = found.agreement {
        let _ = write!(out, ", agreement of the detections {agreement:.4}");
    }
    if let Some(accuracy) = &found.accuracy {
        let _ = write!(out, "\nmAP      {accuracy}");
    }
    if let Some(first) = found.ranking.first() {
        let layer = printable(&first.layer);
        let _ = write!(out, "\nfirst    {layer}, {}: {}", first.part.name(), first.advice);
    }
    let _ = writeln!(out, "\nnext     {}", printable(&found.command));
    if let Some(path) = &a.html {
        let _ = writeln!(out, "written  {}", printable(&path.to_string_lossy()));
    }
    out
}
