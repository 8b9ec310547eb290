//! NanoDet: scores with their sigmoid and distances as distributions (Li et al., Generalized Focal Loss, arXiv 2006.04388), ATSS assignment (Zhang
//! et al., arXiv 1912.02424).
//!
//! ```text
//! outputs for each stride: scores [N, cells, classes], distances [N, cells, 4·R];  distance = Σ_k k·softmax_k · stride from (cell + offset)·stride
//! loss = Σ QFL/S  +  2·Σ t·CIoU/S  +  0.25·Σ t·DFL/S        S = Σ t over the batch, at least 1;  t: IoU of a positive with its object
//! QFL = (t − p)²·BCE(p, t) for the object's class, p²·BCE(p, 0) for all others;  DFL as in YOLOv8's loss
//! ```
//! ATSS, for each object: candidates are the 9 cells of each stride whose middles are nearest to its centre; the overlaps of squares of 5 strides
//! there with the object have a mean and a deviation; positives are candidates whose overlap reaches their sum and whose middle lies in the object. A
//! cell of several objects answers for the one of larger overlap. NanoDet weighs boxes by the score; t is the same thing after training, and not 0
//! before.

use tasks::detect::PairHead;

use super::dfl::{Place, Sides};
use super::{
    AssignedLoss, LossError, LossParts, Match, Output, Target, assign_pictures, clear, find, iou,
    sum_of_targets, usable,
};

/// Factors of score, box and DFL loss.
const GAINS: [f64; 3] = [1.0, 2.0, 0.25];

/// Candidates of each stride, and the side of their squares in strides.
const NEAREST: usize = 9;
const SQUARE: f64 = 5.0;

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct NanoDet {
    /// A pair of outputs for each stride.
    pub heads: Vec<PairHead>,
    /// R: `reg_max` + 1.
    pub bins: usize,
    /// Where in its cell a centre lies, 0 or 0.5.
    pub offset: f64,
    /// Width and height of the network's input.
    pub size: [usize; 2],
    /// Classes.
    pub classes: usize,
}

/// The outputs of one stride.
struct Grid<'a> {
    scores: usize,
    boxes: usize,
    p: &'a [f32],
    distances: &'a [f32],
    batch: usize,
    cells: usize,
    columns: usize,
    first: usize,
    stride: f64,
    offset: f64,
    bins: usize,
}

impl Grid<'_> {
    fn middle(&self, cell: usize) -> [f64; 2] {
        [cell % self.columns, cell / self.columns].map(|i| (i as f64 + self.offset) * self.stride)
    }

    fn place(&self, picture: usize, cell: usize) -> Place<'_, impl Fn(usize) -> usize> {
        let start = (picture * self.cells + cell) * 4 * self.bins;
        Place {
            values: self.distances,
            at: move |channel| start + channel,
            bins: self.bins,
            middle: self.middle(cell),
            stride: self.stride,
        }
    }

    /// The nearest cells to a point, with the overlap of their squares with an object.
    fn candidates(&self, object: [f64; 4]) -> impl Iterator<Item = (usize, f64)> {
        let (x, y) = ((object[0] + object[2]) / 2.0, (object[1] + object[3]) / 2.0);
        let far = |&cell: &usize| {
            let [cx, cy] = self.middle(cell);
            (cx - x) * (cx - x) + (cy - y) * (cy - y)
        };
        let mut cells: Vec<usize> = (0..self.cells).collect();
        cells.sort_by(|a, b| far(a).total_cmp(&far(b)).then(a.cmp(b)));
        let half = SQUARE * self.stride / 2.0;
        cells.into_iter().take(NEAREST).map(move |cell| {
            let [x, y] = self.middle(cell);
            (cell, iou([x - half, y - half, x + half, y + half], object))
        })
    }
}

/// (t − p)²·BCE(p, t), and its derivative by p; p is kept away from 0 and 1.
fn quality_focal(p: f32, t: f64) -> (f64, f64) {
    let p = f64::from(p).clamp(1e-6, 1.0 - 1e-6);
    let (d, bce) = (p - t, -t * libm::log(p) - (1.0 - t) * libm::log(1.0 - p));
    (d * d * bce, 2.0 * d * bce + d * d * d / (p * (1.0 - p)))
}

