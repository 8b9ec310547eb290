//! `lowbit train`

use std::path::PathBuf;

use clap::Args;
use lowbit::text::{printable, table};
use lowbit::training::{self, KEYS, Ranks, TrainOptions};

use crate::context::{Common, Context, Outcome};
use crate::progress::Live;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Recipe (TOML); `--keys` lists its keys
    #[arg(value_name = "RECIPE.toml", required_unless_present = "keys")]
    recipe: Option<PathBuf>,
    /// Override a key of the recipe (repeatable): --set steps=2000 --set method.grid=lbw4
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Go on from the last checkpoint of the run's folder, or the one before where it is damaged
    #[arg(long)]
    resume: bool,
    /// One of several processes started by mpirun, which train together; all give the same recipe (needs a build with the feature mpi)
    #[arg(long)]
    mpi: bool,
    /// List all keys with their defaults, and stop
    #[arg(long)]
    keys: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// A run of its own, unless mpirun has started several, which would all write to one folder.
fn alone() -> lowbit::Result<Ranks> {
    let sizes = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].map(|name| std::env::var(name).ok());
    let several = |size: &String| size.parse().is_ok_and(|n: usize| n > 1);
    match sizes.iter().flatten().any(several) {
        true => Err(lowbit::Error::new(
            lowbit::ErrorKind::Usage,
            "mpirun has started several processes that do not train together; add --mpi",
        )),
        false => Ok(Ranks::default()),
    }
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    if a.keys {
        let rows: Vec<Vec<String>> = KEYS
            .iter()
            .map(|k| [k.name, k.default, k.doc].map(String::from).to_vec())
            .collect();
        let text = table(&["key", "default", "what it does"], &rows);
        return Ok(Outcome::new(text, &context.provenance(None, None), &rows));
    }
    let ranks = match a.mpi {
        true => training::mpi()?,
        false => alone()?,
    };
    let path = a.recipe.clone().unwrap_or_default();
    let options = TrainOptions {
        recipe: training::read_recipe(&path)?,
        name: path
            .file_stem()
            .map_or_else(|| "run".into(), |s| s.to_string_lossy().into_owned()),
        file: Some(path),
        settings: a.settings.clone(),
        resume: a.resume,
        control: context.control.clone(),
        ranks: ranks.clone(),
    };
    let live = Live::new(context.quiet || !ranks.is_first());
    let made = lowbit::train(&options, &mut |event| live.at(event));
    drop(live);
    let made = made?;
    if !ranks.is_first() {
        return Ok(Outcome::default());
    }
    let number = |score: Option<f64>| score.map_or("-".into(), |s| format!("{s:.4}"));
    let mut rows = vec![
        vec!["updates".to_string(), made.steps.to_string()],
        vec![
            "quantized layers, edges".into(),
            format!("{}, {}", made.quantized_layers, made.quantized_edges),
        ],
        vec!["score of the packed model".into(), number(made.score)],
        vec!["score of the float model before".into(), number(made.start_score)],
        vec![
            "score of the quantized model before".into(),
            number(made.rounded_score),
        ],
        vec!["bytes of the packed model".into(), made.model_bytes.to_string()],
        vec!["seconds".into(), format!("{:.1}", made.seconds)],
    ];
    for (class, score) in &made.classes {
        rows.push(vec![
            format!("{} of {}", made.class_measure, printable(class)),
            format!("{score:.4}"),
        ]);
    }
    if let Some(agreement) = made.agreement {
        rows.push(vec![
            format!("{} that differ from the f32 training forward", agreement.what),
            format!("{} of {}", agreement.differing, agreement.compared),
        ]);
    }
    if let Some(pruned) = made.pruned {
        rows.push(vec![
            "empty groups, compression".into(),
            format!(
                "{} of {}, {:.2}x",
                pruned.empty, pruned.groups, pruned.compression
            ),
        ]);
    }
    let folder = made.folder.to_string_lossy();
    let folder = printable(&folder);
    let text = format!(
        "{}\n{folder}/report.html shows the run; {folder}/model.onnx runs in integers: lowbit eval, detect, verify\n",
        table(&["run", ""], &rows)
    );
    Ok(Outcome::new(text, &context.provenance(None, None), &made))
}
