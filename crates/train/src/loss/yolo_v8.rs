//! DFL heads of YOLOv8/11 and of our own small detector: task-aligned assignment (Feng et al., TOOD, arXiv 2108.07755), distances as
//! distributions (Li et al., Generalized Focal Loss, arXiv 2006.04388).
//!
//! ```text
//! raw output [N, 4·R + classes, h, w];  distance = Σ_k k·softmax_k · stride from the middle of the cell;  score = σ(class)
//! loss = 7.5·Σ w·CIoU/S  +  0.5·Σ BCE(class, t)/S  +  1.5·Σ w·DFL/S          S = Σ t over the batch, at least 1; w = t of the object
//! DFL = mean over the four sides of −(⌊d⌋ + 1 − d)·ln p_⌊d⌋ − (d − ⌊d⌋)·ln p_⌊d⌋+1,  d the wanted distance in strides, at most R − 1.01
//! ```
//! Assignment, for each picture: an object is offered the cells whose middle lies in it and takes the 10 of largest m = score^½ · IoU⁶ (its class's
//! score); a cell taken twice goes to the object of larger IoU. The class target t is m scaled so that an object's largest m becomes its largest IoU.

use tasks::detect::DflHead;
use tensor::math::sigmoid;

use super::dfl::{Place, Sides};
use super::terms::add;
use super::{
    AssignedLoss, LossError, LossParts, Match, Output, Target, assign_pictures, bce, clear, find, iou,
    sum_of_targets, task_aligned, usable,
};

/// Settings; the defaults are those of the module's text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Cells that an object takes.
    pub top: usize,
    /// Exponents of score and IoU.
    pub exponents: [f64; 2],
    /// Factors of box, class and DFL loss.
    pub gains: [f64; 3],
}

impl Default for Options {
    fn default() -> Self {
        Options {
            top: 10,
            exponents: [0.5, 6.0],
            gains: [7.5, 0.5, 1.5],
        }
    }
}

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct YoloV8 {
    heads: Vec<DflHead>,
    bins: usize,
    classes: usize,
    options: Options,
}

/// One output, and where its cells begin in the list of all.
struct Grid<'a> {
    output: usize,
    values: &'a [f32],
    batch: usize,
    channels: usize,
    bins: usize,
    columns: usize,
    cells: usize,
    stride: f64,
    first: usize,
}

impl Grid<'_> {
    fn middle(&self, cell: usize) -> [f64; 2] {
        [cell % self.columns, cell / self.columns].map(|i| (i as f64 + 0.5) * self.stride)
    }

    fn at(&self, picture: usize, channel: usize, cell: usize) -> usize {
        (picture * self.channels + channel) * self.cells + cell
    }

    fn place(&self, picture: usize, cell: usize) -> Place<'_, impl Fn(usize) -> usize> {
        Place {
            values: self.values,
            at: move |channel| self.at(picture, channel, cell),
            bins: self.bins,
            middle: self.middle(cell),
            stride: self.stride,
        }
    }
}

impl YoloV8 {
    /// From the parts of a head description: `bins` is `reg_max`, at least 2.
    pub fn new(heads: Vec<DflHead>, bins: usize, classes: usize, options: Options) -> Self {
        YoloV8 {
            heads,
            bins,
            classes,
            options,
        }
    }

    fn grids<'a>(&self, outputs: &[Output<'a>]) -> Result<Vec<Grid<'a>>, LossError> {
        let mut first = 0;
        let mut grids = Vec::with_capacity(self.heads.len());
        for head in &self.heads {
            let channels = 4 * self.bins + self.classes;
            let output = find(outputs, &head.output, &[None, Some(channels), None, None])?;
            let shape = outputs[output].shape;
            let cells = shape[2] * shape[3];
            grids.push(Grid {
                output,
                values: outputs[output].values,
                batch: shape[0],
                channels,
                bins: self.bins,
                columns: shape[3],
                cells,
                stride: head.stride as f64,
                first,
            });
            first += cells;
        }
        Ok(grids)
    }

    fn assign_picture(&self, grids: &[Grid], picture: usize, objects: &[Target]) -> Vec<Match> {
        let total = grids.iter().map(|g| g.cells).sum();
        let mut sides = Sides::default();
        let [by_score, by_iou] = self.options.exponents;
        let offers = |object: usize| {
            let o = &objects[object];
            let c = o.corners.map(f64::from);
            let mut offers = Vec::new();
            for grid in grids {
                for cell in 0..grid.cells {
                    let [x, y] = grid.middle(cell);
                    if !(x > c[0] && x < c[2] && y > c[1] && y < c[3]) {
                        continue;
                    }
                    let logit = grid.values[grid.at(picture, 4 * self.bins + o.class, cell)];
                    let overlap = iou(grid.place(picture, cell).corners(&mut sides), c);
                    let m = libm::pow(f64::from(sigmoid(logit)), by_score) * libm::pow(overlap, by_iou);
                    offers.push((grid.first + cell, m, overlap));
                }
            }
            offers
        };
        task_aligned(total, objects.len(), self.options.top, offers)
    }
}

impl AssignedLoss for YoloV8 {
    type Answer = Match;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Vec<Vec<Match>>, LossError> {
        let grids = self.grids(outputs)?;
        let batches = grids.iter().map(|g| g.batch);
        assign_pictures(targets, batches, self.classes, |picture, objects| {
            self.assign_picture(&grids, picture, objects)
        })
    }

    fn weight(&self, assignment: &[Vec<Match>]) -> f64 {
        sum_of_targets(assignment)
    }

    fn of_assignment(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        assignment: &[Vec<Match>],
        weight: f64,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        clear(outputs, gradients);
        let grids = self.grids(outputs)?;
        let gains = self.options.gains.map(|g| g / weight);
        let objects: Vec<Vec<Target>> = targets.iter().map(|t| usable(t)).collect();
        let mut sums = [0.0; 3];
        for grid in &grids {
            let gradient = &mut gradients[grid.output];
            for (picture, roles) in assignment.iter().enumerate() {
                for (cell, role) in roles[grid.first..][..grid.cells].iter().enumerate() {
                    let wanted = role.map(|(object, t)| (&objects[picture][object], t));
                    for class in 0..self.classes {
                        let i = grid.at(picture, 4 * self.bins + class, cell);
                        let t = wanted.filter(|w| w.0.class == class).map_or(0.0, |w| w.1 as f32);
                        add(&mut sums[1], &mut gradient[i], bce(grid.values[i], t), gains[1]);
                    }
                    if let Some((target, weight)) = wanted {
                        let gains = [gains[0] * weight, gains[2] * weight];
                        let [overlap, dfl] = grid.place(picture, cell).loss(target, gains, gradient);
                        sums[0] += overlap;
                        sums[2] += dfl;
                    }
                }
            }
        }
        Ok(LossParts {
            parts: vec![("box", sums[0]), ("class", sums[1]), ("dfl", sums[2])],
        })
    }
}
