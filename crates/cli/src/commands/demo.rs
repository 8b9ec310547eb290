//! `lowbit demo`

use std::path::PathBuf;

use clap::Args;
use lowbit::DemoOptions;
use lowbit::demo::{Demo, HEADER, SYSTEM_HEADER, SystemRow, cells, write_models};
use lowbit::text::{counted, printable, table};

use crate::context::{Common, Context, Outcome};
use crate::values;

/// Where results go without `-o`: a folder of our own, whose files are replaced.
const FOLDER: &str = "lowbit-demo";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder to write: report.html, scenes, pictures with boxes [default: lowbit-demo, replaced by each run]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Number of scenes
    #[arg(long, default_value_t = 200, value_parser = values::count(1, 200))]
    count: usize,
    /// Scenes that are drawn with their boxes
    #[arg(long, default_value_t = 6, value_parser = values::count(1, 6))]
    shown: usize,
    /// Timed runs of each model
    #[arg(long, default_value_t = 60, value_parser = values::count(1, 60))]
    runs: usize,
    /// Show the other systems, too: a pruned ternary detector, a 3D U-Net in affine integers, a spiking network
    #[arg(long)]
    all: bool,
    /// Write into a folder that holds files; files of the same name are replaced
    #[arg(long)]
    exist_ok: bool,
    /// Write the embedded models and their manifest into this folder, and stop
    #[arg(long, value_name = "DIR")]
    write_models: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    if let Some(folder) = &a.write_models {
        let files = write_models(folder, a.exist_ok)?;
        let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        let text: String = names.iter().map(|n| format!("{}\n", printable(n))).collect();
        return Ok(Outcome::new(
            text,
            &context.provenance(None, None),
            &serde_json::json!({ "files": names }),
        ));
    }
    let options = DemoOptions {
        seed: context.seed,
        count: a.count,
        shown: a.shown,
        runs: a.runs,
        all: a.all,
        exist_ok: a.exist_ok || a.output.is_none(),
        run: lowbit::RunOptions {
            threads: context.threads,
            control: context.control.clone(),
            ..lowbit::RunOptions::default()
        },
    };
    let folder = a.output.clone().unwrap_or_else(|| PathBuf::from(FOLDER));
    let made = lowbit::demo(&folder, &options, &mut context.bar())?;
    let p = context.provenance(None, None);
    let rows: Vec<Vec<String>> = made.rows.iter().map(cells).collect();
    let text = format!(
        "{} of {}x{} pixels, {}, seed {}: no training saw them\n{}, {}, times with one thread\n\n{}{}\n\
         report, float and low-bit side by side: {}\n",
        counted(made.scenes, "scene"),
        made.side,
        made.side,
        counted(made.objects, "object"),
        made.scene_seed,
        printable(&p.cpu),
        p.isa,
        table(&HEADER, &rows),
        systems(&made),
        printable(&made.report.to_string_lossy()),
    );
    let mut outcome = Outcome::new(text, &p, &made);
    let detectors = made.rows.iter().map(|r| &r.difference);
    let systems = made.systems.iter().map(|s| &s.difference);
    if let Some(d) = detectors.chain(systems).find_map(Option::as_ref) {
        outcome.gate = Some(format!(
            "gate: layer \"{}\" differs from the scalar program",
            d.layer
        ));
    }
    Ok(outcome)
}

/// The table of the other systems, and a sentence for each; nothing where they were not asked for.
fn systems(made: &Demo) -> String {
    if made.systems.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = made.systems.iter().map(SystemRow::cells).collect();
    let details: String = (made.systems.iter())
        .map(|s| format!("{}: {}\n", s.system, s.detail()))
        .collect();
    format!("\n{}\n{details}", table(&SYSTEM_HEADER, &rows))
}
