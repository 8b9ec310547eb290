//! Quantized weights and biases in standard operators: codes of 8 bits, or of 4 and 2 where wanted, and DequantizeLinear.

use tensor::{DType, Data, Tensor};

use super::super::io::raw_bytes;
use super::Draft;
use super::node::raw_tensor;
use crate::annotation::WeightAnnotation;
use crate::graph::Node;
use crate::op::Op;

/// A weight in 8 bits: int8 where its levels allow, uint8 with a zero point else.
pub(super) struct Bytes {
    codes: Data,
    zero_points: Data,
    scales: Vec<f32>,
}

impl Bytes {
    /// Bits that all codes and zero points fit: 2, 4 or 8.
    fn bits(&self) -> u32 {
        let all = |low: i64, high: i64| {
            [&self.codes, &self.zero_points].into_iter().all(|d| match d {
                Data::I8(v) => v.iter().all(|&q| (low..=high).contains(&q.into())),
                Data::U8(v) => v.iter().all(|&q| (0..=high - low).contains(&q.into())),
                _ => false,
            })
        };
        match () {
            () if all(-2, 1) => 2,
            () if all(-8, 7) => 4,
            () => 8,
        }
    }
}

/// The 8 bit form of a weight, its points added up, unless the levels are larger or the points have no common unit.
pub(super) fn bytes(w: &WeightAnnotation) -> Option<Bytes> {
    let [point] = &w.points[..] else {
        let merged = w.merged()?;
        let codes = merged.levels.iter().map(|&l| i8::try_from(l).ok());
        return Some(Bytes {
            codes: codes.collect::<Option<Vec<i8>>>()?.into(),
            zero_points: vec![0i8; merged.scales.len()].into(),
            scales: merged.scales,
        });
    };
    let scales = &point.scales;
    let zeros = w.zero_points.clone().unwrap_or(vec![0; scales.len()]);
    let levels = || point.codes.iter().map(|&c| w.levels[usize::from(c)]);
    fn all<T: TryFrom<i32>>(list: impl Iterator<Item = i32>) -> Option<Vec<T>> {
        list.map(|v| T::try_from(v).ok()).collect()
    }
    let signed = || -> Option<Bytes> {
        let codes: Vec<i8> = all(levels())?;
        let zero_points: Vec<i8> = all(zeros.iter().copied())?;
        Some(Bytes {
            codes: codes.into(),
            zero_points: zero_points.into(),
            scales: scales.clone(),
        })
    };
    let unsigned = || -> Option<Bytes> {
        let codes: Vec<u8> = all(levels())?;
        let zero_points: Vec<u8> = all(zeros.iter().copied())?;
        Some(Bytes {
            codes: codes.into(),
            zero_points: zero_points.into(),
            scales: scales.clone(),
        })
    };
    if w.zero_points.is_none() {
        signed()
    } else {
        unsigned().or_else(signed)
    }
}

impl Draft<'_> {
    pub(super) fn qdq_weight(
        &mut self,
        name: &str,
        w: &WeightAnnotation,
        bytes: Bytes,
        narrowest: u32,
    ) -> Result<(), String> {
        let along = match bytes.scales.len() {
            1 => Vec::new(),
            n => vec![n],
        };
        let vector = |data: Data| shaped(along.clone(), data);
        let bits = bytes.bits().max(narrowest);
        let codes = shaped(w.shape.clone(), bytes.codes)?;
        let zero_points = vector(bytes.zero_points)?;
        let inputs = [
            self.codes(&format!("{name}/codes"), &codes, bits),
            self.named(&format!("{name}/scale"), &vector(bytes.scales.into())?),
            self.codes(&format!("{name}/zero_point"), &zero_points, bits),
        ];
        let op = Op::DequantizeLinear { axis: w.axis as i64 };
        self.node(
            &format!("{name}/dequantize"),
            &op,
            &inputs.each_ref().map(String::as_str),
            &[name],
        );
        Ok(())
    }

    /// An initializer of codes that fit `bits` bits: 8, 4 or 2.
    fn codes(&mut self, base: &str, codes: &Tensor, bits: u32) -> String {
        let (code, opset) = match (bits, codes.dtype()) {
            (2, DType::U8) => (25, 25),
            (2, _) => (26, 25),
            (4, DType::U8) => (21, 21),
            (4, _) => (22, 21),
            _ => return self.named(base, codes),
        };
        self.opset = self.opset.max(opset);
        let name = self.fresh(base);
        // Several codes a byte, the first in the lowest bits.
        let packed: Vec<u8> = raw_bytes(codes.data())
            .chunks(8 / bits as usize)
            .map(|chunk| {
                let masked = chunk.iter().map(|c| c & ((1 << bits) - 1));
                masked.rev().fold(0, |byte, c| byte << bits | c)
            })
            .collect();
        self.initializers
            .message(5, |t| raw_tensor(&name, codes.shape(), code, &packed, t));
        name
    }

    /// The bias of an integer convolution or Gemm as int32 codes of scale s_x·s_c, as FORMAT.md 1.3 rounds it: what
    /// other runtimes need for an integer kernel. `None` where the bias stays float.
    pub(super) fn qdq_bias(&mut self, node: &Node) -> Option<String> {
        let (codes, scales) = self.bias_codes(node)?;
        let name = self.graph.value(*node.outputs.first()?).name.clone();
        let (to, scalar) = (self.fresh(&format!("{name}/bias")), scales.len() == 1);
        let shape = if scalar { Vec::new() } else { vec![scales.len()] };
        let inputs = [
            self.named(&format!("{name}/bias_codes"), &Tensor::vector(codes)),
            self.named(&format!("{name}/bias_scale"), &shaped(shape, scales).ok()?),
        ];
        let op = Op::DequantizeLinear { axis: 0 };
        let inputs = inputs.each_ref().map(String::as_str);
        self.node(&format!("{name}/bias_dequantize"), &op, &inputs, &[&to]);
        Some(to)
    }

    /// Codes and scales of the bias where it can be int32.
    pub(super) fn bias_codes(&self, node: &Node) -> Option<(Vec<i32>, Vec<f32>)> {
        if !matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. }) {
            return None;
        }
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let x = self.graph.edges.get(&input(0)?)?;
        let w = self.graph.weights.get(&input(1)?)?;
        let scales = bytes(w)?.scales;
        let bias = self.graph.constant_input(node, 2)?;
        let values = bias.as_f32()?;
        if bias.rank() != 1 || (scales.len() != 1 && scales.len() != values.len()) {
            return None;
        }
        let exact = |c: usize| f64::from(x.scale) * f64::from(scales[c]);
        let codes = values.iter().enumerate().map(|(i, &b)| {
            let code = (f64::from(b) / exact(if scales.len() == 1 { 0 } else { i })).round_ties_even();
            (code.abs() <= f64::from(i32::MAX)).then_some(code as i32)
        });
        let codes: Vec<i32> = codes.collect::<Option<_>>()?;
        let scales: Vec<f32> = (0..scales.len()).map(|c| exact(c) as f32).collect();
        scales.iter().all(|s| s.is_normal()).then_some((codes, scales))
    }
}

fn shaped(shape: Vec<usize>, data: impl Into<Data>) -> Result<Tensor, String> {
    Tensor::new(shape, data).map_err(|e| e.to_string())
}
