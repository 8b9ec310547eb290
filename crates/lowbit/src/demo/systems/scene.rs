//! The spiking 3D/2D network, on a drawn hyperspectral scene.

use data::Picture;
use data::cube::{Cube, Scene};
use data::synth::cube;
use tensor::Tensor;

use super::{Given, Outcome, Own, Section};
use crate::control::Progress;
use crate::demo::models::System;
use crate::energy::Constants;
use crate::report::page::Jpeg;
use crate::scene::{drawn, standardized};
use crate::{Error, Model, Result, text};

/// Pixels of the scene's sides.
const SIDE: usize = 64;

/// Enlargement of the picture in three bands.
const ENLARGED: usize = 8;

/// Pixels on which engine and scalar program are compared.
const COMPARED: usize = 4;

pub(super) fn judge(
    _system: &System,
    model: &Model,
    given: &mut Given<'_>,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let head = model.scene_head()?;
    let [bands, side] = model.patch_size()?;
    let size = cube::Options {
        rows: SIDE,
        columns: SIDE,
        bands,
    };
    let raw = cube::scene(given.seed, &size);
    let colours = three_bands(&raw.cube)?;
    let scene = Scene {
        cube: standardized(raw.cube, &head)?,
        ..raw
    };
    let pixels: Vec<usize> = (0..SIDE * SIDE).collect();
    let (evaluated, said) = crate::scene::judge(
        model,
        &scene,
        &pixels,
        &Constants::load()?,
        &given.options.run,
        progress,
    )?;
    let energy = evaluated
        .energy
        .ok_or_else(|| Error::bad("the embedded network has no spikes"))?;
    let mut compared = Vec::new();
    for pixel in pixels.iter().step_by(pixels.len() / COMPARED) {
        let mut values = Vec::new();
        scene.patch(*pixel, side, &mut values);
        let input =
            Tensor::new(vec![1, 1, bands, side, side], values).map_err(|e| Error::bad(e.to_string()))?;
        compared.push((format!("pixel {pixel}"), vec![(head.input.clone(), input)]));
    }
    let truth: Vec<usize> = pixels.iter().map(|&p| scene.class(p)).collect();
    let map = |classes: &[usize]| {
        let all: Vec<Option<usize>> = classes.iter().copied().map(Some).collect();
        Jpeg::of(&drawn([SIDE, SIDE], &all, &head.classes)?)
    };
    let wrong = pixels.iter().filter(|&&p| truth[p] != said[p]).count();
    let classes: Vec<(String, f64)> = (evaluated.classes.iter())
        .filter_map(|c| Some((c.class.clone(), c.accuracy?)))
        .collect();
    Ok(Outcome {
        inputs: text::counted(pixels.len(), "pixel"),
        measure: "overall accuracy",
        score: evaluated.overall,
        compared,
        section: Section {
            heading: "A spiking 3D/2D network".into(),
            paragraph: format!(
                "Neurons that integrate and fire over {} steps of time, weights of {} bits, on a drawn scene of {SIDE} by {SIDE} pixels and {bands} bands, all of them judged: {wrong} are called \
                 another material than they are. Energy is modelled from the spikes that were counted, not measured ({}).",
                energy.steps, energy.bits, energy.source
            ),
            pictures: vec![vec![
                ("three of the bands".into(), Jpeg::of(&colours)?),
                ("truth".into(), map(&truth)?),
                ("found".into(), map(&said)?),
            ]],
            columns: ["material", "accuracy"],
            rows: classes
                .iter()
                .map(|(name, v)| vec![name.clone(), format!("{:.1}", 100.0 * v)])
                .collect(),
        },
        own: Own::Spiking {
            classes,
            kappa: evaluated.kappa,
            energy,
        },
    })
}

/// A late, a middle and an early band as red, green and blue, each from its least to its greatest value.
fn three_bands(cube: &Cube) -> Result<Picture> {
    let [rows, columns, bands] = cube.shape;
    let chosen = [5 * bands / 6, bands / 2, bands / 6];
    let range = |band: usize| {
        let values = cube.values.iter().skip(band).step_by(bands);
        values.fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)))
    };
    let ranges = chosen.map(range);
    let mut rgb = Vec::with_capacity(3 * rows * columns * ENLARGED * ENLARGED);
    for y in 0..rows * ENLARGED {
        for x in 0..columns * ENLARGED {
            let pixel = y / ENLARGED * columns + x / ENLARGED;
            rgb.extend(chosen.iter().zip(ranges).map(|(band, (low, high))| {
                let v = cube.values[pixel * bands + band];
                (255.0 * (v - low) / (high - low).max(1e-6)) as u8
            }));
        }
    }
    Picture::new(columns * ENLARGED, rows * ENLARGED, rgb).map_err(|e| Error::bad(e.to_string()))
}
