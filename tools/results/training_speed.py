"""Times of training steps beside PyTorch's: the table of docs/results/training_speed.md.

    python tools/results/training_speed.py STEP_SPEED_BINARY [rounds] [net …] [--quantize]

The nets are written as ONNX and run by both: PyTorch (float32, channels-last, one thread) through tools/goldens/train_torch.py's
interpreter, and the example `step_speed`. Process CPU milliseconds, medians of interleaved rounds. Needs torch, onnx, numpy.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../goldens"))

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

import train_torch

BATCH = 16
# 8-bit fake quantizers behind every activation and sum, on both sides.
QUANTIZE = "--quantize" in sys.argv


class Builder:
    def __init__(self, shape):
        self.random = np.random.default_rng(7)
        self.nodes, self.constants, self.outputs = [], [], []
        self.channels = {"x": shape[0]}
        self.shape = shape

    def node(self, op, inputs, channels, **attributes):
        y = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [y], name=y, **attributes))
        self.channels[y] = channels
        return y

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def conv(self, x, cout, k, s, g=1, bias=False):
        fan = self.channels[x] // g * k * k
        bound = (6 / fan) ** 0.5
        inputs = [x, self.constant(self.random.uniform(-bound, bound, (cout, self.channels[x] // g, k, k)).astype(np.float32))]
        if bias:
            inputs.append(self.constant(np.zeros(cout, np.float32)))
        p = k // 2
        return self.node("Conv", inputs, cout, kernel_shape=[k, k], strides=[s, s], pads=[p] * 4, group=g)

    def cbr(self, x, cout, k, s, g=1, act="Relu"):
        y = self.conv(x, cout, k, s, g)
        ones, zeros = np.ones(cout, np.float32), np.zeros(cout, np.float32)
        y = self.node("BatchNormalization", [y] + [self.constant(c) for c in (ones, zeros, zeros, ones)], cout)
        if act == "Relu6":
            return self.node("Clip", [y, self.constant(np.float32(0)), self.constant(np.float32(6))], cout)
        return self.node(act, [y], cout) if act else y

    def up(self, x):
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.node("Resize", [x, "", scales], self.channels[x], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def model(self):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "net", [info("x", 1, [BATCH, *self.shape])], [info(o, 1, None) for o in self.outputs], self.constants
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def resnet20():
    b = Builder((3, 32, 32))
    x = b.cbr("x", 16, 3, 1)
    for stage, c in enumerate((16, 32, 64)):
        for block in range(3):
            s = 2 if stage and not block else 1
            y = b.cbr(b.cbr(x, c, 3, s), c, 3, 1, act=None)
            x = b.node("Relu", [b.node("Add", [y, b.cbr(x, c, 1, 2, act=None) if s == 2 else x], c)], c)
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x], 64)], 64)
    weight = b.constant(b.random.uniform(-0.2, 0.2, (10, 64)).astype(np.float32))
    b.outputs = [b.node("Gemm", [x, weight, b.constant(np.zeros(10, np.float32))], 10, transB=1)]
    return b.model()


def mbv2yolo():
    b = Builder((3, 160, 160))
    x, features = b.cbr("x", 32, 3, 2, act="Relu6"), []
    for e, c, repeats, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(repeats):
            stride, cin = (s if i == 0 else 1), b.channels[x]
            y = b.cbr(x, cin * e, 1, 1, act="Relu6") if e > 1 else x
            y = b.cbr(b.cbr(y, cin * e, 3, stride, cin * e, act="Relu6"), c, 1, 1, act=None)
            x = b.node("Add", [x, y], c) if stride == 1 and cin == c else y
        if c in (32, 96, 320):
            features.append(x)
    p5 = b.cbr(features[2], 96, 1, 1, act="Relu6")
    p4 = b.cbr(b.node("Concat", [b.up(p5), features[1]], 192, axis=1), 96, 1, 1, act="Relu6")
    p3 = b.cbr(b.node("Concat", [b.up(p4), features[0]], 128, axis=1), 96, 1, 1, act="Relu6")
    for p in (p3, p4, p5):
        d = b.cbr(b.cbr(p, 96, 3, 1, 96, act="Relu6"), 96, 1, 1, act="Relu6")
        b.outputs.append(b.conv(d, 75, 1, 1, bias=True))
    return b.model()


def stack64():
    b = Builder((64, 40, 40))
    x = "x"
    for i in range(6):
        x = b.conv(x, 64, 3, 1, bias=True)
        x = b.node("Relu", [x], 64) if i < 5 else x
    b.outputs = [x]
    return b.model()


class Torch(train_torch.Net):
    """The interpreter in float32, with padding given to the convolution and channels-last memory."""

    def __init__(self, model):
        super().__init__(model)
        for name, p in self.parameters.items():
            p = p.detach().float()
            p = p.contiguous(memory_format=torch.channels_last) if p.ndim == 4 else p
            self.parameters[name] = p.requires_grad_(True)
        self.momenta = torch.optim.SGD(self.parameters.values(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
        shape = [d.dim_value for d in self.graph.input[0].type.tensor_type.shape.dim]
        x = train_torch.pattern(int(np.prod(shape))).astype(np.float32).reshape(shape)
        self.x = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        self.running = {}
        # Constants as they are: the parent converts to float64.
        self.plan = [(n, train_torch.attributes(n), list(n.input), list(n.output)) for n in self.graph.node]

    def step(self):
        v = dict(self.constants)
        v.update(self.parameters)
        v["x"] = self.x
        for node, a, inputs, outputs in self.plan:
            i = [v[n] if n else None for n in inputs]
            y = self.fast(node.op_type, a, i)
            if QUANTIZE and node.op_type in ("Relu", "Clip", "Add"):
                y = torch.fake_quantize_per_tensor_affine(y, 0.05, 128 if node.op_type == "Add" else 0, 0, 255)
            v[outputs[0]] = y
        loss = sum((v[o.name] ** 2).mean() / 2 for o in self.graph.output)
        self.momenta.zero_grad(set_to_none=True)
        loss.backward()
        self.momenta.step()
        return float(loss.detach())

    def fast(self, op, a, i):
        F = torch.nn.functional
        if op == "Conv":
            return F.conv2d(i[0], i[1], i[2] if len(i) > 2 else None, a["strides"], a["pads"][:2], 1, a["group"])
        if op == "BatchNormalization":
            return F.batch_norm(i[0], i[3].clone(), i[4].clone(), i[1], i[2], True, 0.1, 1e-5)
        if op == "Clip":
            return F.relu6(i[0])
        if op == "Relu":
            return F.relu(i[0])
        if op == "Resize":
            return F.interpolate(i[0], scale_factor=2, mode="nearest")
        return self.node(op, a, i, 1)


def main(binary, rounds, names):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            model = {"resnet20": resnet20, "mbv2yolo": mbv2yolo, "stack64": stack64}[name]()
            path = os.path.join(folder, f"{name}.onnx")
            onnx.save(model, path)
            net = Torch(model)
            losses = [net.step() for _ in range(3)]
            theirs, ours = [], []
            for _ in range(rounds):
                times = []
                for _ in range(4):
                    start = time.process_time()
                    net.step()
                    times.append((time.process_time() - start) * 1e3)
                theirs.append(statistics.median(times))
                out = subprocess.run([binary, path, str(BATCH), "4", "1"] + ["--quantize"] * QUANTIZE, capture_output=True, text=True, check=True).stdout
                ours.append(float(out.split()[1]))
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"{name}: ours {a:.1f} ms, PyTorch {torch.__version__} channels-last {b:.1f} ms, ratio {a / b:.2f}  rounds {ours} {theirs}", flush=True)
            print(f"   losses {losses}, ours {out.split('losses')[1].strip()}, our peak {out.split()[5]} MiB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3, [a for a in sys.argv[3:] if a[0] != "-"] or ["resnet20", "mbv2yolo", "stack64"])
