"""A small model and what an independent runtime computes for it, written side by side.

NAME.onnx and NAME.golden: "golden01", u32 inputs, tensors, u32 outputs, tensors; a tensor as tools/node_tests/dump.py writes it.
"""
import os
import struct
import sys

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "node_tests"))
from dump import tensor  # noqa: E402

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "crates", "graph", "tests", "models")
LARGEST = 100_000


def run(model, inputs):
    """Outputs by onnxruntime, without the rewrites that would change rounding."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run([o.name for o in session.get_outputs()], inputs)


def save(name, model, inputs, golden_model=None, external=False):
    """Writes the model and its golden file; `golden_model` computes the outputs where it is another one."""
    path = os.path.join(FOLDER, name + ".onnx")
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.producer_name = model.producer_name or "lowbit/tools/models"
    strip(model.graph)
    if external:
        onnx.save_model(model, path, save_as_external_data=True, location=name + ".data", size_threshold=256)
        outputs = run(path, inputs)
    else:
        onnx.save(model, path)
        outputs = run(golden_model or model, inputs)
    assert os.path.getsize(path) < LARGEST, (name, os.path.getsize(path))
    infos = [o.name for o in model.graph.output]
    with open(os.path.join(FOLDER, name + ".golden"), "wb") as f:
        f.write(b"golden01" + struct.pack("<I", len(inputs)))
        for key, value in inputs.items():
            f.write(tensor(key, value))
        f.write(struct.pack("<I", len(outputs)))
        for key, value in zip(infos, outputs):
            f.write(tensor(key, np.asarray(value)))
    opset = {o.domain: o.version for o in model.opset_import}
    print(f"{name:28} {os.path.getsize(path):6} bytes  ir {model.ir_version}  opset {opset}  nodes {len(model.graph.node)}"
          f"  outputs {[tuple(np.asarray(o).shape) for o in outputs]}")


def strip(graph):
    """Takes off what only describes the exporter's machine: source lines and its paths."""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*graph.value_info, *graph.input, *graph.output]:
        del value.metadata_props[:]
    del graph.metadata_props[:]


def picture(*shape, seed=0):
    """Seeded values in the range of a normalised picture."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)
