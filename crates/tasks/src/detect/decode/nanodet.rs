//! NanoDet: for each stride scores `[cells, classes]` (after their sigmoid) and `[cells, 4 · (reg_max + 1)]` bins;
//! distances left, top, right, bottom = softmax expectation · stride from (cell + cell_offset) · stride.

use super::super::PairHead;
use super::{Context, DecodeError, expectation};

pub(super) fn decode(
    x: &mut Context,
    heads: &[PairHead],
    reg_max: usize,
    cell_offset: f32,
) -> Result<(), DecodeError> {
    let bins = reg_max + 1;
    for head in heads {
        let columns = x.width.div_ceil(head.stride);
        let cells = columns * x.height.div_ceil(head.stride);
        let scores = x.view("nanodet", &head.cls, &[Some(cells), Some(x.classes)])?;
        let boxes = x.view("nanodet", &head.boxes, &[Some(cells), Some(4 * bins)])?;
        let stride = head.stride as f32;
        for cell in 0..cells {
            x.push(scores.row(cell).iter().copied(), || {
                let row = boxes.row(cell);
                let distance =
                    |side: usize| expectation(row.iter().skip(side * bins).take(bins).copied()) * stride;
                let cx = ((cell % columns) as f32 + cell_offset) * stride;
                let cy = ((cell / columns) as f32 + cell_offset) * stride;
                [
                    cx - distance(0),
                    cy - distance(1),
                    cx + distance(2),
                    cy + distance(3),
                ]
            });
        }
    }
    Ok(())
}
