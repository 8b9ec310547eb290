//! Modelled energy of a spiking network beside the same network of ReLUs, from the measured activity.
//!
//! ```text
//! E_CNN = E_MAC·Σ N_l        E_SNN = E_MAC·N_1 + E_AC·Σ_{l≥2} r_{l−1}·N_l
//! ```
//! N_l are the multiply-accumulates of layer l, r_l the spikes per neuron of layer l over all steps. The first layer's currents are computed once, as this
//! engine does it; computed in every step they would cost T·E_MAC·N_1. Neurons themselves (T·neurons products with the leak) are told apart. After
//! G. Datta, S. Kundu, A. R. Jaiswal, P. A. Beerel, Frontiers in Neuroscience 16:815258, 2022; operations of b bits between those of the table by
//! multiply ∝ b², add ∝ b.

use serde::{Deserialize, Serialize};

use super::{Constants, Operation};

/// A layer with weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Layer {
    /// Multiply-accumulates of one sample, and of one step where the input is spikes.
    pub macs: u64,
    /// Spikes per neuron of its input over all steps; `None` for the first layer, whose inputs are numbers.
    pub activity: Option<f64>,
}

/// Picojoule of a multiply-accumulate and of an accumulation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Costs {
    /// E_MAC
    pub mac: f64,
    /// E_AC
    pub accumulate: f64,
}

impl Costs {
    /// 32-bit floating point.
    pub fn float32(c: &Operation) -> Costs {
        Costs {
            mac: c.float32_multiply + c.float32_add,
            accumulate: c.float32_add,
        }
    }

    /// 32-bit integers.
    pub fn int32(c: &Operation) -> Costs {
        Costs {
            mac: c.int32_multiply + c.int32_add,
            accumulate: c.int32_add,
        }
    }

    /// Integers of `bits`, from those of 8: multiply ∝ bits², add ∝ bits.
    pub fn integer(c: &Operation, bits: u32) -> Costs {
        let share = f64::from(bits) / 8.0;
        Costs {
            mac: c.int8_multiply * share * share + c.int8_add * share,
            accumulate: c.int8_add * share,
        }
    }

    /// Picojoule of the network of ReLUs.
    pub fn cnn(&self, layers: &[Layer]) -> f64 {
        self.mac * layers.iter().map(|l| l.macs as f64).sum::<f64>()
    }

    /// Picojoule of the first layer, computed `times`.
    pub fn first(&self, layers: &[Layer], times: usize) -> f64 {
        let first = layers.iter().filter(|l| l.activity.is_none());
        self.mac * times as f64 * first.map(|l| l.macs as f64).sum::<f64>()
    }

    /// Picojoule of the spiking network whose first layer is computed `times`: once, or in each step.
    pub fn snn(&self, layers: &[Layer], times: usize) -> f64 {
        let spikes = layers.iter().filter_map(|l| Some(l.activity? * l.macs as f64));
        self.first(layers, times) + self.accumulate * spikes.sum::<f64>()
    }
}

/// A first layer in memory, by parameters of the device: bit-serial inputs, an analogue sum per output.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pim {
    /// Picojoule of a cell in one multiply-accumulate.
    pub cell: f64,
    /// Picojoule of one conversion of an analogue sum.
    pub adc: f64,
    /// Nanoseconds of one cycle.
    pub cycle: f64,
    /// Outputs of one cycle.
    pub columns: u64,
    /// Bits of an input, one a cycle.
    pub input_bits: u32,
}

impl Pim {
    /// Picojoule: N_1·E_cell + N_out·b·E_ADC.
    pub fn energy(&self, macs: u64, outputs: u64) -> f64 {
        macs as f64 * self.cell + outputs as f64 * f64::from(self.input_bits) * self.adc
    }

    /// Nanoseconds: ⌈N_out/columns⌉·b·t_cycle.
    pub fn delay(&self, outputs: u64) -> f64 {
        outputs.div_ceil(self.columns.max(1)) as f64 * f64::from(self.input_bits) * self.cycle
    }
}

