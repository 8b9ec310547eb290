//! A model of an array of processing elements: what hardware of this shape, as an FPGA would have it, gains by pruned tiles. Never a measurement.
//!
//! The array has T_m × T_n multipliers. A cycle takes a tile of the weight, T_m output × T_n input channels of one tap, for one output pixel, as the usual tiling of
//! convolutions on FPGAs does (Zhang et al., FPGA 2015). A layer of M × N channels, K taps and P output pixels takes
//!
//! ```text
//! cycles = P · Σ tiles that are not skipped,    all of them: groups · ⌈M/T_m⌉ · ⌈N/T_n⌉ · K       (M, N of a group)
//! ```
//! and a tile is skipped where all its weights are zero. Busy is the share of multipliers × cycles that have a weight of the layer, zeros in kept tiles included.
//! Energy: each product of a kept tile by [`energy`](crate::energy)'s constants, T_n input codes a cycle and M outputs a pixel from and to a buffer of 1 MB.

use std::str::FromStr;

use graph::{Graph, NodeId, Op};
use quant::prune::{GroupShape, Groups};
use serde::Serialize;

use crate::energy::{Arithmetic, Constants};
use crate::{Model, Result};

/// Multipliers: output × input channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Array {
    /// T_m.
    pub outputs: usize,
    /// T_n.
    pub inputs: usize,
}

impl FromStr for Array {
    type Err = String;

    /// `16x4`; each side 1 … 4096.
    fn from_str(text: &str) -> std::result::Result<Array, String> {
        let side = |text: &str| text.parse().ok().filter(|n| (1..=4096).contains(n));
        let sides = text.split_once('x').map(|(m, n)| (side(m), side(n)));
        match sides {
            Some((Some(outputs), Some(inputs))) => Ok(Array { outputs, inputs }),
            _ => Err("expected output x input channels, each in 1…4096, such as 16x4".into()),
        }
    }
}

/// A layer on the array.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the node.
    pub name: String,
    /// Cycles if no tile were skipped.
    pub dense_cycles: u64,
    /// Cycles as it is.
    pub cycles: u64,
    /// Share of the multipliers that have a weight, 0 … 1, if no tile were skipped.
    pub dense_utilisation: f64,
    /// The same as it is.
    pub utilisation: f64,
    /// Microjoule a picture, without reading weights from main memory, if no tile were skipped.
    pub dense_energy_uj: f64,
    /// The same as it is.
    pub energy_uj: f64,
}

/// A network on the array.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its shape.
    pub array: Array,
    /// Convolutions and matrix products with constant weights, in execution order.
    pub layers: Vec<Row>,
    /// All of them.
    pub total: Row,
}

/// Tiles of a weight, and weights in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tiles {
    all: u64,
    kept: u64,
    weights: u64,
    kept_weights: u64,
}

impl Tiles {
    /// Of `levels` [groups · first, second, taps], where the first of both is the output channel if `outputs_first`.
    fn of(
        levels: &[i32],
        extent: [usize; 3],
        groups: usize,
        array: Array,
        outputs_first: bool,
    ) -> Option<Tiles> {
        let (outputs, inputs) = match outputs_first {
            true => (array.outputs, array.inputs),
            false => (array.inputs, array.outputs),
        };
        let shape = GroupShape {
            outputs,
            inputs,
            taps: Some(1),
        };
        let tiles = Groups::new(shape, &[extent[0] / groups.max(1), extent[1], extent[2]])?;
        let mut sum = Tiles::default();
        for levels in levels.chunks(levels.len() / groups.max(1)) {
            for g in 0..tiles.len() {
                let weights = tiles.weights(g).count() as u64;
                let kept = u64::from(tiles.weights(g).any(|i| levels[i] != 0));
                sum.all += 1;
                sum.kept += kept;
                sum.weights += weights;
                sum.kept_weights += kept * weights;
            }
        }
        Some(sum)
    }
}

/// What a layer does, before it becomes a row.
#[derive(Debug, Clone, Copy)]
struct Work {
    tiles: Tiles,
    pixels: u64,
    outputs: u64,
    arithmetic: Arithmetic,
}

/// Runs the network's layers on an array, in the model above.
///
/// # Errors
/// Open dimensions, operators that do not fit.
pub fn on_array(model: &Model, array: Array) -> Result<Report> {
    let graph = model.graph();
    let plan = engine::compile(graph, &engine::Options::default())?;
    let constants = Constants::load()?;
    let mut layers = Vec::new();
    let mut sum = [[0.0; 3]; 2];
    for layer in plan.layers().iter().filter(|l| l.product) {
        let Some(work) = work(graph, layer.node, layer.macs, array) else {
            continue;
        };
        let dense = work.costs(&constants, array, work.tiles.all, work.tiles.weights);
        let kept = work.costs(&constants, array, work.tiles.kept, work.tiles.kept_weights);
        layers.push(row(layer.name.clone(), array, [dense, kept]));
        for (sum, costs) in sum.iter_mut().zip([dense, kept]) {
            (0..3).for_each(|i| sum[i] += costs[i]);
        }
    }
    Ok(Report {
        array,
        layers,
        total: row("all".into(), array, sum),
    })
}

/// A row from cycles, products and microjoule, of all tiles and of those that are kept.
fn row(name: String, array: Array, [dense, kept]: [[f64; 3]; 2]) -> Row {
    let slots = |cycles: f64| cycles * (array.outputs * array.inputs) as f64;
    let busy = |c: [f64; 3]| if c[0] == 0.0 { 0.0 } else { c[1] / slots(c[0]) };
    Row {
        name,
        dense_cycles: dense[0] as u64,
        cycles: kept[0] as u64,
        dense_utilisation: busy(dense),
        utilisation: busy(kept),
        dense_energy_uj: dense[2],
        energy_uj: kept[2],
    }
}

