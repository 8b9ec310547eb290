//! NIfTI-1 (the crate `nifti` knows the header): a header of 348 bytes, elements with the first axis fastest.

use nifti::{NiftiHeader, NiftiType};

use super::npy::{element, reversed};
use super::{Limits, Volume, VolumeError};

const HEADER: usize = 348;
/// Where elements begin in a file of one part: header and four bytes that say that there is no extension.
const DATA: usize = 352;

/// Where a volume lies in space: the header of the file that it is from.
#[derive(Clone, PartialEq)]
pub struct Geometry {
    header: Vec<u8>,
    big_endian: bool,
    spacing: [f32; 3],
}

impl std::fmt::Debug for Geometry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Geometry")
            .field("spacing", &self.spacing)
            .finish_non_exhaustive()
    }
}

impl Geometry {
    /// Millimetres of a voxel along each axis.
    pub fn spacing(&self) -> [f32; 3] {
        self.spacing
    }

    fn put<const N: usize>(&mut self, at: usize, little: [u8; N]) {
        let mut bytes = little;
        if self.big_endian {
            bytes.reverse();
        }
        self.header[at..at + N].copy_from_slice(&bytes);
    }

    /// A volume of 1 mm voxels that no file described.
    fn plain() -> Geometry {
        let mut plain = Geometry {
            header: vec![0; HEADER],
            big_endian: false,
            spacing: [1.0; 3],
        };
        plain.put(0, (HEADER as i32).to_le_bytes());
        for axis in 0..8 {
            plain.put(76 + 4 * axis, 1f32.to_le_bytes());
        }
        // Millimetres; a diagonal matrix for scanner coordinates, as nibabel writes.
        plain.header[123] = 2;
        plain.put(254, 2i16.to_le_bytes());
        for axis in 0..3 {
            plain.put(280 + 20 * axis, 1f32.to_le_bytes());
        }
        plain.header[344..348].copy_from_slice(b"n+1\0");
        plain
    }
}

fn bad(what: impl std::fmt::Display) -> VolumeError {
    VolumeError::Bad(format!("this is no NIfTI-1 file that can be read: {what}"))
}

/// NumPy's name of an element type.
fn descr(kind: NiftiType, big_endian: bool) -> Option<&'static str> {
    let [little, big] = match kind {
        NiftiType::Uint8 => ["u1"; 2],
        NiftiType::Int8 => ["i1"; 2],
        NiftiType::Uint16 => ["<u2", ">u2"],
        NiftiType::Int16 => ["<i2", ">i2"],
        NiftiType::Uint32 => ["<u4", ">u4"],
        NiftiType::Int32 => ["<i4", ">i4"],
        NiftiType::Uint64 => ["<u8", ">u8"],
        NiftiType::Int64 => ["<i8", ">i8"],
        NiftiType::Float32 => ["<f4", ">f4"],
        NiftiType::Float64 => ["<f8", ">f8"],
        _ => return None,
    };
    Some(if big_endian { big } else { little })
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Volume, VolumeError> {
    let header = NiftiHeader::from_reader(bytes).map_err(bad)?;
    let raw = bytes.get(..HEADER).ok_or_else(|| bad("its header is cut off"))?;
    if &header.magic != b"n+1\0" {
        return Err(VolumeError::Unsupported(
            "header and elements in two files (.hdr, .img) are not read; convert it to .nii".into(),
        ));
    }
    let shape: Vec<usize> = header
        .dim()
        .map_err(bad)?
        .iter()
        .map(|&d| usize::from(d))
        .collect();
    let count = shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= limits.elements);
    let count = count.ok_or_else(|| {
        VolumeError::Limit(format!(
            "shape {shape:?} has more than {} elements",
            limits.elements
        ))
    })?;
    let kind = header.data_type().map_err(bad)?;
    let element = descr(kind, raw[..4] == (HEADER as i32).to_be_bytes()).and_then(element);
    let element = element.ok_or_else(|| {
        VolumeError::Unsupported(format!(
            "elements of type {kind:?} are not read: they are no single numbers of up to 64 bits"
        ))
    })?;
    let start = header.vox_offset;
    let data = (start >= DATA as f32)
        .then(|| bytes.get(start as usize..))
        .flatten();
    let data = data.ok_or_else(|| bad(format!("its elements begin at byte {start}")))?;
    let length = count.saturating_mul(element.bytes);
    let data = data.get(..length).ok_or_else(|| {
        bad(format!(
            "{} bytes of elements where shape {shape:?} takes {length}",
            data.len()
        ))
    })?;
    let (slope, intercept) = match header.scl_slope {
        // No scaling, as NIfTI and nibabel say.
        slope if slope == 0.0 || !slope.is_finite() => (1.0, 0.0),
        slope => (f64::from(slope), f64::from(header.scl_inter)),
    };
    let values: Vec<f32> = (data.chunks_exact(element.bytes))
        .map(|b| (f64::from((element.read)(b)) * slope + intercept) as f32)
        .collect();
    let spacing = std::array::from_fn(|axis| match header.pixdim[axis + 1].abs() {
        d if d > 0.0 && d.is_finite() => d,
        _ => 1.0,
    });
    // Axes of length 1 behind the third are the formality of a volume at one time.
    let mut shape = shape;
    let values = reversed(&values, &shape);
    while shape.len() > 3 && shape.last() == Some(&1) {
        shape.pop();
    }
    let geometry = Geometry {
        header: raw.to_vec(),
        big_endian: raw[..4] == (HEADER as i32).to_be_bytes(),
        spacing,
    };
    Ok(Volume {
        shape,
        values,
        geometry: Some(geometry),
    })
}

