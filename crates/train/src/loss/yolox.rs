//! YOLOX (Ge et al., arXiv 2107.08430): anchor-free, objectness, SimOTA assignment.
//!
//! ```text
//! box:   cx = (tx + cell)·stride,   w = e^tw·stride;   score = σ(objectness)·σ(class)
//! loss = 5·mean CIoU  +  Σ BCE(objectness)/P  +  Σ BCE(class, IoU)/P         P: positives of the batch, at least 1
//! ```
//! SimOTA, for each picture: candidates are cells whose middle lies in an object or within 2.5 strides of an object's centre.
//!
//! ```text
//! cost = Σ_classes BCE(√(σ(class)·σ(objectness)), one-hot) − 3·ln(IoU + 1e-8) + 10⁵·[not both inside and near the centre]
//! k = ⌊sum of the 10 largest IoUs⌋, at least 1; each object takes its k cheapest candidates; one taken twice goes to the cheaper object
//! ```
//! The paper's box loss is 1 − IoU²; CIoU also has a gradient where boxes do not overlap. Exported graphs end in the sigmoid of the
//! scores; [`YoloX::probabilities`] tells the loss so.

use tensor::math::{exp, sigmoid};

use super::terms::{add, bce_probability};
use super::{
    AssignedLoss, LossError, LossParts, Match, Output, Target, assign_pictures, bce, ciou, clear, find, iou,
    usable,
};

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct YoloX {
    /// Output `[N, cells, 5 + classes]`.
    pub output: String,
    /// Strides in the order of the rows.
    pub strides: Vec<usize>,
    /// Width and height of the network's input.
    pub size: [usize; 2],
    /// Classes.
    pub classes: usize,
    /// Objectness and classes have had their sigmoid in the graph.
    pub probabilities: bool,
    /// Factors of box, objectness and class loss.
    pub gains: [f64; 3],
}

/// Upper left corner and stride of a cell.
#[derive(Debug, Clone, Copy)]
struct Cell {
    corner: [f64; 2],
    stride: f64,
}

impl Cell {
    fn predicted(&self, t: &[f32]) -> [f64; 4] {
        let centre = |k: usize| f64::from(t[k]) * self.stride + self.corner[k];
        let side = |k: usize| f64::from(exp(t[k].clamp(-20.0, 20.0))) * self.stride;
        let (cx, cy, w, h) = (centre(0), centre(1), side(2), side(3));
        [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]
    }

    /// Whether the middle lies in the object, and near its centre.
    fn lies(&self, object: &Target) -> (bool, bool) {
        let c = object.corners.map(f64::from);
        let middle: [f64; 2] = std::array::from_fn(|k| self.corner[k] + self.stride / 2.0);
        let inside = (0..2).all(|k| middle[k] > c[k] && middle[k] < c[k + 2]);
        let near = (0..2).all(|k| (middle[k] - (c[k] + c[k + 2]) / 2.0).abs() < 2.5 * self.stride);
        (inside, near)
    }
}

