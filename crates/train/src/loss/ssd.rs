//! SSD with priors (Liu et al., arXiv 1512.02325), scores after their softmax: UltraFace.
//!
//! ```text
//! box:   t = ((cx − px)/(v₀·pw), (cy − py)/(v₀·ph), ln(w/pw)/v₁, ln(h/ph)/v₁) against the prior p;   score = softmax
//! loss = Σ_positives Σ₄ smooth-L1(t, t*)/P  −  Σ_positives ln p_class/P  −  Σ_negatives ln p_background/P        P: positives of the batch, at least 1
//! ```
//! Positives: priors with IoU of at least 0.35 (UltraFace's threshold; the paper has 0.5) with some object answer for the best of them, and each object
//! has the prior that fits it best, whatever the IoU. Negatives: of the other priors of a picture the three times as many (at least three) whose
//! background loss is largest.

use tensor::math::exp;

use super::{
    AssignedLoss, LossError, LossParts, Output, Role, Target, assign_pictures, clear, find, iou, usable,
};

/// IoU from which a prior answers for an object, and negatives for each positive.
const OVERLAP: f64 = 0.35;
const NEGATIVES: usize = 3;

/// The loss of one head description.
#[derive(Debug, Clone)]
pub struct Ssd {
    /// Output `[N, priors, 4]`.
    pub boxes: String,
    /// Output `[N, priors, 1 + classes]`, softmax done, the background first.
    pub scores: String,
    /// Centre and size, in 0…1 of the input.
    pub priors: Vec<[f32; 4]>,
    /// v₀ and v₁.
    pub variances: [f32; 2],
    /// Width and height of the network's input.
    pub size: [usize; 2],
    /// Classes without the background.
    pub classes: usize,
}

/// The two outputs.
struct Pair<'a> {
    boxes: usize,
    scores: usize,
    offsets: &'a [f32],
    p: &'a [f32],
    batch: usize,
}

/// Corners of a box of centre and size.
fn corners([x, y, w, h]: [f64; 4]) -> [f64; 4] {
    [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
}

/// −ln p and its derivative; p is kept away from 0.
fn minus_log(p: f32) -> (f64, f64) {
    let p = f64::from(p).max(1e-6);
    (-libm::log(p), -1.0 / p)
}

impl Ssd {
    fn pair<'a>(&self, outputs: &[Output<'a>]) -> Result<Pair<'a>, LossError> {
        let n = Some(self.priors.len());
        let boxes = find(outputs, &self.boxes, &[None, n, Some(4)])?;
        let batch = outputs[boxes].shape[0];
        let scores = find(outputs, &self.scores, &[Some(batch), n, Some(1 + self.classes)])?;
        Ok(Pair {
            boxes,
            scores,
            offsets: outputs[boxes].values,
            p: outputs[scores].values,
            batch,
        })
    }

    /// Corners in 0…1.
    fn relative(&self, target: &Target) -> [f64; 4] {
        std::array::from_fn(|k| f64::from(target.corners[k]) / self.size[k % 2] as f64)
    }

    fn assign_picture(&self, p: &[f32], objects: &[Target]) -> Vec<Role> {
        // Object and IoU.
        let mut taken: Vec<Option<(usize, f64)>> = vec![None; self.priors.len()];
        let mut best = vec![(0, -1.0); objects.len()];
        for (object, o) in objects.iter().enumerate() {
            let c = self.relative(o);
            for (i, (prior, taken)) in self.priors.iter().zip(&mut taken).enumerate() {
                let overlap = iou(corners(prior.map(f64::from)), c);
                if overlap > best[object].1 {
                    best[object] = (i, overlap);
                }
                if overlap >= OVERLAP && taken.is_none_or(|(_, held)| overlap > held) {
                    *taken = Some((object, overlap));
                }
            }
        }
        for (object, &(i, overlap)) in best.iter().enumerate() {
            // Two objects with one best prior: the one that fits it better has it.
            let held = best.iter().filter(|b| b.0 == i).map(|b| b.1).fold(-1.0, f64::max);
            if overlap >= held && i < taken.len() {
                taken[i] = Some((object, overlap));
            }
        }
        let positives = taken.iter().flatten().count().max(1);
        let mut rest: Vec<usize> = (0..taken.len()).filter(|&i| taken[i].is_none()).collect();
        let background = |i: usize| p[i * (1 + self.classes)];
        rest.sort_by(|&a, &b| background(a).total_cmp(&background(b)).then(a.cmp(&b)));
        let mut roles: Vec<Role> = (taken.into_iter())
            .map(|t| t.map_or(Role::Ignored, |(object, _)| Role::Positive(object)))
            .collect();
        for &i in rest.iter().take(NEGATIVES * positives) {
            roles[i] = Role::Negative;
        }
        roles
    }

    /// The offsets that mean an object.
    fn wanted(&self, prior: [f32; 4], target: &Target) -> [f64; 4] {
        let c = self.relative(target);
        let [px, py, pw, ph] = prior.map(f64::from);
        let [centre, size] = self.variances.map(f64::from);
        [
            ((c[0] + c[2]) / 2.0 - px) / (centre * pw),
            ((c[1] + c[3]) / 2.0 - py) / (centre * ph),
            libm::log((c[2] - c[0]) / pw) / size,
            libm::log((c[3] - c[1]) / ph) / size,
        ]
    }

    /// Corners in pixels of the box that a prior's offsets mean.
    pub fn predicted(&self, prior: usize, t: [f32; 4]) -> [f32; 4] {
        let [px, py, pw, ph] = self.priors[prior];
        let [centre, size] = self.variances;
        let (w, h) = (pw * exp(t[2] * size), ph * exp(t[3] * size));
        let (x, y) = (px + t[0] * centre * pw, py + t[1] * centre * ph);
        let [width, height] = self.size.map(|s| s as f32);
        [
            (x - w / 2.0) * width,
            (y - h / 2.0) * height,
            (x + w / 2.0) * width,
            (y + h / 2.0) * height,
        ]
    }
}

