//! FastestDet (dog-qiuqiu/FastestDet, `module/loss.py`): one output `[N, 5 + classes, h, w]` with objectness after its sigmoid, raw boxes, and classes
//! after their softmax.
//!
//! ```text
//! box:   cx = (tanh(tx) + column)/columns,   w = σ(tw), both of the whole input;   score = objectness^0.6 · class^0.4
//! loss = 8·mean CIoU  +  Σ BCE(objectness, IoU)/P  −  mean ln p_class            P: positives of the batch, at least 1
//! ```
//! An object is offered the cell of its centre and the next ones to the right, below, and both; it takes those whose boxes overlap it at least as much
//! as their mean does. A cell of several objects answers for the one that it overlaps most. FastestDet's own objectness loss is a weighted smooth-L1
//! over all cells, its box loss SIoU; those of the other losses here stand in for them.

use tensor::math::{sigmoid, tanh};

use super::terms::{add, bce_probability};
use super::{
    AssignedLoss, LossError, LossParts, Match, Output, Target, assign_pictures, ciou, clear, find, iou,
    usable,
};

/// Factors of box, objectness and class loss.
const GAINS: [f64; 3] = [8.0, 1.0, 1.0];

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct FastestDet {
    /// Name of the output.
    pub output: String,
    /// Width and height of the network's input.
    pub size: [usize; 2],
    /// Classes.
    pub classes: usize,
}

struct Grid<'a> {
    output: usize,
    values: &'a [f32],
    batch: usize,
    channels: usize,
    rows: usize,
    columns: usize,
    size: [f64; 2],
}

impl Grid<'_> {
    fn cells(&self) -> usize {
        self.rows * self.columns
    }

    fn at(&self, picture: usize, channel: usize, cell: usize) -> usize {
        (picture * self.channels + channel) * self.cells() + cell
    }

    /// Corners of a predicted box, and ∂cx/∂tx, ∂cy/∂ty, ∂w/∂tw, ∂h/∂th.
    fn predicted(&self, picture: usize, cell: usize) -> ([f64; 4], [f64; 4]) {
        let raw = |k: usize| self.values[self.at(picture, 1 + k, cell)];
        let grid = [self.columns, self.rows].map(|n| n as f64);
        let place = [cell % self.columns, cell / self.columns].map(|i| i as f64);
        let (mut centre, mut side, mut slopes) = ([0.0; 2], [0.0; 2], [0.0; 4]);
        for k in 0..2 {
            let (t, s) = (f64::from(tanh(raw(k))), f64::from(sigmoid(raw(2 + k))));
            let step = self.size[k] / grid[k];
            centre[k] = (t + place[k]) * step;
            side[k] = s * self.size[k];
            (slopes[k], slopes[2 + k]) = ((1.0 - t * t) * step, side[k] * (1.0 - s));
        }
        let corner = |k: usize, sign: f64| centre[k] + sign * side[k] / 2.0;
        let corners = [corner(0, -1.0), corner(1, -1.0), corner(0, 1.0), corner(1, 1.0)];
        (corners, slopes)
    }

    fn assign_picture(&self, picture: usize, objects: &[Target]) -> Vec<Match> {
        let mut taken: Vec<Match> = vec![None; self.cells()];
        for (object, o) in objects.iter().enumerate() {
            let c = o.corners.map(f64::from);
            let grid = [self.columns, self.rows];
            let of_centre = |k: usize| {
                let along = (c[k] + c[k + 2]) / 2.0 / self.size[k] * grid[k] as f64;
                (along.floor().max(0.0) as usize).min(grid[k] - 1)
            };
            let (x, y) = (of_centre(0), of_centre(1));
            let mut offers = Vec::with_capacity(4);
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                if x + dx < self.columns && y + dy < self.rows {
                    let cell = (y + dy) * self.columns + x + dx;
                    offers.push((cell, iou(self.predicted(picture, cell).0, c)));
                }
            }
            let mean = offers.iter().map(|o| o.1).sum::<f64>() / offers.len().max(1) as f64;
            // The mean of equal numbers may lie above them by rounding.
            for (cell, overlap) in offers.into_iter().filter(|o| o.1 >= mean - 1e-12) {
                if taken[cell].is_none_or(|(_, held)| overlap > held) {
                    taken[cell] = Some((object, overlap));
                }
            }
        }
        taken
    }
}

impl FastestDet {
    fn grid<'a>(&self, outputs: &[Output<'a>]) -> Result<Grid<'a>, LossError> {
        let channels = 5 + self.classes;
        let output = find(outputs, &self.output, &[None, Some(channels), None, None])?;
        let shape = outputs[output].shape;
        Ok(Grid {
            output,
            values: outputs[output].values,
            batch: shape[0],
            channels,
            rows: shape[2],
            columns: shape[3],
            size: self.size.map(|s| s as f64),
        })
    }
}

impl AssignedLoss for FastestDet {
    type Answer = Match;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Vec<Vec<Match>>, LossError> {
        let grid = self.grid(outputs)?;
        assign_pictures(targets, [grid.batch], self.classes, |picture, objects| {
            grid.assign_picture(picture, objects)
        })
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
        let grid = self.grid(outputs)?;
        let gradient = &mut gradients[grid.output];
        let [box_gain, objectness_gain, class_gain] = GAINS.map(|g| g / weight);
        let mut sums = [0.0; 3];
        for ((picture, roles), targets) in assignment.iter().enumerate().zip(targets) {
            let objects = usable(targets);
            for (cell, role) in roles.iter().enumerate() {
                let at = |channel: usize| grid.at(picture, channel, cell);
                let term = bce_probability(grid.values[at(0)], role.map_or(0.0, |r| r.1 as f32));
                add(&mut sums[1], &mut gradient[at(0)], term, objectness_gain);
                let Some((object, _)) = *role else { continue };
                let target = &objects[object];
                let (corners, slopes) = grid.predicted(picture, cell);
                let (value, d) = ciou(corners, target.corners.map(f64::from));
                sums[0] += box_gain * value;
                for k in 0..2 {
                    gradient[at(1 + k)] = (box_gain * (d[k] + d[k + 2]) * slopes[k]) as f32;
                    gradient[at(3 + k)] = (box_gain * (d[k + 2] - d[k]) / 2.0 * slopes[2 + k]) as f32;
                }
                let p = f64::from(grid.values[at(5 + target.class)]).max(1e-6);
                sums[2] -= class_gain * libm::log(p);
                gradient[at(5 + target.class)] = (-class_gain / p) as f32;
            }
        }
        Ok(LossParts {
            parts: vec![("box", sums[0]), ("objectness", sums[1]), ("class", sums[2])],
        })
    }
}
