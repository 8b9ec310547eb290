//! `lowbit detect`

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use lowbit::detect_files::Source;
use lowbit::text::{counted, printable};
use lowbit::{DetectOptions, ErrorKind, NmsOptions};

use crate::context::{Common, Context, ModelFlags, Outcome, RunFlags};
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// ONNX model, float or quantized
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// A picture, a folder of pictures, or - for a picture on stdin
    #[arg(value_name = "PICTURE|DIR|-")]
    input: PathBuf,
    /// Folder for pictures with boxes (in folders like those of DIR), predictions.json (COCO results) and predictions.csv
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Lowest confidence
    #[arg(long, default_value_t = 0.25, value_parser = values::share::<f32>)]
    conf: f32,
    /// Boxes of a class that overlap a better one by more are dropped
    #[arg(long, default_value_t = 0.45, value_parser = values::share::<f32>)]
    iou: f32,
    /// Most boxes per picture
    #[arg(long, default_value_t = 300, value_parser = values::count(1, 300))]
    max_det: usize,
    /// Lists only, no pictures
    #[arg(long)]
    no_draw: bool,
    /// Write into a folder that holds files; files of the same name are replaced
    #[arg(long)]
    exist_ok: bool,
    /// Go on without pictures that cannot be read, and count them
    #[arg(long)]
    allow_skips: bool,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Bytes that stdin may hold.
const MOST: u64 = 256 << 20;

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let model = a.flags.load(&a.model, context)?;
    let source = if a.input.as_os_str() == "-" {
        let io = |e: std::io::Error| lowbit::Error::new(ErrorKind::Io, format!("stdin: {e}"));
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(MOST + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        if bytes.len() as u64 > MOST {
            let message = format!("stdin holds more than {MOST} bytes");
            return Err(lowbit::Error::new(ErrorKind::Limit, message));
        }
        Source::Bytes(bytes)
    } else {
        Source::Path(a.input.clone())
    };
    let options = DetectOptions {
        nms: NmsOptions {
            conf: a.conf,
            iou: a.iou,
            top: a.max_det,
        },
        draw: !a.no_draw,
        exist_ok: a.exist_ok,
        allow_skips: a.allow_skips,
        run: a.run.options(context),
    };
    let d = lowbit::detect_files(&model, &source, &a.output, &options, &mut context.bar())?;
    let mut out = String::new();
    for p in &d.pictures {
        let mut counts: std::collections::BTreeMap<&str, usize> = Default::default();
        p.detections
            .iter()
            .for_each(|f| *counts.entry(&f.class).or_default() += 1);
        let words: Vec<String> = counts
            .iter()
            .map(|(class, n)| format!("{n} {}", printable(class)))
            .collect();
        let words = if words.is_empty() {
            "nothing".into()
        } else {
            words.join(", ")
        };
        let _ = writeln!(out, "{}: {words}", printable(&p.file));
    }
    d.notes.iter().for_each(|n| context.note(n));
    let _ = writeln!(
        out,
        "\n{}, {} skipped; {:.1} % of the MACs in integers\n{}",
        counted(d.pictures.len(), "picture"),
        d.skipped,
        100.0 * d.integer_mac_share,
        d.speed
    );
    let _ = writeln!(
        out,
        "{} in {}",
        counted(d.files.len(), "file"),
        printable(&a.output.to_string_lossy())
    );
    let p = context.provenance(Some(model.sha256()), Some(&d.data_sha256));
    Ok(Outcome::new(out, &p, &d))
}
