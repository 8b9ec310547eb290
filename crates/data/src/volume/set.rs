//! Volumes with their masks, and training batches of random crops.
//!
//! A set is one `.npz` with arrays `image` and `label` of shape `[cases, D, H, W]`, or a folder with volumes in `images/` and masks of the same names in
//! `labels/`. Randomness is counted, as that of pictures: a crop follows from (seed, epoch, case) alone.

use std::path::{Path, PathBuf};

use super::{Format, Limits, Volume, VolumeError, read, read_arrays};
use crate::augment::order;
use crate::rng::Rng;

/// A volume with its mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// File, or number in the array.
    pub name: String,
    /// Length of each axis.
    pub shape: [usize; 3],
    /// 0 … 255, row-major.
    pub voxels: Vec<u8>,
    /// A class for each voxel.
    pub labels: Vec<u8>,
}

/// Why a set could not be read: which file, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct SetError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: VolumeError,
}

/// Intensities as the bytes that networks read: those of arrays as they are, those of NIfTI files by their percentiles,
/// 1 + 254·clip((v − p0.5)/(p99.5 − p0.5), 0, 1), so that 0 is left for what lies outside.
///
/// # Errors
/// An array whose numbers are not 0 … 255.
pub fn intensities(volume: &Volume) -> Result<Vec<u8>, VolumeError> {
    let (Some(_), false) = (&volume.geometry, volume.values.is_empty()) else {
        let whole = |v: &f32| (0.0..=255.0).contains(v);
        return match volume.values.iter().find(|v| !whole(v)) {
            None => Ok(volume.values.iter().map(|v| v.round_ties_even() as u8).collect()),
            Some(v) => Err(VolumeError::Unsupported(format!(
                "it holds {v}; arrays of intensities 0 … 255 are read, or NIfTI files of any"
            ))),
        };
    };
    let mut sorted: Vec<f32> = volume.values.iter().copied().filter(|v| v.is_finite()).collect();
    if sorted.is_empty() {
        return Err(VolumeError::Bad("none of its intensities is finite".into()));
    }
    sorted.sort_unstable_by(f32::total_cmp);
    // NumPy's linear interpolation between the neighbours.
    let percentile = |p: f64| {
        let at = p / 100.0 * (sorted.len() - 1) as f64;
        let (low, t) = (at as usize, at.fract());
        let high = (low + 1).min(sorted.len() - 1);
        f64::from(sorted[low]) + t * (f64::from(sorted[high]) - f64::from(sorted[low]))
    };
    let (low, high) = (percentile(0.5), percentile(99.5));
    let span = (high - low).max(f64::MIN_POSITIVE);
    let byte =
        |&v: &f32| (1.0 + 254.0 * ((f64::from(v) - low) / span).clamp(0.0, 1.0)).round_ties_even() as u8;
    Ok(volume.values.iter().map(byte).collect())
}

impl Case {
    /// # Errors
    /// Shapes that differ or have not three axes; masks that are no labels below `classes`.
    pub fn new(name: String, image: &Volume, mask: &Volume, classes: usize) -> Result<Case, VolumeError> {
        let shape = <[usize; 3]>::try_from(image.shape.as_slice()).map_err(|_| three_axes(&image.shape))?;
        if image.shape != mask.shape {
            return Err(VolumeError::Bad(format!(
                "the volume has shape {:?}, its mask {:?}",
                image.shape, mask.shape
            )));
        }
        let labels = mask.labels()?;
        if let Some(l) = labels.iter().find(|&&l| usize::from(l) >= classes) {
            return Err(VolumeError::Bad(format!(
                "its mask has label {l}, and there are {classes} classes, 0 the background"
            )));
        }
        Ok(Case {
            name,
            shape,
            voxels: intensities(image)?,
            labels,
        })
    }
}

/// What is said of a volume that is none.
pub fn three_axes(shape: &[usize]) -> VolumeError {
    VolumeError::Unsupported(format!("it has shape {shape:?}; volumes have three axes"))
}

