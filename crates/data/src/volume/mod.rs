//! Volumes: dense arrays of voxels from NIfTI and NumPy files, and masks written in the same formats.
//!
//! | ending | read | written |
//! |---|---|---|
//! | `.nii`, `.nii.gz` | NIfTI-1, either byte order, slope and intercept applied | u8, the geometry of the volume it belongs to kept |
//! | `.npy` | NumPy 1.0 … 3.0, integers, floats, booleans, either byte order and axis order | u8, C order |
//! | `.npz` | the same in a zip, stored or deflated | `mask.npy`, stored |
//!
//! Axes are those of `nibabel.load(path).get_fdata()`: x, y, z, the last fastest in memory here. Files are untrusted: nothing is allocated that
//! the file does not hold, deflated bytes are bounded by [`Limits`].

mod nifti;
pub(crate) mod npy;
pub mod set;

use std::io::Read;
use std::path::Path;

pub use nifti::Geometry;

/// What a file may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file, and of what it inflates to.
    pub bytes: u64,
    /// Elements of an array.
    pub elements: usize,
}

impl Default for Limits {
    /// 2 GiB; 2²⁸ elements, four times 512 × 512 × 256.
    fn default() -> Self {
        Limits {
            bytes: 2 << 30,
            elements: 1 << 28,
        }
    }
}

/// Why a volume could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum VolumeError {
    #[error("cannot be read: {0}")]
    Io(String),
    #[error("{0}")]
    Limit(String),
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    Unsupported(String),
}

/// A dense array of real numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Row-major: the last axis is the fastest.
    pub values: Vec<f32>,
    /// Where it lies in space, where the file says.
    pub geometry: Option<Geometry>,
}

impl Volume {
    /// The values as labels 0 … 255.
    ///
    /// # Errors
    /// A value that is no such number, with its index.
    pub fn labels(&self) -> Result<Vec<u8>, VolumeError> {
        let label = |(i, &v): (usize, &f32)| match (v as u8) as f32 == v {
            true => Ok(v as u8),
            false => Err(VolumeError::Bad(format!(
                "element {i} is {v}, which is no label 0 … 255"
            ))),
        };
        self.values.iter().enumerate().map(label).collect()
    }

    /// Millimetres of a voxel along each axis, 1 where the file does not say.
    pub fn spacing(&self) -> [f32; 3] {
        self.geometry.as_ref().map_or([1.0; 3], Geometry::spacing)
    }
}

/// How a file of a name is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.nii`
    Nifti,
    /// `.nii.gz`
    NiftiGz,
    /// `.npy`
    Npy,
    /// `.npz`
    Npz,
}

impl Format {
    /// By the ending of the name.
    ///
    /// # Errors
    /// Another ending.
    pub fn of(path: &Path) -> Result<Format, VolumeError> {
        let name = path.to_string_lossy().to_lowercase();
        let all = [
            (".nii", Format::Nifti),
            (".nii.gz", Format::NiftiGz),
            (".npy", Format::Npy),
            (".npz", Format::Npz),
        ];
        let found = all.into_iter().find(|(end, _)| name.ends_with(end));
        found.map(|f| f.1).ok_or_else(|| {
            VolumeError::Unsupported(
                "its name does not end in .nii, .nii.gz, .npy or .npz, which is what is known of volumes"
                    .into(),
            )
        })
    }
}

/// Reads a file that holds one volume; of several arrays in an `.npz`, the one named `array`.
///
/// # Errors
/// What the system says; files that are damaged, too large, or of a kind that is not read.
pub fn read(path: &Path, array: Option<&str>, limits: &Limits) -> Result<Volume, VolumeError> {
    let format = Format::of(path)?;
    let bytes = contents(path, limits)?;
    match format {
        Format::Npz => {
            let mut all = arrays(&bytes, limits)?;
            let names: Vec<&str> = all.iter().map(|a| a.0.as_str()).collect();
            let index = match (array, &names[..]) {
                (Some(name), _) => names.iter().position(|n| *n == name),
                (None, [_]) => Some(0),
                (None, _) => names.iter().position(|n| *n == "image"),
            };
            let index = index.ok_or_else(|| {
                let want = array.unwrap_or("image");
                VolumeError::Bad(format!("it has no array \"{want}\"; it has {}", names.join(", ")))
            })?;
            Ok(all.swap_remove(index).1)
        }
        _ => decode(format, &bytes, limits),
    }
}

