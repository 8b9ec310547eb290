//! Results for people, as one file that a browser opens.

pub mod boxes;
pub mod chart;
pub mod page;
