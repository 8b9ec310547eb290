#!/usr/bin/env python3
"""A worker for by_turns.py: worker.py ENGINE MODEL.onnx THREADS INPUT.bin OUTPUT.bin, ENGINE onnxruntime or openvino."""
import json
import sys
import time

import numpy as np


def onnxruntime(model, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in given.shape]
    return shape, lambda x: session.run(None, {given.name: x})


def openvino(model, threads):
    import openvino as ov

    core = ov.Core()
    net = core.read_model(model)
    shape = [d.get_length() if d.is_static else 1 for d in net.input(0).partial_shape]
    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(net, "CPU", config).create_infer_request()

    def run(x):
        request.infer([x], share_inputs=True)
        return [t.data for t in request.output_tensors]

    return shape, run


def main():
    engine, model, threads, given, output = sys.argv[1:]
    start = time.perf_counter()
    shape, run = {"onnxruntime": onnxruntime, "openvino": openvino}[engine](model, int(threads))
    load = time.perf_counter() - start
    x = np.fromfile(given, np.float32).reshape(shape)
    np.concatenate([y.astype(np.float32).ravel() for y in run(x)]).tofile(output)
    first = time.perf_counter() - start
    print(json.dumps({"load_ms": load * 1e3, "first_ms": first * 1e3}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run(x)
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps({"ms": times}), flush=True)


main()
