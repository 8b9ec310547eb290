//! Distillation from the float model: outputs weighted by the teacher's objectness, and inner values. No labels are read, so that any
//! picture of the right kind serves.
//!
//! ```text
//! ℓ = gain_output · mean over outputs of Σ w·(y − y_T)² / Σ v   +   gain_features · mean over features of ‖f − f_T‖² / ‖f_T‖²
//! ```
//! v = 1 for objectness and √(teacher's objectness) for the box and class numbers of a prediction: where the teacher sees nothing, they mean
//! nothing. Of heads without objectness the largest class probability stands in. w = v, but for boxes that the graph has decoded, which are measured in
//! the teacher's width and height: there w = v/size². Of any other output v = 1 and w = 1/(mean y_T²).
//!
//! With [`Measure::Divergence`], numbers that are probabilities, or become them by a sigmoid, are compared as such: in place of (y − y_T)² stands
//! KL(p_T ‖ p) of the two-valued distributions, whose slope by a logit is p − p_T. A logit of -12 is then as good as the teacher's -9, where squares would
//! spend the net on it. As background then costs next to nothing, the sum is divided by what the teacher sees, Σ √objectness over predictions.

use tasks::detect::{Family, Head};
use tensor::math::sigmoid;

use super::terms::bce_probability;
use super::{LossError, LossParts, Output, bce, clear, find};
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

/// How a student's number is compared with the teacher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// All by the squared difference.
    #[default]
    Squares,
    /// Probabilities and their logits by the divergence, others by the squared difference.
    Divergence,
}

/// Where teacher and student both see less than this, [`Measure::Divergence`] compares nothing.
const NOTHING: f32 = 1e-4;

/// What a number of an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Real,
    Logit,
    Probability,
}

impl Number {
    /// Distance of a student's number from the teacher's, and its derivative by the student's.
    fn distance(self, y: f32, t: f32) -> (f64, f64) {
        let ((value, slope), (least, _)) = match self {
            Number::Real => {
                let d = f64::from(y) - f64::from(t);
                return (d * d, 2.0 * d);
            }
            // ln(NOTHING) = −9.21
            Number::Logit if y.max(t) < -9.21 => return (0.0, 0.0),
            Number::Probability if y.max(t) < NOTHING => return (0.0, 0.0),
            Number::Logit => (bce(y, sigmoid(t)), bce(t, sigmoid(t))),
            Number::Probability => {
                let t = t.clamp(0.0, 1.0);
                (bce_probability(y, t), bce_probability(t, t))
            }
        };
        (value - least, f64::from(slope))
    }
}

/// The loss of one head.
#[derive(Debug, Clone)]
pub struct Distill {
    outputs: Vec<(String, Layout)>,
    classes: usize,
    features: Vec<String>,
    gains: [f64; 2],
    measure: Measure,
}

impl Distill {
    /// For a head and the names of inner values, with the gains of outputs and features (1 and 3 served Nano).
    pub fn new(head: &Head, features: Vec<String>, gains: [f64; 2], measure: Measure) -> Self {
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
            measure,
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
            let mut weights = Weights::new(t.values.len(), self.measure);
            self.weigh(*layout, t, ranks, &mut weights)?;
            let scale = share / ranks.total(weights.total)?.max(1e-9);
            for (i, &w) in weights.w.iter().enumerate() {
                let (distance, slope) = weights.numbers[i].distance(y.values[i], t.values[i]);
                sums[0] += scale * f64::from(w) * distance;
                gradients[s][i] += (scale * f64::from(w) * slope) as f32;
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
                    let seen = sigmoid(t.values[at(4)]);
                    weights.object(seen);
                    for c in 0..each {
                        let number = if c == 2 || c == 3 {
                            Number::Real
                        } else {
                            Number::Logit
                        };
                        weights.set(at(c), seen, c == 4, 1.0, number);
                    }
                }
            }
            Layout::Bins { bins } => {
                let each = 4 * bins + self.classes;
                for (first, cell) in predictions(t.values.len(), each, cells) {
                    let at = |c: usize| first + c * cells + cell;
                    let best = (4 * bins..each).map(|c| t.values[at(c)]).fold(f32::MIN, f32::max);
                    let seen = sigmoid(best);
                    weights.object(seen);
                    for c in 0..each {
                        let class = c >= 4 * bins;
                        let number = if class { Number::Logit } else { Number::Real };
                        weights.set(at(c), seen, class, 1.0, number);
                    }
                }
            }
            Layout::Rows { decoded } => {
                let each = 5 + self.classes;
                for (r, row) in t.values.chunks(each).enumerate() {
                    let seen = row[4].clamp(0.0, 1.0);
                    weights.object(seen);
                    for c in 0..each {
                        let size = if decoded && c < 4 { row[2 + c % 2] } else { 1.0 };
                        let number = if c < 4 { Number::Real } else { Number::Probability };
                        weights.set(r * each + c, seen, c == 4, size, number);
                    }
                }
            }
            Layout::Columns => {
                let each = 4 + self.classes;
                for (first, cell) in predictions(t.values.len(), each, cells) {
                    let at = |c: usize| first + c * cells + cell;
                    let best = (4..each).map(|c| t.values[at(c)]).fold(0.0, f32::max);
                    let seen = best.min(1.0);
                    weights.object(seen);
                    for c in 0..each {
                        let class = c >= 4;
                        let size = if class { 1.0 } else { t.values[at(2 + c % 2)] };
                        let number = if class { Number::Probability } else { Number::Real };
                        weights.set(at(c), seen, class, size, number);
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

/// w of every number, what it is, and Σ v.
struct Weights {
    measure: Measure,
    w: Vec<f32>,
    numbers: Vec<Number>,
    total: f64,
}

impl Weights {
    fn new(n: usize, measure: Measure) -> Self {
        Weights {
            measure,
            w: vec![0.0; n],
            numbers: vec![Number::Real; n],
            total: 0.0,
        }
    }

    /// A prediction in which the teacher sees so much of an object, 0 … 1.
    fn object(&mut self, seen: f32) {
        if self.measure == Measure::Divergence {
            self.total += f64::from(seen.sqrt());
        }
    }

    /// `seen` as in [`Weights::object`]; a number that tells it counts fully.
    fn set(&mut self, i: usize, seen: f32, tells: bool, size: f32, number: Number) {
        let v = if tells { 1.0 } else { seen.sqrt() };
        // A teacher's box of less than a pixel is noise.
        let size = if size == 1.0 { 1.0 } else { size.abs().max(1.0) };
        self.w[i] = v / (size * size);
        match self.measure {
            Measure::Squares => self.total += f64::from(v),
            Measure::Divergence => self.numbers[i] = number,
        }
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
