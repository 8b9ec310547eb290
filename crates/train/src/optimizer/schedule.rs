//! The rate over a run.
//!
//! ```text
//! rate(t) = base · warm(t) · shape(t)          t = steps done
//! warm(t) = (t + 1)/W for t < W, else 1
//! cosine:  shape = f + (1 − f)·(1 + cos π·u)/2,   u = (t − W)/(T − W)
//! steps:   shape = γ^(milestones passed)           a milestone is a fraction of the run
//! ```

/// How the rate falls.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Not at all.
    Constant,
    /// A half wave from 1 to `end`.
    Cosine {
        /// f.
        end: f64,
    },
    /// Times `factor` at each milestone.
    Steps {
        /// Fractions of the run, 0 … 1.
        milestones: Vec<f64>,
        /// γ.
        factor: f64,
    },
}

/// Shape and warm-up.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Rate where the shape is 1.
    pub base: f64,
    /// W, steps of linear warm-up.
    pub warmup: u64,
    /// After it.
    pub shape: Shape,
}

impl Schedule {
    /// Rate of step `step` (0 is the first) of `steps`.
    ///
    /// ```
    /// use train::optimizer::schedule::{Schedule, Shape};
    /// let s = Schedule { base: 0.1, warmup: 4, shape: Shape::Cosine { end: 0.0 } };
    /// assert_eq!(s.rate(0, 104), 0.025);
    /// assert_eq!(s.rate(4, 104), 0.1);
    /// assert!((s.rate(54, 104) - 0.05).abs() < 1e-12);
    /// ```
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup {
            return self.base * (step + 1) as f64 / self.warmup as f64;
        }
        let left = steps.saturating_sub(self.warmup).max(1) as f64;
        let u = ((step - self.warmup) as f64 / left).min(1.0);
        self.base
            * match &self.shape {
                Shape::Constant => 1.0,
                Shape::Cosine { end } => {
                    end + (1.0 - end) * (1.0 + libm::cos(std::f64::consts::PI * u)) / 2.0
                }
                Shape::Steps { milestones, factor } => {
                    let t = step as f64 / steps.max(1) as f64;
                    libm::pow(*factor, milestones.iter().filter(|m| **m <= t).count() as f64)
                }
            }
    }
}
