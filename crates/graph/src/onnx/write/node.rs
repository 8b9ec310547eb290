//! One node, one tensor, one declared value as messages.

use tensor::{DType, Tensor};

use super::super::io::{raw_bytes, type_code};
use super::super::wire::Writer;

/// ONNX's code of binary16, which no [`DType`] is.
pub(crate) const FLOAT16: i64 = 10;

/// A `NodeProto` being written.
#[derive(Debug)]
pub(crate) struct NodeWriter<'o> {
    attributes: Writer,
    inputs: usize,
    outputs: usize,
    opset: &'o mut i64,
}

impl<'o> NodeWriter<'o> {
    pub(crate) fn new(inputs: usize, outputs: usize, opset: &'o mut i64) -> Self {
        NodeWriter {
            attributes: Writer::default(),
            inputs,
            outputs,
            opset,
        }
    }

    /// The attribute fields of the node message.
    pub(crate) fn into_attributes(self) -> Writer {
        self.attributes
    }

    pub(crate) fn input_count(&self) -> usize {
        self.inputs
    }

    pub(crate) fn output_count(&self) -> usize {
        self.outputs
    }

    /// This form of the operator exists from an opset on: the model must import at least that.
    pub(crate) fn needs_opset(&mut self, opset: i64) {
        *self.opset = (*self.opset).max(opset);
    }

    fn attribute(&mut self, name: &str, kind: i64, value: impl FnOnce(&mut Writer)) {
        self.attributes.message(5, |a| {
            a.string(1, name);
            value(a);
            a.int(20, kind);
        });
    }

    pub(crate) fn float(&mut self, name: &str, v: f32) {
        self.attribute(name, 1, |a| a.float(2, v));
    }

    pub(crate) fn int(&mut self, name: &str, v: i64) {
        self.attribute(name, 2, |a| a.int(3, v));
    }

    /// An integer that is an attribute of the function around the node.
    pub(crate) fn int_of_caller(&mut self, name: &str, attribute: &str) {
        self.attribute(name, 2, |a| a.string(21, attribute));
    }

    pub(crate) fn flag(&mut self, name: &str, v: bool) {
        self.int(name, v.into());
    }

    pub(crate) fn string(&mut self, name: &str, v: &str) {
        self.attribute(name, 3, |a| a.string(4, v));
    }

    pub(crate) fn tensor(&mut self, name: &str, v: &Tensor) {
        self.attribute(name, 4, |a| a.message(5, |t| tensor("", v, t)));
    }

    pub(crate) fn ints(&mut self, name: &str, v: &[i64]) {
        // Not packed: the ONNX schema is proto2.
        self.attribute(name, 7, |a| v.iter().for_each(|&x| a.int(8, x)));
    }

    pub(crate) fn sizes(&mut self, name: &str, v: &[usize]) {
        self.attribute(name, 7, |a| v.iter().for_each(|&x| a.int(8, x as i64)));
    }
}

/// The fields of a `TensorProto`.
pub(crate) fn tensor(name: &str, value: &Tensor, out: &mut Writer) {
    let raw = raw_bytes(value.data());
    raw_tensor(name, value.shape(), type_code(value.dtype()), &raw, out);
}

/// The fields of a `TensorProto` with its bytes as they are.
pub(crate) fn raw_tensor(name: &str, shape: &[usize], code: i64, raw: &[u8], out: &mut Writer) {
    for &d in shape {
        out.int(1, d as i64);
    }
    out.int(2, code);
    if !name.is_empty() {
        out.string(8, name);
    }
    out.bytes(9, raw);
}

/// The fields of a `ValueInfoProto`; an unknown dimension has neither value nor name.
pub(crate) fn value_info(name: &str, dtype: DType, shape: Option<&[Option<usize>]>, out: &mut Writer) {
    out.string(1, name);
    out.message(2, |kind| {
        kind.message(1, |t| {
            t.int(1, type_code(dtype));
            if let Some(shape) = shape {
                t.message(2, |dims| {
                    for d in shape {
                        dims.message(1, |dim| {
                            if let Some(d) = d {
                                dim.int(1, *d as i64);
                            }
                        });
                    }
                });
            }
        });
    });
}
