//! Numbers that move in units of their own, or not at all: what runs beside weights whose shadow numbers all have one size.
//!
//! ```text
//! b = b₀ + u·x,   x starts at 0
//! ```

use graph::WeightAnnotation;
use quant::ProjectError;

use super::{Progress, WeightMethod};

/// A parameter as its start and a number of units; the shadow numbers are x.
#[derive(Debug, Clone)]
pub struct Offset {
    start: Vec<f32>,
    unit: f32,
}

impl Offset {
    /// Takes the start from the shadow numbers, which become 0.
    pub fn new(unit: f32, shadow: &mut [f32]) -> Offset {
        let start = shadow.to_vec();
        shadow.fill(0.0);
        Offset { start, unit }
    }

    /// Numbers that stay.
    pub fn held(shadow: &mut [f32]) -> Offset {
        Offset::new(0.0, shadow)
    }
}

impl WeightMethod for Offset {
    fn project(&mut self, shadow: &[f32], _: &Progress, projected: &mut [f32]) -> Result<(), ProjectError> {
        for ((p, x), b) in projected.iter_mut().zip(shadow).zip(&self.start) {
            *p = b + self.unit * x;
        }
        Ok(())
    }

    fn gradient(&mut self, _shadow: &[f32], _projected: &[f32], gradient: &mut [f32]) {
        gradient.iter_mut().for_each(|g| *g *= self.unit);
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        None
    }
}
