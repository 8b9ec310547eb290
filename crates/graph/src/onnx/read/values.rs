//! Values of a graph under construction: constants with their budget, declared types, and shapes that a few steps back tell.

use std::collections::BTreeSet;

use tensor::{DType, Tensor};

use super::Builder;
use crate::annotation::WeightAnnotation;
use crate::graph::ValueId;
use crate::onnx::Source;
use crate::onnx::error::{Load, LoadError, quoted};
use crate::onnx::io::{self, ElemType, Loaded};
use crate::onnx::proto::{Dim, TensorProto, ValueInfo};
use crate::onnx::wire::Bytes;
use crate::op::Op;

impl<'a> Builder<'a, '_> {
    /// Decodes a tensor attribute.
    pub(crate) fn tensor(&mut self, message: Bytes<'a>) -> Load<Loaded<'a>> {
        let tensor = TensorProto::parse(message)?;
        let source = Source {
            base_dir: self.options.base_dir,
            seen: self.options.side_files,
        };
        let left = self
            .options
            .limits
            .constant_bytes
            .saturating_sub(self.constant_bytes);
        let loaded = io::tensor(tensor, &source, &self.options.limits, left)?;
        self.constant_bytes += loaded.tensor.bytes();
        Ok(loaded)
    }
    /// Makes a value a constant.
    pub(crate) fn set_constant(&mut self, id: ValueId, value: Tensor, bits: u32) {
        let v = self.graph.value_mut(id);
        v.dtype = Some(value.dtype());
        v.shape = Some(value.shape().iter().map(|&d| Some(d)).collect());
        if bits < 8 {
            self.narrow.insert(id, bits);
        }
        self.graph.constants.insert(id, value);
    }

    /// Makes a value a quantized weight.
    pub(crate) fn set_weight(&mut self, id: ValueId, weight: WeightAnnotation) {
        let v = self.graph.value_mut(id);
        v.dtype = Some(DType::F32);
        v.shape = Some(weight.shape.iter().map(|&d| Some(d)).collect());
        self.graph.weights.insert(id, weight);
    }

    /// Counts bytes that are decoded besides the tensors of the file.
    pub(crate) fn count_constant(&mut self, bytes: usize) -> Load<()> {
        let most = self.options.limits.constant_bytes;
        if bytes > most.saturating_sub(self.constant_bytes) {
            return Err(LoadError::limit(format!(
                "the model's constants take more than {most} bytes in all"
            )));
        }
        self.constant_bytes += bytes;
        Ok(())
    }

    /// Notes that `to` has the shape of `from`.
    pub(crate) fn same_shape(&mut self, from: ValueId, to: ValueId) {
        if let Some(shape) = self.known_shape(from).map(<[usize]>::to_vec) {
            self.shapes.insert(to, shape);
        }
    }

    /// Shape of a constant, quantized weight, or a constant behind Cast or DequantizeLinear.
    pub(crate) fn known_shape(&self, id: ValueId) -> Option<&[usize]> {
        if let Some(t) = self.graph.constants.get(&id) {
            return Some(t.shape());
        }
        if let Some(w) = self.graph.weights.get(&id) {
            return Some(&w.shape);
        }
        self.shapes.get(&id).map(Vec::as_slice)
    }

    /// Number of dimensions, where a few steps back tell it. Only a hint for the form of lifted operators.
    pub(crate) fn known_rank(&self, mut id: ValueId) -> Option<usize> {
        for _ in 0..16 {
            if let Some(shape) = self.known_shape(id) {
                return Some(shape.len());
            }
            if let Some(shape) = &self.graph.value(id).shape {
                return Some(shape.len());
            }
            let node = self.graph.nodes.get(*self.producers.get(&id)?)?;
            let first = (*node.inputs.first()?)?;
            match &node.op {
                Op::Transpose { perm: Some(perm) } => return Some(perm.len()),
                Op::Flatten { .. } => return Some(2),
                Op::Conv(conv) | Op::ConvTranspose(crate::op::ConvTranspose { conv, .. }) => {
                    return Some(conv.kernel.len() + 2);
                }
                Op::MaxPool(pool) | Op::AveragePool(pool) => return Some(pool.kernel.len() + 2),
                Op::Gemm { .. } => return Some(2),
                Op::Reshape { .. } => return self.known_length((*node.inputs.get(1)?)?),
                Op::Unary(_)
                | Op::Clip
                | Op::Concat { .. }
                | Op::Split { .. }
                | Op::Slice
                | Op::BatchNormalization { .. }
                | Op::Identity
                | Op::Dropout
                | Op::Softmax { .. }
                | Op::Transpose { perm: None } => id = first,
                _ => return None,
            }
        }
        None
    }

    /// Elements of a vector that is constant or concatenated from single numbers.
    fn known_length(&self, id: ValueId) -> Option<usize> {
        if let Some(t) = self.graph.constants.get(&id) {
            return Some(t.len());
        }
        let node = self.graph.nodes.get(*self.producers.get(&id)?)?;
        let unsqueezed = |&v: &Option<ValueId>| {
            let v = v?;
            let single = match self.producers.get(&v).and_then(|&n| self.graph.nodes.get(n)) {
                Some(n) => n.op == Op::Unsqueeze,
                None => self.graph.constants.get(&v)?.len() == 1,
            };
            single.then_some(1usize)
        };
        match node.op {
            Op::Concat { .. } => node.inputs.iter().map(unsqueezed).sum(),
            _ => None,
        }
    }
    /// Declared type and shape of a graph input or output.
    pub(super) fn declare(
        &mut self,
        id: ValueId,
        info: &ValueInfo<'a>,
        input: bool,
        unused: &mut BTreeSet<&str>,
    ) -> Load<()> {
        let what = if input { "input" } else { "output" };
        let fault = |e: LoadError| {
            let message = format!("graph {what} {}: {}", quoted(info.name), e.message());
            e.with_message(message).at_byte(info.at)
        };
        if info.not_a_tensor {
            return Err(fault(LoadError::unsupported(
                "sequences, maps and optional values are not supported",
            )));
        }
        let dtype = match ElemType::from_code(info.elem_type) {
            Ok(elem @ ElemType::Narrow(_, bits)) => {
                self.narrow.insert(id, bits);
                Some(elem.dtype())
            }
            Ok(elem) => Some(elem.dtype()),
            // Outputs get their type from the operators.
            Err(_) if info.elem_type == 0 && !input => None,
            Err(e) => return Err(fault(e)),
        };
        let dimensions = &self.options.dimensions;
        let mut size = |axis: usize, dim: &Dim<'_>| {
            if let Dim::Fixed(n) = dim {
                return Some(*n);
            }
            let positioned = format!("{}:{axis}", info.name);
            let mut lookup = |key: &str| {
                let (key, &n) = dimensions.get_key_value(key)?;
                unused.remove(key.as_str());
                Some(n)
            };
            lookup(&positioned).or_else(|| match dim {
                Dim::Named(name) => lookup(name),
                _ => None,
            })
        };
        let shape = info
            .shape
            .as_ref()
            .map(|dims| dims.iter().enumerate().map(|(axis, d)| size(axis, d)).collect());
        let value = self.graph.value_mut(id);
        if value.dtype.is_none() {
            value.dtype = dtype;
        }
        if value.shape.is_none() {
            value.shape = shape;
        }
        Ok(())
    }
}
