//! From a picture to the network's input, and where the picture lies in it.

use tasks::detect::{Channels, ColorOrder, Input, Placement, Resize};
use tensor::Tensor;

use crate::Picture;
use crate::resize::{bilinear, bilinear_into};

/// Padding of a letterbox when the head says nothing.
const GREY: u8 = 114;

/// Why an input tensor could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The head asks for an input that cannot be.
    #[error("an input of {width}x{height} pixels cannot be made")]
    Size {
        /// Asked width.
        width: usize,
        /// Asked height.
        height: usize,
    },
    /// The buffer given to [`prepare_into`] has another length.
    #[error("the input tensor has {want} elements, the buffer {have}")]
    Buffer {
        /// `3 · width · height`.
        want: usize,
        /// Length of the buffer.
        have: usize,
    },
}

/// The input tensor of one picture, `[1, 3, H, W]` or `[1, H, W, 3]` f32, and the picture's place in it.
///
/// Resize, padding, rounding of sizes and the f32 steps of `x = (pixel · scale − mean) / std` are those of
/// `data/check/evaluate.py`, bit for bit.
///
/// # Errors
/// When the head's input size is 0 or beyond memory.
pub fn prepare(picture: &Picture, input: &Input) -> Result<(Tensor, Placement), PrepareError> {
    let mut values = vec![0f32; elements(input)?];
    let placement = prepare_into(picture, input, &mut values)?;
    let (w, h) = (input.width, input.height);
    let shape = match input.layout {
        Channels::Nchw => vec![1, 3, h, w],
        Channels::Nhwc => vec![1, h, w, 3],
    };
    let tensor = Tensor::new(shape, values).expect("the buffer was made for this shape");
    Ok((tensor, placement))
}

/// As [`prepare`], into the buffer of one picture of a batch.
///
/// # Errors
/// As [`prepare`]; also when the buffer does not have `3 · H · W` elements.
pub fn prepare_into(picture: &Picture, input: &Input, out: &mut [f32]) -> Result<Placement, PrepareError> {
    let want = elements(input)?;
    if out.len() != want {
        return Err(PrepareError::Buffer {
            want,
            have: out.len(),
        });
    }
    let (canvas, placement) = place(picture, input);
    let table = value_table(input);
    // Channel k of the tensor is this channel of the picture.
    let source = match input.color {
        ColorOrder::Rgb => [0, 1, 2],
        ColorOrder::Bgr => [2, 1, 0],
    };
    match input.layout {
        Channels::Nchw => {
            let planes = out.chunks_exact_mut(input.width * input.height);
            for ((plane, table), channel) in planes.zip(&table).zip(source) {
                for (out, pixel) in plane.iter_mut().zip(canvas.chunks_exact(3)) {
                    *out = table[usize::from(pixel[channel])];
                }
            }
        }
        Channels::Nhwc => {
            for (out, pixel) in out.chunks_exact_mut(3).zip(canvas.chunks_exact(3)) {
                for k in 0..3 {
                    out[k] = table[k][usize::from(pixel[source[k]])];
                }
            }
        }
    }
    Ok(placement)
}

fn elements(input: &Input) -> Result<usize, PrepareError> {
    let (width, height) = (input.width, input.height);
    match tensor::numel(&[3, height, width]) {
        // The bytes must fit too; 2^40 elements are beyond any machine this runs on.
        Ok(n) if n > 0 && (n as u64) < 1 << 40 => Ok(n),
        _ => Err(PrepareError::Size { width, height }),
    }
}

/// Value of each pixel byte in each channel of the tensor: three f32 operations, as numpy does them.
fn value_table(input: &Input) -> [[f32; 256]; 3] {
    let scale = input.scale as f32;
    std::array::from_fn(|k| {
        let (mean, std) = (input.mean[k] as f32, input.std[k] as f32);
        std::array::from_fn(|pixel| (pixel as f32 * scale - mean) / std)
    })
}

/// The picture on the network's canvas, RGB.
fn place(picture: &Picture, input: &Input) -> (Vec<u8>, Placement) {
    let (w, h) = (picture.width(), picture.height());
    let (width, height) = (input.width, input.height);
    let size = [w as f32, h as f32];
    let ratio = |new: usize, old: usize| (new as f64 / old as f64) as f32;
    if input.resize == Resize::Stretch {
        let mut canvas = vec![0; 3 * width * height];
        bilinear_into(picture, width, height, &mut canvas);
        let placement = Placement {
            scale: [ratio(width, w), ratio(height, h)],
            offset: [0.0; 2],
            size,
        };
        return (canvas, placement);
    }
    let scale = (width as f64 / w as f64).min(height as f64 / h as f64);
    // Python's round() takes ties to the even side. The upper bound only catches the last bit of the division.
    let scaled = |side: usize, most: usize| ((side as f64 * scale).round_ties_even() as usize).clamp(1, most);
    let (new_width, new_height) = (scaled(w, width), scaled(h, height));
    let (left, top) = match input.resize {
        Resize::Letterbox => ((width - new_width) / 2, (height - new_height) / 2),
        _ => (0, 0),
    };
    let mut canvas = vec![input.pad_value.unwrap_or(GREY); 3 * width * height];
    let small = bilinear(picture, new_width, new_height);
    for (y, row) in small.rgb().chunks_exact(3 * new_width).enumerate() {
        canvas[3 * ((top + y) * width + left)..][..row.len()].copy_from_slice(row);
    }
    let placement = Placement {
        scale: [ratio(new_width, w), ratio(new_height, h)],
        offset: [left as f32, top as f32],
        size,
    };
    (canvas, placement)
}