impl NanoDet {
    fn grids<'a>(&self, outputs: &[Output<'a>]) -> Result<Vec<Grid<'a>>, LossError> {
        let mut first = 0;
        let mut grids = Vec::with_capacity(self.heads.len());
        for head in &self.heads {
            let [columns, rows] = self.size.map(|s| s.div_ceil(head.stride));
            let cells = columns * rows;
            let scores = find(outputs, &head.cls, &[None, Some(cells), Some(self.classes)])?;
            let batch = outputs[scores].shape[0];
            let boxes = find(
                outputs,
                &head.boxes,
                &[Some(batch), Some(cells), Some(4 * self.bins)],
            )?;
            grids.push(Grid {
                scores,
                boxes,
                p: outputs[scores].values,
                distances: outputs[boxes].values,
                batch,
                cells,
                columns,
                first,
                stride: head.stride as f64,
                offset: self.offset,
                bins: self.bins,
            });
            first += cells;
        }
        Ok(grids)
    }

    fn assign_picture(&self, grids: &[Grid], picture: usize, objects: &[Target]) -> Vec<Match> {
        // Object and overlap with its square.
        let mut taken: Vec<Match> = vec![None; grids.iter().map(|g| g.cells).sum()];
        for (object, o) in objects.iter().enumerate() {
            let c = o.corners.map(f64::from);
            let of = |g: &Grid| {
                g.candidates(c)
                    .map(|(cell, u)| (g.first + cell, g.middle(cell), u))
                    .collect()
            };
            let candidates: Vec<(usize, [f64; 2], f64)> =
                grids.iter().flat_map(|g| -> Vec<_> { of(g) }).collect();
            let n = candidates.len() as f64;
            let mean = candidates.iter().map(|c| c.2).sum::<f64>() / n.max(1.0);
            let squares: f64 = candidates.iter().map(|c| (c.2 - mean) * (c.2 - mean)).sum();
            let least = mean + (squares / (n - 1.0).max(1.0)).sqrt();
            for (cell, [x, y], overlap) in candidates {
                let inside = x > c[0] && x < c[2] && y > c[1] && y < c[3];
                if inside && overlap >= least && taken[cell].is_none_or(|(_, held)| overlap > held) {
                    taken[cell] = Some((object, overlap));
                }
            }
        }
        let mut sides = Sides::default();
        for grid in grids {
            for (cell, role) in taken[grid.first..][..grid.cells].iter_mut().enumerate() {
                if let Some((object, t)) = role {
                    let corners = grid.place(picture, cell).corners(&mut sides);
                    *t = iou(corners, objects[*object].corners.map(f64::from)).clamp(0.0, 1.0);
                }
            }
        }
        taken
    }
}

impl AssignedLoss for NanoDet {
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
        let [score_gain, box_gain, dfl_gain] = GAINS.map(|g| g / weight);
        let objects: Vec<Vec<Target>> = targets.iter().map(|t| usable(t)).collect();
        let mut sums = [0.0; 3];
        for grid in self.grids(outputs)? {
            for (picture, roles) in assignment.iter().enumerate() {
                for (cell, role) in roles[grid.first..][..grid.cells].iter().enumerate() {
                    let wanted = role.map(|(object, t)| (&objects[picture][object], t));
                    let start = (picture * grid.cells + cell) * self.classes;
                    for class in 0..self.classes {
                        let t = wanted.filter(|w| w.0.class == class).map_or(0.0, |w| w.1);
                        let (value, slope) = quality_focal(grid.p[start + class], t);
                        sums[0] += score_gain * value;
                        gradients[grid.scores][start + class] = (score_gain * slope) as f32;
                    }
                    if let Some((target, t)) = wanted {
                        let gradient = &mut gradients[grid.boxes];
                        let gains = [box_gain * t, dfl_gain * t];
                        let [overlap, dfl] = grid.place(picture, cell).loss(target, gains, gradient);
                        sums[1] += overlap;
                        sums[2] += dfl;
                    }
                }
            }
        }
        Ok(LossParts {
            parts: vec![("class", sums[0]), ("box", sums[1]), ("dfl", sums[2])],
        })
    }
}
