//! How a quantized model was made: kept in its metadata.

use serde::Serialize;

use super::calibrate::Calibrated;
use super::{Choice, ExtraRows, Grid, QuantizeOptions, Rule};
use crate::Model;

/// How a quantized model was made: stored in its metadata and in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Grid of the layers without a rule, or the budget that chose them.
    pub grid: String,
    /// The flag that asked for a budget, and its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<(String, String)>,
    /// Bits of activations.
    pub act_bits: u32,
    /// How ranges were chosen.
    pub observer: String,
    /// Which weights share a scale.
    pub granularity: String,
    /// Which scales are allowed.
    pub scale: String,
    /// How scales were found.
    pub solver: String,
    /// μ of the semi-analytic solver.
    pub mu: f64,
    /// Overrides, in order.
    pub rules: Vec<String>,
    /// How weights found their level.
    pub rounding: String,
    /// Whether channels were brought to like ranges.
    pub equalization: bool,
    /// Whether gains and means were refitted.
    pub correction: bool,
    /// What was learned over the whole network, where it was better.
    pub learn: String,
    /// Whether activations are tables of codes.
    pub activation_tables: bool,
    /// Share of the weights' bits that second points may add.
    pub extra_rows: f64,
    /// Signal to noise, in dB, up to which channels were given points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_rows_until: Option<f64>,
    /// Layers that stay float because rounding their inputs costs too much.
    pub float_layers: Vec<String>,
    /// Pictures that chose the ranges.
    pub calibration_pictures: usize,
    /// Pictures that the correction was fitted on.
    pub correction_pictures: usize,
    /// SHA-256 over names and bytes of the calibration pictures.
    pub calibration_sha256: Option<String>,
    /// SHA-256 of the float model.
    pub parent_sha256: String,
}

impl Record {
    pub(super) fn new(
        model: &Model,
        options: &QuantizeOptions,
        (choice, grid): (Choice, Grid),
        calibrated: &Calibrated,
        corrected: usize,
    ) -> Record {
        Record {
            grid: match choice {
                Choice::Budget(budget) => budget.to_string(),
                _ => grid.to_string(),
            },
            budget: match choice {
                Choice::Budget(budget) => Some(budget.flag()).map(|(flag, value)| (flag.into(), value)),
                _ => None,
            },
            act_bits: options.act_bits,
            observer: options.observer.map_or("auto".into(), |o| o.to_string()),
            granularity: options.project.granularity.to_string(),
            scale: options.project.scale_kind.to_string(),
            solver: options.project.solver.to_string(),
            mu: options.project.mu,
            rules: options.rules.iter().map(Rule::to_string).collect(),
            rounding: options.rounding().to_string(),
            equalization: options.equalization,
            correction: options.correction,
            learn: options.learn().to_string(),
            activation_tables: options.activation_tables,
            extra_rows: match options.extra_rows {
                Some(ExtraRows::Share(share)) => share,
                _ => 0.0,
            },
            extra_rows_until: match options.extra_rows {
                Some(ExtraRows::Until(decibels)) => Some(decibels),
                _ => None,
            },
            float_layers: Vec::new(),
            calibration_pictures: calibrated.pictures,
            correction_pictures: corrected,
            calibration_sha256: calibrated.sha256.clone(),
            parent_sha256: model.sha256().to_string(),
        }
    }

    pub(super) fn metadata(&self) -> Vec<(String, String)> {
        let text = serde_json::to_string(self).unwrap_or_default();
        vec![("lowbit.quantize".into(), text)]
    }
}