/// Ratios of one network, all from the measured activity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpikingEnergy {
    /// Layers with their activity.
    pub layers: Vec<Layer>,
    /// Steps of time.
    pub steps: usize,
    /// Bits of the weights.
    pub bits: u32,
    /// Nanojoule of the spiking network at those bits, its first layer computed once.
    pub snn_nj: f64,
    /// The same with the first layer computed in each step.
    pub snn_uncached_nj: f64,
    /// Share of the first layer in `snn_nj`.
    pub first_share: f64,
    /// Products with a leak, of all neurons and steps; left out of the rest.
    pub leak_products: u64,
    /// CNN over SNN, both of 32-bit floating point.
    pub ratio_float32: f64,
    /// CNN over SNN, both of 32-bit integers.
    pub ratio_int32: f64,
    /// CNN over SNN, both of those bits.
    pub ratio_bits: f64,
    /// CNN of 32-bit floating point over SNN of those bits.
    pub ratio_float32_to_bits: f64,
    /// Nanojoule of a first layer in memory, and nanoseconds, where the constants describe a device.
    pub pim: Option<(f64, f64)>,
    /// Where the constants are from.
    pub source: String,
}

/// The model over measured layers; `neurons` is what one sample has, `outputs` the first layer's.
pub fn energy(
    constants: &Constants,
    layers: &[Layer],
    steps: usize,
    bits: u32,
    neurons: u64,
    outputs: u64,
) -> SpikingEnergy {
    let c = &constants.operation;
    let (float, low) = (Costs::float32(c), Costs::integer(c, bits));
    let ratio = |costs: Costs| costs.cnn(layers) / costs.snn(layers, 1);
    let snn = low.snn(layers, 1);
    let first = layers.first().map_or(0, |l| l.macs);
    SpikingEnergy {
        layers: layers.to_vec(),
        steps,
        bits,
        snn_nj: snn * 1e-3,
        snn_uncached_nj: low.snn(layers, steps) * 1e-3,
        first_share: low.first(layers, 1) / snn,
        leak_products: steps as u64 * neurons,
        ratio_float32: ratio(float),
        ratio_int32: ratio(Costs::int32(c)),
        ratio_bits: ratio(low),
        ratio_float32_to_bits: float.cnn(layers) / snn,
        pim: constants
            .pim
            .map(|p| (p.energy(first, outputs) * 1e-3, p.delay(outputs))),
        source: constants.source.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(macs: &[u64], activity: &[f64]) -> Vec<Layer> {
        let activities = std::iter::once(None).chain(activity.iter().copied().map(Some));
        macs.iter()
            .zip(activities)
            .map(|(&macs, activity)| Layer { macs, activity })
            .collect()
    }

    #[test]
    fn energies_are_the_published_ones() {
        let vectors: serde_json::Value = serde_json::from_str(testing::SNN_VECTORS).unwrap();
        let case = &vectors["energy"];
        let number = |key: &str| case[key].as_f64().unwrap();
        let macs: Vec<u64> = serde_json::from_value(case["macs"].clone()).unwrap();
        let activity: Vec<f64> = serde_json::from_value(case["spikes_per_neuron_over_T"].clone()).unwrap();
        let costs = Costs::float32(&Constants::load().unwrap().operation);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6 * b, "{a} instead of {b}");
        close(costs.mac, number("E_mac_pJ"));
        close(costs.accumulate, number("E_ac_pJ"));
        let layers = layers(&macs, &activity);
        close(costs.cnn(&layers), number("cnn_pJ"));
        close(costs.snn(&layers, 1), number("snn_pJ"));
        close(costs.snn(&layers, 5), number("snn_no_cache_pJ"));
    }

    #[test]
    fn ends_of_the_model() {
        let costs = Costs {
            mac: 2.0,
            accumulate: 2.0,
        };
        // Nothing fires: the first layer alone. Everything fires once at equal costs: as the network of ReLUs.
        assert_eq!(costs.snn(&layers(&[10, 20, 30], &[0.0, 0.0]), 1), 20.0);
        let busy = layers(&[10, 20, 30], &[1.0, 1.0]);
        assert_eq!(costs.snn(&busy, 1), costs.cnn(&busy));
        let six = Costs::integer(&Constants::load().unwrap().operation, 6);
        assert!((six.mac - 0.135).abs() < 1e-9 && (six.accumulate - 0.0225).abs() < 1e-9);
    }

    #[test]
    fn a_first_layer_in_memory_costs_cells_and_conversions() {
        let pim = Pim {
            cell: 0.5,
            adc: 2.0,
            cycle: 10.0,
            columns: 64,
            input_bits: 8,
        };
        assert_eq!(pim.energy(1000, 100), 500.0 + 1600.0);
        assert_eq!(pim.delay(100), 160.0);
    }
}
