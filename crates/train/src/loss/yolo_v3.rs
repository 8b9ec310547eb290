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
use tensor::math::{exp, sigmoid};

use super::terms::add;
use super::{
    AssignedLoss, LossError, LossParts, Output, Target, bce, check_targets, ciou, clear, find, iou, usable,
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

/// What one prediction (an anchor at a cell) is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// Objectness 0.
    Negative,
    /// Nothing.
    Ignored,
    /// This object of its picture, counted among those with an area.
    Positive(usize),
}

/// Roles of all predictions: for each head `[picture, anchor, cell]`.
pub type Assignment = Vec<Vec<Role>>;

/// One output `[N, anchors·(5 + classes), h, w]` with its head.
struct Grid<'a> {
    head: &'a AnchorHead,
    output: usize,
    values: &'a [f32],
    per_anchor: usize,
    batch: usize,
    rows: usize,
    columns: usize,
}

/// A predicted box and what its four raw numbers move: ∂cx/∂tx, ∂cy/∂ty, ∂w/∂tw, ∂h/∂th.
struct Predicted {
    corners: [f64; 4],
    slopes: [f64; 4],
}

impl Grid<'_> {
    fn cells(&self) -> usize {
        self.rows * self.columns
    }

    fn predictions(&self) -> usize {
        self.batch * self.head.anchors.len() * self.cells()
    }

    /// Position of a channel of prediction `index` = (picture, anchor, cell) in the output.
    fn at(&self, index: usize, channel: usize) -> usize {
        let cells = self.cells();
        (index / cells * self.per_anchor + channel) * cells + index % cells
    }

    fn predicted(&self, index: usize) -> Predicted {
        let (cell, anchor) = (
            index % self.cells(),
            index / self.cells() % self.head.anchors.len(),
        );
        let raw = |channel: usize| self.values[self.at(index, channel)];
        let (stride, s) = (f64::from(self.head.stride), self.head.scale_xy);
        let [sx, sy] = [raw(0), raw(1)].map(|t| f64::from(sigmoid(t)));
        let place = |sigma: f64, at: usize| (sigma * s - (s - 1.0) / 2.0 + at as f64) * stride;
        let (cx, cy) = (place(sx, cell % self.columns), place(sy, cell / self.columns));
        let side = |t: f32, anchor: f32| f64::from(exp(t.clamp(-20.0, 20.0))) * f64::from(anchor);
        let [aw, ah] = self.head.anchors[anchor];
        let (w, h) = (side(raw(2), aw), side(raw(3), ah));
        let centre = |sigma: f64| sigma * (1.0 - sigma) * s * stride;
        Predicted {
            corners: [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0],
            slopes: [centre(sx), centre(sy), w, h],
        }
    }

    /// Row-major cell of a point, brought into the grid.
    fn cell_of(&self, x: f64, y: f64) -> usize {
        let along =
            |v: f64, n: usize| ((v / f64::from(self.head.stride)).floor().max(0.0) as usize).min(n - 1);
        along(y, self.rows) * self.columns + along(x, self.columns)
    }
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
        let per_anchor = 5 + self.classes;
        let grid = |head: &'a AnchorHead| {
            let channels = head.anchors.len() * per_anchor;
            let output = find(outputs, &head.output, &[None, Some(channels), None, None])?;
            let shape = outputs[output].shape;
            Ok(Grid {
                head,
                output,
                values: outputs[output].values,
                per_anchor,
                batch: shape[0],
                rows: shape[2],
                columns: shape[3],
            })
        };
        self.heads.iter().map(grid).collect()
    }

    fn predictions_of(&self, grid: &Grid, picture: usize) -> std::ops::Range<usize> {
        let each = grid.predictions() / grid.batch.max(1);
        picture * each..(picture + 1) * each
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
    type Assignment = Assignment;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Assignment, LossError> {
        let grids = self.grids(outputs)?;
        for grid in &grids {
            check_targets(targets, grid.batch, self.classes)?;
        }
        let mut roles: Assignment = grids
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
                let each = self.predictions_of(grid, picture);
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
        roles: &Assignment,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        clear(outputs, gradients);
        let grids = self.grids(outputs)?;
        let positives = roles.iter().flatten().filter(|r| matches!(r, Role::Positive(_)));
        let share = 1.0 / positives.count().max(1) as f64;
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
                let predicted = grid.predicted(index);
                let (value, d) = ciou(predicted.corners, target.corners.map(f64::from));
                sums[0] += value * box_gain;
                // The centre moves both corners; the size parts them by half each.
                let by = [d[0] + d[2], d[1] + d[3], (d[2] - d[0]) / 2.0, (d[3] - d[1]) / 2.0];
                for (k, by) in by.iter().enumerate() {
                    gradient[at(k)] = (box_gain * by * predicted.slopes[k]) as f32;
                }
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
