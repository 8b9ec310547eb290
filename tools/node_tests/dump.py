#!/usr/bin/env python3
"""The ONNX project's own operator tests, as one flat file that the Rust tests read.

    python tools/node_tests/dump.py OUT.bin

The cases are made by the package `onnx` (onnx.backend.test.case.node, seeded there) or lie in it
(onnx/backend/test/data: simple, pytorch-converted, pytorch-operator). Nothing of them is stored in this repository.

OUT.bin, little endian; text is u32 length + UTF-8, bytes are u32 length + bytes:
    "nodetst1"  u32 cases, then for each case
        text    name
        u32     operators: text each, "Name" or "domain:Name"; functions are not unfolded
        bytes   model
        f32     relative tolerance of the case
        u32     data sets, for each: u32 inputs, tensors; u32 outputs, tensors
    tensor: text name, text type, u32 rank, u64 each dimension, bytes row-major data
        type is a numpy name; float16 and bfloat16 come widened to float32, 4- and 2-bit integers to 8 bits (the type still
        tells). Type "-" (no data) is a sequence, an optional, a string or float8: nothing that lowbit has.
"""
import contextlib
import glob
import os
import struct
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

warnings.filterwarnings("ignore")

PLAIN = {"float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"}
WIDENED = {
    "float16": np.float32,
    "bfloat16": np.float32,
    "int4": np.int8,
    "int2": np.int8,
    "uint4": np.uint8,
    "uint2": np.uint8,
}
FIRST_OUTPUT = {"LayerNormalization", "MaxPool", "Dropout"}


def text(s):
    raw = s.encode()
    return struct.pack("<I", len(raw)) + raw


def tensor(name, value):
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if not isinstance(value, np.ndarray | np.generic):
        return text(name) + text("-") + struct.pack("<II", 0, 0)
    value = np.asarray(value)
    kind = value.dtype.name
    if kind in WIDENED:
        value = value.astype(WIDENED[kind])
    elif kind not in PLAIN:
        return text(name) + text("-") + struct.pack("<II", 0, 0)
    raw = np.ascontiguousarray(value).tobytes()
    return (
        text(name)
        + text(kind)
        + struct.pack(f"<I{value.ndim}Q", value.ndim, *value.shape)
        + struct.pack("<I", len(raw))
        + raw
    )


def case(name, model, sets, rtol):
    ops = sorted({f"{n.domain}:{n.op_type}" if n.domain else n.op_type for n in model.graph.node})
    raw = model.SerializeToString()
    out = text(name) + struct.pack("<I", len(ops)) + b"".join(map(text, ops))
    out += struct.pack("<I", len(raw)) + raw + struct.pack("<fI", rtol, len(sets))
    for inputs, outputs in sets:
        for infos, values in ((model.graph.input, inputs), (model.graph.output, outputs)):
            out += struct.pack("<I", len(values))
            for info, value in zip(infos, values):
                out += tensor(info.name, value)
    return out


def generated():
    from onnx.backend.test.case.node import collect_testcases

    for c in collect_testcases(None):
        yield c.name, case(c.name, c.model, c.data_sets, c.rtol)
        # The second output of these serves training alone; the first is tested by itself too.
        if len(c.model.graph.output) > 1 and c.model.graph.node[0].op_type in FIRST_OUTPUT:
            model = onnx.ModelProto.FromString(c.model.SerializeToString())
            del model.graph.output[1:]
            del model.graph.node[0].output[1:]
            sets = [(inputs, outputs[:1]) for inputs, outputs in c.data_sets]
            name = f"{c.name}/first_output"
            yield name, case(name, model, sets, c.rtol)


def load(path, info):
    with open(path, "rb") as f:
        raw = f.read()
    if not info.type.HasField("tensor_type"):
        return None
    return numpy_helper.to_array(onnx.TensorProto.FromString(raw))


def stored():
    root = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for folder in sorted(glob.glob(os.path.join(root, kind, "*", ""))):
            model = onnx.load(os.path.join(folder, "model.onnx"))
            # They are of opset 6; where the package can lift them, the recorded results stay valid. (PRelu changed how it broadcasts.)
            if "PReLU" not in folder:
                with contextlib.suppress(Exception):
                    model = version_converter.convert_version(model, 13)
            sets = []
            for d in sorted(glob.glob(os.path.join(folder, "test_data_set_*"))):
                values = []
                for what, infos in (("input", model.graph.input), ("output", model.graph.output)):
                    n = len(glob.glob(os.path.join(d, f"{what}_*.pb")))
                    values.append([load(os.path.join(d, f"{what}_{i}.pb"), infos[i]) for i in range(n)])
                sets.append(values)
            name = f"{kind}/{os.path.basename(os.path.dirname(folder))}"
            yield name, case(name, model, sets, 1e-3)


def main():
    cases = sorted([*generated(), *stored()])
    with open(sys.argv[1], "wb") as f:
        f.write(b"nodetst1" + struct.pack("<I", len(cases)))
        for _, raw in cases:
            f.write(raw)


if __name__ == "__main__":
    main()
