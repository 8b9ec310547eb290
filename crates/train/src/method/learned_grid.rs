//! What methods with one learned number per tensor or per output channel share: where it is, its gradient, the codes of the last projection.

use graph::{Point, WeightAnnotation};
use quant::grid::Grid;
use quant::{Granularity, ProjectError};

use super::{Layout, Learned};

/// A grid whose scales follow from learned numbers.
#[derive(Debug, Clone)]
pub(super) struct LearnedGrid {
    pub(super) grid: Grid,
    pub(super) granularity: Granularity,
    pub(super) layout: Layout,
    /// Empty before the first projection.
    pub(super) values: Vec<f32>,
    pub(super) gradients: Vec<f32>,
    pub(super) codes: Vec<u8>,
}

impl LearnedGrid {
    pub(super) fn new(grid: Grid, granularity: Granularity, layout: Layout) -> Self {
        LearnedGrid {
            grid,
            granularity,
            layout,
            values: Vec::new(),
            gradients: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Learned numbers of the tensor.
    pub(super) fn groups(&self) -> usize {
        match self.granularity {
            Granularity::Tensor => 1,
            Granularity::Channel => self.layout.shape[self.layout.axis],
        }
    }

    /// The learned number of the element at row-major index `i`.
    pub(super) fn group(&self, i: usize) -> usize {
        match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Channel => self.layout.channel(i),
        }
    }

    /// Sets the learned numbers, and their gradients to 0.
    pub(super) fn start(&mut self, values: Vec<f32>) {
        self.gradients = vec![0.0; values.len()];
        self.values = values;
    }

    /// Brings numbers that the optimizer pushed below zero back.
    pub(super) fn at_least(&mut self, least: f32) -> Result<(), ProjectError> {
        for value in &mut self.values {
            if !value.is_finite() {
                return Err(ProjectError::NonFinite {
                    index: 0,
                    value: *value,
                });
            }
            *value = value.max(least);
        }
        Ok(())
    }

    pub(super) fn learned(&mut self, name: &'static str) -> Option<Learned<'_>> {
        (!self.values.is_empty()).then_some(Learned {
            name,
            values: &mut self.values,
            gradients: &self.gradients,
        })
    }

    /// Codes of the last projection with these scales.
    pub(super) fn annotation(&self, scales: Vec<f32>) -> Option<WeightAnnotation> {
        (!self.codes.is_empty()).then(|| WeightAnnotation {
            grid: self.grid.to_string(),
            bits: self.grid.bits(),
            shape: self.layout.shape.clone(),
            axis: self.layout.axis,
            levels: self.grid.levels(),
            zero_points: None,
            points: vec![Point::whole(self.codes.clone(), scales)],
        })
    }

    pub(super) fn restore(&mut self, state: &[f32]) -> bool {
        if !state.is_empty() && state.len() != self.groups() {
            return false;
        }
        self.start(state.to_vec());
        true
    }
}

/// Shadow weights must be finite: a run that has diverged ends here.
pub(super) fn check_finite(shadow: &[f32]) -> Result<(), ProjectError> {
    match shadow.iter().position(|w| !w.is_finite()) {
        None => Ok(()),
        Some(index) => Err(ProjectError::NonFinite {
            index,
            value: shadow[index],
        }),
    }
}