pub(super) fn encode(
    shape: &[usize],
    mask: &[u8],
    geometry: Option<&Geometry>,
) -> Result<Vec<u8>, VolumeError> {
    let fits = (1..=7).contains(&shape.len()) && shape.iter().all(|&d| (1..=i16::MAX as usize).contains(&d));
    if !fits {
        return Err(VolumeError::Unsupported(format!(
            "NIfTI-1 holds no shape {shape:?}: up to 7 axes of 1 … 32767"
        )));
    }
    let mut to = geometry.cloned().unwrap_or_else(Geometry::plain);
    to.put(40, (shape.len() as i16).to_le_bytes());
    for axis in 0..7 {
        let length = shape.get(axis).copied().unwrap_or(1);
        to.put(42 + 2 * axis, (length as i16).to_le_bytes());
    }
    // Unsigned bytes as they are; a range for viewers would be the intensities'.
    to.put(70, 2i16.to_le_bytes());
    to.put(72, 8i16.to_le_bytes());
    to.put(108, (DATA as f32).to_le_bytes());
    to.put(112, 1f32.to_le_bytes());
    for at in [116, 124, 128] {
        to.put(at, 0f32.to_le_bytes());
    }
    let mut out = to.header;
    out.resize(DATA, 0);
    let reverse: Vec<usize> = shape.iter().rev().copied().collect();
    out.extend(reversed(mask, &reverse));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_comes_back_and_no_byte_makes_the_reader_panic() {
        let limits = Limits {
            bytes: 1 << 16,
            elements: 1 << 10,
        };
        let mask: Vec<u8> = (0..24).collect();
        let file = encode(&[2, 3, 4], &mask, None).unwrap();
        let read = decode(&file, &limits).unwrap();
        assert_eq!(
            (read.shape.as_slice(), read.labels().unwrap()),
            (&[2, 3, 4][..], mask.clone())
        );
        assert_eq!(encode(&[2, 3, 4], &mask, read.geometry.as_ref()).unwrap(), file);
        for n in 0..file.len() {
            let _ = decode(&file[..n], &limits);
            for bit in 0..8 {
                let mut bad = file.clone();
                bad[n] ^= 1 << bit;
                let _ = decode(&bad, &limits);
            }
        }
        let mut large = file.clone();
        for axis in 1..5 {
            large[40 + 2 * axis..][..2].copy_from_slice(&i16::MAX.to_le_bytes());
        }
        large[40] = 4;
        assert!(matches!(
            decode(&large, &Limits::default()),
            Err(VolumeError::Limit(_))
        ));
    }
}
