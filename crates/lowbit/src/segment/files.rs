//! A volume file in; a mask, numbers by class and slices to look at out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use data::volume::set::{intensities, three_axes};
use data::volume::{self, Format, Limits, VolumeError};
use serde::Serialize;
use tasks::segment::dice;

use super::{OVERLAP, Segmenter, overlay};
use crate::output::Folder;
use crate::runtime::RunOptions;
use crate::{Error, Model, Progress, Result, encode_png};

/// How to segment, and what to write.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// Voxels of a patch along each axis; the model's own input without.
    pub patch: Option<[usize; 3]>,
    /// Voxels that neighbouring patches share at least.
    pub overlap: usize,
    /// A mask to compare with.
    pub truth: Option<PathBuf>,
    /// Folder for three slices with the mask over them, one across each axis.
    pub overlay: Option<PathBuf>,
    /// Name of the array, where an `.npz` holds several.
    pub array: Option<String>,
    /// What volume files may ask for.
    pub limits: Limits,
    /// How the model is run.
    pub run: RunOptions,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        SegmentOptions {
            patch: None,
            overlap: OVERLAP,
            truth: None,
            overlay: None,
            array: None,
            limits: Limits::default(),
            run: RunOptions::default(),
        }
    }
}

/// One class in a mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassFound {
    /// Its name.
    pub class: String,
    /// Voxels of the mask.
    pub voxels: u64,
    /// The same in millilitres, by the file's voxel size (1 mm where it says none).
    pub millilitres: f64,
    /// Overlap with the truth.
    pub dice: Option<f64>,
}

/// Result of [`segment_files`].
#[derive(Debug, Clone, Serialize)]
pub struct Segmented {
    /// Axes of the volume.
    pub shape: [usize; 3],
    /// Axes of a patch.
    pub patch: [usize; 3],
    /// Patches that ran.
    pub patches: usize,
    /// Classes but the background.
    pub classes: Vec<ClassFound>,
    /// Milliseconds of the network over all patches.
    pub milliseconds: f64,
    /// Share of the multiply-accumulates that run in integers.
    pub integer_mac_share: f64,
    /// Bytes that the engine holds for a patch.
    pub engine_bytes: usize,
    /// Files written.
    #[serde(serialize_with = "crate::text::paths")]
    pub files: Vec<PathBuf>,
    /// SHA-256 of the volume's file.
    #[serde(skip)]
    pub data_sha256: String,
}

/// What is wrong with a volume file, as an error of a class.
pub(crate) fn fault(path: &Path, e: &VolumeError) -> Error {
    let error = match e {
        VolumeError::Io(what) => Error::new(crate::ErrorKind::Io, what.clone()),
        VolumeError::Limit(what) => Error::limit(what.clone()).help("cut the volume into parts"),
        VolumeError::Unsupported(what) => Error::unsupported(what.clone()),
        VolumeError::Bad(what) => Error::bad(what.clone()),
    };
    error.at(path.display())
}

/// Writes the mask of a volume into `output` (`.nii`, `.nii.gz`, `.npy`, `.npz` by its ending).
///
/// # Errors
/// Volumes that cannot be read or have not three axes, a truth of another shape, outputs that would replace an input, what running refuses.
pub fn segment_files(
    model: &Model,
    input: &Path,
    output: &Path,
    options: &SegmentOptions,
    progress: &mut dyn Progress,
) -> Result<Segmented> {
    let format = Format::of(output).map_err(|e| fault(output, &e))?;
    let mut inputs = model.files();
    inputs.push(input);
    inputs.extend(options.truth.as_deref());
    crate::output::check(output, &inputs)?;
    let read = |path: &Path, array: Option<&str>| {
        volume::read(path, array, &options.limits).map_err(|e| fault(path, &e))
    };
    let volume = read(input, options.array.as_deref())?;
    let shape = <[usize; 3]>::try_from(volume.shape.as_slice())
        .map_err(|_| fault(input, &three_axes(&volume.shape)))?;
    let voxels = intensities(&volume).map_err(|e| fault(input, &e))?;
    let truth = match &options.truth {
        None => None,
        Some(path) => {
            let truth = read(path, options.array.as_deref().map(|_| "label"))?;
            if truth.shape != volume.shape {
                let what = format!(
                    "the truth has shape {:?}, the volume {:?}",
                    truth.shape, volume.shape
                );
                return Err(Error::bad(what).at(path.display()));
            }
            Some(truth.labels().map_err(|e| fault(path, &e))?)
        }
    };
    let segmenter = Segmenter::new(model, options.patch, &options.run)?;
    let begin = Instant::now();
    let mask = segmenter
        .mask(shape, &voxels, options.overlap, progress)
        .map_err(|e| e.at(input.display()))?;
    let milliseconds = 1e3 * begin.elapsed().as_secs_f64();
    let names = &segmenter.head().classes;
    let overlaps = dice(&mask, truth.as_deref().unwrap_or(&mask), names.len());
    let cubic = volume.spacing().iter().map(|&s| f64::from(s)).product::<f64>();
    let class = |(name, o): (&String, &tasks::segment::Overlap)| ClassFound {
        class: name.clone(),
        voxels: o.predicted,
        millilitres: o.predicted as f64 * cubic / 1000.0,
        dice: truth.as_ref().map(|_| o.dice()),
    };
    let mut files = Vec::new();
    if let Some(folder) = &options.overlay {
        let folder = Folder::create(folder, true)?;
        for (axis, name) in ["axis0.png", "axis1.png", "axis2.png"].into_iter().enumerate() {
            let index = overlay::fullest(shape, &mask, axis);
            let picture = overlay::slice(shape, &voxels, &mask, axis, index)?;
            let bytes = encode_png(&picture).map_err(|e| Error::bad(e.to_string()))?;
            files.push(folder.write(name, &bytes, &inputs)?);
        }
    }
    let bytes =
        volume::encode(format, &shape, &mask, volume.geometry.as_ref()).map_err(|e| fault(output, &e))?;
    crate::output::file(output, &bytes, &inputs)?;
    files.push(output.to_owned());
    let raw = std::fs::read(input).map_err(|e| Error::io(input, &e))?;
    Ok(Segmented {
        shape,
        patch: segmenter.patch(),
        patches: tasks::segment::cover(shape, segmenter.patch(), options.overlap).len(),
        classes: names.iter().zip(&overlaps).skip(1).map(class).collect(),
        milliseconds,
        integer_mac_share: segmenter.runner().integer_mac_share(),
        engine_bytes: segmenter.runner().memory().total(),
        files,
        data_sha256: crate::provenance::sha256(&raw),
    })
}
