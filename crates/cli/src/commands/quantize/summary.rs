//! What `quantize` prints: layers, sizes, settings, errors.

use std::fmt::Write;

use lowbit::Model;
use lowbit::quantize::{Extended, Learn, QuantizeReport, TriedGrid, Try};
use lowbit::text::{self, printable, shortened, table};

/// Below this agreement of detections the summary says what can be done.
const FEW: f64 = 0.8;

/// How channels were given points.
fn extended(e: &Extended) -> String {
    let [before, after] = e.error;
    let how = match (e.exact, e.error_by_gain, e.short) {
        (Some(true), Some(by_gain), _) => format!("the best choice; {by_gain:.4} by gain for the bits"),
        (Some(false), ..) => "by gain for the bits: the best choice takes too much memory to find".into(),
        (.., Some(0)) => "each as near as was asked".into(),
        (.., Some(short)) => format!("{} not as near as was asked", text::counted(short, "channel")),
        _ => String::new(),
    };
    format!(
        "{} with more than one; relative errors of the layers' outputs add up to {after:.4}, with one point each {before:.4} ({how})",
        text::counted(e.channels, "channel")
    )
}

pub(super) fn summary(model: &Model, r: &QuantizeReport, file: Option<usize>) -> String {
    let number = |x: Option<f64>, digits: usize| x.map_or("-".into(), |x| format!("{x:.digits$}"));
    let rows: Vec<Vec<String>> = r
        .layers
        .iter()
        .map(|l| {
            vec![
                shortened(&l.name, 40),
                l.op.clone(),
                l.role.clone().unwrap_or_else(|| "-".into()),
                l.grid.clone(),
                text::count(l.weights as u64),
                format!("{:.2}", l.bits_per_weight),
                number(l.weight_error.map(|e| 100.0 * e), 3),
                number(l.sqnr_db, 1),
            ]
        })
        .collect();
    let header = [
        "layer",
        "op",
        "role",
        "grid",
        "weights",
        "bits/weight",
        "error %",
        "SQNR dB",
    ];
    let mut out = table(&header, &rows);
    let floats: Vec<Vec<String>> = r
        .layers
        .iter()
        .filter_map(|l| {
            Some(vec![
                shortened(&l.name, 40),
                printable(l.reason.as_ref()?).into_owned(),
            ])
        })
        .collect();
    if !floats.is_empty() {
        let _ = write!(out, "\nkept float\n{}", table(&["layer", "reason"], &floats));
    }
    let s = &r.size;
    let _ = writeln!(
        out,
        "\nweights  {} at {:.3} bits: {} instead of {} ({:.2}x smaller)",
        text::count(s.weights as u64),
        s.bits_per_weight,
        text::bytes(s.bytes),
        text::bytes(s.float_bytes),
        s.float_bytes as f64 / s.bytes.max(1) as f64
    );
    if s.extra_codes > 0 {
        let rows: usize = r.layers.iter().map(|l| l.extra_rows).sum();
        let share = 100.0 * s.extra_codes as f64 / s.weights.max(1) as f64;
        let _ = writeln!(
            out,
            "points   {} more, {share:.1} % of the weights",
            text::counted(rows, "row")
        );
    }
    if let Some(e) = &r.extended {
        let _ = writeln!(out, "         {}", extended(e));
    }
    if let Some(file) = file {
        let _ = writeln!(
            out,
            "file     {} instead of {} ({:.2}x smaller)",
            text::bytes(file),
            text::bytes(s.float_file_bytes),
            s.float_file_bytes as f64 / file.max(1) as f64
        );
    }
    let set = &r.settings;
    let _ = writeln!(
        out,
        "settings {}, scales {} per {}, solver {}, activations {} bits by {}, rounding {}, equalization {}, correction {}",
        set.grid,
        set.scale,
        set.granularity,
        set.solver,
        set.act_bits,
        set.observer,
        set.rounding,
        if set.equalization { "on" } else { "off" },
        if set.correction { "on" } else { "off" }
    );
    if r.batch_norms > 0 {
        let _ = writeln!(
            out,
            "         {} re-estimated: no layer before takes them in",
            text::counted(r.batch_norms, "BatchNormalization")
        );
    }
    if !r.grids.is_empty() {
        let one = |g: &TriedGrid| format!("{} {:.3} %", g.grid, 100.0 * g.output_error);
        let all: Vec<String> = r.grids.iter().map(one).collect();
        let _ = writeln!(out, "tried    {} (relative error of the outputs)", all.join(", "));
    }
    if let Some(l) = &r.learned {
        let what = match l.what {
            Learn::Codes => format!("gains, biases and {} codes", text::count(l.codes_changed as u64)),
            _ => "gains and biases".into(),
        };
        let [before, after] = l.agreement.map(|a| number(a, 4));
        let [old, new] = l.output_error.map(|e| 100.0 * e);
        let _ = writeln!(
            out,
            "learned  {what}: agreement {before} to {after}, error of the outputs {old:.3} to {new:.3} % on pictures kept apart: {}",
            if l.kept { "taken" } else { "left out" }
        );
    }
    if let Some(s) = &r.spent {
        let _ = writeln!(
            out,
            "budget   {}: predicted {}, measured {}{}; least possible {}",
            set.grid,
            s.unit.show(s.predicted),
            s.unit.show(s.measured),
            if s.is_kept() { "" } else { ", which is over it" },
            s.unit.show(s.least)
        );
    }
    if let Some(search) = &r.search {
        let one = |t: &Try| format!("{} {:.2} ({:.2} bits)", t.what, 100.0 * t.drop, t.bits_per_weight);
        let all: Vec<String> = search.tries.iter().map(one).collect();
        let _ = writeln!(
            out,
            "drop     {:.2} points of {}, {:.2} allowed; tried {}",
            100.0 * search.drop,
            search.measure.name(),
            100.0 * search.most,
            all.join(", ")
        );
    }
    if let Some(error) = r.output_error {
        let agreement = r
            .agreement
            .map_or(String::new(), |a| format!(", agreement of detections {a:.4}"));
        let _ = writeln!(
            out,
            "outputs  relative error {:.3} %{agreement}, on {} of {}",
            100.0 * error,
            set.correction_pictures,
            text::counted(set.calibration_pictures, "calibration picture")
        );
    }
    if r.skipped > 0 {
        let _ = writeln!(out, "skipped  {}", text::counted(r.skipped, "picture"));
    }
    if r.agreement.is_some_and(|a| a < FEW) {
        out.push_str(
            "         few detections agree with the float model's: more bits, another grid (--list), wider ones for some layers (--tensor-type)\n         \
             or training (`lowbit train`) win accuracy back; `lowbit eval` and `lowbit compare` measure it\n",
        );
    }
    let _ = writeln!(out, "head     {}", printable(&model.head_source().to_string()));
    out
}
