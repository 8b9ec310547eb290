//! Neurons over the sums of a product: `FORMAT.md` 1.16.

use std::collections::{BTreeMap, HashMap};

use graph::{EdgeQuantizer, Graph, IntegrateFire, NodeId, Op, ValueId};
use tensor::Tensor;

use super::rule::{Float, Place};
use crate::ops::spiking::outputs;
use crate::ops::support::{Answer, product, tensor};

/// Fraction bits of a membrane.
const FRACTION: u32 = 8;

/// Fraction bits of a leak.
const LEAK: u32 = 15;

/// Largest |sum| that a product hands on: 2^24.
pub(super) const REACH: i128 = 1 << 24;

/// What one unit of the sums is worth, one number or one per channel (axis 1).
pub(super) type Units = Vec<f64>;

/// Integer neurons.
pub(super) struct Neurons {
    op: IntegrateFire,
    /// Of each channel, or of all.
    thresholds: Vec<i64>,
    leak: i64,
}

/// Whether a value's sums are handed on: neurons alone read it, and their spikes are codes.
pub(super) fn reads_sums(
    graph: &Graph,
    v: ValueId,
    consumers: &HashMap<ValueId, Vec<NodeId>>,
    edges: &BTreeMap<ValueId, EdgeQuantizer>,
) -> bool {
    let Some(&[reader]) = consumers.get(&v).map(Vec::as_slice) else {
        return false;
    };
    let node = &graph.nodes[reader];
    let (Op::IntegrateFire(op), &[Some(x), Some(threshold), Some(leak)], &[spikes]) =
        (&node.op, &node.inputs[..], &node.outputs[..])
    else {
        return false;
    };
    let number = |v: ValueId| {
        graph
            .constants
            .get(&v)
            .and_then(Tensor::as_f32)
            .is_some_and(|t| t.len() == 1)
    };
    let codes = edges.get(&spikes) == Some(&spike_codes(op));
    x == v && !graph.outputs.contains(&v) && number(threshold) && number(leak) && codes
}

/// The quantizer of spikes.
fn spike_codes(op: &IntegrateFire) -> EdgeQuantizer {
    EdgeQuantizer {
        scale: 1.0,
        zero_point: 0,
        bits: op.bits(),
    }
}

/// The neurons of a node behind a product that hands on sums of these units.
pub(super) fn neurons(
    place: &Place<'_>,
    op: &IntegrateFire,
    sums: &BTreeMap<ValueId, Units>,
) -> Result<Neurons, Float> {
    let units = place
        .node
        .inputs
        .first()
        .copied()
        .flatten()
        .and_then(|v| sums.get(&v));
    let units = units.ok_or("no product with a quantized weight hands it its sums (1.16)")?;
    let number = |i: usize| place.graph.constant_input(place.node, i).and_then(Tensor::as_f32);
    let (threshold, leak) = match (number(1), number(2)) {
        (Some(&[threshold]), Some(&[leak])) => (f64::from(threshold), f64::from(leak)),
        _ => return Err("its threshold or leak is computed".into()),
    };
    let one = f64::from(1u32 << FRACTION);
    // A cast saturates: such a threshold is never reached.
    let integer = |unit: &f64| (threshold * one / unit).round_ties_even() as i64;
    Ok(Neurons {
        op: *op,
        thresholds: units.iter().map(integer).collect(),
        leak: (leak * f64::from(1u32 << LEAK)).round_ties_even() as i64,
    })
}

impl Neurons {
    /// Codes of spikes.
    pub(super) fn run(&self, shape: &[usize], sums: &[i64]) -> Answer {
        let output = outputs(&self.op, shape)?;
        let n = product(&output) / self.op.ends()[1];
        let inner = product(shape.get(2..).unwrap_or_default());
        let mut codes = vec![0u8; product(&output)];
        for k in 0..n {
            let threshold = self.thresholds[k / inner.max(1) % self.thresholds.len()];
            let mut u = 0i64;
            for t in 0..self.op.steps {
                let current = sums[if self.op.constant { k } else { t * n + k }];
                u = decayed(u, self.leak) + (current << FRACTION);
                if u > threshold {
                    u -= threshold;
                    codes[if self.op.count { k } else { t * n + k }] += 1;
                }
            }
        }
        tensor(output, codes)
    }
}

/// leak · u, halves up.
fn decayed(u: i64, leak: i64) -> i64 {
    (u * leak + (1 << (LEAK - 1))) >> LEAK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(steps: usize, threshold: i64, leak: i64) -> Neurons {
        Neurons {
            op: IntegrateFire {
                steps,
                constant: false,
                count: false,
            },
            thresholds: vec![threshold << FRACTION],
            leak,
        }
    }

    #[test]
    fn leaks_round_halves_up() {
        // The numbers of an independent program.
        for (u, leak, want) in [
            (1000, 29_491, 900),
            (-1000, 29_491, -900),
            (-1, 16_384, 0),
            (1, 16_384, 1),
            (123_456, 32_767, 123_452),
            (-7, 0, 0),
            (77, 32_768, 77),
        ] {
            assert_eq!(decayed(u, leak), want, "{u} · {leak}");
        }
        assert_eq!([-3, -1, 1, 3].map(|u| decayed(u, 1 << 14)), [-1, 0, 1, 2]);
    }

    /// Constant integer currents, leak 1: ⌈T·I/V⌉ − 1 spikes where 0 < I ≤ V.
    fn closed(steps: i64, current: i64, threshold: i64) -> i64 {
        match current {
            ..=0 => 0,
            i if i > threshold => steps,
            i => (steps * i + threshold - 1) / threshold - 1,
        }
    }

    #[test]
    fn constant_currents_fire_as_the_closed_form_says() {
        for (t, i, v, spikes) in [
            (5, 1, 2, 2),
            (5, 2, 2, 4),
            (5, 3, 2, 5),
            (5, 0, 2, 0),
            (8, 5, 7, 5),
            (16, 3, 11, 4),
            (1, 7, 7, 0),
            (5, -4, 3, 0),
        ] {
            assert_eq!(closed(t, i, v), spikes, "T {t}, I {i}, v {v}");
        }
        let currents: Vec<i64> = (-5..80).collect();
        for steps in 1..=16 {
            for threshold in 1..=70 {
                let mut neurons = layer(steps, threshold, 1 << LEAK);
                (neurons.op.constant, neurons.op.count) = (true, true);
                let codes = neurons.run(&[1, currents.len()], &currents).unwrap();
                for (&have, &i) in codes.as_u8().unwrap().iter().zip(&currents) {
                    let want = closed(steps as i64, i, threshold);
                    assert_eq!(i64::from(have), want, "T {steps}, I {i}, V {threshold}");
                }
            }
        }
    }

    #[test]
    fn what_follows_from_the_rule_alone() {
        // Nothing comes of nothing.
        let quiet = layer(7, 1, 20_000).run(&[7, 3], &[0; 21]).unwrap();
        assert_eq!(quiet.as_u8().unwrap(), [0; 21]);
        // No memory: a spike where the current is above the threshold. One step: the same at any leak.
        let currents = [5, 6, -9, 7, 3, 40];
        let want = [0, 0, 0, 1, 0, 1];
        assert_eq!(
            layer(6, 6, 0).run(&[6, 1], &currents).unwrap().as_u8().unwrap(),
            want
        );
        for leak in [0, 11_111, 1 << LEAK] {
            assert_eq!(
                layer(1, 6, leak)
                    .run(&[1, 6], &currents)
                    .unwrap()
                    .as_u8()
                    .unwrap(),
                want
            );
        }
    }
}
