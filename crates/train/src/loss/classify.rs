//! Classification: cross-entropy with smoothed targets, and against a teacher's softened ones.
//!
//! ```text
//! ℓ = −Σ_c t_c·ln softmax(z)_c,   t = (1 − s)·one-hot + s/C;   ∂ℓ/∂z = softmax(z) − t            mean over the batch
//! teacher (Hinton, Vinyals, Dean, arXiv 1503.02531):  t = softmax(z_T/τ),  ℓ = −τ²·Σ t·ln softmax(z/τ);   ∂ℓ/∂z = τ·(softmax(z/τ) − t)
//! ```

use super::{Loss, LossError, LossParts, Output, Target, check_targets, clear, find};
use crate::exchange::Ranks;

/// Cross-entropy of one output `[N, classes]` (or `[N, classes, 1, 1]`).
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// Name of the logits.
    pub output: String,
    /// Classes.
    pub classes: usize,
    /// s, 0 … 1.
    pub smoothing: f64,
}

fn logits(outputs: &[Output], name: &str, classes: usize) -> Result<usize, LossError> {
    let flat = find(outputs, name, &[None, Some(classes)]);
    flat.or_else(|e| find(outputs, name, &[None, Some(classes), Some(1), Some(1)]).map_err(|_| e))
}

/// softmax(z/τ) into `out`; returns ln Σ e^(z/τ).
fn softmax(z: &[f32], temperature: f64, out: &mut [f64]) -> f64 {
    let scaled = |x: &f32| f64::from(*x) / temperature;
    let most = z.iter().map(scaled).fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for (p, x) in out.iter_mut().zip(z) {
        *p = libm::exp(scaled(x) - most);
        sum += *p;
    }
    out.iter_mut().for_each(|p| *p /= sum);
    most + libm::log(sum)
}

impl Loss for CrossEntropy {
    /// The class of a picture is that of its first target; a picture without one counts for nothing.
    fn evaluate(
        &mut self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> Result<LossParts, LossError> {
        clear(outputs, gradients);
        let index = logits(outputs, &self.output, self.classes)?;
        let output = &outputs[index];
        check_targets(targets, output.shape[0], self.classes)?;
        let share = 1.0 / ranks.total(targets.len() as f64)?.max(1.0);
        let mut p = vec![0.0; self.classes];
        let mut sum = 0.0;
        let rows = output.values.chunks(self.classes);
        for ((z, g), targets) in rows.zip(gradients[index].chunks_mut(self.classes)).zip(targets) {
            let Some(target) = targets.first() else {
                continue;
            };
            let log_sum = softmax(z, 1.0, &mut p);
            for (c, (&z, g)) in z.iter().zip(g).enumerate() {
                let hot = f64::from(u8::from(c == target.class));
                let t = (1.0 - self.smoothing) * hot + self.smoothing / self.classes as f64;
                sum -= share * t * (f64::from(z) - log_sum);
                *g = (share * (p[c] - t)) as f32;
            }
        }
        Ok(LossParts {
            parts: vec![("class", sum)],
        })
    }
}

/// A teacher to follow in classification.
#[derive(Debug, Clone)]
pub struct Follow {
    /// Name of the logits, in both networks.
    pub output: String,
    /// Classes.
    pub classes: usize,
    /// τ > 0.
    pub temperature: f64,
    /// Factor of the loss.
    pub weight: f64,
}

impl Follow {
    /// Cross-entropy against the teacher's softened probabilities; its gradient is *added* to `gradients`, which are as long as the student's outputs.
    ///
    /// # Errors
    /// Outputs that do not fit.
    pub fn add(
        &self,
        student: &[Output],
        teacher: &[Output],
        ranks: &Ranks,
        gradients: &mut [Vec<f32>],
    ) -> Result<f64, LossError> {
        let (c, tau) = (self.classes, self.temperature);
        let index = logits(student, &self.output, c)?;
        let other = logits(teacher, &self.output, c)?;
        let (z, t) = (&student[index], &teacher[other]);
        if z.values.len() != t.values.len() {
            return Err(LossError::Pictures {
                have: t.shape[0],
                want: z.shape[0],
            });
        }
        let share = self.weight / ranks.total(z.shape[0] as f64)?.max(1.0);
        let (mut p, mut q) = (vec![0.0; c], vec![0.0; c]);
        let mut sum = 0.0;
        let rows = z.values.chunks(c).zip(t.values.chunks(c));
        for ((z, t), g) in rows.zip(gradients[index].chunks_mut(c)) {
            let log_sum = softmax(z, tau, &mut p);
            softmax(t, tau, &mut q);
            for k in 0..c {
                sum -= share * tau * tau * q[k] * (f64::from(z[k]) / tau - log_sum);
                g[k] += (share * tau * (p[k] - q[k])) as f32;
            }
        }
        Ok(sum)
    }
}
