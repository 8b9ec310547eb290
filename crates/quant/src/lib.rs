//! Weight grids, activation calibration, corrections.
