//! YOLOv8/11: anchor-free, distances as distributions (DFL; Li et al., *Generalized Focal Loss*, 2020).
//!
//! Decoded in the graph: `[4 + classes, n]`, cx cy w h in network pixels and class scores after their sigmoid.
//! Raw: `[4 · reg_max + classes, h, w]` for each stride; distance = softmax expectation of its bins · stride, from
//! the cell's centre (cell + 0.5) · stride; score = σ(class).

use super::super::DflHead;
use super::{Context, DecodeError, corners, expectation, passing};

pub(super) fn decode(x: &mut Context, output: &str) -> Result<(), DecodeError> {
    let t = x.view("yolov8", output, &[Some(4 + x.classes), None])?;
    for i in passing::cells((4..4 + x.classes).map(|c| t.channel(c)), t.dims[1], x.conf) {
        let at = |c: usize| t.channel(c)[i];
        x.push((0..x.classes).map(|k| at(4 + k)), || {
            corners(at(0), at(1), at(2), at(3))
        });
    }
    Ok(())
}

pub(super) fn decode_raw(x: &mut Context, heads: &[DflHead], reg_max: usize) -> Result<(), DecodeError> {
    for head in heads {
        let t = x.view(
            "yolov8",
            &head.output,
            &[Some(4 * reg_max + x.classes), None, None],
        )?;
        let (rows, columns) = (t.dims[1], t.dims[2]);
        let stride = head.stride as f32;
        let (logits, first) = (x.logits, 4 * reg_max);
        let classes = (first..first + x.classes).map(|c| t.channel(c));
        for cell in passing::cells(classes, rows * columns, logits.least) {
            let at = |c: usize| t.channel(c)[cell];
            let scores = (0..x.classes).map(|k| logits.score(at(first + k)));
            x.push(scores, || {
                let distance = |side: usize| expectation((0..reg_max).map(|k| at(side * reg_max + k)));
                let (cx, cy) = ((cell % columns) as f32 + 0.5, (cell / columns) as f32 + 0.5);
                [
                    cx - distance(0),
                    cy - distance(1),
                    cx + distance(2),
                    cy + distance(3),
                ]
                .map(|v| v * stride)
            });
        }
    }
    Ok(())
}
