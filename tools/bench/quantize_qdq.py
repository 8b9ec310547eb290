#!/usr/bin/env python3
"""int8 files for the peers: quantize_qdq.py IN.onnx OUT.onnx HEAD.json PICTURES [COUNT]. onnxruntime's static quantizer, per channel, u8
activations and s8 weights, min-max over the first pictures: convolutions, and what adds, joins or moves codes between them."""
import glob
import os
import sys

import onnx
import picture
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Reader(CalibrationDataReader):
    def __init__(self, name, head, paths):
        self.items = iter(paths)
        self.name, self.head = name, head

    def get_next(self):
        path = next(self.items, None)
        if path is None:
            return None
        return {self.name: picture.tensor(path, self.head)}


def main():
    source, target, head, folder = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 8
    name = onnx.load(source).graph.input[0].name
    paths = sorted(glob.glob(os.path.join(folder, "**", "*.jpg"), recursive=True))[:count]
    quantize_static(
        source,
        target,
        Reader(name, head, paths),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Concat", "MaxPool", "Resize", "Mul", "LeakyRelu"],
    )


main()
