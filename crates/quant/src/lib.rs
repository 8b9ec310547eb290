//! Weight grids, activation calibration, corrections: everything that turns real numbers into small integers, and nothing that multiplies them.

pub mod affine_map;
pub mod allocate;
pub mod annotate;
pub mod calibrate;
pub mod correct;
pub mod feedback;
pub mod grid;
pub mod methods;
pub mod multipoint;
pub mod names;
mod project;
pub mod prune;

pub use project::{
    Granularity, ProjectError, ProjectOptions, Projection, Rounding, ScaleKind, Solver, project,
    project_weight,
};
