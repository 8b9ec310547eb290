//! YOLOv2–v4 and raw YOLOv5/v7 heads: `[anchors · (5 + classes), h, w]`, anchor-major.
//!
//! * YOLOv3/v4: xy = (σ(t)·s − (s − 1)/2 + cell)·stride, wh = e^t · anchor (Redmon, Farhadi 2018, §2.1; s is
//!   `scale_x_y` of Bochkovskiy, Wang, Liao 2020, §3.4);
//! * YOLOv5/v7: xy = (2σ(t) − 0.5 + cell)·stride, wh = (2σ(t))² · anchor;
//! * score = σ(objectness) · σ(class) in both.

use tensor::math::{exp, sigmoid};

use super::super::AnchorHead;
use super::{Context, DecodeError, corners};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Yolov3,
    Yolov5,
}

pub(super) fn decode(x: &mut Context, heads: &[AnchorHead], rule: Rule) -> Result<(), DecodeError> {
    let family = if rule == Rule::Yolov3 { "yolov3" } else { "yolov5" };
    let (logits, per_anchor) = (x.logits, 5 + x.classes);
    for head in heads {
        let t = x.view(
            family,
            &head.output,
            &[Some(head.anchors.len() * per_anchor), None, None],
        )?;
        let columns = t.dims[2];
        let scale = head.scale_xy as f32;
        let shift = ((head.scale_xy - 1.0) / 2.0) as f32;
        for (a, &[anchor_w, anchor_h]) in head.anchors.iter().enumerate() {
            let channel = |c: usize| t.channel(a * per_anchor + c);
            for (cell, &objectness) in channel(4).iter().enumerate() {
                let objectness = logits.score(objectness);
                // Both factors are at most 1: no class can lift this cell over `conf`.
                if objectness.is_nan() || objectness <= x.conf {
                    continue;
                }
                let at = |c: usize| channel(c)[cell];
                let grid = [(cell % columns) as f32, (cell / columns) as f32];
                let scores = (0..x.classes).map(|k| objectness * logits.score(at(5 + k)));
                x.push(scores, || match rule {
                    Rule::Yolov3 => corners(
                        (sigmoid(at(0)) * scale - shift + grid[0]) * head.stride,
                        (sigmoid(at(1)) * scale - shift + grid[1]) * head.stride,
                        exp(at(2)) * anchor_w,
                        exp(at(3)) * anchor_h,
                    ),
                    Rule::Yolov5 => {
                        let twice = |c| sigmoid(at(c)) * 2.0;
                        corners(
                            (twice(0) - 0.5 + grid[0]) * head.stride,
                            (twice(1) - 0.5 + grid[1]) * head.stride,
                            twice(2) * twice(2) * anchor_w,
                            twice(3) * twice(3) * anchor_h,
                        )
                    }
                });
            }
        }
    }
    Ok(())
}
