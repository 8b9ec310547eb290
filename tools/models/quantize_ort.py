#!/usr/bin/env python3
"""Third-party quantized models: onnxruntime's static quantizer in QDQ form over the small nets.

    python tools/models/quantize_ort.py          (onnx 1.23, onnxruntime 1.32; after export_torch.py)
"""
import logging
import os
import tempfile

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from golden import FOLDER, picture, save

logging.disable(logging.WARNING)


class Pictures(CalibrationDataReader):
    """A dozen seeded pictures."""

    def __init__(self, shape):
        self.left = iter([{"images": picture(*shape, seed=100 + i)} for i in range(12)])

    def get_next(self):
        return next(self.left, None)


def quantize(source, name, shape, **options):
    with tempfile.TemporaryDirectory() as folder:
        ready, out = os.path.join(folder, "ready.onnx"), os.path.join(folder, "out.onnx")
        quant_pre_process(os.path.join(FOLDER, source + ".onnx"), ready, skip_symbolic_shape=True)
        quantize_static(ready, out, Pictures(shape), quant_format=QuantFormat.QDQ, **options)
        model = onnx.load(out)
    save(name, model, {"images": picture(*shape, seed=8)})


def main():
    u8, i8 = QuantType.QUInt8, QuantType.QInt8
    small, large = (1, 3, 32, 32), (1, 3, 64, 64)
    quantize("dynamo_conv_bn_silu", "qdq_u8_per_channel", small, activation_type=u8, weight_type=i8, per_channel=True)
    quantize("dynamo_conv_bn_silu", "qdq_i8", small, activation_type=i8, weight_type=i8, per_channel=True,
             extra_options={"ActivationSymmetric": True})
    quantize("dynamo_focus", "qdq_u8_per_tensor", small, activation_type=u8, weight_type=u8, per_channel=False)
    quantize("dynamo_yolov5_raw", "qdq_yolov5_raw", large, activation_type=u8, weight_type=i8, per_channel=True)


main()
