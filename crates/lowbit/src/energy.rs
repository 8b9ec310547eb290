//! Modelled energy of one picture: constants of one file with their sources, never a measurement.

pub mod spiking;

use graph::{Graph, NodeId};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Contents of `energy.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    /// Where the numbers are from.
    pub source: String,
    /// Picojoule per operation.
    pub operation: Operation,
    /// Picojoule per 64 bits moved.
    pub memory: Memory,
    /// A first layer in memory; what it costs depends on the device, and the constants of this build name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pim: Option<spiking::Pim>,
}

/// Picojoule per operation.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Operation {
    pub float32_multiply: f64,
    pub float32_add: f64,
    pub int8_multiply: f64,
    pub int8_add: f64,
    pub int32_multiply: f64,
    pub int32_add: f64,
    pub shift: f64,
}

/// Picojoule per 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Memory {
    pub cache_1_mb: f64,
    pub dram_low: f64,
    pub dram_high: f64,
}

impl Constants {
    /// The constants of this build.
    ///
    /// # Errors
    /// Never with the file as it is; a test reads it.
    pub fn load() -> Result<Constants> {
        Constants::parse(include_str!("energy.toml")).map_err(|e| e.at("energy.toml"))
    }

    /// Constants of a file like `energy.toml`.
    ///
    /// # Errors
    /// A file that cannot be read, keys that are missing or not known.
    pub fn read(path: &std::path::Path) -> Result<Constants> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, &e))?;
        Constants::parse(&text).map_err(|e| e.at(path.display()))
    }

    fn parse(text: &str) -> Result<Constants> {
        toml::from_str(text).map_err(|e| Error::bad(e.to_string()))
    }
}

/// Energy of one picture in microjoule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Energy {
    /// Multiplications, shifts and additions of convolutions and matrix products.
    pub arithmetic_uj: f64,
    /// Every weight read once from main memory, lower and upper constant.
    pub weights_uj: (f64, f64),
    /// Every activation written and read once in a 1 MB cache.
    pub activations_uj: f64,
    /// Where the constants are from.
    pub source: String,
}

impl Energy {
    /// Everything, lower and upper.
    pub fn total_uj(&self) -> (f64, f64) {
        let rest = self.arithmetic_uj + self.activations_uj;
        (rest + self.weights_uj.0, rest + self.weights_uj.1)
    }
}

/// How the products of one layer are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Float,
    Multiply8,
    Multiply32,
    Shift,
    AddOnly,
}

impl Arithmetic {
    /// What the levels of a weight ask for.
    pub(crate) fn of(levels: &[i32], affine: bool) -> Arithmetic {
        let magnitude = |l: &i32| l.unsigned_abs();
        if affine || levels.iter().any(|l| *l != 0 && !magnitude(l).is_power_of_two()) {
            match levels.iter().map(magnitude).max() {
                Some(top) if top > 255 => Arithmetic::Multiply32,
                _ => Arithmetic::Multiply8,
            }
        } else if levels.iter().all(|l| magnitude(l) <= 1) {
            Arithmetic::AddOnly
        } else {
            Arithmetic::Shift
        }
    }

    pub(crate) fn picojoule(self, c: &Operation) -> f64 {
        match self {
            Arithmetic::Float => c.float32_multiply + c.float32_add,
            Arithmetic::Multiply8 => c.int8_multiply + c.int32_add,
            Arithmetic::Multiply32 => c.int32_multiply + c.int32_add,
            Arithmetic::Shift => c.shift + c.int32_add,
            Arithmetic::AddOnly => c.int32_add,
        }
    }
}

/// A layer as far as energy goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) node: NodeId,
    pub(crate) macs: u64,
    pub(crate) stored_bits: usize,
    pub(crate) arithmetic: Arithmetic,
}

/// Sums up a graph: `codes` says whether an edge holds bytes instead of f32.
pub(crate) fn energy(graph: &Graph, layers: &[Cost]) -> Result<Energy> {
    let constants = Constants::load()?;
    let (operation, memory) = (&constants.operation, &constants.memory);
    let arithmetic: f64 = layers
        .iter()
        .map(|l| l.macs as f64 * l.arithmetic.picojoule(operation))
        .sum();
    debug_assert!(layers.iter().all(|l| l.node < graph.nodes.len()));
    let weight_words: f64 = layers.iter().map(|l| l.stored_bits as f64 / 64.0).sum();
    let moved = graph
        .nodes
        .iter()
        .flat_map(|n| n.outputs.iter().chain(n.inputs.iter().flatten()));
    let activation_bits: f64 = moved
        .filter(|v| !graph.is_constant(**v))
        .map(|v| {
            let shape = graph.value(*v).fixed_shape().unwrap_or_default();
            let bits = if graph.edges.contains_key(v) { 8.0 } else { 32.0 };
            tensor::numel(&shape).unwrap_or(0) as f64 * bits
        })
        .sum();
    Ok(Energy {
        arithmetic_uj: arithmetic * 1e-6,
        weights_uj: (
            weight_words * memory.dram_low * 1e-6,
            weight_words * memory.dram_high * 1e-6,
        ),
        activations_uj: activation_bits / 64.0 * memory.cache_1_mb * 1e-6,
        source: constants.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_choose_the_operation_and_a_mac_costs_what_the_table_says() {
        let c = Constants::load().unwrap();
        let cost = |levels: &[i32]| Arithmetic::of(levels, false).picojoule(&c.operation);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(cost(&[-1, 0, 1]), 0.1));
        assert!(close(cost(&[-4, -2, 1, 0]), 0.124));
        assert!(close(cost(&[-3, 5]), 0.3));
        assert!(close(Arithmetic::Float.picojoule(&c.operation), 4.6));
        assert_eq!(Arithmetic::of(&[0, 1, 2], true), Arithmetic::Multiply8);
    }
}
