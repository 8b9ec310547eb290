//! The analysis as a page: what hurts, where in the graph, what to type next.

use std::fmt::Write as _;

use super::rank::Ranked;
use super::{Analysis, AnalyzedLayer};
use crate::report::page::{Page, escape};
use crate::text::counted;

/// Rows of the table, and histograms that are open.
const ROWS: usize = 20;
const OPEN: usize = 12;

/// Most boxes of the map: what is larger shows the worst layers in the table.
const MAP: usize = 2_000;

/// SQNR that is drawn without and with full colour, in dB.
const CLEAR: f64 = 45.0;
const FULL: f64 = 5.0;

pub(super) fn html(a: &Analysis) -> String {
    let mut page = Page::new(&format!("{}: what rounding does", a.name));
    let worst = a.ranking.first();
    if let Some(r) = worst {
        page.paragraph(&format!(
            "What hurts most: {}, {}: {}.",
            r.layer,
            r.part.name(),
            r.advice
        ));
    }
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let mut rows = vec![
        row(
            "error of the outputs, Σ(y − ŷ)² / Σy²",
            format!("{:.2e}", a.output_error),
        ),
        row(
            "pictures; places alone on",
            format!("{}; {}", a.pictures, a.pictures_alone),
        ),
        row("places that round", a.ranking.len().to_string()),
    ];
    if let Some(agreement) = a.agreement {
        rows.insert(
            1,
            row("agreement of the detections, 0…1", format!("{agreement:.4}")),
        );
    }
    if let Some(accuracy) = &a.accuracy {
        rows.insert(0, row("mAP, float → low-bit", accuracy.to_string()));
    }
    page.table(&["low-bit against float", ""], &rows);
    page.heading("The command to type next");
    page.code(&a.command);
    page.heading("What hurts most");
    let shown = || a.ranking.iter().take(ROWS);
    let mut header = HEADER.to_vec();
    let mut table: Vec<Vec<String>> = shown().enumerate().map(|(i, r)| cells(i, r)).collect();
    if let Some(accuracy) = &a.accuracy {
        header.insert(BESIDE_ALONE, "mAP loss");
        for (row, r) in table.iter_mut().zip(shown()) {
            row.insert(BESIDE_ALONE, accuracy.loss_alone(r.map));
        }
        page.note(&format!(
            "mAP loss: points of mAP on {} with this place alone rounded, of the first {}.",
            counted(accuracy.pictures, "labelled picture"),
            counted(accuracy.places_alone, "place"),
        ));
    }
    page.table(&header, &table);
    page.note(
        "alone: error of the model's outputs with this place alone rounded; agreement: of the detections with the float model's then, 0…1. own: signal to noise, in dB, of what the place itself adds to float \
         values; fresh: of a new rounding to the same grid or width. extra: share of the own error that the new rounding would not make. all: signal \
         to noise of the layer's output with everything rounded. fault: how much of it is one, 0…1. Order: min(alone, error of the outputs) · (fault + 1/20), times what a \
         repair of the place takes away. A place alone may cost more than \
         all together, where later layers were fitted to what it does.",
    );
    page.heading("The graph");
    page.raw(&map(&a.layers, &a.ranking));
    page.note(&format!(
        "Layers in the order in which they run. The stronger the colour, the further the low-bit value is from the float one: {CLEAR:.0} dB and more are \
         clear, {FULL:.0} dB and less full; a dashed box has no low-bit value of its own. Numbers are ranks in the table. A pointer on a box shows its name."
    ));
    if !a.drawn.is_empty() {
        page.heading("Before and after");
        page.note("The pictures whose boxes changed most.");
        page.pictures(2, &a.drawn);
    }
    page.heading("Values and levels");
    page.note(
        "Weights: the float ones in units of the low-bit scale, dashed lines are the levels of the grid. Activations: the float ones, dashed lines are \
         the ends of the codes' range (all levels up to 4 bits), what is further out is counted in the outermost bars. Heights are square roots of \
         counts. The worst first.",
    );
    let open = OPEN.min(a.histograms.len());
    page.charts(3, &a.histograms[..open]);
    if a.histograms.len() > open {
        let more = format!("{} more", a.histograms.len() - open);
        page.folded(&more, |page| {
            page.charts(3, &a.histograms[open..]);
        });
    }
    page.heading("Where this comes from");
    page.note(&format!(
        "lowbit {} ({}), {}, {}. Float model SHA-256 {}. Low-bit model SHA-256 {}. Pictures SHA-256 {}.",
        crate::TOOL_VERSION,
        crate::provenance::GIT,
        crate::provenance::cpu_name(),
        kernels::Isa::best().name(),
        a.float_sha256,
        a.low_sha256,
        a.data_sha256,
    ));
    page.finish()
}

const HEADER: [&str; 12] = [
    "layer",
    "rank",
    "op",
    "what",
    "finding",
    "alone",
    "agreement",
    "own",
    "fresh",
    "extra",
    "fault",
    "all",
];

/// Where the loss of mAP goes, with labels.
const BESIDE_ALONE: usize = 7;

fn cells(i: usize, r: &Ranked) -> Vec<String> {
    vec![
        crate::text::shortened(&r.layer, 40),
        (i + 1).to_string(),
        r.op.clone(),
        format!("{} {}", r.part.name(), r.grid),
        r.finding.name().into(),
        format!("{:.2e}", r.output_error),
        r.agreement.map_or("–".into(), |a| format!("{a:.4}")),
        format!("{:.1}", r.own_sqnr_db),
        format!("{:.1}", r.fresh_sqnr_db),
        format!("{:.0} %", 100.0 * r.extra),
        format!("{:.2}", r.fault),
        r.sqnr_db.map_or("–".into(), |s| format!("{s:.1}")),
    ]
}

/// A box for each layer.
fn map(layers: &[AnalyzedLayer], ranking: &[Ranked]) -> String {
    let mut html = String::from("<div class=\"map\">\n");
    for layer in layers.iter().take(MAP) {
        let place = ranking.iter().take(ROWS).position(|r| r.layer == layer.name);
        let said = match layer.sqnr_db {
            Some(s) => format!("{}, {}: {s:.1} dB", layer.name, layer.op),
            None => format!("{}, {}", layer.name, layer.op),
        };
        let heat = layer
            .sqnr_db
            .map(|s| ((CLEAR - s) / (CLEAR - FULL)).clamp(0.0, 1.0));
        let style = match heat {
            Some(heat) => format!(" style=\"--heat:{:.0}%\"", 90.0 * heat),
            None => " class=\"none\"".into(),
        };
        let number = place.map_or(String::new(), |p| format!("<b>{}</b>", p + 1));
        let _ = writeln!(
            html,
            "<span title=\"{}\"{style}>{}{number}</span>",
            escape(&said),
            escape(&layer.op)
        );
    }
    html.push_str("</div>\n");
    html
}
