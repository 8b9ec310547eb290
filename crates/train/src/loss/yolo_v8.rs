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
    AssignedLoss, LossError, LossParts, Output, Target, bce, check_targets, clear, find, iou, usable,
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

/// For each picture and cell (heads one after the other): the object (counted among those with an area) that it answers for, and its class target.
pub type Assignment = Vec<Vec<Option<(usize, f64)>>>;

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

    fn assign_picture(
        &self,
        grids: &[Grid],
        picture: usize,
        objects: &[Target],
    ) -> Vec<Option<(usize, f64)>> {
        let total = grids.iter().map(|g| g.cells).sum();
        // Object, alignment, IoU.
        let mut taken: Vec<Option<(usize, f64, f64)>> = vec![None; total];
        let mut sides = Sides::default();
        let [by_score, by_iou] = self.options.exponents;
        for (object, o) in objects.iter().enumerate() {
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
            offers.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            for &(cell, m, overlap) in offers.iter().take(self.options.top) {
                if taken[cell].is_none_or(|(_, _, held)| overlap > held) {
                    taken[cell] = Some((object, m, overlap));
                }
            }
        }
        let mut most = vec![(0f64, 0f64); objects.len()];
        for &(object, m, overlap) in taken.iter().flatten() {
            let (a, b) = most[object];
            most[object] = (a.max(m), b.max(overlap));
        }
        let scaled = |(object, m, _): (usize, f64, f64)| {
            let (largest, overlap) = most[object];
            (object, m / (largest + 1e-9) * overlap)
        };
        taken.into_iter().map(|t| t.map(scaled)).collect()
    }
}

impl AssignedLoss for YoloV8 {
    type Assignment = Assignment;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Assignment, LossError> {
        let grids = self.grids(outputs)?;
        for grid in &grids {
            check_targets(targets, grid.batch, self.classes)?;
        }
        let each = |(picture, t): (usize, &Vec<Target>)| self.assign_picture(&grids, picture, &usable(t));
        Ok(targets.iter().enumerate().map(each).collect())
    }

    fn weight(&self, assignment: &Assignment) -> f64 {
        assignment.iter().flatten().flatten().map(|a| a.1).sum()
    }

    fn of_assignment(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        assignment: &Assignment,
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
