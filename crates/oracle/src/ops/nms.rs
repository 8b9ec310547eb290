//! Non-maximum suppression as ONNX defines it.

use super::support::{Answer, Inputs, tensor};

/// Corners with begin ≤ end on each axis.
type Corners = [f32; 4];

/// boxes [B, N, 4], scores [B, C, N], max_output_boxes_per_class?, iou_threshold?, score_threshold? → [kept, 3] of batch, class, box.
pub(super) fn suppress(i: Inputs<'_>, centers: bool) -> Answer {
    let (boxes, scores) = (i.f32s(0)?, i.f32s(1)?);
    let (&[batch, n, 4], &[score_batch, classes, score_n]) = (i.need(0)?.shape(), i.need(1)?.shape()) else {
        return Err(format!(
            "boxes {:?} and scores {:?} are not [B, N, 4] and [B, C, N]",
            i.need(0)?.shape(),
            i.need(1)?.shape()
        ));
    };
    if (batch, n) != (score_batch, score_n) {
        return Err(format!(
            "there are {batch} × {n} boxes and {score_batch} × {score_n} scores"
        ));
    }
    let most = usize::try_from(i.int(2)?.unwrap_or(0).max(0)).unwrap_or(usize::MAX);
    let threshold = i.float(3)?.unwrap_or(0.0);
    let least = i.float(4)?;
    let mut kept: Vec<i64> = Vec::new();
    // Without boxes, sizes of other axes are unbounded.
    let pairs = if n == 0 { 0 } else { batch * classes };
    for (bc, scores) in (0..pairs).zip(scores.chunks(n.max(1))) {
        let (b, c) = (bc / classes, bc % classes);
        let mut order: Vec<usize> = (0..n).filter(|&j| least.is_none_or(|t| scores[j] > t)).collect();
        order.sort_by(|&a, &b| super::number::Number::order(scores[b], scores[a]));
        let mut chosen: Vec<Corners> = Vec::new();
        for j in order {
            if chosen.len() >= most {
                break;
            }
            let at = (b * n + j) * 4;
            let corners = corners(&boxes[at..at + 4], centers);
            if chosen.iter().all(|other| overlap(other, &corners) <= threshold) {
                chosen.push(corners);
                kept.extend([b as i64, c as i64, j as i64]);
            }
        }
    }
    tensor(vec![kept.len() / 3, 3], kept)
}

fn corners(b: &[f32], centers: bool) -> Corners {
    let (p, q, r, s) = (b[0], b[1], b[2], b[3]);
    if centers {
        [p - r / 2.0, q - s / 2.0, p + r / 2.0, q + s / 2.0]
    } else {
        [p.min(r), q.min(s), p.max(r), q.max(s)]
    }
}

/// Intersection over union.
fn overlap(a: &Corners, b: &Corners) -> f32 {
    let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0.0);
    let area = |c: &Corners| (c[2] - c[0]) * (c[3] - c[1]);
    let common = side(0) * side(1);
    let union = area(a) + area(b) - common;
    if union > 0.0 { common / union } else { 0.0 }
}
