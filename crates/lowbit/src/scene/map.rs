//! A class map of a whole scene.

use std::path::{Path, PathBuf};
use std::time::Instant;

use data::Picture;
use data::cube::Scene;
use data::volume::{self, Format};
use serde::Serialize;

use super::{Classifier, fault, read_cube, standardized};
use crate::runtime::RunOptions;
use crate::{Error, Model, Progress, Result, encode_png};

/// Pixels of a map's longer side, at least, so that it can be seen.
const SIDE: usize = 480;

/// Height of a line of the legend.
const LINE: usize = 28;

/// How to map.
#[derive(Debug, Clone, Default)]
pub struct MapOptions {
    /// Name of the array, where the cube's file holds several.
    pub array: Option<String>,
    /// How the model is run.
    pub run: RunOptions,
}

/// Result of [`map_scene`].
#[derive(Debug, Clone, Serialize)]
pub struct Mapped {
    /// Rows, columns, bands.
    pub shape: [usize; 3],
    /// Pixels of each class.
    pub classes: Vec<(String, u64)>,
    /// Milliseconds of the network over all pixels.
    pub milliseconds: f64,
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// The file written.
    #[serde(serialize_with = "crate::text::path")]
    pub file: PathBuf,
    /// SHA-256 of the cube's file.
    #[serde(skip)]
    pub data_sha256: String,
}

/// Writes the class of every pixel of a cube: a picture with a legend (`.png`), or labels 1, 2, … (`.npy`, `.npz`).
///
/// # Errors
/// Cubes that cannot be read or have other bands than the model, outputs that would replace an input, what running refuses.
pub fn map_scene(
    model: &Model,
    input: &Path,
    output: &Path,
    options: &MapOptions,
    progress: &mut dyn Progress,
) -> Result<Mapped> {
    let picture = output.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    let format = Format::of(output)
        .ok()
        .filter(|f| matches!(f, Format::Npy | Format::Npz));
    if !picture && format.is_none() {
        return Err(Error::usage("a class map ends in .png, .npy or .npz").at(output.display()));
    }
    let mut inputs = model.files();
    inputs.push(input);
    crate::output::check(output, &inputs)?;
    let head = model.scene_head()?;
    let cube = read_cube(input, options.array.as_deref())?;
    let cube = standardized(cube, &head).map_err(|e| e.at(input.display()))?;
    let shape @ [rows, columns, _] = cube.shape;
    let scene = Scene {
        cube,
        labels: Vec::new(),
        split: Vec::new(),
    };
    let classifier = Classifier::new(model, &options.run, false)?;
    let begin = Instant::now();
    let pixels: Vec<usize> = (0..rows * columns).collect();
    let (said, _) = classifier.classes(&scene, &pixels, progress)?;
    let milliseconds = 1e3 * begin.elapsed().as_secs_f64();
    let bytes = match format {
        Some(format) => {
            let labels: Vec<u8> = said.iter().map(|&c| c as u8 + 1).collect();
            volume::encode(format, &[rows, columns], &labels, None).map_err(|e| fault(output, &e))?
        }
        None => {
            let said: Vec<Option<usize>> = said.iter().copied().map(Some).collect();
            encode_png(&drawn([rows, columns], &said, &head.classes)?)
                .map_err(|e| Error::bad(e.to_string()))?
        }
    };
    crate::output::file(output, &bytes, &inputs)?;
    let count = |(c, name): (usize, &String)| (name.clone(), said.iter().filter(|&&s| s == c).count() as u64);
    let raw = std::fs::read(input).map_err(|e| Error::io(input, &e))?;
    Ok(Mapped {
        shape,
        classes: head.classes.iter().enumerate().map(count).collect(),
        milliseconds,
        integer_mac_share: classifier.runner().integer_mac_share(),
        file: output.to_owned(),
        data_sha256: crate::provenance::sha256(&raw),
    })
}

/// The map, enlarged, and the name of each class on its colour below. Pixels of no class stay white.
pub(crate) fn drawn(
    [rows, columns]: [usize; 2],
    said: &[Option<usize>],
    classes: &[String],
) -> Result<Picture> {
    let scale = SIDE.div_ceil(rows.max(columns)).max(1);
    let (width, height) = (columns * scale, rows * scale);
    let mut picture = Picture::filled(width.max(SIDE), height + LINE * classes.len(), [255; 3]);
    let stride = 3 * picture.width();
    for (row, line) in picture
        .rgb_mut()
        .chunks_exact_mut(stride)
        .take(height)
        .enumerate()
    {
        for (x, dot) in line.chunks_exact_mut(3).take(width).enumerate() {
            if let Some(class) = said[row / scale * columns + x / scale] {
                dot.copy_from_slice(&data::draw::color(class));
            }
        }
    }
    for (class, name) in classes.iter().enumerate() {
        let bottom = (height + LINE * (class + 1)) as i64;
        data::draw::label(&mut picture, (0, bottom), name, data::draw::color(class));
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_each_pixel_and_each_class() {
        let classes = ["corn", "oats"].map(String::from);
        let said = [Some(0), Some(1), Some(0), Some(1), None, Some(0)];
        let picture = drawn([2, 3], &said, &classes).unwrap();
        assert_eq!((picture.width(), picture.height()), (480, 320 + 2 * LINE));
        let at = |x, y| picture.pixel(x, y);
        assert_eq!(
            (at(10, 10), at(170, 10), at(470, 310)),
            (data::draw::color(0), data::draw::color(1), data::draw::color(0))
        );
        assert_eq!(at(240, 240), [255; 3]);
        assert_eq!(at(1, 320 + LINE - 2), data::draw::color(0));
        assert_eq!(at(1, 320 + 2 * LINE - 2), data::draw::color(1));
    }
}
