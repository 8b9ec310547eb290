//! Hyperspectral cubes: one spectrum per pixel of a scene, from NumPy, MATLAB and ENVI files, and ground truths of the same kinds.
//!
//! | ending | read |
//! |---|---|
//! | `.npy`, `.npz` | as [volumes](crate::volume): integers, floats, either byte order and axis order |
//!
//! Axes are rows, columns, bands, the last fastest in memory. Files are untrusted: nothing is allocated that the file does not hold.

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

/// The array of a file; of several, the one named `array`.
///
/// # Errors
/// What the system says; files that are damaged, too large, or of a kind that is not read.
pub fn read(path: &Path, array: Option<&str>, limits: &Limits) -> Result<Volume, VolumeError> {
    volume::read(path, array, limits)
}

/// A cube: an array of three axes, called `cube` where the file holds several.
///
/// # Errors
/// As [`read`]; other axes, values that are not finite.
pub fn read_cube(path: &Path, array: Option<&str>, limits: &Limits) -> Result<Cube, VolumeError> {
    let volume = read(path, array.or(Some("cube")).filter(|_| named(path)), limits)?;
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

/// Whether a file of this name holds arrays with names.
fn named(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    name.ends_with(".npz") || name.ends_with(".mat")
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