/// All cases of an `.npz` or a folder, by name.
///
/// # Errors
/// The file at fault, and what is wrong with it.
pub fn open(path: &Path, classes: usize, limits: &Limits) -> Result<Vec<Case>, SetError> {
    let cases = match path.is_dir() {
        true => folder(path, classes, limits)?,
        false => stacked(path, classes, limits).map_err(|fault| SetError {
            path: path.to_owned(),
            fault,
        })?,
    };
    match cases.is_empty() {
        false => Ok(cases),
        true => Err(SetError {
            path: path.to_owned(),
            fault: VolumeError::Bad("it holds no volume".into()),
        }),
    }
}

fn stacked(path: &Path, classes: usize, limits: &Limits) -> Result<Vec<Case>, VolumeError> {
    if Format::of(path)? != Format::Npz {
        let way_out =
            "a set of volumes is an .npz with arrays image and label, or a folder with images/ and labels/";
        return Err(VolumeError::Unsupported(way_out.into()));
    }
    let arrays = read_arrays(path, limits)?;
    let array = |name: &str| {
        let found = arrays.iter().find(|a| a.0 == name);
        found
            .map(|a| &a.1)
            .ok_or_else(|| VolumeError::Bad(format!("it has no array \"{name}\"")))
    };
    let (images, labels) = (array("image")?, array("label")?);
    let [count, shape @ ..] = &images.shape[..] else {
        return Err(three_axes(&images.shape));
    };
    if images.shape != labels.shape {
        return Err(VolumeError::Bad(format!(
            "image has shape {:?}, label {:?}",
            images.shape, labels.shape
        )));
    }
    let each: usize = shape.iter().product();
    let part = |from: &Volume, i: usize| Volume {
        shape: shape.to_vec(),
        values: from.values[i * each..(i + 1) * each].to_vec(),
        geometry: None,
    };
    (0..*count)
        .map(|i| Case::new(format!("{i}"), &part(images, i), &part(labels, i), classes))
        .collect()
}

fn folder(path: &Path, classes: usize, limits: &Limits) -> Result<Vec<Case>, SetError> {
    let images = path.join("images");
    let fault = |path: &Path, fault: VolumeError| SetError {
        path: path.to_owned(),
        fault,
    };
    let entries = std::fs::read_dir(&images).map_err(|e| fault(&images, VolumeError::Io(e.to_string())))?;
    let mut names: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.file_name().into())).collect();
    names.retain(|n| Format::of(n).is_ok());
    names.sort();
    let one = |name: &PathBuf| {
        let files = [&images, &path.join("labels")].map(|folder| folder.join(name));
        let [image, mask] = files
            .each_ref()
            .map(|f| read(f, None, limits).map_err(|e| fault(f, e)));
        let name = name.to_string_lossy().into_owned();
        Case::new(name, &image?, &mask?, classes).map_err(|e| fault(&files[0], e))
    };
    names.iter().map(one).collect()
}

/// What training batches are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Of order and crops.
    pub seed: u64,
    /// Crops of one batch, or of this share of it.
    pub batch: usize,
    /// Which of how many equal shares of every batch this is.
    pub share: (usize, usize),
    /// Voxels of a crop along each axis.
    pub patch: [usize; 3],
    /// Largest change of contrast and of brightness, as a part of the whole range.
    pub intensity: f32,
    /// What intensities 0 … 255 are multiplied by.
    pub scale: f32,
}

/// One batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Crops one after the other, `[batch, 1, D, H, W]`.
    pub input: Vec<f32>,
    /// A class for each voxel.
    pub labels: Vec<u8>,
}

