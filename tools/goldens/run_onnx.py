"""What onnxruntime computes: run_onnx.py MODEL INPUT.f32 OUTPUTS.bin

The input file holds raw little-endian f32 of the model's one input, dynamic dimensions taken as 1. float16 models are cast to
f32 first, as lowbit casts them. OUTPUTS.bin: "golden01", u32 0, u32 outputs, tensors as tools/node_tests/dump.py writes them.
"""
import os
import struct
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "node_tests"))
from dump import tensor  # noqa: E402


def widened(t):
    """A float16 tensor as f32; others as they are."""
    if t.data_type != TensorProto.FLOAT16:
        return t
    return numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float32), t.name)


def cast_to_f32(model):
    for initializer in model.graph.initializer:
        initializer.CopyFrom(widened(initializer))
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                attribute.t.CopyFrom(widened(attribute.t))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT


def main(path, source, target):
    model = onnx.load(path)
    cast_to_f32(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (info,) = session.get_inputs()
    shape = [d if isinstance(d, int) else 1 for d in info.shape]
    x = np.fromfile(source, np.float32).reshape(shape)
    names = [o.name for o in session.get_outputs()]
    outputs = session.run(names, {info.name: x})
    with open(target, "wb") as f:
        f.write(b"golden01" + struct.pack("<II", 0, len(outputs)))
        for name, value in zip(names, outputs):
            f.write(tensor(name, np.asarray(value)))


if __name__ == "__main__":
    main(*sys.argv[1:])
