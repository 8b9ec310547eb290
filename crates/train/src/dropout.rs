//! Dropout (N. Srivastava et al., JMLR 15, 2014): in training, what a full layer reads is x · m, each element of m 0 with probability p, else 1 / (1 − p); else m = 1.
//! One mask a sample: neurons over time see the same one in all steps (N. Rathi, K. Roy, arXiv 2008.03658).

use crate::program::Program;
use crate::zoo::mix;

/// The masks of a run; by default there are none.
#[derive(Debug, Clone, Default)]
pub struct Dropout {
    rate: f32,
    seed: u64,
    masks: Vec<Vec<f32>>,
}

impl Dropout {
    /// Of a program that was derived with [`ProgramOptions::dropout`](crate::program::ProgramOptions::dropout); `rate` in 0 … 1, 1 aside.
    pub fn new(program: &Program, rate: f32, seed: u64) -> Dropout {
        Dropout {
            rate,
            seed,
            masks: program.masks().iter().map(|m| vec![1.0; m.len()]).collect(),
        }
    }

    /// Masks of a training step, which follow from seed and step alone: a resumed run draws the same.
    pub fn draw(&mut self, step: u64) {
        let kept = 1.0 / (1.0 - self.rate);
        let mut counter = mix(self.seed ^ mix(step));
        for m in self.masks.iter_mut().flatten() {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let unit = (mix(counter) >> 40) as f32 * 2f32.powi(-24);
            *m = if unit < self.rate { 0.0 } else { kept };
        }
    }

    /// Masks that leave everything as it is.
    pub fn off(&mut self) {
        self.masks.iter_mut().for_each(|m| m.fill(1.0));
    }

    /// The masks, in the order in which a program takes them behind its other inputs.
    pub fn masks(&self) -> impl Iterator<Item = &[f32]> {
        self.masks.iter().map(Vec::as_slice)
    }
}