impl Work {
    /// Cycles, products and microjoule of so many tiles that hold so many weights.
    fn costs(&self, constants: &Constants, array: Array, tiles: u64, weights: u64) -> [f64; 3] {
        let pixels = self.pixels as f64;
        let (cycles, products) = (pixels * tiles as f64, pixels * weights as f64);
        let bytes = cycles * array.inputs as f64 + pixels * self.outputs as f64;
        let picojoule = products * self.arithmetic.picojoule(&constants.operation)
            + bytes / 8.0 * constants.memory.cache_1_mb;
        [cycles, products, picojoule * 1e-6]
    }
}

/// A product with a constant weight.
fn work(graph: &Graph, n: NodeId, macs: u64, array: Array) -> Option<Work> {
    let node = &graph.nodes[n];
    let weight = node.inputs.get(1).copied().flatten()?;
    let (groups, outputs_first) = match &node.op {
        Op::Conv(c) => (c.group, true),
        Op::ConvTranspose(c) => (c.conv.group, false),
        Op::Gemm { trans_b, .. } => (1, *trans_b),
        _ => (1, false),
    };
    let (levels, shape, arithmetic) = match (graph.weights.get(&weight), graph.constants.get(&weight)) {
        (Some(w), _) => {
            let merged = w.merged()?;
            let arithmetic = match w.points.len() {
                1 => Arithmetic::of(&w.levels, w.zero_points.is_some()),
                _ => Arithmetic::of(&merged.levels, false),
            };
            (merged.levels, w.shape.clone(), arithmetic)
        }
        (None, Some(t)) => {
            let levels = t.as_f32()?.iter().map(|&x| i32::from(x != 0.0)).collect();
            (levels, t.shape().to_vec(), Arithmetic::Float)
        }
        (None, None) => return None,
    };
    let extent = graph::planes::extent(&shape)?;
    let tiles = Tiles::of(&levels, extent, groups, array, outputs_first)?;
    let outputs = if outputs_first {
        extent[0]
    } else {
        extent[1] * groups
    };
    Some(Work {
        tiles,
        // A product for each weight and pixel.
        pixels: macs / (levels.len() as u64).max(1),
        outputs: outputs as u64,
        arithmetic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAY: Array = Array {
        outputs: 16,
        inputs: 4,
    };

    #[test]
    fn arrays_are_read_and_others_refused() {
        assert_eq!("16x4".parse(), Ok(ARRAY));
        for text in ["", "16", "0x4", "16x", "16x4x1", "5000x1", "-1x2"] {
            assert!(text.parse::<Array>().is_err(), "{text}");
        }
    }

    /// ⌈20/16⌉ · ⌈6/4⌉ · 9 tiles, the last ones of each axis ragged.
    #[test]
    fn a_dense_layer_takes_all_tiles_and_a_pruned_one_those_that_are_left() {
        let extent = [20, 6, 9];
        let full = vec![1; 20 * 6 * 9];
        let tiles = Tiles::of(&full, extent, 1, ARRAY, true).unwrap();
        assert_eq!((tiles.all, tiles.kept), (36, 36));
        assert_eq!((tiles.weights, tiles.kept_weights), (1080, 1080));
        // Outputs 0 … 15, inputs 0 … 3, tap 2: one tile of 64 weights.
        let pruned: Vec<i32> = (0..full.len())
            .map(|i| i32::from(!(i / 54 < 16 && i / 9 % 6 < 4 && i % 9 == 2)))
            .collect();
        let tiles = Tiles::of(&pruned, extent, 1, ARRAY, true).unwrap();
        assert_eq!((tiles.all, tiles.kept, tiles.kept_weights), (36, 35, 1080 - 64));
        // A transposed layer's weight has the input channel first.
        let tiles = Tiles::of(&full, extent, 1, ARRAY, false).unwrap();
        assert_eq!(tiles.all, 5 * 9);
        // Depthwise: a tile per channel and tap, one multiplier of 64 busy.
        let tiles = Tiles::of(&full[..180], [20, 1, 9], 20, ARRAY, true).unwrap();
        assert_eq!((tiles.all, tiles.weights), (180, 180));
    }

    #[test]
    fn cycles_utilisation_and_energy_follow_from_the_tiles() {
        let constants = Constants::load().unwrap();
        let work = Work {
            tiles: Tiles::default(),
            pixels: 100,
            outputs: 16,
            arithmetic: Arithmetic::AddOnly,
        };
        let costs = |tiles: u64| work.costs(&constants, ARRAY, tiles, tiles * 64);
        let row = row("a".into(), ARRAY, [costs(36), costs(18)]);
        assert_eq!((row.dense_cycles, row.cycles), (3600, 1800));
        assert!((row.utilisation - 1.0).abs() < 1e-12 && (row.dense_utilisation - 1.0).abs() < 1e-12);
        // 1800 · 64 additions of 0.1 pJ; 1800 · 4 + 1600 bytes at 100 pJ for eight.
        let want = (1800.0 * 64.0 * 0.1 + (7200.0 + 1600.0) / 8.0 * 100.0) * 1e-6;
        assert!((row.energy_uj - want).abs() < 1e-12);
        // Half of the tiles with a quarter of the weights: half as busy.
        let [cycles, products, _] = work.costs(&constants, ARRAY, 18, 9 * 64);
        assert_eq!((cycles, products), (1800.0, 57_600.0));
    }
}
