//! The affine-integer 3D U-Net, on drawn volumes.

use data::synth::volume::volume;
use tasks::segment::{dice, mean_dice};
use tensor::Tensor;

use super::{Given, Outcome, Own, Section};
use crate::control::Progress;
use crate::demo::models::System;
use crate::report::page::Jpeg;
use crate::segment::{OVERLAP, Segmenter, overlay};
use crate::{Error, Model, Result, text};

/// There is a volume for so many of the detectors' scenes.
const SCENES: usize = 8;

/// Volumes of which the page shows a slice, and how many of them in a row.
const SHOWN: usize = 4;
const ABREAST: usize = 2;

pub(super) fn judge(
    system: &System,
    model: &Model,
    given: &mut Given<'_>,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let segmenter = Segmenter::new(model, None, &given.options.run)?;
    let (head, size) = (segmenter.head(), segmenter.patch());
    let count = given.options.count.div_ceil(SCENES);
    let (mut overlaps, mut pictures, mut compared) = (Vec::with_capacity(count), Vec::new(), Vec::new());
    for i in 0..count {
        given.options.run.control.check()?;
        progress.at(&system.name, i, count);
        let case = volume(given.seed, i as u64, size);
        let mask = segmenter.mask(case.shape, &case.voxels, OVERLAP, &mut |_: &str, _, _| {})?;
        overlaps.push(dice(&mask, &case.labels, head.classes.len()));
        if i == 0 {
            let values: Vec<f32> = case.voxels.iter().map(|&v| head.scale * f32::from(v)).collect();
            let shape = [&[1, 1], &size[..]].concat();
            let input = Tensor::new(shape, values).map_err(|e| Error::bad(e.to_string()))?;
            compared.push((case.name.clone(), vec![(head.input.clone(), input)]));
        }
        if i < SHOWN.min(given.options.shown) {
            let index = overlay::fullest(case.shape, &case.labels, 0);
            let nothing = vec![0; mask.len()];
            let mut row: Vec<(String, Jpeg)> = match i % ABREAST {
                0 => Vec::new(),
                _ => pictures.pop().unwrap_or_default(),
            };
            for (caption, over) in [("scan", &nothing), ("truth", &case.labels), ("found", &mask)] {
                let slice = overlay::slice(case.shape, &case.voxels, over, 0, index)?;
                row.push((caption.to_string(), Jpeg::of(&slice)?));
            }
            pictures.push(row);
        }
    }
    progress.at(&system.name, count, count);
    let each = mean_dice(&overlaps);
    let dice: Vec<(String, f64)> = head.classes[1..].iter().cloned().zip(each).collect();
    let [d, h, w] = size;
    Ok(Outcome {
        inputs: text::counted(count, "volume"),
        measure: "mean dice",
        score: dice.iter().map(|c| c.1).sum::<f64>() / dice.len().max(1) as f64,
        compared,
        section: Section {
            heading: "A 3D U-Net in affine integers".into(),
            paragraph: format!(
                "Weights and activations of 4 bits with trained scales and zero points, 8 bits in the weights of the first and the last layer, on drawn volumes of {d} by {h} by {w} voxels: a body of a cap \
                 and a stem among clutter as bright as it. Of each volume the slice that holds most of the body."
            ),
            pictures,
            columns: ["class", "dice, mean over the volumes"],
            rows: dice
                .iter()
                .map(|(name, v)| vec![name.clone(), format!("{:.1}", 100.0 * v)])
                .collect(),
        },
        own: Own::Volumes { dice },
    })
}
