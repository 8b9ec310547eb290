//! JPEG, PNG, BMP and WebP bytes to RGB, by the crate `image`.
//!
//! Order of events: the format is told by its first bytes, the header is read, the size is checked against
//! [`Limits`] and against the length of the file, and only then pixels are decoded. What is decoded follows OpenCV's
//! `imread` with its defaults: alpha is dropped (not blended), 16-bit samples keep their high byte, grey and palette
//! become RGB, the EXIF orientation is applied, animations give their first frame.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::{bmp::BmpDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder};

use super::{Fault, Picture, PictureError, jpeg, webp};

/// What a picture may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height.
    pub pixels: u64,
    /// Bytes of memory while decoding, estimated from the header.
    pub memory: u64,
    /// Length of a picture file.
    pub file_bytes: u64,
}

impl Default for Limits {
    /// 64 Mpixel, 1.25 GiB, 256 MiB.
    fn default() -> Self {
        Limits {
            pixels: 64 << 20,
            memory: 1280 << 20,
            file_bytes: 256 << 20,
        }
    }
}

/// Bytes that decoders hold for each pixel beside their output: coefficients of progressive JPEG, planes of WebP.
const SCRATCH: u64 = 8;

/// Pixels of a picture file.
///
/// # Errors
/// When the bytes are no picture, cut off, damaged, of an unsupported form, or the picture exceeds `limits`. Never
/// panics, whatever the bytes: a panic inside a decoder is caught and reported as damage.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, PictureError> {
    guarded(bytes, |format| {
        let (mut decoder, (width, height)) = header(format, bytes, limits)?;
        let fault = |e| PictureError::from(image_fault(format, e));
        let color = decoder.color_type();
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut samples = zeroed(decoder.total_bytes())?;
        decoder.read_image_boxed(&mut samples).map_err(fault)?;
        let rgb = to_rgb(color, samples, width * height)?;
        Ok(orient(Picture { width, height, rgb }, orientation))
    })
}

/// Width and height after the orientation is applied, from the header alone.
///
/// # Errors
/// As [`decode`], but for damage that only decoding would find.
pub fn size(bytes: &[u8], limits: &Limits) -> Result<(usize, usize), PictureError> {
    guarded(bytes, |format| {
        let (mut decoder, (width, height)) = header(format, bytes, limits)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(if is_turned(orientation) {
            (height, width)
        } else {
            (width, height)
        })
    })
}

fn guarded<T>(bytes: &[u8], work: impl FnOnce(Format) -> Result<T, PictureError>) -> Result<T, PictureError> {
    let format = Format::of(bytes)?;
    catch_unwind(AssertUnwindSafe(|| work(format))).unwrap_or_else(|_| {
        Err(Fault::Broken(format!(
            "the {} decoder could not make sense of it",
            format.name()
        ))
        .into())
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
    Bmp,
    WebP,
}

impl Format {
    fn of(bytes: &[u8]) -> Result<Format, PictureError> {
        if bytes.is_empty() {
            return Err(Fault::Unknown("the file is empty".into()).into());
        }
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Ok(Format::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Ok(Format::Png),
            [b'B', b'M', ..] => Ok(Format::Bmp),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Format::WebP),
            _ => {
                let start: Vec<String> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
                Err(Fault::Unknown(format!("it starts with bytes {}", start.join(" "))).into())
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::Bmp => "BMP",
            Format::WebP => "WebP",
        }
    }

    /// The most pixels that one byte of a file can stand for. A JPEG block of 64 pixels needs at least one bit for
    /// each component, a MCU of 256 pixels six; deflate expands at most 1032 times, and a byte holds 8 pixels.
    /// WebP's lossless form can store any number of equal pixels in a few bytes, BMP's run lengths may skip to the end.
    fn pixels_per_byte(self) -> Option<u64> {
        match self {
            Format::Jpeg => Some(512),
            Format::Png => Some(8 * 1032),
            Format::Bmp | Format::WebP => None,
        }
    }
}

/// A decoder whose size has been checked, and the size.
type Header<'a> = (Box<dyn ImageDecoder + 'a>, (usize, usize));

fn header<'a>(format: Format, bytes: &'a [u8], limits: &Limits) -> Result<Header<'a>, PictureError> {
    match format {
        Format::Jpeg => jpeg::check(bytes)?,
        Format::WebP => webp::check(bytes)?,
        Format::Png | Format::Bmp => {}
    }
    let fault = |e| PictureError::from(image_fault(format, e));
    let stream = Cursor::new(bytes);
    let mut decoder: Box<dyn ImageDecoder + 'a> = match format {
        Format::Jpeg => Box::new(JpegDecoder::new(stream).map_err(fault)?),
        Format::Png => Box::new(PngDecoder::with_limits(stream, image_limits(limits)).map_err(fault)?),
        Format::Bmp => Box::new(BmpDecoder::new(stream).map_err(fault)?),
        Format::WebP => Box::new(WebPDecoder::new(stream).map_err(fault)?),
    };
    let (width, height) = decoder.dimensions();
    check_size(format, (width, height), decoder.color_type(), bytes.len(), limits)?;
    decoder.set_limits(image_limits(limits)).map_err(fault)?;
    Ok((decoder, (width as usize, height as usize)))
}

