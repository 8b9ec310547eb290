//! Graphs that decode their boxes themselves: YOLOv5/v7 with objectness (`[N, n, 5 + classes]`), YOLOv8/11 without (`[N, 4 + classes, n]`). Boxes are
//! cx cy w h in pixels, scores probabilities; what lies before, anchors or distributions, is reached through the graph's own backward.
//!
//! ```text
//! loss = 7.5·Σ t·CIoU/S  +  0.5·Σ BCE(class, t)/S                                                     YOLOv8;   S = Σ t over the batch, at least 1
//! loss = 7.5·Σ t·CIoU/S  +  0.5·Σ BCE(objectness, t)/S  +  0.5·Σ_positives BCE(class, one-hot)/S      YOLOv5
//! ```
//! Assignment as in TOOD (arXiv 2108.07755): an object is offered the predictions whose centre lies in it and takes the 10 of largest
//! m = score^½ · IoU⁶; one taken twice goes to the object of larger IoU. t is m scaled so that an object's largest m becomes its largest IoU.

use super::terms::{add, bce_probability};
use super::{
    AssignedLoss, LossError, LossParts, Match, Output, Target, assign_pictures, ciou, clear, find, iou,
    sum_of_targets, task_aligned, usable,
};

/// Predictions that an object takes.
const TOP: usize = 10;

/// Factors of box and score losses.
const GAINS: [f64; 2] = [7.5, 0.5];

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Name of the output.
    pub output: String,
    /// Classes.
    pub classes: usize,
    /// Rows of box, objectness, classes, as YOLOv5 has them; or columns of box and classes, as YOLOv8.
    pub objectness: bool,
}

struct Table<'a> {
    output: usize,
    values: &'a [f32],
    batch: usize,
    predictions: usize,
    channels: usize,
    objectness: bool,
}

impl Table<'_> {
    fn at(&self, picture: usize, prediction: usize, channel: usize) -> usize {
        match self.objectness {
            true => (picture * self.predictions + prediction) * self.channels + channel,
            false => (picture * self.channels + channel) * self.predictions + prediction,
        }
    }

    fn number(&self, picture: usize, prediction: usize, channel: usize) -> f64 {
        f64::from(self.values[self.at(picture, prediction, channel)])
    }

    fn class(&self, class: usize) -> usize {
        if self.objectness { 5 + class } else { 4 + class }
    }

    fn score(&self, picture: usize, prediction: usize, class: usize) -> f64 {
        let p = self.number(picture, prediction, self.class(class));
        let objectness = match self.objectness {
            true => self.number(picture, prediction, 4),
            false => 1.0,
        };
        (p * objectness).clamp(0.0, 1.0)
    }

    fn corners(&self, picture: usize, prediction: usize) -> [f64; 4] {
        let [x, y, w, h] = std::array::from_fn(|k| self.number(picture, prediction, k));
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
    }

    fn assign_picture(&self, picture: usize, objects: &[Target]) -> Vec<Match> {
        let offers = |object: usize| {
            let o = &objects[object];
            let c = o.corners.map(f64::from);
            let mut offers = Vec::new();
            for i in 0..self.predictions {
                let (x, y) = (self.number(picture, i, 0), self.number(picture, i, 1));
                if x > c[0] && x < c[2] && y > c[1] && y < c[3] {
                    let overlap = iou(self.corners(picture, i), c);
                    let m = self.score(picture, i, o.class).sqrt() * libm::pow(overlap, 6.0);
                    offers.push((i, m, overlap));
                }
            }
            offers
        };
        task_aligned(self.predictions, objects.len(), TOP, offers)
    }
}

impl Decoded {
    fn table<'a>(&self, outputs: &[Output<'a>]) -> Result<Table<'a>, LossError> {
        let channels = self.classes + if self.objectness { 5 } else { 4 };
        let want = match self.objectness {
            true => [None, None, Some(channels)],
            false => [None, Some(channels), None],
        };
        let output = find(outputs, &self.output, &want)?;
        let shape = outputs[output].shape;
        Ok(Table {
            output,
            values: outputs[output].values,
            batch: shape[0],
            predictions: shape[if self.objectness { 1 } else { 2 }],
            channels,
            objectness: self.objectness,
        })
    }
}

impl AssignedLoss for Decoded {
    type Answer = Match;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Vec<Vec<Match>>, LossError> {
        let table = self.table(outputs)?;
        assign_pictures(targets, [table.batch], self.classes, |picture, objects| {
            table.assign_picture(picture, objects)
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
        let table = self.table(outputs)?;
        let gradient = &mut gradients[table.output];
        let [box_gain, score_gain] = GAINS.map(|g| g / weight);
        let mut sums = [0.0; 3];
        for ((picture, roles), targets) in assignment.iter().enumerate().zip(targets) {
            let objects = usable(targets);
            for (i, role) in roles.iter().enumerate() {
                let at = |channel: usize| table.at(picture, i, channel);
                let wanted = role.map(|(object, t)| (&objects[object], t));
                let t = wanted.map_or(0.0, |w| w.1);
                if self.objectness {
                    let term = bce_probability(table.values[at(4)], t as f32);
                    add(&mut sums[1], &mut gradient[at(4)], term, score_gain);
                }
                for class in (0..self.classes).filter(|_| !self.objectness || wanted.is_some()) {
                    let hot = wanted.is_some_and(|w| w.0.class == class);
                    let t = if self.objectness { 1.0 } else { t };
                    let at = at(table.class(class));
                    let term = bce_probability(table.values[at], if hot { t as f32 } else { 0.0 });
                    add(&mut sums[2], &mut gradient[at], term, score_gain);
                }
                let Some((target, t)) = wanted else { continue };
                let (value, d) = ciou(table.corners(picture, i), target.corners.map(f64::from));
                sums[0] += box_gain * t * value;
                for k in 0..2 {
                    gradient[at(k)] = (box_gain * t * (d[k] + d[k + 2])) as f32;
                    gradient[at(k + 2)] = (box_gain * t * (d[k + 2] - d[k]) / 2.0) as f32;
                }
            }
        }
        let mut parts = vec![("box", sums[0]), ("objectness", sums[1]), ("class", sums[2])];
        if !self.objectness {
            parts.remove(1);
        }
        Ok(LossParts { parts })
    }
}
