//! Hyperspectral cubes: one spectrum per pixel of a scene, from NumPy, MATLAB and ENVI files, and ground truths of the same kinds.
//!
//! | ending | read |
//! |---|---|
//! | `.npy`, `.npz` | as [volumes](crate::volume): integers, floats, either byte order and axis order |
//! | `.mat` | MATLAB's level 5, compressed or not, real numbers of every type |
//! | `.hdr` | ENVI: the header, its file of numbers beside it; BSQ, BIL, BIP, either byte order |
//!
//! Axes are rows, columns, bands, the last fastest in memory. Files are untrusted: nothing is allocated that the file does not hold.

mod envi;
mod mat;
mod scene;

use std::path::Path;

pub use scene::{Part, Scene, Standard, standardize};

use crate::volume::{self, Limits, Volume, VolumeError};

/// A scene with its bands.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    /// Rows, columns, bands.
    pub shape: [usize; 3],
    /// A pixel's bands lie side by side.
    pub values: Vec<f32>,
}

/// The array of a file; of several, the one named `array`, or else `cube`.
///
/// # Errors
/// What the system says; files that are damaged, too large, or of a kind that is not read.
pub fn read(path: &Path, array: Option<&str>, limits: &Limits) -> Result<Volume, VolumeError> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let mut all = match ending.as_deref() {
        Some("npy") => return volume::read(path, None, limits),
        Some("hdr") => return envi::read(path, limits),
        Some("npz") => volume::read_arrays(path, limits)?,
        Some("mat") => mat::decode(&volume::contents(path, limits)?, limits)?,
        _ => {
            return Err(VolumeError::Unsupported(
                "its name does not end in .npy, .npz, .mat or .hdr, which is what is known of hyperspectral scenes".into(),
            ));
        }
    };
    let index = match (array, all.len()) {
        (None, 1) => Some(0),
        _ => all.iter().position(|a| a.0 == array.unwrap_or("cube")),
    };
    let index = index.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|a| a.0.as_str()).collect();
        let want = array.unwrap_or("cube");
        VolumeError::Bad(format!("it has no array \"{want}\"; it has {}", names.join(", ")))
    })?;
    Ok(all.swap_remove(index).1)
}

/// A cube: an array of three axes.
///
/// # Errors
/// As [`read`]; other axes, values that are not finite.
pub fn read_cube(path: &Path, array: Option<&str>, limits: &Limits) -> Result<Cube, VolumeError> {
    let volume = read(path, array, limits)?;
    let shape = <[usize; 3]>::try_from(volume.shape.as_slice());
    let shape = shape.ok().filter(|s| s.iter().all(|&n| n > 0));
    let shape = shape.ok_or_else(|| {
        let shape = &volume.shape;
        VolumeError::Unsupported(format!(
            "it has shape {shape:?}; cubes have rows, columns and bands"
        ))
    })?;
    if let Some(i) = volume.values.iter().position(|v| !v.is_finite()) {
        return Err(VolumeError::Bad(format!("element {i} is {}", volume.values[i])));
    }
    Ok(Cube {
        shape,
        values: volume.values,
    })
}

/// Labels 0 … 255 of the pixels of a cube.
///
/// # Errors
/// As [`read`]; another shape than the cube's rows and columns, numbers that are no labels.
pub fn read_labels(path: &Path, cube: &Cube, limits: &Limits) -> Result<Vec<u8>, VolumeError> {
    let volume = read(path, None, limits)?;
    let [rows, columns, _] = cube.shape;
    // ENVI files have a band, too.
    match volume.shape[..] {
        [r, c] | [r, c, 1] if [r, c] == [rows, columns] => volume.labels(),
        _ => Err(VolumeError::Bad(format!(
            "it has shape {:?}, the cube {rows} rows and {columns} columns",
            volume.shape
        ))),
    }
}
