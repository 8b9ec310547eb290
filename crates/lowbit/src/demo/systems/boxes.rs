//! The pruned ternary detector, on the scenes of the others.

use tasks::detect::eval::{Metric, paired_interval};

use super::{Given, Outcome, Own, Section};
use crate::bench::by_turns;
use crate::control::Progress;
use crate::demo::models::System;
use crate::demo::{ENLARGED, annotated};
use crate::pictures::input_of_picture;
use crate::report::page::Jpeg;
use crate::{Model, Result, inspect, text};

/// Scenes of which the page shows boxes, and how many of them in a row.
const SHOWN: usize = 4;
const ABREAST: usize = 2;

pub(super) fn judge(
    system: &System,
    model: &Model,
    given: &mut Given<'_>,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let (float, float_judged) = given.float;
    let judged = crate::demo::judge(
        &system.name,
        model,
        given.scenes,
        given.protocol,
        given.options,
        progress,
    )?;
    let inspected = inspect(model)?;
    let pruned = || inspected.layers.iter().filter_map(|l| l.pruned.as_ref());
    let groups: usize = pruned().map(|p| p.groups).sum();
    let empty: f64 = pruned().map(|p| p.share * p.groups as f64).sum();
    let faster = by_turns(&[float, model], &given.bench(), progress)?[1].1;
    let classes = &model.head()?.classes;
    let mut pictures = Vec::new();
    let shown = SHOWN.min(given.options.shown).min(given.scenes.len());
    for scenes in given.scenes[..shown].chunks(ABREAST) {
        let mut row = Vec::new();
        for scene in scenes {
            // Of the models that looked at the scene, the float one was the first and this one is the last.
            for (name, found) in [("float", scene.found.first()), (&system.name, scene.found.last())] {
                let found = found.map_or(&[][..], Vec::as_slice);
                let picture = annotated(&scene.picture, found, classes);
                row.push((name.to_string(), Jpeg::of(&picture)?));
            }
        }
        pictures.push(row);
    }
    let layers = inspected.layers.iter().filter_map(|l| {
        let p = l.pruned.as_ref()?;
        let zeros = p.share + (1.0 - p.share) * p.zeros;
        Some(vec![l.name.clone(), format!("{:.0} %", 100.0 * zeros)])
    });
    let resamples = 1000;
    Ok(Outcome {
        inputs: text::counted(given.scenes.len(), "scene"),
        measure: "mAP50",
        score: judged.report.map50.unwrap_or(0.0),
        own: Own::Pruned {
            groups,
            share: empty / groups.max(1) as f64,
            against_float: paired_interval(
                float_judged,
                &judged,
                Metric::Map50,
                resamples,
                given.options.seed,
            ),
            faster,
        },
        compared: vec![(
            "scene 0".into(),
            vec![input_of_picture(model, &given.scenes[0].picture)?],
        )],
        section: Section {
            heading: "Structured pruning and ternary weights".into(),
            paragraph: format!(
                "The detector above, pruned and ternary at once (weight penalty clipping, Yang, He, Fan, AAAI 2020): groups of 16 output by 4 input channels of one tap are zeros \
                 as a whole, and files and kernels leave them out. Boxes above a score of {}, enlarged {ENLARGED} times.",
                crate::demo::DRAWN
            ),
            pictures,
            columns: ["layer", "zeros, in groups and single"],
            rows: layers.collect(),
        },
    })
}
