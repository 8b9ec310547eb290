//! RGB to PNG and JPEG bytes.

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::Picture;

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
#[error("a picture of {width}x{height} cannot be stored as {format}: {why}")]
pub struct EncodeError {
    width: usize,
    height: usize,
    format: &'static str,
    why: String,
}

/// Bytes of a PNG file. The same pixels always give the same bytes.
///
/// # Errors
/// When a side exceeds what the format can say.
pub fn encode_png(picture: &Picture) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode(picture, "PNG", PngEncoder::new(&mut out))?;
    Ok(out)
}

/// Bytes of a baseline JPEG file; `quality` 1…100.
///
/// # Errors
/// When a side exceeds 65535.
pub fn encode_jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode(
        picture,
        "JPEG",
        JpegEncoder::new_with_quality(&mut out, quality.clamp(1, 100)),
    )?;
    Ok(out)
}

fn encode(picture: &Picture, format: &'static str, encoder: impl ImageEncoder) -> Result<(), EncodeError> {
    let (width, height) = (picture.width(), picture.height());
    let refuse = |why: String| EncodeError {
        width,
        height,
        format,
        why,
    };
    let side = |v: usize| u32::try_from(v).map_err(|_| refuse("it is too large".into()));
    encoder
        .write_image(
            picture.rgb(),
            side(width)?,
            side(height)?,
            ExtendedColorType::Rgb8,
        )
        .map_err(|e| refuse(e.to_string()))
}
