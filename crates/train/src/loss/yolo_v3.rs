//! Anchor heads of YOLOv3 (Redmon, Farhadi, arXiv 1804.02767) with YOLOv4's box loss: Nano, YOLO-Fastest, MobileNet-YOLO.
//!
//! ```text
//! box:   cx = (σ(tx)·s − (s − 1)/2 + cell)·stride,   w = e^tw·anchor;   score = σ(objectness)·σ(class)
//! loss = 5·mean CIoU  +  Σ BCE(objectness)/P  +  Σ BCE(classes)/P            P: positives of the batch, at least 1
//! ```
//! Positives: an object goes to the cell of its centre, there to the anchor whose shape fits best (IoU of boxes with one centre) and to every other
//! with IoU above 0.213 (YOLOv4's `iou_thresh`). An anchor at a cell answers for one object: the one that fits its shape best. Objectness of all
//! others is pushed to 0, but where the predicted box has IoU above 0.7 with some object (`ignore_thresh`).

use tasks::detect::AnchorHead;

use super::anchors::{Grid, Rule, grids};
use super::terms::add;
use super::{
    AssignedLoss, LossError, LossParts, Output, Role, Target, bce, check_targets, clear, iou, usable,
};

/// Settings; the defaults are those of the module's text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Shape IoU from which further anchors answer for an object.
    pub anchor_iou: f64,
    /// IoU from which a prediction without an object is not pushed down.
    pub ignore_iou: f64,
    /// Factors of box, objectness and class loss.
    pub gains: [f64; 3],
    /// Class targets are 1 − s + s/classes and s/classes instead of 1 and 0.
    pub smoothing: f32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            anchor_iou: 0.213,
            ignore_iou: 0.7,
            gains: [5.0, 1.0, 1.0],
            smoothing: 0.0,
        }
    }
}

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct YoloV3 {
    heads: Vec<AnchorHead>,
    classes: usize,
    options: Options,
}

impl YoloV3 {
    /// From the parts of a head description.
    pub fn new(heads: Vec<AnchorHead>, classes: usize, options: Options) -> Self {
        YoloV3 {
            heads,
            classes,
            options,
        }
    }

    fn grids<'a>(&'a self, outputs: &[Output<'a>]) -> Result<Vec<Grid<'a>>, LossError> {
        grids(&self.heads, self.classes, Rule::V3, outputs)
    }

    /// IoU of a size with every anchor: (head, anchor, IoU).
    fn shapes(&self, w: f64, h: f64) -> Vec<(usize, usize, f64)> {
        let mut out = Vec::new();
        for (i, head) in self.heads.iter().enumerate() {
            for (a, size) in head.anchors.iter().enumerate() {
                let [aw, ah] = size.map(f64::from);
                let inter = w.min(aw) * h.min(ah);
                out.push((i, a, inter / (w * h + aw * ah - inter)));
            }
        }
        out
    }
}

impl AssignedLoss for YoloV3 {
    type Answer = Role;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Vec<Vec<Role>>, LossError> {
        let grids = self.grids(outputs)?;
        for grid in &grids {
            check_targets(targets, grid.batch, self.classes)?;
        }
        let mut roles: Vec<Vec<Role>> = grids
            .iter()
            .map(|g| vec![Role::Negative; g.predictions()])
            .collect();
        // Fit of the object that holds a prediction.
        let mut fits: Vec<Vec<f64>> = grids.iter().map(|g| vec![0.0; g.predictions()]).collect();
        for (picture, all) in targets.iter().enumerate() {
            let objects = usable(all);
            for (object, target) in objects.iter().enumerate() {
                let c = target.corners.map(f64::from);
                let shapes = self.shapes(c[2] - c[0], c[3] - c[1]);
                let best = shapes.iter().map(|x| x.2).fold(0.0, f64::max);
                for &(i, anchor, fit) in &shapes {
                    if fit < best && fit <= self.options.anchor_iou {
                        continue;
                    }
                    let cell = grids[i].cell_of((c[0] + c[2]) / 2.0, (c[1] + c[3]) / 2.0);
                    let anchors = self.heads[i].anchors.len();
                    let at = (picture * anchors + anchor) * grids[i].cells() + cell;
                    if fit > fits[i][at] {
                        fits[i][at] = fit;
                        roles[i][at] = Role::Positive(object);
                    }
                }
            }
            for (grid, roles) in grids.iter().zip(&mut roles).filter(|_| !objects.is_empty()) {
                let each = grid.of_picture(picture);
                for index in each.filter(|&i| roles[i] == Role::Negative).collect::<Vec<_>>() {
                    let corners = grid.predicted(index).corners;
                    let covers =
                        |o: &Target| iou(corners, o.corners.map(f64::from)) > self.options.ignore_iou;
                    if objects.iter().any(covers) {
                        roles[index] = Role::Ignored;
                    }
                }
            }
        }
        Ok(roles)
    }

    fn of_assignment(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        roles: &[Vec<Role>],
        weight: f64,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        clear(outputs, gradients);
        let grids = self.grids(outputs)?;
        let share = 1.0 / weight;
        let [box_gain, objectness_gain, class_gain] = self.options.gains.map(|g| g * share);
        let objects: Vec<Vec<Target>> = targets.iter().map(|t| usable(t)).collect();
        let mut sums = [0.0; 3];
        for (grid, roles) in grids.iter().zip(roles) {
            let gradient = &mut gradients[grid.output];
            let each = grid.predictions() / grid.batch.max(1);
            for (index, &role) in roles.iter().enumerate() {
                let at = |channel: usize| grid.at(index, channel);
                let wanted = match role {
                    Role::Ignored => continue,
                    Role::Negative => 0.0,
                    Role::Positive(_) => 1.0,
                };
                let term = bce(grid.values[at(4)], wanted);
                add(&mut sums[1], &mut gradient[at(4)], term, objectness_gain);
                let Role::Positive(object) = role else {
                    continue;
                };
                let target = &objects[index / each][object];
                sums[0] += grid.box_loss(index, target, box_gain, gradient);
                let smoothing = self.options.smoothing;
                for class in 0..self.classes {
                    let hot = f32::from(u8::from(class == target.class));
                    let wanted = hot * (1.0 - smoothing) + smoothing / self.classes as f32;
                    let term = bce(grid.values[at(5 + class)], wanted);
                    add(&mut sums[2], &mut gradient[at(5 + class)], term, class_gain);
                }
            }
        }
        Ok(LossParts {
            parts: vec![("box", sums[0]), ("objectness", sums[1]), ("class", sums[2])],
        })
    }
}
