//! What `eval` and `segment` print of hyperspectral scenes.

use std::fmt::Write;
use std::path::Path;

use lowbit::Model;
use lowbit::energy::Constants;
use lowbit::energy::spiking::SpikingEnergy;
use lowbit::scene::{MapOptions, SceneEvaluated, SceneFiles, evaluate_scene, map_scene};
use lowbit::text::{printable, shortened, table};

use crate::context::{Context, Outcome, RunFlags};

/// What of `eval`'s flags is for scenes.
pub(super) struct Judged<'a> {
    pub(super) cube: &'a Path,
    pub(super) labels: Option<&'a Path>,
    pub(super) split: Option<&'a str>,
    pub(super) energy: Option<&'a Path>,
    pub(super) least: Option<f64>,
    pub(super) run: &'a RunFlags,
}

pub(super) fn evaluate(a: &Judged<'_>, model: &Model, context: &Context) -> lowbit::Result<Outcome> {
    let constants = a.energy.map_or_else(Constants::load, Constants::read)?;
    let files = SceneFiles {
        cube: a.cube.to_owned(),
        labels: a.labels.map(Into::into),
        split: a.split.map(Into::into),
        array: None,
    };
    let e = evaluate_scene(
        model,
        &files,
        &constants,
        &a.run.options(context),
        &mut context.bar(),
    )?;
    let p = context.provenance(Some(model.sha256()), Some(&e.data_sha256));
    let mut outcome = Outcome::new(text(&e), &p, &e);
    if let Some(least) = a.least.filter(|&least| e.overall < least) {
        outcome.fail([format!(
            "the overall accuracy is {:.4}, --min-oa asks for {least}",
            e.overall
        )]);
    }
    Ok(outcome)
}

fn text(e: &SceneEvaluated) -> String {
    let header: Vec<String> = (1..=e.classes.len()).map(|c| c.to_string()).collect();
    let mut columns = vec!["", "Class", "Pixels", "Accuracy"];
    columns.extend(header.iter().map(String::as_str));
    let row = |(c, class): (usize, &lowbit::scene::ClassAccuracy)| {
        let mut row = vec![
            (c + 1).to_string(),
            shortened(&class.class, 30),
            class.pixels.to_string(),
            class.accuracy.map_or("-".into(), |a| format!("{a:.4}")),
        ];
        row.extend(e.confusion.counts[c].iter().map(u64::to_string));
        row
    };
    let rows: Vec<Vec<String>> = e.classes.iter().enumerate().map(row).collect();
    let mut out = table(&columns, &rows);
    let _ = writeln!(
        out,
        "\nOA {:.4}  AA {:.4}  kappa {:.4}  over {} test pixels (columns 1 … are what they were called), {:.1} ms; {:.1} % of the MACs in integers",
        e.overall,
        e.average,
        e.kappa,
        e.pixels,
        e.milliseconds,
        100.0 * e.integer_mac_share
    );
    if let Some(energy) = &e.energy {
        spent(&mut out, energy);
    }
    out
}

fn spent(out: &mut String, e: &SpikingEnergy) {
    let activity: Vec<String> = e
        .layers
        .iter()
        .filter_map(|l| Some(format!("{:.3}", l.activity?)))
        .collect();
    let _ = writeln!(
        out,
        "\nspikes per neuron over {} steps, measured, layer by layer: {}",
        e.steps,
        activity.join(", ")
    );
    let _ = writeln!(
        out,
        "energy, a model ({}): {:.2} nJ a pixel at {} bits, the first layer computed once and {:.0} % of it; {:.2} nJ if computed in every step",
        printable(&e.source),
        e.snn_nj,
        e.bits,
        100.0 * e.first_share,
        e.snn_uncached_nj
    );
    let _ = writeln!(
        out,
        "network of ReLUs over this one: {:.2} in float32, {:.2} in int32, {:.2} at {} bits; float32 over {} bits {:.1}; beside it {} products with leaks",
        e.ratio_float32,
        e.ratio_int32,
        e.ratio_bits,
        e.bits,
        e.bits,
        e.ratio_float32_to_bits,
        e.leak_products
    );
    if let Some((nj, ns)) = e.pim {
        let _ = writeln!(
            out,
            "first layer in memory, by the file's device: {nj:.2} nJ, {ns:.0} ns"
        );
    }
}

pub(super) fn map(
    model: &Model,
    input: &Path,
    output: &Path,
    options: &MapOptions,
    context: &Context,
) -> lowbit::Result<Outcome> {
    let m = map_scene(model, input, output, options, &mut context.bar())?;
    let rows: Vec<Vec<String>> = m
        .classes
        .iter()
        .map(|(name, pixels)| vec![printable(name).to_string(), pixels.to_string()])
        .collect();
    let mut out = table(&["Class", "Pixels"], &rows);
    let [r, c, b] = m.shape;
    let _ = writeln!(
        out,
        "\n{r}×{c} pixels of {b} bands, {:.1} ms; {:.1} % of the MACs in integers\n{}",
        m.milliseconds,
        100.0 * m.integer_mac_share,
        printable(&m.file.to_string_lossy())
    );
    let p = context.provenance(Some(model.sha256()), Some(&m.data_sha256));
    Ok(Outcome::new(out, &p, &m))
}
