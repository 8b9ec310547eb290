//! Object detection: from raw output tensors to boxes, and from boxes to average precision.
//!
//! ```text
//! tensors ─Head::decode─▶ [Candidate] ─Placement::to_picture─▶ ─nms─▶ [Detection] ─eval::evaluate─▶ Report
//! ```

mod boxes;
pub mod compare;
mod decode;
pub mod eval;
mod head;
pub mod names;
mod nms;
mod recognise;

pub use boxes::{BBox, Candidate, Detection, Object, Placement, Status};
pub use decode::DecodeError;
pub use decode::ssd::priors;
pub use head::{
    AnchorHead, BoxFormat, Branch, Channels, ColorOrder, Column, DflHead, Family, Head, HeadError, Input,
    NmsEnd, PairHead, Resize, SsdBoxes, Units,
};
pub use nms::{NmsOptions, nms};
pub use recognise::{Certainty, Guess, METADATA_KEY, OutputInfo, recognise};

use tensor::Tensor;

/// From the output tensors of one picture to its final detections in picture pixels: decode, map back, clip, NMS
/// (unless the graph has done it), sort, keep the best.
///
/// `outputs` are named as in the graph, `picture` is the index in the batch.
///
/// # Errors
/// When an output named by the head is missing or has another shape or type than the head says.
pub fn postprocess(
    head: &Head,
    outputs: &[(&str, &Tensor)],
    picture: usize,
    placement: &Placement,
    options: &NmsOptions,
) -> Result<Vec<Detection>, DecodeError> {
    let mut candidates = head.decode_picture(outputs, picture, options.conf)?;
    for c in &mut candidates {
        c.corners = placement.to_picture(c.corners);
    }
    candidates.retain(|c| c.corners.iter().all(|v| v.is_finite()));
    Ok(if head.has_nms() {
        nms::best(candidates, options.top)
    } else {
        nms(&candidates, options)
    })
}
