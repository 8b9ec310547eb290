//! YOLOv5/v7 decoded in the graph: rows cx cy w h objectness classes, in network pixels; score = objectness · class.

use super::{Context, DecodeError, corners};

pub(super) fn decode(x: &mut Context, output: &str) -> Result<(), DecodeError> {
    let t = x.view("yolov5", output, &[None, Some(5 + x.classes)])?;
    for i in 0..t.dims[0] {
        if let [cx, cy, w, h, objectness, classes @ ..] = t.row(i) {
            let scores = classes.iter().map(|c| objectness * c);
            x.push(scores, || corners(*cx, *cy, *w, *h));
        }
    }
    Ok(())
}
