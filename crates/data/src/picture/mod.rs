//! Pictures: 8-bit RGB pixels, decoding with limits, encoding.

mod decode;
mod encode;
mod error;
mod jpeg;
mod webp;

use std::path::Path;

pub use decode::{Limits, decode, size};
pub use encode::{EncodeError, encode_jpeg, encode_png};
pub use error::{Fault, PictureError};

/// Endings of the file names that are taken for pictures, in small letters.
pub const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

/// Row-major 8-bit RGB pixels. The buffer always holds `3 · width · height` bytes and neither side is 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture over existing pixels: red, green, blue of the upper left pixel first, row after row.
    ///
    /// # Errors
    /// When a side is 0 or the buffer has another length than `3 · width · height`.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self, PictureError> {
        let want = tensor::numel(&[height, width, 3]).unwrap_or(0);
        if want == 0 || want != rgb.len() {
            return Err(Fault::Broken(format!(
                "{width}x{height} RGB pixels do not fit a buffer of {} bytes",
                rgb.len()
            ))
            .into());
        }
        Ok(Picture { width, height, rgb })
    }

    /// A picture of one colour.
    ///
    /// # Panics
    /// When a side is 0 or the size leaves the address space.
    pub fn filled(width: usize, height: usize, color: [u8; 3]) -> Self {
        let n = tensor::numel(&[height, width]).expect("a picture that fits in memory");
        assert!(n > 0, "a picture has at least one pixel");
        Picture {
            width,
            height,
            rgb: color.repeat(n),
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row-major, red green blue.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The pixels to change.
    pub fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    /// Red, green and blue at column `x` of row `y`, both inside the picture.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

/// Whether a file name ends like a picture's ([`EXTENSIONS`]).
pub fn has_picture_name(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| EXTENSIONS.iter().any(|x| x.eq_ignore_ascii_case(e)))
}

/// Reads and decodes a picture file.
///
/// # Errors
/// As [`decode`], with the path; also when the file cannot be read or is larger than `limits.file_bytes`.
pub fn load(path: &Path, limits: &Limits) -> Result<Picture, PictureError> {
    read_file(path, limits)
        .and_then(|bytes| decode(&bytes, limits))
        .map_err(|e| e.at(path))
}

/// Width and height of a picture file after its orientation is applied, from its header.
///
/// # Errors
/// As [`load`], but for damage that only decoding would find.
pub fn load_size(path: &Path, limits: &Limits) -> Result<(usize, usize), PictureError> {
    read_file(path, limits)
        .and_then(|bytes| size(&bytes, limits))
        .map_err(|e| e.at(path))
}

fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, PictureError> {
    use std::io::Read;
    let io = |e: std::io::Error| PictureError::from(Fault::Io(e.to_string()));
    let file = std::fs::File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(Fault::Io("not a regular file".into()).into());
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that grew from one that fits.
    file.take(limits.file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > limits.file_bytes {
        return Err(Fault::Limit(format!(
            "the file is larger than the limit of {} bytes for a picture file",
            limits.file_bytes
        ))
        .into());
    }
    Ok(bytes)
}
