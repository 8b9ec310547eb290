//! Distillation from the float model: outputs weighted by the teacher's objectness, and inner values. No labels are read, so that any
//! picture of the right kind serves.
//!
//! ```text
//! ℓ = gain_output · mean over outputs of Σ w·(y − y_T)² / Σ v   +   gain_features · mean over features of ‖f − f_T‖² / ‖f_T‖²
//! ```
//! v = 1 for objectness and √(teacher's objectness) for the box and class numbers of a prediction: where the teacher sees nothing, they mean
//! nothing. Of heads without objectness the largest class probability stands in. w = v, but for boxes that the graph has decoded, which are measured in
//! the teacher's width and height: there w = v/size². Of any other output v = 1 and w = 1/(mean y_T²).

use tasks::detect::{Family, Head};
use tensor::math::sigmoid;

use super::{LossError, LossParts, Output, clear, find};
use crate::exchange::Ranks;

/// How the numbers of one prediction lie in an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `[N, anchors·(5 + classes), h, w]`, logits.
    Anchors { anchors: usize },
    /// `[N, 4·bins + classes, h, w]`, logits.
    Bins { bins: usize },
    /// `[N, n, 5 + classes]`: raw offsets or decoded boxes, probabilities.
    Rows { decoded: bool },
    /// `[N, 4 + classes, n]`: decoded boxes, probabilities.
    Columns,
    /// Anything.
    Plain,
}

/// The loss of one head.
#[derive(Debug, Clone)]
pub struct Distill {
    outputs: Vec<(String, Layout)>,
    classes: usize,
    features: Vec<String>,
    gains: [f64; 2],
}

impl Distill {
    /// For a head and the names of inner values, with the gains of outputs and features (1 and 3 served Nano).
    pub fn new(head: &Head, features: Vec<String>, gains: [f64; 2]) -> Self {
        let layout = |name: &str| match &head.family {
            Family::Yolov3(heads) | Family::Yolov5(heads) => {
                let anchors = heads
                    .iter()
                    .find(|h| h.output == name)
                    .map_or(1, |h| h.anchors.len());
                Layout::Anchors { anchors }
            }
            Family::Yolov8Raw { reg_max, .. } => Layout::Bins { bins: *reg_max },
            Family::Yolox { .. } => Layout::Rows { decoded: false },
            Family::Yolov5Decoded(_) => Layout::Rows { decoded: true },
            Family::Yolov8(_) => Layout::Columns,
            Family::Fastestdet(_)
            | Family::Nanodet { .. }
            | Family::Ssd { .. }
            | Family::Nms { .. }
            | Family::Classifier(_) => Layout::Plain,
        };
        let outputs = head.outputs().into_iter();
        Distill {
            outputs: outputs.map(|name| (name.to_string(), layout(name))).collect(),
            classes: head.classes.len(),
            features,
            gains,
        }
    }

    /// Names of the values that student and teacher must give: the head's outputs, then the features.
    pub fn names(&self) -> Vec<String> {
        let outputs = self.outputs.iter().map(|o| o.0.clone());
        outputs.chain(self.features.iter().cloned()).collect()
    }

    /// Loss of a batch and its gradients by the student's values, one vector each.
    ///
    /// # Errors
    /// Values that are missing or have another shape than the head says or than the teacher's.
    pub fn evaluate(
        &self,
        student: &[Output],
        teacher: &[Output],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        clear(student, gradients);
        let mut sums = [0.0; 2];
        let share = self.gains[0] / self.outputs.len().max(1) as f64;
        for (name, layout) in &self.outputs {
            let (s, y, t) = pair(student, teacher, name, self.shape(*layout))?;
            let mut weights = Weights::new(t.values.len());
            self.weigh(*layout, t, ranks, &mut weights)?;
            let scale = share / ranks.total(weights.total)?.max(1e-9);
            for (i, &w) in weights.w.iter().enumerate() {
                let d = f64::from(y.values[i]) - f64::from(t.values[i]);
                sums[0] += scale * f64::from(w) * d * d;
                gradients[s][i] += (2.0 * scale * f64::from(w) * d) as f32;
            }
        }
        let share = self.gains[1] / self.features.len().max(1) as f64;
        for name in &self.features {
            let (s, y, t) = pair(student, teacher, name, None)?;
            let (mean, count) = mean_square(t.values, ranks)?;
            let scale = share / mean.max(1e-12) / count;
            for (i, (&a, &b)) in y.values.iter().zip(t.values).enumerate() {
                let d = f64::from(a) - f64::from(b);
                sums[1] += scale * d * d;
                gradients[s][i] += (2.0 * scale * d) as f32;
            }
        }
        Ok(LossParts {
            parts: vec![("outputs", sums[0]), ("features", sums[1])],
        })
    }

