//! The HTML report of a finished run: settings, curves, layers with histograms, examples side by side.

use train::checkpoint::Checkpoint;
use train::trainer::Deployed;

use super::Trained;
use super::run::Run;
use super::table::Table;
use super::task::Shown;
use crate::report::chart::{Curve, curves, weights};
use crate::report::page::Page;
use crate::runtime::RunOptions;
use crate::{Model, Result};

pub(super) fn html(
    run: &Run,
    made: &Trained,
    model: &Model,
    deployed: &[Deployed],
    state: &Checkpoint,
    table: &Table,
) -> Result<String> {
    let mut page = Page::new(&format!("{}: training report", run.name));
    summary(&mut page, run, made, table);
    progress(&mut page, table);
    layers(&mut page, deployed, state);
    examples(&mut page, run, model)?;
    page.heading("Settings");
    let settings = made.recipe.lines().filter_map(|l| l.split_once(" = "));
    let rows: Vec<Vec<String>> = settings.map(|(k, v)| vec![k.into(), v.into()]).collect();
    page.table(&["key", "value"], &rows);
    Ok(page.finish())
}

fn summary(page: &mut Page, run: &Run, made: &Trained, table: &Table) {
    let number = |score: Option<f64>| score.map_or("–".into(), |s| format!("{s:.4}"));
    let score = run.task.measure();
    let start = table.rows.first().filter(|r| r.step == 0).and_then(|r| r.score);
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let mut rows = vec![
        row("updates", made.steps.to_string()),
        row(
            "method, grid",
            format!(
                "{}, {}",
                run.recipe.text("method.name"),
                run.recipe.text("method.grid")
            ),
        ),
        row(
            "layers with low-bit weights",
            format!("{}", made.quantized_layers),
        ),
        row("edges that carry codes", format!("{}", made.quantized_edges)),
        row(
            &format!("{score}, float model at the start"),
            number(made.start_score),
        ),
        row(
            &format!("{score}, quantized, before the first update"),
            number(start),
        ),
        row(&format!("{score}, packed model"), number(made.score)),
        row("bytes of the packed model", made.model_bytes.to_string()),
    ];
    if let Some(agreement) = &made.agreement {
        rows.push(row(
            &format!("{} that differ from the f32 training forward", agreement.what),
            format!("{} of {}", agreement.differing, agreement.compared),
        ));
    }
    page.table(&["run", ""], &rows);
    page.note(&format!(
        "Scores are of the exported model in integers, by the code of eval. Packed model: SHA-256 {}. Float model: SHA-256 {}. lowbit {} ({}).",
        made.model_sha256,
        run.source.sha256(),
        crate::TOOL_VERSION,
        crate::provenance::GIT
    ));
}

fn progress(page: &mut Page, table: &Table) {
    let all = table.series();
    if all.is_empty() {
        return;
    }
    page.heading("Curves");
    let of = |name: &str| -> Vec<Curve> {
        let part = |s: &&(String, Vec<(u64, f64)>)| {
            s.0 == name || s.0.strip_prefix(name).is_some_and(|r| r.starts_with('/'))
        };
        let curve = |s: &(String, Vec<(u64, f64)>)| {
            let label = s.0.rsplit('/').next().unwrap_or(name);
            let label = if s.0 == name { "all" } else { label };
            (label.to_string(), s.1.iter().map(|p| (p.0 as f64, p.1)).collect())
        };
        all.iter().filter(part).map(curve).collect()
    };
    let mut charts = Vec::new();
    for (name, title) in [
        ("loss", "loss"),
        ("score", "score"),
        ("rate", "learning rate"),
        ("norm", "norm of the gradient"),
    ] {
        let curve = of(name);
        if !curve.is_empty() {
            charts.push(curves(title, &curve));
        }
    }
    page.charts(2, &charts);
}

/// Low-bit weights: a table, and what the weights behind the codes look like on their grid.
fn layers(page: &mut Page, deployed: &[Deployed], state: &Checkpoint) {
    let (mut rows, mut drawings) = (Vec::new(), Vec::new());
    for d in deployed {
        let Some(annotation) = &d.annotation else {
            continue;
        };
        let name = &d.parameter.name;
        let kept = ["ema", "param"]
            .iter()
            .find_map(|k| state.tensors.get(&format!("{k}/{name}")));
        let Some(shadow) = kept.filter(|s| s.len() == d.values.len()) else {
            continue;
        };
        let square = |x: f32| f64::from(x) * f64::from(x);
        let energy: f64 = shadow.iter().map(|&w| square(w)).sum();
        let error: f64 = shadow.iter().zip(&d.values).map(|(&w, &q)| square(w - q)).sum();
        let zeros = d.values.iter().filter(|v| **v == 0.0).count();
        let scales = &annotation.points[0].scales;
        let (low, high) = scales
            .iter()
            .fold((f32::MAX, 0f32), |(l, h), &s| (l.min(s), h.max(s)));
        rows.push(vec![
            name.clone(),
            annotation.grid.clone(),
            annotation
                .shape
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join("×"),
            scales.len().to_string(),
            if low == high {
                format!("{low:.3e}")
            } else {
                format!("{low:.3e} … {high:.3e}")
            },
            format!("{:.1} %", 100.0 * zeros as f64 / shadow.len().max(1) as f64),
            format!("{:.2} %", 100.0 * error / energy.max(f64::MIN_POSITIVE)),
        ]);
        drawings.push(weights(name, annotation, shadow));
    }
    if rows.is_empty() {
        return;
    }
    page.heading("Low-bit layers");
    page.table(
        &["weight", "grid", "shape", "scales", "scale", "zeros", "distance"],
        &rows,
    );
    page.note(
        "distance: ‖w − ŵ‖² / ‖w‖² between the trained weights w and the low-bit ones ŵ that run. Histograms: w in units of its scale, heights as \
         square roots; dashed lines are the grid's levels.",
    );
    page.charts(3, &drawings);
}

/// What the task shows of the evaluation: by the float model where the run began from one, and by the packed model.
fn examples(page: &mut Page, run: &Run, model: &Model) -> Result<()> {
    let from_nothing = run.recipe.text("model").starts_with("zoo:");
    let float = (!from_nothing).then_some(("float", &run.source));
    let found = run.task.examples(&Shown {
        models: float.into_iter().chain([("packed model", model)]).collect(),
        options: RunOptions {
            threads: run.recipe.count("threads") as usize,
            ..RunOptions::default()
        },
    })?;
    if let Some(found) = found {
        page.heading("Examples");
        page.note(&found.note);
        page.pictures(found.columns, &found.pictures);
    }
    Ok(())
}
