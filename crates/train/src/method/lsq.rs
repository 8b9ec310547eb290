//! LSQ, learned step sizes (Esser, McKinstry, Bablani, Appuswamy, Modha, arXiv 1902.08153, eq. 1–5), for weights.
//!
//! ```text
//! ŵ = s·q,   q = clamp( round(w/s), −P, P )
//! ∂ŵ/∂w = 1 where |w/s| < P, else 0
//! ∂ŵ/∂s = q − w/s where |w/s| < P, else ±P
//! gradient of s scaled by g = 1/√(N·P);   s₀ = 2·mean|w|/√P
//! ```
//! P = 2^(b−1) − 1 on both sides: the grids of the project are symmetric, the paper has one more negative level. Ties of `round` go away from
//! zero as everywhere in projection. One step per tensor as in the paper, or per output channel (N then counts the channel's weights).

use graph::{Point, WeightAnnotation};
use quant::grid::Grid;
use quant::{Granularity, ProjectError};

use super::{Layout, Learned, Progress, WeightMethod};

/// Uniform weights with learned steps.
#[derive(Debug, Clone)]
pub struct Lsq {
    grid: Grid,
    granularity: Granularity,
    layout: Layout,
    steps: Vec<f32>,
    gradients: Vec<f32>,
    codes: Vec<u8>,
}

impl Lsq {
    /// Method of one weight with `int2` … `int8`.
    ///
    /// # Panics
    /// When `bits` is not 2 … 8.
    pub fn new(bits: u32, granularity: Granularity, layout: Layout) -> Self {
        Lsq {
            grid: format!("int{bits}").parse().expect("bits are 2 to 8"),
            granularity,
            layout,
            steps: Vec::new(),
            gradients: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn top(&self) -> f32 {
        ((1u32 << (self.grid.bits() - 1)) - 1) as f32
    }

    fn groups(&self) -> usize {
        match self.granularity {
            Granularity::Tensor => 1,
            Granularity::Channel => self.layout.shape[self.layout.axis],
        }
    }

    fn group(&self, i: usize) -> usize {
        match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Channel => self.layout.channel(i),
        }
    }

    fn initialize(&mut self, shadow: &[f32]) {
        let mut sums = vec![0f64; self.groups()];
        for (i, &w) in shadow.iter().enumerate() {
            sums[self.group(i)] += f64::from(w.abs());
        }
        let each = (shadow.len() / sums.len()).max(1) as f64;
        let root = f64::from(self.top()).sqrt();
        let step = |sum: &f64| ((2.0 * sum / each / root) as f32).max(f32::MIN_POSITIVE);
        self.steps = sums.iter().map(step).collect();
        self.gradients = vec![0.0; self.steps.len()];
    }

    fn level(&self, i: usize, w: f32) -> f32 {
        let top = self.top();
        (w / self.steps[self.group(i)]).round().clamp(-top, top)
    }
}

impl WeightMethod for Lsq {
    fn project(
        &mut self,
        shadow: &[f32],
        _progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        if let Some(index) = shadow.iter().position(|w| !w.is_finite()) {
            let value = shadow[index];
            return Err(ProjectError::NonFinite { index, value });
        }
        if self.steps.is_empty() {
            self.initialize(shadow);
        }
        // The optimizer may have pushed a step below zero.
        for s in &mut self.steps {
            if !s.is_finite() {
                return Err(ProjectError::NonFinite { index: 0, value: *s });
            }
            *s = s.max(f32::MIN_POSITIVE);
        }
        let mut codes = std::mem::take(&mut self.codes);
        codes.clear();
        for (i, (&w, p)) in shadow.iter().zip(projected).enumerate() {
            let q = self.level(i, w);
            codes.push(self.grid.code(q as i32));
            *p = self.steps[self.group(i)] * q;
        }
        self.codes = codes;
        Ok(())
    }

    fn gradient(&mut self, shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        let top = self.top();
        let mut sums = vec![0f64; self.steps.len()];
        for (i, (&w, g)) in shadow.iter().zip(gradient.iter_mut()).enumerate() {
            let group = self.group(i);
            let x = w / self.steps[group];
            let inside = x.abs() < top;
            let slope = if inside { x.round() - x } else { top.copysign(x) };
            sums[group] += f64::from(*g) * f64::from(slope);
            if !inside {
                *g = 0.0;
            }
        }
        let each = (shadow.len() / sums.len().max(1)).max(1) as f64;
        let scale = 1.0 / (each * f64::from(top)).sqrt();
        for (out, sum) in self.gradients.iter_mut().zip(sums) {
            *out = (sum * scale) as f32;
        }
    }

    fn learned(&mut self) -> Option<Learned<'_>> {
        (!self.steps.is_empty()).then_some(Learned {
            name: "step",
            values: &mut self.steps,
            gradients: &self.gradients,
        })
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        (!self.codes.is_empty()).then(|| WeightAnnotation {
            grid: self.grid.to_string(),
            bits: self.grid.bits(),
            shape: self.layout.shape.clone(),
            axis: self.layout.axis,
            levels: self.grid.levels(),
            zero_points: None,
            points: vec![Point {
                codes: self.codes.clone(),
                scales: self.steps.clone(),
            }],
        })
    }

    fn state(&self) -> Vec<f32> {
        self.steps.clone()
    }

    fn restore(&mut self, state: &[f32]) -> bool {
        if !state.is_empty() && state.len() != self.groups() {
            return false;
        }
        self.steps = state.to_vec();
        self.gradients = vec![0.0; state.len()];
        true
    }
}
