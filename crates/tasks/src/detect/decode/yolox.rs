//! YOLOX (Ge et al., 2021): `[n, 5 + classes]`, rows of all strides one after the other;
//! xy = (t + cell) · stride, wh = e^t · stride; score = objectness · class, both after their sigmoid.

use tensor::math::exp;

use super::{Context, DecodeError, corners};

pub(super) fn decode(x: &mut Context, output: &str, strides: &[usize]) -> Result<(), DecodeError> {
    let cells: usize = strides.iter().map(|s| (x.width / s) * (x.height / s)).sum();
    let t = x.view("yolox", output, &[Some(cells), Some(5 + x.classes)])?;
    let mut first = 0;
    for &s in strides {
        let (columns, rows) = (x.width / s, x.height / s);
        let stride = s as f32;
        for cell in 0..columns * rows {
            if let [tx, ty, tw, th, objectness, classes @ ..] = t.row(first + cell) {
                let scores = classes.iter().map(|c| objectness * c);
                x.push(scores, || {
                    corners(
                        (tx + (cell % columns) as f32) * stride,
                        (ty + (cell / columns) as f32) * stride,
                        exp(*tw) * stride,
                        exp(*th) * stride,
                    )
                });
            }
        }
        first += columns * rows;
    }
    Ok(())
}