fn check_size(
    format: Format,
    (width, height): (u32, u32),
    color: ColorType,
    file: usize,
    limits: &Limits,
) -> Result<(), PictureError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(Fault::Broken(format!("its size is {width}x{height}")).into());
    }
    if pixels > limits.pixels {
        return Err(Fault::Limit(format!(
            "{width}x{height} = {pixels} pixels are more than the limit of {}; raise the limit or scale the picture",
            limits.pixels
        ))
        .into());
    }
    let memory = pixels.saturating_mul(u64::from(color.bytes_per_pixel()) + 3 + SCRATCH);
    if memory > limits.memory {
        return Err(Fault::Limit(format!(
            "decoding {width}x{height} pixels takes about {memory} bytes, the limit is {}",
            limits.memory
        ))
        .into());
    }
    if let Some(most) = format.pixels_per_byte()
        && pixels > most.saturating_mul(file as u64).saturating_add(1 << 16)
    {
        return Err(Fault::Truncated(format!(
            "the header says {width}x{height}, and {file} bytes of {} cannot hold that many pixels",
            format.name()
        ))
        .into());
    }
    Ok(())
}

fn image_limits(limits: &Limits) -> image::Limits {
    let mut out = image::Limits::no_limits();
    out.max_alloc = Some(limits.memory);
    out
}

fn image_fault(format: Format, error: ImageError) -> Fault {
    match error {
        ImageError::Limits(e) => match e.kind() {
            LimitErrorKind::InsufficientMemory => {
                Fault::Limit("decoding takes more memory than the limit allows".into())
            }
            _ => Fault::Limit(format!("the {} decoder hit a limit: {e}", format.name())),
        },
        ImageError::Unsupported(e) => {
            Fault::Unsupported(format!("this form of {} is not read: {e}", format.name()))
        }
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Fault::Truncated(format!("the {} data end too early", format.name()))
        }
        e => Fault::Broken(e.to_string()),
    }
}

/// A buffer whose allocation may fail without ending the process.
fn zeroed(len: u64) -> Result<Vec<u8>, PictureError> {
    let out_of_memory = || PictureError::from(Fault::Limit(format!("no memory for {len} bytes of pixels")));
    let len = usize::try_from(len).map_err(|_| out_of_memory())?;
    let mut v = Vec::new();
    v.try_reserve_exact(len).map_err(|_| out_of_memory())?;
    v.resize(len, 0);
    Ok(v)
}

fn to_rgb(color: ColorType, samples: Vec<u8>, pixels: usize) -> Result<Vec<u8>, PictureError> {
    let (channels, wide) = match color {
        ColorType::Rgb8 => return Ok(samples),
        ColorType::L8 => (1, false),
        ColorType::La8 => (2, false),
        ColorType::Rgba8 => (4, false),
        ColorType::L16 => (1, true),
        ColorType::La16 => (2, true),
        ColorType::Rgb16 => (3, true),
        ColorType::Rgba16 => (4, true),
        other => return Err(Fault::Unsupported(format!("pixels of type {other:?} are not read")).into()),
    };
    let mut rgb = zeroed(3 * pixels as u64)?;
    let width = if wide { 2 } else { 1 };
    // The decoders give 16-bit samples in the order of the machine.
    let high = usize::from(wide && cfg!(target_endian = "little"));
    for (out, pixel) in rgb
        .chunks_exact_mut(3)
        .zip(samples.chunks_exact(channels * width))
    {
        for (k, out) in out.iter_mut().enumerate() {
            let channel = if channels < 3 { 0 } else { k };
            *out = pixel[channel * width + high];
        }
    }
    Ok(rgb)
}

/// Turns and mirrors the picture as its EXIF orientation says.
fn orient(picture: Picture, orientation: Orientation) -> Picture {
    let (w, h) = (picture.width, picture.height);
    // Column and row in the stored picture of column x and row y in the upright one.
    let from: fn(usize, usize, usize, usize) -> (usize, usize) = match orientation {
        Orientation::NoTransforms => return picture,
        Orientation::FlipHorizontal => |x, y, w, _| (w - 1 - x, y),
        Orientation::Rotate180 => |x, y, w, h| (w - 1 - x, h - 1 - y),
        Orientation::FlipVertical => |x, y, _, h| (x, h - 1 - y),
        Orientation::Rotate90FlipH => |x, y, _, _| (y, x),
        Orientation::Rotate90 => |x, y, _, h| (y, h - 1 - x),
        Orientation::Rotate270FlipH => |x, y, w, h| (w - 1 - y, h - 1 - x),
        Orientation::Rotate270 => |x, y, w, _| (w - 1 - y, x),
    };
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let (width, height) = if turned { (h, w) } else { (w, h) };
    let mut rgb = Vec::with_capacity(picture.rgb.len());
    for y in 0..height {
        for x in 0..width {
            let (sx, sy) = from(x, y, w, h);
            rgb.extend_from_slice(&picture.pixel(sx, sy));
        }
    }
    Picture { width, height, rgb }
}

fn is_turned(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}
