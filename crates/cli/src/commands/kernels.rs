//! `lowbit kernels`

use clap::Args;
use lowbit::text::table;

use crate::context::{Common, Context, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(_: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let kernels = lowbit::bench::kernels();
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_string();
    let rows: Vec<Vec<String>> = kernels
        .iter()
        .map(|k| {
            vec![
                k.name.to_string(),
                if k.usable { "yes" } else { "no" }.into(),
                k.isa.to_string(),
                k.op.to_string(),
                k.types.to_string(),
                k.tile.map_or("-".into(), |(m, n)| format!("{m}×{n}")),
                or_dash(k.weights),
                or_dash(k.schedule),
                or_dash(k.arithmetic),
            ]
        })
        .collect();
    let header = [
        "kernel",
        "usable",
        "instruction set",
        "operator",
        "types",
        "tile",
        "weights",
        "schedule",
        "inner loop",
    ];
    let text = format!(
        "{}The first row of an operator is its meaning; of the others the last usable one that takes a layer runs it.\n\
         `lowbit bench --kernels` times them.\n",
        table(&header, &rows)
    );
    let p = context.provenance(None, None);
    Ok(Outcome::new(text, &p, &serde_json::json!({ "kernels": kernels })))
}