    fn shape(&self, layout: Layout) -> Option<Vec<Option<usize>>> {
        let c = self.classes;
        match layout {
            Layout::Anchors { anchors } => Some(vec![None, Some(anchors * (5 + c)), None, None]),
            Layout::Bins { bins } => Some(vec![None, Some(4 * bins + c), None, None]),
            Layout::Rows { .. } => Some(vec![None, None, Some(5 + c)]),
            Layout::Columns => Some(vec![None, Some(4 + c), None]),
            Layout::Plain => None,
        }
    }

    /// Weights of every number of a teacher's output.
    fn weigh(
        &self,
        layout: Layout,
        t: &Output,
        ranks: &Ranks,
        weights: &mut Weights,
    ) -> Result<(), LossError> {
        let cells: usize = t.shape.get(2..).unwrap_or_default().iter().product();
        match layout {
            Layout::Anchors { .. } => {
                let each = 5 + self.classes;
                for (first, cell) in predictions(t.values.len(), each, cells) {
                    let at = |c: usize| first + c * cells + cell;
                    let v = sigmoid(t.values[at(4)]).sqrt();
                    for c in 0..each {
                        weights.set(at(c), if c == 4 { 1.0 } else { v }, 1.0);
                    }
                }
            }
            Layout::Bins { bins } => {
                let each = 4 * bins + self.classes;
                for (first, cell) in predictions(t.values.len(), each, cells) {
                    let at = |c: usize| first + c * cells + cell;
                    let best = (4 * bins..each).map(|c| t.values[at(c)]).fold(f32::MIN, f32::max);
                    let v = sigmoid(best).sqrt();
                    for c in 0..each {
                        weights.set(at(c), if c < 4 * bins { v } else { 1.0 }, 1.0);
                    }
                }
            }
            Layout::Rows { decoded } => {
                let each = 5 + self.classes;
                for (r, row) in t.values.chunks(each).enumerate() {
                    let v = row[4].clamp(0.0, 1.0).sqrt();
                    for c in 0..each {
                        let size = if decoded && c < 4 { row[2 + c % 2] } else { 1.0 };
                        weights.set(r * each + c, if c == 4 { 1.0 } else { v }, size);
                    }
                }
            }
            Layout::Columns => {
                let each = 4 + self.classes;
                for (first, cell) in predictions(t.values.len(), each, cells) {
                    let at = |c: usize| first + c * cells + cell;
                    let best = (4..each).map(|c| t.values[at(c)]).fold(0.0, f32::max);
                    for c in 0..each {
                        let size = if c < 4 { t.values[at(2 + c % 2)] } else { 1.0 };
                        weights.set(at(c), if c < 4 { best.min(1.0).sqrt() } else { 1.0 }, size);
                    }
                }
            }
            Layout::Plain => {
                let size = mean_square(t.values, ranks)?.0.sqrt().max(1e-6) as f32;
                weights.w.fill(1.0 / (size * size));
                weights.total = t.values.len() as f64;
            }
        }
        Ok(())
    }
}

/// w of every number, and Σ v.
struct Weights {
    w: Vec<f32>,
    total: f64,
}

impl Weights {
    fn new(n: usize) -> Self {
        Weights {
            w: vec![0.0; n],
            total: 0.0,
        }
    }

    fn set(&mut self, i: usize, v: f32, size: f32) {
        // A teacher's box of less than a pixel is noise.
        let size = if size == 1.0 { 1.0 } else { size.abs().max(1.0) };
        self.w[i] = v / (size * size);
        self.total += f64::from(v);
    }
}

/// First position of each block of `each` channels, with each cell.
fn predictions(n: usize, each: usize, cells: usize) -> impl Iterator<Item = (usize, usize)> {
    let block = each * cells;
    (0..n / block.max(1)).flat_map(move |b| (0..cells).map(move |cell| (b * block, cell)))
}

/// Mean of the squares over the whole batch, and how many there are, at least 1.
fn mean_square(values: &[f32], ranks: &Ranks) -> Result<(f64, f64), LossError> {
    let sum: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let mut both = [sum, values.len() as f64];
    ranks.sum_wide(&mut both)?;
    let count = both[1].max(1.0);
    Ok((both[0] / count, count))
}

/// The student's index, and both values of a name.
fn pair<'a>(
    student: &'a [Output],
    teacher: &'a [Output],
    name: &str,
    shape: Option<Vec<Option<usize>>>,
) -> Result<(usize, &'a Output<'a>, &'a Output<'a>), LossError> {
    let rank = |outputs: &[Output]| {
        outputs
            .iter()
            .find(|o| o.name == name)
            .map_or(0, |o| o.shape.len())
    };
    let want = shape.unwrap_or_else(|| vec![None; rank(student)]);
    let s = find(student, name, &want)?;
    let exact: Vec<Option<usize>> = student[s].shape.iter().copied().map(Some).collect();
    Ok((s, &student[s], &teacher[find(teacher, name, &exact)?]))
}
