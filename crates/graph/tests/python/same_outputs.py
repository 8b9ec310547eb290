"""same_outputs.py TOLERANCE[:plain] A B [A B …]: onnx.checker passes B, and onnxruntime gives the same outputs for A and B.

`plain` turns onnxruntime's optimizer off. Inputs are seeded noise, unknown dimensions 1. The largest difference of each pair is printed; above TOLERANCE (0: equal
bytes), or another output name, type or shape, exits with 1.
"""
import sys

import numpy as np
import onnx
import onnxruntime as ort

ort.set_default_logger_severity(3)
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def run(path, plain):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {}
    for i in session.get_inputs():
        rng = np.random.default_rng(7)
        shape = [d if isinstance(d, int) else 1 for d in i.shape]
        # Float16 models are read as float32: both get the numbers that float16 holds.
        x = rng.uniform(-1, 1, shape).astype(np.float16)
        feed[i.name] = x.astype(TYPES[i.type])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))


def main():
    tolerance, _, plain = sys.argv[1].partition(":")
    tolerance, paths, bad = float(tolerance), sys.argv[2:], 0
    for a, b in zip(paths[::2], paths[1::2]):
        onnx.checker.check_model(b, full_check=True)
        want, have = run(a, plain), run(b, plain)
        worst = 0.0
        if list(want) != list(have):
            print(b, "outputs", list(want), list(have))
            bad = 1
            continue
        for name, w in want.items():
            h = have[name]
            if w.shape != h.shape:
                print(b, name, "shape", w.shape, h.shape)
                bad = 1
                continue
            scale = max(1.0, float(np.abs(w.astype(np.float64)).max(initial=0)))
            worst = max(worst, float(np.abs(w.astype(np.float64) - h.astype(np.float64)).max(initial=0)) / scale)
        print(f"{b}: {worst:.3g}")
        bad |= not worst <= tolerance
    sys.exit(bad)


main()
