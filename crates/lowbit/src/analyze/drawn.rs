//! What the page draws: histograms over the levels, pictures with the boxes of both models.

use std::path::PathBuf;

use graph::Graph;
use tasks::detect::NmsOptions;
use tasks::detect::compare::{CompareOptions, compare};

use super::AnalyzeOptions;
use super::own::Own;
use super::rank::Ranked;
use super::sites::{Rounds, Site};
use crate::pictures::Reader;
use crate::report::boxes::{annotated, enlargement};
use crate::report::page::Jpeg;
use crate::{Detector, Model, Result};

/// Pictures drawn with the boxes of both models.
const DRAWN: usize = 3;

/// What a place rounds, over the levels that it has.
pub(super) fn histogram(graph: &Graph, ranked: &Ranked, site: &Site, own: &Own) -> String {
    use crate::report::chart;
    match &site.rounds {
        Rounds::Weight { weight, .. } => {
            let float = graph.constants.get(&site.value).and_then(|t| t.as_f32());
            chart::weights(&ranked.layer, weight, float.unwrap_or_default())
        }
        Rounds::Edge(edge) => {
            let title = format!("{} → {}", ranked.layer, ranked.grid);
            let ends = [edge.dequantize(0), edge.dequantize(edge.max_code())];
            let levels: Vec<f64> = match edge.bits {
                ..=4 => (0..=edge.max_code())
                    .map(|q| f64::from(edge.dequantize(q)))
                    .collect(),
                _ => ends.map(f64::from).to_vec(),
            };
            chart::histogram(&title, &own.counts, own.ends, &levels)
        }
    }
}

/// The pictures whose boxes changed most, with the boxes of both models; none for models without detections.
pub(super) fn pictures(
    float: &Model,
    low: &Model,
    paths: &[PathBuf],
    options: &AnalyzeOptions,
) -> Result<Vec<(String, Jpeg)>> {
    if float.detector_head().is_err() {
        return Ok(Vec::new());
    }
    let nms = NmsOptions {
        conf: options.box_conf,
        ..NmsOptions::default()
    };
    let models = [
        Detector::new(float, &options.run)?,
        Detector::new(low, &options.run)?,
    ];
    let boxes = CompareOptions {
        conf: f64::from(options.box_conf),
        ..CompareOptions::default()
    };
    let mut reader = Reader::new(&options.run.control);
    let mut changed = Vec::new();
    for path in paths {
        let picture = reader.read(path)?;
        let detect = |d: &Detector| d.detect(&picture, &nms).map_err(|e| e.at(path.display()));
        let found = [detect(&models[0])?, detect(&models[1])?];
        let harm = compare(&found[0], &found[1], None, &boxes).harm;
        changed.push((harm, found[0].len(), path, found));
    }
    // Where nothing changed, those with the most boxes.
    changed.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let mut drawn = Vec::new();
    for (_, _, path, found) in changed.iter().take(DRAWN) {
        let picture = reader.read(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        for (what, (found, model)) in ["float", "low-bit"].iter().zip(found.iter().zip(&models)) {
            let large = annotated(
                &picture,
                found,
                &model.head().classes,
                enlargement(picture.width()),
            );
            let caption = format!("{file}, {what}: {}", crate::text::counted(found.len(), "box"));
            drawn.push((caption, Jpeg::of(&large)?));
        }
    }
    Ok(drawn)
}