/// All arrays of an `.npz`, by name.
///
/// # Errors
/// As [`read`].
pub fn read_arrays(path: &Path, limits: &Limits) -> Result<Vec<(String, Volume)>, VolumeError> {
    arrays(&contents(path, limits)?, limits)
}

pub(crate) fn contents(path: &Path, limits: &Limits) -> Result<Vec<u8>, VolumeError> {
    let file = std::fs::File::open(path).map_err(|e| VolumeError::Io(e.to_string()))?;
    bounded(file, limits)
}

/// Everything of a stream that may be endless.
fn bounded(stream: impl Read, limits: &Limits) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = Vec::new();
    let read = stream
        .take(limits.bytes.saturating_add(1))
        .read_to_end(&mut bytes);
    read.map_err(|e| VolumeError::Io(e.to_string()))?;
    match bytes.len() as u64 <= limits.bytes {
        true => Ok(bytes),
        false => Err(VolumeError::Limit(format!(
            "it holds more than {} bytes",
            limits.bytes
        ))),
    }
}

/// One volume from the bytes of a file that is no `.npz`.
///
/// # Errors
/// As [`read`].
pub fn decode(format: Format, bytes: &[u8], limits: &Limits) -> Result<Volume, VolumeError> {
    match format {
        Format::Nifti => nifti::decode(bytes, limits),
        Format::NiftiGz => {
            let whole = bounded(flate2::read::MultiGzDecoder::new(bytes), limits).map_err(|e| match e {
                VolumeError::Io(what) => VolumeError::Bad(format!("its gzip stream is damaged: {what}")),
                e => e,
            })?;
            nifti::decode(&whole, limits)
        }
        Format::Npy => npy::decode(bytes, limits),
        Format::Npz => match <[_; 1]>::try_from(arrays(bytes, limits)?) {
            Ok([(_, volume)]) => Ok(volume),
            Err(all) => Err(VolumeError::Bad(format!(
                "it holds {} arrays where one is wanted",
                all.len()
            ))),
        },
    }
}

/// Arrays of an `.npz`, by name without `.npy`.
fn arrays(bytes: &[u8], limits: &Limits) -> Result<Vec<(String, Volume)>, VolumeError> {
    let files = crate::read::zip::unpacked(bytes, limits.bytes).map_err(VolumeError::Bad)?;
    let one = |(name, bytes): (String, Vec<u8>)| {
        let short = name.strip_suffix(".npy")?.to_string();
        Some(npy::decode(&bytes, limits).map(|volume| (short, volume)))
    };
    files.into_iter().filter_map(one).collect()
}

/// A mask of labels as a file: of `shape`, row-major, with the geometry of the volume it belongs to where the format has one.
///
/// # Errors
/// A shape that the format cannot hold or that is not the mask's.
pub fn encode(
    format: Format,
    shape: &[usize],
    mask: &[u8],
    geometry: Option<&Geometry>,
) -> Result<Vec<u8>, VolumeError> {
    if shape.iter().product::<usize>() != mask.len() {
        return Err(VolumeError::Bad(format!(
            "{} labels are no volume {shape:?}",
            mask.len()
        )));
    }
    Ok(match format {
        Format::Nifti => nifti::encode(shape, mask, geometry)?,
        Format::NiftiGz => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            let bytes = nifti::encode(shape, mask, geometry)?;
            let done = std::io::Write::write_all(&mut out, &bytes).and_then(|()| out.finish());
            done.map_err(|e| VolumeError::Io(e.to_string()))?
        }
        Format::Npy => npy::encode(shape, mask),
        Format::Npz => npy::archive("mask.npy", &npy::encode(shape, mask)),
    })
}
