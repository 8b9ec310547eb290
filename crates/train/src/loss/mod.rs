//! Losses over raw outputs, each with its gradient written out.
//!
//! | file | for |
//! |---|---|
//! | [`yolo_v3`] | anchor heads of YOLOv3, YOLO-Fastest, MobileNet-YOLO |
//! | [`yolo_v5`] | raw anchor heads of YOLOv5 and YOLOv7 |
//! | [`yolox`] | YOLOX: SimOTA assignment, objectness |
//! | [`yolo_v8`] | DFL heads of YOLOv8/11 and of our own detector: task-aligned assignment |
//! | [`decoded`] | YOLOv5/v7 and YOLOv8/11 graphs that decode their boxes: task-aligned assignment |
//! | [`nanodet`] | NanoDet: ATSS assignment, generalized focal loss |
//! | [`fastestdet`] | FastestDet |
//! | [`ssd`] | SSD with priors, UltraFace: hard negatives |
//! | [`distill`] | any detector that follows a teacher, without labels |
//! | [`segment`] | masks of volumes: cross-entropy and soft dice |
//! | [`classify`] | cross-entropy with smoothed or soft targets |
//!
//! Outputs are f32 in ONNX's order, the batch first; boxes are pixels of the network's input. Sums run in f64 in a fixed order, so that a
//! loss depends on nothing but its inputs. Which prediction answers for which object is decided first, from the outputs but without a gradient;
//! the loss is then a function of the outputs for that decision, and the gradient is exactly its derivative.
//!
//! What a sum is divided by (positives, pictures, …) is taken over the batches of all ranks: the losses of the ranks add up to that of the whole
//! batch, and so do the gradients.

mod anchors;
mod assigned;
pub mod classify;
pub mod decoded;
mod dfl;
pub mod distill;
pub mod fastestdet;
mod iou;
pub mod nanodet;
pub mod segment;
pub mod ssd;
mod terms;
pub mod yolo_v3;
pub mod yolo_v5;
pub mod yolo_v8;
pub mod yolox;

pub use assigned::{Answer, AssignedLoss, Match, Role};
use assigned::{assign_pictures, sum_of_targets, task_aligned};
pub use iou::{ciou, iou};
pub use terms::{bce, softplus};

use crate::exchange::{ExchangeError, Ranks};

/// One output of the network.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// Name in the graph.
    pub name: &'a str,
    /// The batch first.
    pub shape: &'a [usize],
    /// Row-major.
    pub values: &'a [f32],
}

/// One labelled object; of a classification, only the class counts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Target {
    /// Index into the head's class names.
    pub class: usize,
    /// x1 y1 x2 y2 in pixels of the network's input.
    pub corners: [f32; 4],
}

/// A loss in its parts, each already weighted; the total is their sum.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossParts {
    /// Name and value.
    pub parts: Vec<(&'static str, f64)>,
}

impl LossParts {
    /// The sum that the gradients belong to.
    pub fn total(&self) -> f64 {
        self.parts.iter().map(|p| p.1).sum()
    }
}

/// Why a loss could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum LossError {
    #[error("the loss reads output \"{name}\", the network gives {have:?}; correct the head description")]
    Missing { name: String, have: Vec<String> },
    #[error("output \"{name}\" has shape {shape:?}, the loss wants {want}; correct the head description")]
    Shape {
        name: String,
        shape: Vec<usize>,
        want: String,
    },
    #[error("{have} pictures have targets, the batch holds {want}")]
    Pictures { have: usize, want: usize },
    #[error("picture {picture} has an object of class {class}, the head has {classes} classes")]
    Class {
        picture: usize,
        class: usize,
        classes: usize,
    },
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// A loss against labels.
pub trait Loss: Send {
    /// This rank's part of the loss of a batch, of which it has these pictures; `gradients` gets one vector for each output, as long as it, zeros where the loss does not read it.
    ///
    /// # Errors
    /// Outputs that are not those of the head, targets that do not fit.
    fn evaluate(
        &mut self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError>;
}

/// Zeros of the outputs' lengths.
fn clear(outputs: &[Output], gradients: &mut Vec<Vec<f32>>) {
    gradients.resize_with(outputs.len(), Vec::new);
    for (g, o) in gradients.iter_mut().zip(outputs) {
        g.clear();
        g.resize(o.values.len(), 0.0);
    }
}

/// Index of an output whose dimensions are `want`, with `None` for any.
fn find(outputs: &[Output], name: &str, want: &[Option<usize>]) -> Result<usize, LossError> {
    let index = outputs
        .iter()
        .position(|o| o.name == name)
        .ok_or_else(|| LossError::Missing {
            name: name.to_string(),
            have: outputs.iter().map(|o| o.name.to_string()).collect(),
        })?;
    let output = &outputs[index];
    let fits = output.shape.len() == want.len()
        && output.shape.iter().product::<usize>() == output.values.len()
        && (output.shape.iter().zip(want)).all(|(have, want)| want.is_none_or(|w| w == *have));
    if fits {
        return Ok(index);
    }
    let each: Vec<String> = (want.iter())
        .map(|w| w.map_or("*".to_string(), |w| w.to_string()))
        .collect();
    Err(LossError::Shape {
        name: name.to_string(),
        shape: output.shape.to_vec(),
        want: format!("[{}]", each.join(", ")),
    })
}

/// Whether every picture has its targets, of classes that exist.
fn check_targets(targets: &[Vec<Target>], batch: usize, classes: usize) -> Result<(), LossError> {
    if targets.len() != batch {
        return Err(LossError::Pictures {
            have: targets.len(),
            want: batch,
        });
    }
    for (picture, all) in targets.iter().enumerate() {
        if let Some(t) = all.iter().find(|t| t.class >= classes) {
            return Err(LossError::Class {
                picture,
                class: t.class,
                classes,
            });
        }
    }
    Ok(())
}

/// Objects with finite corners and a positive area.
fn usable(targets: &[Target]) -> Vec<Target> {
    let good = |t: &&Target| {
        let [x1, y1, x2, y2] = t.corners;
        t.corners.iter().all(|v| v.is_finite()) && x2 > x1 && y2 > y1
    };
    targets.iter().filter(good).copied().collect()
}
