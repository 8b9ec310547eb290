//! Quantized edges as pairs QuantizeLinear, DequantizeLinear, with a Clip between them below 8 bits.

use std::collections::BTreeMap;

use tensor::Tensor;

use super::Draft;
use crate::annotation::EdgeQuantizer;
use crate::graph::ValueId;
use crate::op::Op;

/// Names of the initializers of one quantizer; edges with equal numbers share them.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    scale: String,
    zero_point: String,
    /// Largest code, below 8 bits.
    largest: Option<String>,
}

pub(super) type Quantizers = BTreeMap<(u32, u8, u32), Shared>;

impl Draft<'_> {
    /// Chooses the names around a quantized edge: readers must see what DequantizeLinear gives, and graph inputs and
    /// outputs keep their names.
    pub(super) fn name_edges(&mut self) {
        let edges: Vec<ValueId> = self.edges.keys().copied().collect();
        for v in edges {
            let name = &self.graph.value(v).name;
            if self.graph.outputs.contains(&v) {
                let real = self.fresh(&format!("{name}/real"));
                self.written_as.insert(v, real);
            } else {
                let after = self.fresh(&format!("{name}/dequantized"));
                self.read_as.insert(v, after);
            }
        }
    }

    /// The pair of an edge that was just written, if it has one.
    pub(super) fn edge(&mut self, v: ValueId) {
        let Some(q) = self.edges.get(&v).copied() else {
            return;
        };
        let name = self.graph.value(v).name.clone();
        let shared = self.quantizer(&name, q);
        let (from, to) = (self.write_name(v).to_string(), self.read_name(v).to_string());
        let mut codes = self.fresh(&format!("{name}/quantized"));
        let inputs = [&*from, &shared.scale, &shared.zero_point];
        self.node(
            &format!("{name}/quantize"),
            &Op::QuantizeLinear { axis: 0 },
            &inputs,
            &[&codes],
        );
        if let Some(largest) = &shared.largest {
            let clamped = self.fresh(&format!("{name}/clamped"));
            self.node(
                &format!("{name}/clamp"),
                &Op::Clip,
                &[&codes, "", largest],
                &[&clamped],
            );
            codes = clamped;
        }
        let inputs = [&*codes, &shared.scale, &shared.zero_point];
        self.node(
            &format!("{name}/dequantize"),
            &Op::DequantizeLinear { axis: 0 },
            &inputs,
            &[&to],
        );
    }

    fn quantizer(&mut self, edge: &str, q: EdgeQuantizer) -> Shared {
        let key = (q.scale.to_bits(), q.zero_point, q.bits);
        if let Some(shared) = self.quantizers.get(&key) {
            return shared.clone();
        }
        let shared = Shared {
            scale: self.named(&format!("{edge}/scale"), &Tensor::scalar(q.scale)),
            zero_point: self.named(&format!("{edge}/zero_point"), &Tensor::scalar(q.zero_point)),
            largest: (q.bits < 8)
                .then(|| self.named(&format!("{edge}/largest"), &Tensor::scalar(q.max_code()))),
        };
        self.quantizers.insert(key, shared.clone());
        shared
    }
}
