//! Projection on a named grid with scales that are searched anew only every few steps.

use graph::{Point, WeightAnnotation};
use quant::grid::Grid;
use quant::methods::Levels;
use quant::{Granularity, ProjectError, ProjectOptions, Solver, project_weight};

use super::learned_grid::check_finite;
use super::{Layout, Progress};

/// Scales of one weight, and the codes that follow from them by nearest rounding.
#[derive(Debug, Clone)]
pub(super) struct GridProjection {
    grid: Grid,
    options: ProjectOptions,
    layout: Layout,
    /// A search at steps that are multiples of this; with 0 at the first alone.
    every: u64,
    levels: Levels,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    last: Option<WeightAnnotation>,
}

impl GridProjection {
    pub(super) fn new(grid: Grid, options: ProjectOptions, layout: Layout, every: u64) -> Self {
        GridProjection {
            levels: Levels::new(&grid.magnitudes()),
            grid,
            options,
            layout,
            every,
            scales: Vec::new(),
            zero_points: Vec::new(),
            last: None,
        }
    }

    pub(super) fn grid(&self) -> Grid {
        self.grid
    }

    /// The paper's thresholds are no nearest rounding at a scale: they need the search each time. Scales that the start brought are kept at step 0.
    fn needs_search(&self, progress: &Progress) -> bool {
        let due = self.every > 0 && progress.step > 0 && progress.step.is_multiple_of(self.every);
        self.scales.is_empty() || self.options.solver != Solver::Optimum || due
    }

    pub(super) fn project(
        &mut self,
        shadow: &[f32],
        progress: &Progress,
        projected: &mut [f32],
    ) -> Result<(), ProjectError> {
        let annotation = if self.needs_search(progress) {
            self.search(shadow)?
        } else {
            self.at_scales(shadow)?
        };
        projected.copy_from_slice(&annotation.decode());
        self.last = Some(annotation);
        Ok(())
    }

    pub(super) fn annotation(&self) -> Option<WeightAnnotation> {
        self.last.clone()
    }

    fn search(&mut self, shadow: &[f32]) -> Result<WeightAnnotation, ProjectError> {
        let Layout { shape, axis } = &self.layout;
        let (annotation, found) = project_weight(&self.grid, shadow, shape, *axis, &self.options)?;
        self.scales = found.scales;
        self.zero_points = found.zero_points.unwrap_or_default();
        Ok(annotation)
    }

    fn at_scales(&self, shadow: &[f32]) -> Result<WeightAnnotation, ProjectError> {
        check_finite(shadow)?;
        let codes = shadow.iter().enumerate().map(|(i, &w)| self.code(i, w)).collect();
        Ok(self.annotate(codes))
    }

    fn annotate(&self, codes: Vec<u8>) -> WeightAnnotation {
        WeightAnnotation {
            grid: self.grid.to_string(),
            bits: self.grid.bits(),
            shape: self.layout.shape.clone(),
            axis: self.layout.axis,
            levels: self.grid.levels(),
            zero_points: (!self.zero_points.is_empty()).then(|| self.zero_points.clone()),
            points: vec![Point::whole(codes, self.scales.clone())],
        }
    }

    fn group(&self, i: usize) -> usize {
        match self.options.granularity {
            Granularity::Tensor => 0,
            Granularity::Channel => self.layout.channel(i),
        }
    }

    /// Nearest level at the stored scale, ties away from zero.
    fn code(&self, i: usize, w: f32) -> u8 {
        let group = self.group(i);
        let scale = f64::from(self.scales[group]);
        if self.grid.is_affine() {
            let top = (1i32 << self.grid.bits()) - 1;
            let level = (f64::from(w) / scale).round() as i32;
            return level.saturating_add(self.zero_points[group]).clamp(0, top) as u8;
        }
        if !self.grid.has_zero() {
            return self.grid.code(if w < 0.0 { -1 } else { 1 });
        }
        let index = self.levels.index(f64::from(w.abs()) / scale) as i32;
        self.grid.code(if w < 0.0 { -index } else { index })
    }

    /// Largest |w| that is still of use: half a gap above the top level. Beyond it a weight only travels away from all thresholds.
    pub(super) fn clip(&self, shadow: &mut [f32]) {
        if self.scales.is_empty() || self.grid.is_affine() {
            return;
        }
        let count = self.levels.count();
        let top = self.levels.top();
        let below = if count > 1 {
            self.levels.magnitude(count - 1)
        } else {
            0.0
        };
        let most = (top + (top - below) / 2.0) as f32;
        let limits: Vec<f32> = self.scales.iter().map(|s| s * most).collect();
        for (i, w) in shadow.iter_mut().enumerate() {
            let limit = limits[self.group(i)];
            *w = w.clamp(-limit, limit);
        }
    }

    /// Moves every shadow weight onto the level of the code that it starts with, so that the first projection gives those codes. Codes that make good each
    /// other's errors are lost one by one where shadow weights stay as near to a threshold as the float weights were: Nano's boxes agreed with the
    /// float model's at F1 0.852 after 60 updates from there, and at 0.866 from the levels (450 pictures held out, 0.835 before). False, and nothing
    /// changed, where the codes are of another grid, shape or number of scales, or where the paper's thresholds would choose others at once.
    pub(super) fn start_from(&mut self, start: &WeightAnnotation, shadow: &mut [f32]) -> bool {
        let [point] = &start.points[..] else {
            return false;
        };
        let fits = start.grid == self.grid.to_string() && start.shape == self.layout.shape;
        let zero_points = start.zero_points.iter().flatten();
        let state = point.scales.iter().copied().chain(zero_points.map(|&z| z as f32));
        let state: Vec<f32> = state.collect();
        if !fits || self.options.solver != Solver::Optimum || state.is_empty() || !self.restore(&state) {
            return false;
        }
        shadow.copy_from_slice(&start.decode());
        true
    }

    pub(super) fn state(&self) -> Vec<f32> {
        let zero_points = self.zero_points.iter().map(|&z| z as f32);
        self.scales.iter().copied().chain(zero_points).collect()
    }

    pub(super) fn restore(&mut self, state: &[f32]) -> bool {
        let groups = match self.options.granularity {
            Granularity::Tensor => 1,
            Granularity::Channel => self.layout.shape[self.layout.axis],
        };
        let want = if self.grid.is_affine() { 2 * groups } else { groups };
        if state.is_empty() {
            (self.scales, self.zero_points) = (Vec::new(), Vec::new());
            return true;
        }
        if state.len() != want || !state[..groups].iter().all(|s| s.is_finite() && *s > 0.0) {
            return false;
        }
        self.scales = state[..groups].to_vec();
        self.zero_points = state[groups..].iter().map(|&z| z as i32).collect();
        true
    }
}
