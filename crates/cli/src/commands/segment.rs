//! `lowbit segment`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use lowbit::SegmentOptions;
use lowbit::text::{counted, printable, table};

use crate::context::{Common, Context, ModelFlags, Outcome, RunFlags};
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// ONNX model of a segmentation network, or of one for hyperspectral scenes, float or quantized
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The volume: .nii, .nii.gz, .npy or .npz, three axes; or the scene: .npy, .npz, .mat or .hdr (ENVI), rows × columns × bands
    #[arg(value_name = "VOLUME")]
    volume: PathBuf,
    /// The mask to write; its ending says how: .nii, .nii.gz, .npy or .npz. Of a scene the class map: .png with a legend, .npy or .npz
    #[arg(long, short, value_name = "MASK")]
    output: PathBuf,
    /// A mask to compare with: prints the dice of each class
    #[arg(long, value_name = "MASK")]
    truth: Option<PathBuf>,
    /// Folder for a slice across each axis as PNG, the mask's classes in colours
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// Voxels of a patch along the three axes: 64,64,64; the model's own input without
    #[arg(long, value_name = "D,H,W", value_delimiter = ',', num_args = 1, value_parser = values::count(1, 64))]
    patch: Vec<usize>,
    /// Voxels that neighbouring patches share at least
    #[arg(long, default_value_t = lowbit::segment::OVERLAP)]
    overlap: usize,
    /// Name of the array, where an .npz holds several [default: image, of a scene cube]
    #[arg(long, value_name = "NAME")]
    array: Option<String>,
    /// Exit code 1 when the mean dice of the classes is lower, 0…1
    #[arg(long, value_name = "DICE", requires = "truth", value_parser = values::share::<f64>)]
    min_dice: Option<f64>,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let model = a.flags.load(&a.model, context)?;
    if model.has_scene_head() {
        let options = lowbit::scene::MapOptions {
            array: a.array.clone(),
            run: a.run.options(context),
        };
        return super::scene::map(&model, &a.volume, &a.output, &options, context);
    }
    let patch = match a.patch[..] {
        [] => None,
        [d, h, w] => Some([d, h, w]),
        _ => {
            let what = "--patch takes three sides, as in --patch 64,64,64";
            return Err(lowbit::Error::new(lowbit::ErrorKind::Usage, what));
        }
    };
    let options = SegmentOptions {
        patch,
        overlap: a.overlap,
        truth: a.truth.clone(),
        overlay: a.overlay.clone(),
        array: a.array.clone(),
        run: a.run.options(context),
        ..SegmentOptions::default()
    };
    let s = lowbit::segment_files(&model, &a.volume, &a.output, &options, &mut context.bar())?;
    let number = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.4}"));
    let row = |c: &lowbit::segment::ClassFound| {
        vec![
            printable(&c.class).to_string(),
            c.voxels.to_string(),
            format!("{:.3}", c.millilitres),
            number(c.dice),
        ]
    };
    let rows: Vec<Vec<String>> = s.classes.iter().map(row).collect();
    let mut out = table(&["Class", "Voxels", "ml", "Dice"], &rows);
    let sides = |n: [usize; 3]| n.map(|n| n.to_string()).join("×");
    let _ = writeln!(
        out,
        "\n{} voxels in {} of {}, {:.1} ms; {:.1} % of the MACs in integers; {:.1} MB of engine",
        sides(s.shape),
        counted(s.patches, "patch"),
        sides(s.patch),
        s.milliseconds,
        100.0 * s.integer_mac_share,
        s.engine_bytes as f64 / 1e6
    );
    for file in &s.files {
        let _ = writeln!(out, "{}", printable(&file.to_string_lossy()));
    }
    let p = context.provenance(Some(model.sha256()), Some(&s.data_sha256));
    let mut outcome = Outcome::new(out, &p, &s);
    let dices: Vec<f64> = s.classes.iter().filter_map(|c| c.dice).collect();
    let mean = dices.iter().sum::<f64>() / dices.len().max(1) as f64;
    if let Some(least) = a.min_dice.filter(|&least| mean < least) {
        outcome.fail([format!("the mean dice is {mean:.4}, --min-dice asks for {least}")]);
    }
    Ok(outcome)
}
