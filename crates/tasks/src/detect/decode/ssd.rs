//! SSD (Liu et al., 2016): scores `[n, 1 + classes]` (softmax done, column 0 the background) and boxes `[n, 4]`, either
//! corners in 0…1 or offsets: centre = prior centre + t·v₀·prior size, size = prior size · e^(t·v₁).

use tensor::math::exp;

use super::super::SsdBoxes;
use super::{Context, DecodeError, corners};

pub(super) fn decode(
    x: &mut Context,
    boxes: &str,
    scores: &str,
    format: &SsdBoxes,
) -> Result<(), DecodeError> {
    let (priors, variances) = match format {
        SsdBoxes::Corners => (None, [0.0; 2]),
        SsdBoxes::Offsets {
            strides,
            min_sizes,
            variances,
        } => (Some(priors(x.width, x.height, strides, min_sizes)), *variances),
    };
    let b = x.view("ssd", boxes, &[priors.as_ref().map(Vec::len), Some(4)])?;
    let s = x.view("ssd", scores, &[Some(b.dims[0]), Some(1 + x.classes)])?;
    let (width, height) = (x.width as f32, x.height as f32);
    for i in 0..b.dims[0] {
        let &[t0, t1, t2, t3] = b.row(i) else { continue };
        let prior = priors.as_ref().and_then(|p| p.get(i));
        x.push(s.row(i).iter().skip(1).copied(), || {
            let [x1, y1, x2, y2] = match prior {
                None => [t0, t1, t2, t3],
                Some(&[px, py, pw, ph]) => corners(
                    px + t0 * variances[0] * pw,
                    py + t1 * variances[0] * ph,
                    pw * exp(t2 * variances[1]),
                    ph * exp(t3 * variances[1]),
                ),
            };
            [x1 * width, y1 * height, x2 * width, y2 * height]
        });
    }
    Ok(())
}

/// Square priors of SSD, as centre and size in 0…1 of the input: for every stride, row, column and minimum size one.
pub fn priors(width: usize, height: usize, strides: &[usize], min_sizes: &[Vec<f64>]) -> Vec<[f32; 4]> {
    let mut rows = Vec::new();
    for (&stride, sizes) in strides.iter().zip(min_sizes) {
        let (columns, lines) = (width.div_ceil(stride), height.div_ceil(stride));
        for y in 0..lines {
            for x in 0..columns {
                for size in sizes {
                    let prior = [
                        (x as f64 + 0.5) / columns as f64,
                        (y as f64 + 0.5) / lines as f64,
                        size / width as f64,
                        size / height as f64,
                    ];
                    rows.push(prior.map(|v| (v as f32).clamp(0.0, 1.0)));
                }
            }
        }
    }
    rows
}
