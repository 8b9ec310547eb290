//! Codes that may go to the next level, beside gains of channels (Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020,
//! arXiv 2004.10568), begun at codes that another procedure has chosen.
//!
//! ```text
//! ŵ = g·(w₀ + h(V)·Δ),   h(V) = clip(1.2·σ(V) − 0.1, 0, 1)          w₀: the chosen level, w₀ + Δ: the next one on the float weight's side
//! regularizer  λ·Σ (1 − |2h − 1|^β),   none in the first fifth, then β from 20 to 2: in the end h is 0 or 1
//! ```
//! The paper begins at the float weight, h = (w − w₀)/Δ, and forgets what codes that answer for each other make good between them; here all begin at h = 0.1, near
//! the codes, and a code changes where the loss pulls it past ½. λ is relative to the loss's own gradient, so that one value serves all layers.

use graph::WeightAnnotation;
use quant::ProjectError;

use super::gains::Gains;
use super::{Learned, Progress, WeightMethod};

/// h in the beginning.
const START: f32 = 0.1;

/// ζ and γ of the paper: h reaches 0 and 1 at finite V.
const STRETCH: [f32; 2] = [1.1, -0.1];

/// V of a unit of the shadow numbers, which start at 0: one rate then serves them and gains.
const UNIT: f32 = 4.0;

/// λ, of the root mean square of the loss's gradients.
const REGULARIZER: f32 = 0.5;

/// Part of the run before the regularizer begins; β at its ends.
const WARMUP: f64 = 0.2;
const BETA: [f64; 2] = [20.0, 2.0];

/// Codes and gains of one weight of one point; the shadow numbers are (V − V₀) / `UNIT`.
#[derive(Debug, Clone)]
pub struct AdaRound {
    gains: Gains,
    /// w₀ and w₀ + Δ of every weight, as decoding gives them; Δ = 0 where there is no level on that side.
    levels: Vec<(f32, f32)>,
    /// Codes of w₀ and of w₀ + Δ.
    codes: Vec<(u8, u8)>,
    fraction: f64,
}

impl AdaRound {
    /// Starts at codes of one point and gains of 1; `float` are the weights that they round, `shadow` becomes 0. `None` for several points.
    pub fn new(start: &WeightAnnotation, float: &[f32], shadow: &mut [f32]) -> Option<AdaRound> {
        let [point] = &start.points[..] else {
            return None;
        };
        let decoded = start.decode();
        // Levels in order, each with a code.
        let mut order: Vec<(i32, u8)> = start.levels.iter().copied().zip(0..=u8::MAX).collect();
        order.sort_unstable();
        order.dedup_by_key(|l| l.0);
        let next = |i: usize| -> (f32, u8) {
            let code = point.codes[i];
            let level = start.levels[usize::from(code)];
            let at = order.iter().position(|l| l.0 == level).unwrap_or(0);
            let other = match float[i] > decoded[i] {
                true => order.get(at + 1),
                false => at.checked_sub(1).map(|below| &order[below]),
            };
            let of = |all: usize| if all == 1 { 0 } else { start.channel(i) };
            let zero = start.zero_points.as_ref().map_or(0, |z| z[of(z.len())]);
            let scale = point.scales[of(point.scales.len())];
            other.map_or((decoded[i], code), |o| (scale * (o.0 - zero) as f32, o.1))
        };
        let others: Vec<(f32, u8)> = (0..decoded.len()).map(next).collect();
        shadow.fill(0.0);
        Some(AdaRound {
            gains: Gains::new(start),
            levels: decoded.iter().zip(&others).map(|(w, o)| (*w, o.0)).collect(),
            codes: point.codes.iter().zip(&others).map(|(c, o)| (*c, o.1)).collect(),
            fraction: 0.0,
        })
    }

    /// Where each weight lies between its levels, and the slope there.
    fn between(x: f32) -> (f32, f32) {
        let [zeta, gamma] = STRETCH;
        let start = (START - gamma) / (zeta - gamma);
        let v = UNIT * x + (start / (1.0 - start)).ln();
        let sigmoid = 1.0 / (1.0 + (-v).exp());
        let h = (zeta - gamma) * sigmoid + gamma;
        let slope = match (0.0..=1.0).contains(&h) {
            true => (zeta - gamma) * sigmoid * (1.0 - sigmoid) * UNIT,
            false => 0.0,
        };
        (h.clamp(0.0, 1.0), slope)
    }

    /// ∂/∂h of 1 − |2h − 1|^β.
    fn pull(&self, h: f32) -> f32 {
        let t = (self.fraction - WARMUP) / (1.0 - WARMUP);
        if t <= 0.0 {
            return 0.0;
        }
        let beta = BETA[1] + 0.5 * (BETA[0] - BETA[1]) * (1.0 + (std::f64::consts::PI * t).cos());
        let d = f64::from(2.0 * h - 1.0);
        (-2.0 * beta * d.signum() * d.abs().powf(beta - 1.0)) as f32
    }
}

impl WeightMethod for AdaRound {
    /// At the end of the run each weight is at the nearer of its levels.
    fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        super::learned_grid::check_finite(shadow)?;
        self.fraction = progress.fraction();
        let done = self.fraction >= 1.0;
        let codes = &mut self.gains.start.points[0].codes;
        for (i, (&x, &(w, other))) in shadow.iter().zip(&self.levels).enumerate() {
            let h = AdaRound::between(x).0;
            let next = h >= 0.5;
            codes[i] = if next { self.codes[i].1 } else { self.codes[i].0 };
            self.gains.decoded[i] = match (done, next) {
                (false, _) => w + h * (other - w),
                (true, false) => w,
                (true, true) => other,
            };
        }
        self.gains.project(shadow, progress, projected)
    }

    fn gradient(&mut self, shadow: &[f32], projected: &[f32], gradient: &mut [f32]) {
        let pulled = |(i, g): (usize, &f32)| {
            let gain = self.gains.gain(self.gains.start.channel(i));
            g * gain * (self.levels[i].1 - self.levels[i].0)
        };
        let of_h: Vec<f32> = gradient.iter().enumerate().map(pulled).collect();
        let squares: f64 = of_h.iter().map(|g| f64::from(*g).powi(2)).sum();
        let rms = (squares / of_h.len().max(1) as f64).sqrt() as f32;
        self.gains.gradient(shadow, projected, gradient);
        for (i, (out, g)) in gradient.iter_mut().zip(of_h).enumerate() {
            let (h, slope) = AdaRound::between(shadow[i]);
            *out = match self.codes[i].0 == self.codes[i].1 {
                true => 0.0,
                false => slope * (g + REGULARIZER * rms * self.pull(h)),
            };
        }
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        self.gains.learned()
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        self.gains.annotation()
    }

    fn state(&self) -> Vec<f32> {
        self.gains.state()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        self.gains.restore(state)
    }
}