/// Batch `step` of a plan: the shares one after the other are the whole batch. A volume smaller than the crop lies within zeros of class 0.
///
/// # Panics
/// Without a case.
pub fn batch(cases: &[Case], plan: &Plan, step: u64) -> Batch {
    let n = cases.len() as u64;
    let voxels: usize = plan.patch.iter().product();
    let mut out = Batch {
        input: Vec::with_capacity(plan.batch * voxels),
        labels: Vec::with_capacity(plan.batch * voxels),
    };
    let mut shuffled: Option<(u64, Vec<usize>)> = None;
    let (share, shares) = (plan.share.0 as u64, plan.share.1.max(1) as u64);
    for k in 0..plan.batch as u64 {
        let position = (step * shares + share) * plan.batch as u64 + k;
        let epoch = position / n;
        if shuffled.as_ref().is_none_or(|s| s.0 != epoch) {
            shuffled = Some((epoch, order(plan.seed, epoch, cases.len())));
        }
        let index = shuffled.as_ref().map_or(0, |s| s.1[(position % n) as usize]);
        const CROPS: u64 = 6;
        let mut random = Rng::new([plan.seed, epoch, index as u64, CROPS]);
        let case = &cases[index];
        let start = std::array::from_fn(|d| random.below(case.shape[d].saturating_sub(plan.patch[d]) + 1));
        let gain = 1.0 + random.within(-plan.intensity, plan.intensity);
        let shift = 255.0 * random.within(-plan.intensity, plan.intensity);
        crop(case.shape, &case.voxels, start, plan.patch, |v| {
            let v = if plan.intensity > 0.0 && v > 0 {
                (gain * f32::from(v) + shift).clamp(0.0, 255.0)
            } else {
                f32::from(v)
            };
            out.input.push(plan.scale * v);
        });
        crop(case.shape, &case.labels, start, plan.patch, |l| {
            out.labels.push(l)
        });
    }
    out
}

/// Elements of a box of `size` at `start`, row-major; 0 beyond the volume.
pub fn crop(
    shape: [usize; 3],
    values: &[u8],
    start: [usize; 3],
    size: [usize; 3],
    mut element: impl FnMut(u8),
) {
    let [_, h, w] = shape;
    for z in start[0]..start[0] + size[0] {
        for y in start[1]..start[1] + size[1] {
            let inside = z < shape[0] && y < h;
            let row = if inside {
                &values[(z * h + y) * w..(z * h + y + 1) * w]
            } else {
                &[]
            };
            (start[2]..start[2] + size[2]).for_each(|x| element(row.get(x).copied().unwrap_or(0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(count: usize) -> Vec<Case> {
        let one = |i: usize| Case {
            name: i.to_string(),
            shape: [4, 5, 3 + i],
            voxels: (0..20 * (3 + i)).map(|v| (v * 7 % 251) as u8).collect(),
            labels: (0..20 * (3 + i)).map(|v| (v % 3) as u8).collect(),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn a_batch_depends_on_seed_and_step_and_its_shares_are_the_whole() {
        let cases = cases(3);
        let plan = Plan {
            seed: 5,
            batch: 4,
            share: (0, 1),
            patch: [4, 4, 4],
            intensity: 0.1,
            scale: 1.0 / 255.0,
        };
        let whole = batch(&cases, &plan, 7);
        assert_eq!((whole.input.len(), whole.labels.len()), (256, 256));
        assert_eq!(whole, batch(&cases, &plan, 7));
        assert_ne!(whole, batch(&cases, &plan, 8));
        let shares = [0, 1].map(|k| {
            batch(
                &cases,
                &Plan {
                    batch: 2,
                    share: (k, 2),
                    ..plan
                },
                7,
            )
        });
        assert_eq!(shares.map(|s| s.input).concat(), whole.input);
        assert!(whole.input.iter().all(|v| (0.0..=1.0).contains(v)));
    }

    #[test]
    fn a_crop_beyond_the_volume_is_zero_there() {
        let mut out = Vec::new();
        crop([1, 2, 2], &[1, 2, 3, 4], [0, 1, 0], [1, 2, 3], |v| out.push(v));
        assert_eq!(out, [3, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn intensities_of_arrays_stay_and_those_of_nifti_files_follow_their_percentiles() {
        let mut volume = Volume {
            shape: vec![1, 1, 201],
            values: (0..201).map(|v| v as f32).collect(),
            geometry: None,
        };
        assert_eq!(intensities(&volume).unwrap()[7], 7);
        volume.values[3] = 300.0;
        assert!(intensities(&volume).unwrap_err().to_string().contains("300"));
        let file = super::super::encode(
            Format::Nifti,
            &[1, 1, 201],
            &(0..201).map(|v| v as u8).collect::<Vec<u8>>(),
            None,
        )
        .unwrap();
        let volume = super::super::decode(Format::Nifti, &file, &Limits::default()).unwrap();
        let bytes = intensities(&volume).unwrap();
        assert_eq!(
            (bytes[0], bytes[1], bytes[100], bytes[199], bytes[200]),
            (1, 1, 128, 255, 255)
        );
    }
}
