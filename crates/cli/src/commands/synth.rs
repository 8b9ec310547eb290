//! `lowbit synth`

use std::path::PathBuf;

use clap::Args;
use lowbit::synth::{SPLIT, SceneOptions, SynthOptions};
use lowbit::text::{counted, printable, table};

use crate::context::{Common, Context, Outcome};
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder to write: JPEGImages, Annotations (VOC), ImageSets/Main/all.txt, annotations.json (COCO)
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Number of scenes
    #[arg(long, default_value_t = 100, value_parser = values::count(1, 100))]
    count: usize,
    /// Width in pixels, 32…4096
    #[arg(long, default_value_t = 416, value_parser = values::whole::<usize>(32..=4096, 416))]
    width: usize,
    /// Height in pixels, 32…4096
    #[arg(long, default_value_t = 416, value_parser = values::whole::<usize>(32..=4096, 416))]
    height: usize,
    /// Most objects of one scene, 1…64
    #[arg(long, default_value_t = 10, value_parser = values::whole::<usize>(1..=64, 10))]
    max_objects: usize,
    /// Write into a folder that holds files; files of the same name are replaced
    #[arg(long)]
    exist_ok: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let options = SynthOptions {
        seed: context.seed,
        count: a.count,
        scene: SceneOptions {
            width: a.width,
            height: a.height,
            max_objects: a.max_objects,
        },
        exist_ok: a.exist_ok,
        control: context.control.clone(),
    };
    let made = lowbit::synth(&a.output, &options, &mut context.bar())?;
    let rows: Vec<Vec<String>> = made
        .classes
        .iter()
        .map(|(name, n)| vec![name.clone(), n.to_string()])
        .collect();
    let text = format!(
        "{}\n{}, {} in {}; judge a model on them with --data {} --split {SPLIT}\n",
        table(&["class", "objects"], &rows),
        counted(made.pictures, "scene"),
        counted(made.objects, "object"),
        printable(&made.folder.to_string_lossy()),
        printable(&made.folder.to_string_lossy()),
    );
    Ok(Outcome::new(text, &context.provenance(None, None), &made))
}
