//! Codes chosen anew by the inputs that a layer gets in both networks, and what other codes of the same weights would do.

use std::collections::BTreeMap;
use std::sync::Mutex;

use graph::{NodeId, Op, WeightAnnotation};
use quant::feedback::{self, ChannelError, Halves, Moments};
use tensor::Tensor;

use super::lifetime::node_bytes;
use super::shelf::Shelf;
use super::{Layer, Stage, Values, look, patches};
use crate::Result;
use crate::side_by_side::{self, Share};

/// What rounding does to a layer in several ways.
#[derive(Debug, Clone)]
pub(in crate::quantize) struct Survey {
    /// Channel by channel, as the weights are.
    pub(in crate::quantize) own: Vec<ChannelError>,
    /// The same with each of [`Stage::others`]; `None` where one leaves the layer out.
    pub(in crate::quantize) others: Vec<Option<Other>>,
}

/// Other codes of a weight, rounded like its own.
#[derive(Debug, Clone)]
pub(in crate::quantize) struct Other {
    pub(in crate::quantize) errors: Vec<ChannelError>,
    pub(in crate::quantize) weight: WeightAnnotation,
    /// What their mean error asks of the bias.
    pub(in crate::quantize) shifts: Vec<f64>,
}

impl Other {
    /// Σ(y − ŷ)² / Σy² of the layer's output.
    pub(in crate::quantize) fn share(&self) -> f64 {
        let sums = |s: (f64, f64), e: &ChannelError| (s.0 + e.error, s.1 + e.energy);
        match self.errors.iter().fold((0.0, 0.0), sums) {
            (error, energy) if energy > 0.0 => error / energy,
            _ => 0.0,
        }
    }
}

impl Stage<'_> {
    /// Rounds a layer's weights again, so that they answer for the errors in what the quantized network gives it, and with error feedback. A layer
    /// whose moments do not fit into the memory keeps the nearest levels. Gives the survey where [`Stage::others`] are wanted.
    pub(super) fn feed_back(
        &self,
        n: NodeId,
        layer: &mut Layer,
        values: &Values,
        shelf: &Mutex<Shelf>,
        most_bytes: usize,
    ) -> Result<Option<Survey>> {
        let node = &self.model.graph().nodes[n];
        let shape = layer.weight.shape.clone();
        let transposed = matches!(node.op, Op::Gemm { .. }) && layer.weight.axis != 0;
        let float = self.model.graph().constants.get(&layer.task.weight);
        let float = float.and_then(Tensor::as_f32);
        let (Some(groups), Some(float), false) = (
            patches::moments(&node.op, &shape, most_bytes),
            float,
            transposed || layer.stored_once,
        ) else {
            return Ok(None);
        };
        let inputs = values.get(&layer.task.input).map_or(&[][..], Vec::as_slice);
        let add = |half: usize, moments: &mut Vec<Moments>| {
            for (picture, pair) in inputs.iter().enumerate().skip(half).step_by(2) {
                self.control.check()?;
                let (quant, plain) = (look(shelf, &pair.quant)?, look(shelf, &pair.float)?);
                let at = (picture, inputs.len());
                patches::add(moments, &node.op, &shape, [&*quant, &*plain], at, self.pool);
            }
            let product = |size: [usize; 3], a: &[f32], b: &[f32]| patches::product(self.pool, size, a, b);
            let each = float.len() / moments.len().max(1);
            for (moments, weights) in moments.iter_mut().zip(float.chunks(each.max(1))) {
                moments.weighted(weights, &product);
            }
            if self.correction {
                moments.iter_mut().for_each(Moments::centre);
            }
            Ok(())
        };
        let (a, b): (Vec<Moments>, Vec<Moments>) = groups.into_iter().map(|[a, b]| (a, b)).unzip();
        let share = Share::of(node_bytes(self.model.graph(), node), self.model.graph());
        let mut halves = [a, b];
        side_by_side::change(self.pool, self.control, share, &mut halves, &add)?;
        let [a, b] = halves;
        let groups: Vec<Halves> = a.into_iter().zip(b).map(|(a, b)| [a, b]).collect();
        let workers: feedback::Workers<'_> = &|count, work| self.pool.run(count, work);
        let own = feedback::round(&mut layer.weight, float, &groups, layer.scales, workers);
        if self.others.is_empty() || own.is_empty() {
            return Ok(None);
        }
        let other = |all: &BTreeMap<NodeId, Layer>| {
            let layer = all.get(&n)?;
            let mut weight = layer.weight.clone();
            let errors = feedback::round(&mut weight, float, &groups, layer.scales, workers);
            let shifts = feedback::shifts(&weight, float, &groups);
            Some(Other {
                errors,
                weight,
                shifts,
            })
        };
        let one = |i: usize| Ok(other(&self.others[i]));
        let others = side_by_side::map(self.pool, self.control, Share::NOTHING, self.others.len(), &one)?;
        Ok(Some(Survey { own, others }))
    }
}
