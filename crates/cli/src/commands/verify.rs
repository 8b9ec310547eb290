//! `lowbit verify`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use lowbit::VerifyOptions;
use lowbit::text::{counted, printable, shortened, table};

use crate::context::{Common, Context, ModelFlags, Outcome, RunFlags};
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// ONNX model, float or quantized
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Run these pictures; without any, one input of seeded noise
    #[arg(long, value_name = "PICTURE|DIR")]
    pictures: Option<PathBuf>,
    /// At most this many of them
    #[arg(long, default_value_t = 1, value_parser = values::count(1, 8))]
    subset: usize,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let model = a.flags.load(&a.model, context)?;
    let pictures = match &a.pictures {
        Some(path) => lowbit::pictures::spread(&lowbit::pictures::find(path, None)?, a.subset),
        None => Vec::new(),
    };
    let options = VerifyOptions {
        pictures,
        seed: context.seed,
        run: a.run.options(context),
    };
    let v = lowbit::verify(&model, &options, &mut context.bar())?;
    let rows: Vec<Vec<String>> = v
        .layers
        .iter()
        .map(|l| {
            vec![
                shortened(&l.name, 44),
                l.op.clone(),
                if l.integer { "integer" } else { "float" }.into(),
                l.elements.to_string(),
                l.differing.to_string(),
            ]
        })
        .collect();
    let mut out = table(&["layer", "op", "runs in", "compared", "differ"], &rows);
    let _ = writeln!(
        out,
        "\nengine and FORMAT.md program: {}, {} of {} compared; outputs {}",
        counted(v.layers.len(), "layer"),
        counted(v.elements, "value"),
        counted(v.inputs, "input"),
        v.outputs_sha256
    );
    let p = context.provenance(Some(model.sha256()), None);
    let mut outcome = Outcome::new(out, &p, &v);
    match &v.difference {
        None => outcome.text.push_str("equal, bit for bit\n"),
        Some(d) => {
            let (at, have, want) = d.first;
            outcome.fail([format!(
                "layer \"{}\" ({}) is the first that differs: {} of {} of \"{}\", the first at {at}: engine {have}, \
                 program {want} ({})",
                printable(&d.layer),
                d.op,
                d.differing,
                counted(d.elements, "element"),
                printable(&d.value),
                printable(&d.input)
            )]);
        }
    }
    Ok(outcome)
}
