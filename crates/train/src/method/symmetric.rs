//! Uniform symmetric weights with the scale of the largest one: the quantizer of the spiking networks (ACE-SNN, Frontiers in Neuroscience 16, 2022, trains
//! weights of 6 bits; its details are not published).
//!
//! ```text
//! s = max|W| / (2^(b−1) − 1),   p = sign(w)·⌊|w|/s + ½⌋,   Ŵ = s·p,   gradient straight through
//! ```
//! One scale per tensor or per output channel.

use graph::{Point, WeightAnnotation};
use quant::grid::{Family, Grid};
use quant::{Granularity, ProjectError};

use super::learned_grid::check_finite;
use super::{Layout, Progress, WeightMethod};

/// Weights of `int2` … `int8`.
#[derive(Debug, Clone)]
pub struct Symmetric {
    grid: Grid,
    granularity: Granularity,
    layout: Layout,
    scales: Vec<f32>,
    codes: Vec<u8>,
}

impl Symmetric {
    /// Method of one weight; `None` for grids that are not uniform and symmetric.
    ///
    /// ```
    /// use train::method::{Layout, Progress, WeightMethod, symmetric::Symmetric};
    /// let layout = Layout { shape: vec![1, 4], axis: 0 };
    /// let mut three = Symmetric::new("int3".parse().unwrap(), quant::Granularity::Tensor, layout).unwrap();
    /// let mut projected = [0.0; 4];
    /// three.project(&[0.75, -0.4, 0.1, -0.125], &Progress { step: 0, steps: 1 }, &mut projected).unwrap();
    /// assert_eq!(projected, [0.75, -0.5, 0.0, -0.25]);
    /// ```
    pub fn new(grid: Grid, granularity: Granularity, layout: Layout) -> Option<Symmetric> {
        (grid.family() == Family::Int && grid.points() == 1).then(|| Symmetric {
            grid,
            granularity,
            layout,
            scales: Vec::new(),
            codes: Vec::new(),
        })
    }

    fn group(&self, i: usize) -> usize {
        match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Channel => self.layout.channel(i),
        }
    }
}

impl WeightMethod for Symmetric {
    fn project(
        &mut self,
        shadow: &[f32],
        _progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        check_finite(shadow)?;
        let groups = match self.granularity {
            Granularity::Tensor => 1,
            Granularity::Channel => self.layout.shape[self.layout.axis],
        };
        let mut largest = vec![0f32; groups];
        for (i, w) in shadow.iter().enumerate() {
            let most = &mut largest[self.group(i)];
            *most = most.max(w.abs());
        }
        let top = ((1i32 << (self.grid.bits() - 1)) - 1) as f32;
        // Of zeros alone, any scale.
        self.scales = largest
            .iter()
            .map(|m| {
                if *m > 0.0 {
                    (m / top).max(f32::MIN_POSITIVE)
                } else {
                    1.0
                }
            })
            .collect();
        let mask = (1u32 << self.grid.bits()) - 1;
        self.codes = (shadow.iter().enumerate())
            .map(|(i, &w)| {
                let level = (w.abs() / self.scales[self.group(i)] + 0.5).floor().min(top) as i32;
                // Two's complement.
                (if w < 0.0 { -level } else { level }) as u32 as u8 & mask as u8
            })
            .collect();
        projected.copy_from_slice(&self.annotation().expect("there are codes now").decode());
        Ok(())
    }

    fn annotation(&self) -> Option<WeightAnnotation> {
        (!self.codes.is_empty()).then(|| WeightAnnotation {
            grid: self.grid.to_string(),
            bits: self.grid.bits(),
            shape: self.layout.shape.clone(),
            axis: self.layout.axis,
            levels: self.grid.levels(),
            zero_points: None,
            points: vec![Point::whole(self.codes.clone(), self.scales.clone())],
        })
    }
}
