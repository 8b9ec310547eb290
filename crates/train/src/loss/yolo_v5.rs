//! Raw anchor heads of YOLOv5 and YOLOv7 (ultralytics/yolov5, `utils/loss.py`).
//!
//! ```text
//! box:   cx = (2σ(tx) − 0.5 + cell)·stride,   w = (2σ(tw))²·anchor;   score = σ(objectness)·σ(class)
//! loss = 5·mean CIoU  +  Σ BCE(objectness, IoU)/P  +  Σ BCE(classes)/P            P: positives of the batch, at least 1
//! ```
//! Positives: an object goes to every anchor whose sides differ from its own by less than a factor of 4, at the cell of its centre and at the nearer
//! neighbour in each direction. A prediction that several objects ask for answers for the one that its box covers best. YOLOv5 itself averages
//! objectness over all cells, with a factor for each stride; here it is divided by P, as in YOLOX.

use tasks::detect::AnchorHead;

use super::anchors::{Grid, Rule, grids};
use super::terms::add;
use super::{
    AssignedLoss, LossError, LossParts, Match, Output, Target, bce, check_targets, clear, iou, usable,
};

/// Largest ratio of a side to an anchor's.
const RATIO: f64 = 4.0;

/// Factors of box, objectness and class loss.
const GAINS: [f64; 3] = [5.0, 1.0, 1.0];

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct YoloV5 {
    heads: Vec<AnchorHead>,
    classes: usize,
}

impl YoloV5 {
    /// From the parts of a head description.
    pub fn new(heads: Vec<AnchorHead>, classes: usize) -> Self {
        YoloV5 { heads, classes }
    }

    fn grids<'a>(&'a self, outputs: &[Output<'a>]) -> Result<Vec<Grid<'a>>, LossError> {
        grids(&self.heads, self.classes, Rule::V5, outputs)
    }
}

/// The cell of a centre and its nearer neighbours, each once: a centre that lies outside has those of the border.
fn cells(grid: &Grid, x: f64, y: f64) -> Vec<usize> {
    let half = f64::from(grid.head.stride) / 2.0;
    let toward = |v: f64| match (v / half).floor() as i64 % 2 {
        0 => v - half,
        _ => v + half,
    };
    let mut cells = [(x, y), (toward(x), y), (x, toward(y))]
        .map(|(x, y)| grid.cell_of(x, y))
        .to_vec();
    cells.sort_unstable();
    cells.dedup();
    cells
}

impl AssignedLoss for YoloV5 {
    type Answer = Match;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Vec<Vec<Match>>, LossError> {
        let mut all = Vec::with_capacity(self.heads.len());
        for grid in self.grids(outputs)? {
            check_targets(targets, grid.batch, self.classes)?;
            let mut roles = vec![None; grid.predictions()];
            let objects = targets.iter().map(|t| usable(t)).enumerate();
            for (picture, object, target) in
                objects.flat_map(|(p, o)| o.into_iter().enumerate().map(move |(k, o)| (p, k, o)))
            {
                let c = target.corners.map(f64::from);
                let size = [c[2] - c[0], c[3] - c[1]];
                for (anchor, sides) in grid.head.anchors.iter().enumerate() {
                    let ratio = |k: usize| (size[k] / f64::from(sides[k])).max(f64::from(sides[k]) / size[k]);
                    if ratio(0).max(ratio(1)) >= RATIO {
                        continue;
                    }
                    for cell in cells(&grid, (c[0] + c[2]) / 2.0, (c[1] + c[3]) / 2.0) {
                        let at = (picture * grid.head.anchors.len() + anchor) * grid.cells() + cell;
                        let overlap = iou(grid.predicted(at).corners, c);
                        if roles[at].is_none_or(|(_, held)| overlap > held) {
                            roles[at] = Some((object, overlap));
                        }
                    }
                }
            }
            all.push(roles);
        }
        Ok(all)
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
        let [box_gain, objectness_gain, class_gain] = GAINS.map(|g| g / weight);
        let objects: Vec<Vec<Target>> = targets.iter().map(|t| usable(t)).collect();
        let mut sums = [0.0; 3];
        for (grid, roles) in self.grids(outputs)?.iter().zip(assignment) {
            let gradient = &mut gradients[grid.output];
            let each = grid.of_picture(0).len().max(1);
            for (index, role) in roles.iter().enumerate() {
                let at = |channel: usize| grid.at(index, channel);
                let wanted = role.map_or(0.0, |r| r.1 as f32);
                let term = bce(grid.values[at(4)], wanted);
                add(&mut sums[1], &mut gradient[at(4)], term, objectness_gain);
                let Some((object, _)) = *role else { continue };
                let target = &objects[index / each][object];
                sums[0] += grid.box_loss(index, target, box_gain, gradient);
                for class in 0..self.classes {
                    let term = bce(
                        grid.values[at(5 + class)],
                        f32::from(u8::from(class == target.class)),
                    );
                    add(&mut sums[2], &mut gradient[at(5 + class)], term, class_gain);
                }
            }
        }
        Ok(LossParts {
            parts: vec![("box", sums[0]), ("objectness", sums[1]), ("class", sums[2])],
        })
    }
}
