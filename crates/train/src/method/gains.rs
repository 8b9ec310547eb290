//! Codes that stay while each output channel learns a gain: what is left to learn after training, when another procedure has chosen the codes.
//!
//! ```text
//! ŵ = g·w₀,   w₀ the decoded weights,   ∂ℓ/∂g = Σ over the channel  w₀·∂ℓ/∂ŵ
//! ```
//! The gain goes into the scales, so that nothing is left to do at run time. [`adaround`](super::adaround) learns the codes, too.

use graph::WeightAnnotation;
use quant::ProjectError;

use super::learned_grid::check_finite;
use super::{Learned, Progress, WeightMethod};

/// A unit of the learned numbers changes a gain by so much: one rate then serves gains and what moves beside them.
const UNIT: f32 = 0.05;

/// Gains of one weight; the shadow weights are not looked at and stay.
#[derive(Debug, Clone)]
pub struct Gains {
    pub(super) start: WeightAnnotation,
    pub(super) decoded: Vec<f32>,
    /// Per output channel: (g − 1) / [`UNIT`].
    learned: Vec<f32>,
    gradients: Vec<f32>,
}

impl Gains {
    /// Starts at gains of 1.
    pub fn new(start: &WeightAnnotation) -> Gains {
        let channels = start.shape[start.axis];
        Gains {
            decoded: start.decode(),
            start: start.clone(),
            learned: vec![0.0; channels],
            gradients: vec![0.0; channels],
        }
    }

    pub(super) fn gain(&self, channel: usize) -> f32 {
        (1.0 + UNIT * self.learned[channel]).clamp(0.25, 4.0)
    }
}

impl WeightMethod for Gains {
    fn project(&mut self, _: &[f32], _: &Progress, projected: &mut [f32]) -> Result<(), ProjectError> {
        check_finite(&self.learned)?;
        for (i, (p, w)) in projected.iter_mut().zip(&self.decoded).enumerate() {
            *p = self.gain(self.start.channel(i)) * w;
        }
        Ok(())
    }

    fn gradient(&mut self, _shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        let mut sums = vec![0f64; self.learned.len()];
        for (i, (g, w)) in gradient.iter_mut().zip(&self.decoded).enumerate() {
            sums[self.start.channel(i)] += f64::from(*g) * f64::from(UNIT * w);
            *g = 0.0;
        }
        self.gradients = sums.iter().map(|s| *s as f32).collect();
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        Some(Learned {
            name: "gain",
            values: &mut self.learned,
            gradients: &self.gradients,
        })
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        let mut weight = self.start.clone();
        let channels = self.learned.len();
        for point in &mut weight.points {
            let one = |c: usize| point.scales[if point.scales.len() == 1 { 0 } else { c }];
            point.scales = (0..channels).map(|c| one(c) * self.gain(c)).collect();
        }
        if let Some(zeros) = weight.zero_points.as_mut().filter(|z| z.len() == 1) {
            *zeros = vec![zeros[0]; channels];
        }
        Some(weight)
    }

    fn state(&self) -> Vec<f32> {
        self.learned.clone()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        let fits = state.len() == self.learned.len();
        if fits {
            self.learned.copy_from_slice(state);
        }
        fits
    }
}
