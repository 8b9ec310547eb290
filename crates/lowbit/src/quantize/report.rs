//! What was done to each layer, and what it costs.

use std::collections::BTreeMap;

use graph::NodeId;
use quant::annotate::Plan;
use serde::Serialize;

use super::layers::Fitted;
use super::weights::Layer;
use super::{Allocated, Extended, Learn, Record, Search, Spent};
use crate::Model;

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// Node name.
    pub name: String,
    /// Operator.
    pub op: String,
    /// What it is in the network.
    pub role: Option<String>,
    /// Grid, or `float`.
    pub grid: String,
    /// Bits per code.
    pub bits: u32,
    /// Number of weights.
    pub weights: usize,
    /// Rows of weights beyond one an output channel: of second and further points.
    pub extra_rows: usize,
    /// Stored bits per weight, scales included.
    pub bits_per_weight: f64,
    /// ‖w − ŵ‖² / ‖w‖² of the projection.
    pub weight_error: Option<f64>,
    /// 10·log10(Σy² / Σ(y − ŷ)²) of the layer's output against the float model's, earlier layers quantized too.
    pub sqnr_db: Option<f64>,
    /// Why it stays float.
    pub reason: Option<String>,
}

/// Bytes before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    /// Weights of convolutions and matrix products.
    pub weights: usize,
    /// Codes that second and further points add to one a weight.
    pub extra_codes: usize,
    /// Bytes of the weights as f32.
    pub float_bytes: usize,
    /// Bytes of their codes and scales.
    pub bytes: usize,
    /// Stored bits per weight, scales included.
    pub bits_per_weight: f64,
    /// Bytes of the float file.
    pub float_file_bytes: usize,
}

/// A setting that was tried on a few calibration pictures before one was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// How ranges were chosen.
    pub observer: String,
    /// Whether channels were brought to like ranges.
    pub equalization: bool,
    /// Layers that stayed float.
    pub float_layers: Vec<String>,
    /// Agreement of the detections with the float model's, 0…1; absent without detections.
    pub agreement: Option<f64>,
    /// Mean over the model's outputs of Σ(y − ŷ)² / Σy².
    pub output_error: f64,
}

/// A grid that was tried for `--bits`, on a few calibration pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TriedGrid {
    /// Its name.
    pub grid: String,
    /// Mean over the model's outputs of Σ(y − ŷ)² / Σy².
    pub output_error: f64,
}

/// What learning over the whole network did, on calibration pictures that nothing was learned from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Learned {
    /// What was learned.
    pub what: Learn,
    /// Codes that are others than before, if it is taken.
    pub codes_changed: usize,
    /// Agreement of the detections with the float model's before and after, 0…1; absent without detections.
    pub agreement: [Option<f64>; 2],
    /// Mean over the model's outputs of Σ(y − ŷ)² / Σy², before and after.
    pub output_error: [f64; 2],
    /// Whether what was learned was better, and taken.
    pub kept: bool,
}

/// Result of quantization in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizeReport {
    /// Settings.
    pub settings: Record,
    /// What was tried to choose the settings that were left open; the best agreement won.
    pub tried: Vec<Tried>,
    /// Grids that were tried where a width was asked for; the least error won.
    pub grids: Vec<TriedGrid>,
    /// What was offered to each layer where bits were allocated.
    pub allocation: Vec<Allocated>,
    /// What became of a budget.
    pub spent: Option<Spent>,
    /// How a model that loses no more than it may was searched for.
    pub search: Option<Search>,
    /// Which channels got more points, where that was asked for.
    pub extended: Option<Extended>,
    /// What reconstruction did, where it was done.
    pub learned: Option<Learned>,
    /// Calibration pictures that could not be read.
    pub skipped: usize,
    /// Why they could not.
    pub notes: Vec<String>,
    /// Every convolution and matrix product, in node order.
    pub layers: Vec<LayerReport>,
    /// Sizes.
    pub size: Size,
    /// BatchNormalizations that no layer before them took in, re-estimated on the calibration pictures.
    pub batch_norms: usize,
    /// Edges that carry codes.
    pub edges: usize,
    /// Mean over the model's outputs of Σ(y − ŷ)² / Σy²; absent in a dry run.
    pub output_error: Option<f64>,
    /// Agreement of the detections with the float model's on those pictures, 0…1; absent in a dry run and without detections.
    pub agreement: Option<f64>,
}

pub(super) fn report(
    model: &Model,
    plan: &Plan,
    layers: &BTreeMap<NodeId, Layer>,
    fitted: &Fitted,
    settings: Record,
) -> QuantizeReport {
    let graph = model.graph();
    let mut rows: Vec<(NodeId, LayerReport)> = Vec::new();
    let (mut count, mut extra, mut stored) = (0usize, 0usize, 0usize);
    let mut seen = std::collections::BTreeSet::new();
    for (&n, layer) in layers {
        let (node, weights) = (&graph.nodes[n], layer.weight.len());
        let bits = layer.weight.stored_bits();
        // A weight that several layers share is stored once.
        if !layer.stored_once || seen.insert(layer.task.weight) {
            count += weights;
            extra += layer.weight.stored_rows() * weights / layer.weight.shape[layer.weight.axis] - weights;
            stored += bits;
        }
        let row = LayerReport {
            name: node.name.clone(),
            op: node.op.name().to_string(),
            role: Some(layer.task.role.to_string()),
            grid: layer.task.grid.to_string(),
            bits: layer.weight.bits,
            weights,
            extra_rows: layer.weight.stored_rows() - layer.weight.shape[layer.weight.axis],
            bits_per_weight: bits as f64 / weights.max(1) as f64,
            weight_error: Some(layer.weight_error),
            sqnr_db: fitted.sqnr_db.get(&n).copied(),
            reason: None,
        };
        rows.push((n, row));
    }
    for float in &plan.floats {
        let node = &graph.nodes[float.node];
        let weights = graph.constant_input(node, 1).map_or(0, tensor::Tensor::len);
        count += weights;
        stored += weights * 32;
        let row = LayerReport {
            name: node.name.clone(),
            op: node.op.name().to_string(),
            role: None,
            grid: "float".into(),
            bits: 32,
            weights,
            extra_rows: 0,
            bits_per_weight: 32.0,
            weight_error: None,
            sqnr_db: None,
            reason: Some(float.reason.clone()),
        };
        rows.push((float.node, row));
    }
    rows.sort_by_key(|r| r.0);
    QuantizeReport {
        settings,
        tried: Vec::new(),
        grids: Vec::new(),
        allocation: Vec::new(),
        spent: None,
        search: None,
        extended: None,
        learned: None,
        skipped: 0,
        notes: Vec::new(),
        layers: rows.into_iter().map(|r| r.1).collect(),
        size: Size {
            weights: count,
            extra_codes: extra,
            float_bytes: count * 4,
            bytes: stored.div_ceil(8),
            bits_per_weight: stored as f64 / count.max(1) as f64,
            float_file_bytes: model.file_bytes(),
        },
        batch_norms: fitted.norms.len(),
        edges: plan.groups.iter().map(|g| g.members.len()).sum(),
        agreement: fitted.agreement,
        output_error: (!fitted.sqnr_db.is_empty()).then_some(fitted.output_error),
    }
}