impl AssignedLoss for Ssd {
    type Answer = Role;

    fn assign(&self, outputs: &[Output], targets: &[Vec<Target>]) -> Result<Vec<Vec<Role>>, LossError> {
        let pair = self.pair(outputs)?;
        let length = self.priors.len() * (1 + self.classes);
        assign_pictures(targets, [pair.batch], self.classes, |picture, objects| {
            self.assign_picture(&pair.p[picture * length..][..length], objects)
        })
    }

    fn of_assignment(
        &self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        roles: &[Vec<Role>],
        weight: f64,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        clear(outputs, gradients);
        let pair = self.pair(outputs)?;
        let share = 1.0 / weight;
        let mut sums = [0.0; 2];
        for ((picture, roles), targets) in roles.iter().enumerate().zip(targets) {
            let objects = usable(targets);
            for (i, role) in roles.iter().enumerate() {
                let row = picture * self.priors.len() + i;
                let class = match role {
                    Role::Ignored => continue,
                    Role::Negative => 0,
                    Role::Positive(object) => 1 + objects[*object].class,
                };
                let at = row * (1 + self.classes) + class;
                let (value, slope) = minus_log(pair.p[at]);
                sums[1] += share * value;
                gradients[pair.scores][at] = (share * slope) as f32;
                let Role::Positive(object) = *role else {
                    continue;
                };
                let wanted = self.wanted(self.priors[i], &objects[object]);
                for (k, wanted) in wanted.iter().enumerate() {
                    let d = f64::from(pair.offsets[row * 4 + k]) - wanted;
                    let value = if d.abs() < 1.0 { d * d / 2.0 } else { d.abs() - 0.5 };
                    sums[0] += share * value;
                    gradients[pair.boxes][row * 4 + k] = (share * d.clamp(-1.0, 1.0)) as f32;
                }
            }
        }
        Ok(LossParts {
            parts: vec![("box", sums[0]), ("class", sums[1])],
        })
    }
}
