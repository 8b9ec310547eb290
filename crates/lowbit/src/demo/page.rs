//! The demo's results as a page.

use std::fmt::Write as _;

use super::systems::Section;
use super::{DRAWN, Demo, DemoRow, ENLARGED, SYSTEM_HEADER, SystemRow};
use crate::report::page::{Jpeg, Page, escape};
use crate::text;
use crate::verify::Difference;

/// The report; `drawn` holds for each scene the picture of each model with its name.
pub(super) fn page(demo: &Demo, drawn: &[Vec<(&str, Jpeg)>], sections: &[Section]) -> String {
    let mut page = Page::new(match sections {
        [] => "lowbit: one detector in float and at 6, 4 and 2 bits",
        _ => "lowbit: one detector in float and at 6, 4 and 2 bits, and three other systems",
    });
    page.paragraph(&format!(
        "The same small detector, trained four times, on {} with {} that no training saw. The float model computes in \
         32-bit floating point, the others in integers: weights are powers of two or zero, activations have 8 bits.",
        text::counted(demo.scenes, "drawn scene"),
        text::counted(demo.objects, "object")
    ));
    page.table(&HEADER, &demo.rows.iter().map(cells).collect::<Vec<_>>());
    page.raw(&intervals(demo));
    page.note(&format!(
        "mAP50: {}; 95 % bootstrap interval over the scenes. Loss: float minus low-bit in points, with the interval of the paired difference. Time: \
         median of the network alone, one thread, models by turns; times faster: median over the rounds of the ratio. Energy: modelled, not \
         measured ({}), the range is that of main memory. Verified: values equal to those of the scalar program of FORMAT.md, bit for bit.",
        demo.protocol, demo.energy_source
    ));
    page.heading("Scenes").paragraph(&format!(
        "Boxes above a score of {DRAWN}, scenes in the order they were drawn, not chosen."
    ));
    for row in drawn {
        page.pictures(row.len(), row);
    }
    if !sections.is_empty() {
        systems(&mut page, demo, sections);
    }
    page.heading("Where this comes from");
    page.note(&format!(
        "lowbit {} ({}), {}, {}. Scene seed {}, {} by {} pixels, enlarged {ENLARGED} times.",
        crate::TOOL_VERSION,
        crate::provenance::GIT,
        crate::provenance::cpu_name(),
        kernels::Isa::best().name(),
        demo.scene_seed,
        demo.side,
        demo.side,
    ));
    for row in &demo.rows {
        page.note(&format!("{}: SHA-256 {}", row.model, row.sha256));
    }
    for row in &demo.systems {
        page.note(&format!("{}: SHA-256 {}", row.system, row.sha256));
    }
    page.finish()
}

/// Columns of the table of results.
pub const HEADER: [&str; 10] = [
    "model",
    "file",
    "mAP50",
    "95 %",
    "loss",
    "ms",
    "× faster",
    "energy µJ",
    "integer MACs",
    "verified",
];

/// One row of it.
pub fn cells(row: &DemoRow) -> Vec<String> {
    let points = |v: f64| format!("{:.1}", 100.0 * v);
    let interval = row
        .interval
        .map_or("-".into(), |i| format!("{}–{}", points(i.low), points(i.high)));
    // The difference is low-bit minus float, the loss the other way round.
    let loss = row
        .against_float
        .map_or("-".into(), |i| format!("{}…{}", points(-i.high), points(-i.low)));
    let (low, high) = row.energy_uj;
    vec![
        row.model.clone(),
        text::bytes(row.file_bytes),
        points(row.map50),
        interval,
        loss,
        format!("{:.2}", row.median_ms),
        format!("{:.2}", row.faster),
        format!("{low:.0}–{high:.0}"),
        format!("{:.1} %", 100.0 * row.integer_mac_share),
        compared(row.verified, row.difference.as_ref()),
    ]
}

/// What came of the comparison with the scalar program.
pub(super) fn compared(elements: usize, difference: Option<&Difference>) -> String {
    match difference {
        None => format!("{} values", text::count(elements as u64)),
        Some(d) => format!("differs at {}", d.layer),
    }
}

/// The other systems: a table of all, then one part for each.
fn systems(page: &mut Page, demo: &Demo, sections: &[Section]) {
    page.heading("Other systems").paragraph(
        "Three more kinds of networks by the same graph, trainer, file format and engine, each on inputs that no training saw.",
    );
    let rows: Vec<Vec<String>> = demo.systems.iter().map(SystemRow::cells).collect();
    page.table(&SYSTEM_HEADER, &rows);
    page.note(
        "Accuracy in percent. × smaller: 32 bits for every weight and bias, divided by all bits that are stored for them. Time: median of the network for one \
         picture, volume or pixel, one thread. Verified: as above.",
    );
    for (section, row) in sections.iter().zip(&demo.systems) {
        page.heading(&section.heading).paragraph(&section.paragraph);
        page.paragraph(&format!("{}: {}.", row.system, row.detail()));
        for pictures in &section.pictures {
            page.pictures(pictures.len(), pictures);
        }
        page.table(&section.columns, &section.rows);
    }
}

/// mAP with its interval, a line each.
fn intervals(demo: &Demo) -> String {
    const LEFT: f64 = 90.0;
    const WIDTH: f64 = 440.0;
    const LINE: f64 = 28.0;
    let ends = demo.rows.iter().filter_map(|r| r.interval);
    let low = ends.clone().fold(1.0, |m: f64, i| m.min(i.low));
    let high = ends.fold(0.0, |m: f64, i| m.max(i.high));
    let (low, high) = ((low * 20.0).floor() / 20.0, (high * 20.0).ceil() / 20.0);
    let x = |v: f64| LEFT + (v - low) / (high - low).max(0.05) * (WIDTH - LEFT - 20.0);
    let bottom = LINE * demo.rows.len() as f64;
    let mut svg = format!(
        "<svg class=\"intervals\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"mAP50 with 95 % intervals\" \
         style=\"max-width:38rem\" font-size=\"13\" fill=\"currentColor\">\n",
        bottom + 24.0
    );
    let ticks = ((high - low) * 20.0).round() as i64;
    for k in 0..=ticks {
        let v = low + k as f64 / 20.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{bottom}\" stroke=\"currentColor\" opacity=\".15\"/>\
             <text x=\"{0:.1}\" y=\"{1}\" text-anchor=\"middle\" opacity=\".7\">{2:.0}</text>",
            x(v),
            bottom + 16.0,
            100.0 * v
        );
    }
    for (k, row) in demo.rows.iter().enumerate() {
        let y = LINE * (k as f64 + 0.5);
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{:.1}\">{}</text>",
            y + 4.5,
            escape(&row.model)
        );
        if let Some(i) = row.interval {
            let _ = writeln!(
                svg,
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#2a9df4\" stroke-width=\"3\" stroke-linecap=\"round\"/>",
                x(i.low),
                x(i.high)
            );
        }
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" fill=\"#2a9df4\"/>",
            x(row.map50)
        );
    }
    svg.push_str("</svg>\n");
    svg
}