impl YoloX {
    /// With the published gains 5, 1, 1, over a graph that ends in the sigmoid.
    pub fn new(output: String, strides: Vec<usize>, size: [usize; 2], classes: usize) -> Self {
        YoloX {
            output,
            strides,
            size,
            classes,
            probabilities: true,
            gains: [5.0, 1.0, 1.0],
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let of = |&s: &usize| {
            let (columns, rows) = (self.size[0] / s, self.size[1] / s);
            (0..columns * rows).map(move |i| Cell {
                corner: [i % columns, i / columns].map(|v| (v * s) as f64),
                stride: s as f64,
            })
        };
        self.strides.iter().flat_map(of).collect()
    }

    fn probability(&self, x: f32) -> f64 {
        f64::from(if self.probabilities { x } else { sigmoid(x) })
    }

    fn term(&self, x: f32, t: f32) -> (f64, f32) {
        if self.probabilities {
            bce_probability(x, t)
        } else {
            bce(x, t)
        }
    }

    fn output(&self, outputs: &[Output], cells: usize) -> Result<usize, LossError> {
        find(
            outputs,
            &self.output,
            &[None, Some(cells), Some(5 + self.classes)],
        )
    }

    fn assign_picture(&self, cells: &[Cell], rows: &[f32], objects: &[Target]) -> Vec<Match> {
        let row = |i: usize| &rows[i * (5 + self.classes)..][..5 + self.classes];
        let is_candidate = |i: &usize| objects.iter().any(|o| cells[*i].lies(o) != (false, false));
        let candidates: Vec<usize> = (0..cells.len()).filter(is_candidate).collect();
        let mut taken: Vec<Option<(usize, f64, f64)>> = vec![None; cells.len()];
        for (object, o) in objects.iter().enumerate() {
            let offer = |&i: &usize| {
                let overlap = iou(cells[i].predicted(row(i)), o.corners.map(f64::from));
                (i, overlap, self.cost(row(i), o.class, overlap, cells[i].lies(o)))
            };
            let mut offers: Vec<(usize, f64, f64)> = candidates.iter().map(offer).collect();
            let mut overlaps: Vec<f64> = offers.iter().map(|e| e.1).collect();
            overlaps.sort_by(|a, b| b.total_cmp(a));
            let k = (overlaps.iter().take(10).sum::<f64>() as usize).max(1);
            offers.sort_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)));
            for &(i, overlap, cost) in offers.iter().take(k) {
                if taken[i].is_none_or(|(_, _, held)| cost < held) {
                    taken[i] = Some((object, overlap, cost));
                }
            }
        }
        taken.into_iter().map(|t| t.map(|(o, u, _)| (o, u))).collect()
    }

    fn cost(&self, row: &[f32], wanted: usize, overlap: f64, lies: (bool, bool)) -> f64 {
        let objectness = self.probability(row[4]);
        let mut cost = -3.0 * libm::log(overlap + 1e-8);
        for (class, &x) in row[5..].iter().enumerate() {
            let p = (self.probability(x) * objectness).sqrt().clamp(1e-7, 1.0 - 1e-7);
            cost -= libm::log(if class == wanted { p } else { 1.0 - p });
        }
        if lies == (true, true) { cost } else { cost + 1e5 }
    }
}

impl AssignedLoss for YoloX {
    type Answer = Match;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Vec<Vec<Match>>, LossError> {
        let cells = self.cells();
        let output = &outputs[self.output(outputs, cells.len())?];
        let length = cells.len() * (5 + self.classes);
        assign_pictures(targets, [output.shape[0]], self.classes, |picture, objects| {
            self.assign_picture(&cells, &output.values[picture * length..][..length], objects)
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
        let cells = self.cells();
        let index = self.output(outputs, cells.len())?;
        let (values, gradient) = (outputs[index].values, &mut gradients[index]);
        let share = 1.0 / weight;
        let [box_gain, objectness_gain, class_gain] = self.gains.map(|g| g * share);
        let mut sums = [0.0; 3];
        let width = 5 + self.classes;
        for ((picture, roles), targets) in assignment.iter().enumerate().zip(targets) {
            let objects = usable(targets);
            for ((i, cell), role) in cells.iter().enumerate().zip(roles) {
                let at = (picture * cells.len() + i) * width;
                let r = &values[at..][..width];
                let g = &mut gradient[at..][..width];
                let term = self.term(r[4], f32::from(u8::from(role.is_some())));
                add(&mut sums[1], &mut g[4], term, objectness_gain);
                let Some((object, overlap)) = *role else {
                    continue;
                };
                let target = &objects[object];
                let corners = cell.predicted(r);
                let (value, d) = ciou(corners, target.corners.map(f64::from));
                sums[0] += value * box_gain;
                for k in 0..2 {
                    let side = corners[k + 2] - corners[k];
                    g[k] = (box_gain * (d[k] + d[k + 2]) * cell.stride) as f32;
                    g[k + 2] = (box_gain * (d[k + 2] - d[k]) / 2.0 * side) as f32;
                }
                for class in 0..self.classes {
                    let wanted = if class == target.class {
                        overlap as f32
                    } else {
                        0.0
                    };
                    let term = self.term(r[5 + class], wanted);
                    add(&mut sums[2], &mut g[5 + class], term, class_gain);
                }
            }
        }
        Ok(LossParts {
            parts: vec![("box", sums[0]), ("objectness", sums[1]), ("class", sums[2])],
        })
    }
}
