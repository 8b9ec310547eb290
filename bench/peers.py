#!/usr/bin/env python3
"""One engine in a process of its own: peers.py ENGINE FILE THREADS INPUT SHAPE OUTPUT NAMES…

Speaks the protocol of `lowbit bench --worker`: a line {"load_ms", "first_ms", "rss_mb", …} when loaded, then for every line N on
stdin a line {"ms": […], "rss_mb"} of N runs. Memory is the peak beyond what the process had before the engine was imported; the
time of importing Python modules is not counted as loading.
"""
import json
import os
import sys
import time
from pathlib import Path

import numpy as np


# Each yields once its modules are imported, then (run, outputs, what is known of the instructions used).
def onnxruntime(file, threads, x, names):
    import onnxruntime as rt
    yield
    options = rt.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = rt.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    io = session.io_binding()
    io.bind_ortvalue_input(session.get_inputs()[0].name, rt.OrtValue.ortvalue_from_numpy(x))
    for o in session.get_outputs():
        io.bind_output(o.name)
    yield lambda: session.run_with_iobinding(io), io.copy_outputs_to_cpu, None


def openvino(file, threads, x, names):
    import openvino as ov
    yield
    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(str(file), "CPU", config)
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(x))

    def run():
        request.start_async()
        request.wait()

    # Asked for after the first run, and the measurements of memory: it builds a graph.
    def primitives():
        kinds = {}
        for op in compiled.get_runtime_model().get_ops():
            info = {k: op.get_rt_info()[k].astype(str) for k in ("layerType", "primitiveType") if k in op.get_rt_info()}
            if info.get("layerType") in ("Convolution", "FullyConnected"):
                kinds[info["primitiveType"]] = kinds.get(info["primitiveType"], 0) + 1
        return kinds
    yield run, lambda: [request.get_output_tensor(i).data for i in range(len(compiled.outputs))], primitives


def mnn(file, threads, x, names, **config):
    import MNN
    yield
    net = MNN.Interpreter(str(file))
    session = net.createSession({"numThread": threads, "backend": "CPU", **config})
    given = net.getSessionInput(session)
    given.copyFrom(MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe))

    def outputs():
        found = net.getSessionOutputAll(session)
        for t in (found[n] for n in names):
            host = MNN.Tensor(t.getShape(), MNN.Halide_Type_Float, np.zeros(t.getShape(), np.float32),
                              MNN.Tensor_DimensionType_Caffe)
            t.copyToHostTensor(host)
            yield np.array(host.getData(), np.float32)
    yield lambda: net.runSession(session), lambda: list(outputs()), None


def ncnn(file, threads, x, names):
    import ncnn as lib
    yield
    net = lib.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.load_param(str(file.with_suffix(".param")))
    net.load_model(str(file))
    outs, found = [], net.output_names()
    order = [f"out{i}" for i in range(len(names))]
    if sorted(order) != sorted(found):
        raise RuntimeError(f"outputs {found}, not {order}")
    source = lib.Mat(x[0])

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", source)
        outs[:] = [extractor.extract(n)[1] for n in order]
    yield run, lambda: [np.array(o) for o in outs], None


# name: (engine, ending of its file, options)
PEERS = {
    "ort-f32": (onnxruntime, ".named.onnx", {}),
    "ort-u8s8": (onnxruntime, ".ort-u8s8.onnx", {}),
    "ov-f32": (openvino, ".named.onnx", {}),
    "ov-int8": (openvino, ".ov-int8.xml", {}),
    "mnn-f32": (mnn, ".mnn-f32.mnn", {"precision": "high"}),
    "mnn-w8": (mnn, ".mnn-w8.mnn", {"precision": "normal", "memory": "low"}),
    "ncnn-f32": (ncnn, ".ncnn.bin", {}),
}


def status_mb(key):
    return next(int(v.split()[1]) for v in open("/proc/self/status") if v.startswith(key)) / 1024


def main():
    peer, file, threads, given, shape, output, *names = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is not the protocol
    engine, _, options = PEERS[peer]
    x = np.fromfile(given, np.float32).reshape(json.loads(shape))
    base = status_mb("VmRSS")
    steps = engine(Path(file), int(threads), x, names, **options)
    next(steps)
    start = time.perf_counter()
    run, outputs, instructions = next(steps)
    load = time.perf_counter() - start
    run()
    first = time.perf_counter() - start
    np.concatenate([np.asarray(o, np.float32).ravel() for o in outputs()]).tofile(output)
    most = [status_mb("VmHWM")]

    def say(**what):
        print(json.dumps(dict(what, rss_mb=most[0] - base)), file=out, flush=True)
    say(load_ms=load * 1e3, first_ms=first * 1e3, instructions=instructions() if instructions else None)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        say(ms=times)


if __name__ == "__main__":
    main()
