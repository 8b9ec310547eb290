#!/usr/bin/env python3
"""Writes a classifier with ResNet-50's layers (25.5 million weights, BatchNorm folded, 224 × 224) and seeded random weights: for time and memory.

    python tools/models/build_resnet50.py OUT.onnx [SEED]

OUT.json, the head description, goes beside it. The last convolution of each block is scaled down so that values neither grow nor die.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    def __init__(self, seed):
        self.random, self.nodes, self.constants, self.count = np.random.default_rng(seed), [], [], 0

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(self, op, inputs, **attributes):
        self.count += 1
        out = f"{op.lower()}{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=f"n_{out}", **attributes))
        return out

    def conv(self, x, n_in, n_out, kernel, stride=1, gain=1.0, relu=True):
        name = f"c{self.count + 1}"
        deviation = gain * (2 / (n_in * kernel * kernel)) ** 0.5
        # Channels differ, as BatchNorm's factors make them.
        spread = self.random.uniform(0.5, 1.5, (n_out, 1, 1, 1))
        w = self.random.normal(0, deviation, (n_out, n_in, kernel, kernel)) * spread
        inputs = [x, self.constant(name + ".w", w), self.constant(name + ".b", self.random.normal(0, 0.1, n_out))]
        pad = kernel // 2
        y = self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        return self.node("Relu", [y]) if relu else y


def main():
    out = pathlib.Path(sys.argv[1])
    net = Network(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    x = net.conv("images", 3, 64, 7, 2)
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for stage, (inner, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = net.conv(net.conv(x, width, inner, 1), inner, inner, 3, stride)
            y = net.conv(y, inner, 4 * inner, 1, gain=0.3, relu=False)
            short = x if block else net.conv(x, width, 4 * inner, 1, stride, relu=False, gain=0.7)
            x, width = net.node("Relu", [net.node("Add", [y, short])]), 4 * inner
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    w = net.constant("fc.w", net.random.normal(0, width ** -0.5, (1000, width)))
    x = net.node("Gemm", [x, w, net.constant("fc.b", np.zeros(1000))], transB=1)
    port = helper.make_tensor_value_info
    graph = helper.make_graph(net.nodes, "resnet50", [port("images", TensorProto.FLOAT, [1, 3, 224, 224])],
                              [port(x, TensorProto.FLOAT, [1, 1000])], net.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, out)
    head = {"name": "resnet50", "family": "classifier", "output": x, "classes": [f"class{i}" for i in range(1000)],
            "input": {"name": "images", "width": 224, "height": 224, "color": "RGB", "layout": "NCHW", "scale": 1 / 58.4,
                      "mean": [2.12, 2.0, 1.77], "std": [1, 1, 1], "resize": "stretch"}}
    out.with_suffix(".json").write_text(json.dumps(head, indent=1) + "\n")
    print(sum(np.prod(c.dims) for c in net.constants), "numbers")


if __name__ == "__main__":
    main()
