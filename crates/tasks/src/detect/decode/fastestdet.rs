//! FastestDet: one output `[5 + classes, h, w]`: objectness (after its sigmoid), tx ty tw th raw, classes (after their
//! softmax); xy = (tanh(t) + cell) / grid, wh = σ(t), both of the whole input; score = objectness^0.6 · class^0.4.

use tensor::math::{sigmoid, tanh};

use super::{Context, DecodeError, corners};

pub(super) fn decode(x: &mut Context, output: &str) -> Result<(), DecodeError> {
    let t = x.view("fastestdet", output, &[Some(5 + x.classes), None, None])?;
    let (rows, columns) = (t.dims[1], t.dims[2]);
    let size = [x.width as f32, x.height as f32];
    for (cell, &objectness) in t.channel(0).iter().enumerate() {
        // Rounding of the two powers can lift a product over its factor by a few units in the last place.
        let objectness = libm::powf(objectness, 0.6);
        if objectness.is_nan() || objectness * 1.000_001 <= x.conf {
            continue;
        }
        let at = |c: usize| t.channel(c)[cell];
        let scores = (0..x.classes).map(|k| objectness * libm::powf(at(5 + k), 0.4));
        x.push(scores, || {
            let cx = (tanh(at(1)) + (cell % columns) as f32) / columns as f32;
            let cy = (tanh(at(2)) + (cell / columns) as f32) / rows as f32;
            let [x1, y1, x2, y2] = corners(cx, cy, sigmoid(at(3)), sigmoid(at(4)));
            [x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1]]
        });
    }
    Ok(())
}
