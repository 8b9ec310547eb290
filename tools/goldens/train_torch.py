"""Losses and gradients of whole nets by PyTorch: golden files of crates/train/tests/nets.rs.

    python tools/goldens/train_torch.py MODEL.onnx BATCH RATE OUT.json [VALUE CHANNEL ROW COLUMN FACTOR]

Interprets the ONNX graph with PyTorch's operators in float64 (BatchNormalization in training mode), loss = sum over outputs of
mean(y²) / 2, plain SGD steps. Stores three losses and, of the first step, each gradient's norm and its product with a fixed
pattern of signs, by the name of the node that reads the parameter; and how far PyTorch's own float32 is from that, relative to the
norms: BatchNormalization over small batches amplifies rounding. Where two numbers of a pool's window are equal but for rounding, the last five
arguments multiply one of them, in the inner value VALUE, by FACTOR: the gradients that change by more than 1e-3 of their norm go into "ties", as they
are when the other wins. Needs torch, onnx, numpy.
"""

import json
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


def pattern(n):
    """Numbers in 0..1 that the test makes in the same way."""
    i = np.arange(n, dtype=np.uint64)
    return (((i * 2654435761 + 12345) % 2**32) >> 8).astype(np.float64) / 2**24


def signs(n):
    i = np.arange(n, dtype=np.uint64)
    return 1.0 - 2.0 * ((((i * 2246822519 + 7) % 2**32) >> 16) & 1).astype(np.float64)


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class Net:
    def __init__(self, model, dtype=torch.float64, nudge=None):
        self.dtype = dtype
        self.nudge = nudge
        self.graph = model.graph
        self.constants, self.parameters, self.kinds = {}, {}, {}
        for t in self.graph.initializer:
            self.constants[t.name] = torch.from_numpy(np.array(numpy_helper.to_array(t)))
        for node in self.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = torch.from_numpy(np.array(numpy_helper.to_array(attributes(node)["value"])))
            if node.op_type == "Cast" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
        for node in self.graph.node:
            name = node.name or node.output[0]
            if node.op_type in ("Conv", "Gemm", "ConvTranspose"):
                self.parameter(node.input[1], f"{name}:weight")
                if len(node.input) > 2 and node.input[2]:
                    self.parameter(node.input[2], f"{name}:bias")
            if node.op_type == "BatchNormalization":
                self.parameter(node.input[1], f"{name}:scale")
                self.parameter(node.input[2], f"{name}:shift")

    def parameter(self, value, kind):
        if value not in self.parameters:
            self.parameters[value] = self.constants[value].to(self.dtype, copy=True).requires_grad_(True)
            self.kinds[value] = kind

    def forward(self, x):
        v = {k: (t.to(self.dtype) if t.is_floating_point() else t) for k, t in self.constants.items()}
        v.update(self.parameters)
        v[self.graph.input[0].name] = x
        for node in self.graph.node:
            if all(o in v for o in node.output):
                continue
            i = [v[n] if n else None for n in node.input]
            out = self.node(node.op_type, attributes(node), i, len(node.output))
            for name, value in zip(node.output, out if isinstance(out, (list, tuple)) else [out]):
                v[name] = value
                if self.nudge and name == self.nudge[0]:
                    factors = torch.ones_like(value)
                    factors[0, int(self.nudge[1]), int(self.nudge[2]), int(self.nudge[3])] = float(self.nudge[4])
                    v[name] = value * factors
        return [v[o.name] for o in self.graph.output]

    def node(self, op, a, i, outputs):
        x = i[0]
        if op == "Conv":
            pads = a.get("pads", [0, 0, 0, 0])
            x = F.pad(x, (pads[1], pads[3], pads[0], pads[2]))
            return F.conv2d(x, i[1], i[2] if len(i) > 2 else None, a.get("strides", [1, 1]), 0, a.get("dilations", [1, 1]), a.get("group", 1))
        if op == "BatchNormalization":
            return F.batch_norm(x, None, None, i[1], i[2], True, 0.1, a.get("epsilon", 1e-5))
        if op == "Gemm":
            return F.linear(x, i[1] if a.get("transB") else i[1].T, i[2])
        if op in ("Relu", "Sigmoid", "Exp", "Tanh"):
            return getattr(torch, op.lower())(x)
        if op == "LeakyRelu":
            return F.leaky_relu(x, a.get("alpha", 0.01))
        if op == "Clip":
            return torch.clamp(x, float(i[1]), float(i[2]))
        if op in ("Add", "Sub", "Mul", "Div", "Pow"):
            return getattr(torch, op.lower().replace("div", "true_divide"))(x, i[1])
        if op == "MaxPool":
            p = a.get("pads", [0, 0, 0, 0])
            x = F.pad(x, (p[1], p[3], p[0], p[2]), value=-np.inf)
            return F.max_pool2d(x, a["kernel_shape"], a.get("strides", [1, 1]))
        if op == "AveragePool":
            p = a.get("pads", [0, 0, 0, 0])
            assert p[:2] == p[2:]
            return F.avg_pool2d(x, a["kernel_shape"], a.get("strides", [1, 1]), p[:2], False, bool(a.get("count_include_pad", 0)))
        if op == "GlobalAveragePool":
            return x.mean((2, 3), keepdim=True)
        if op == "Concat":
            return torch.cat(i, a["axis"])
        if op == "Split":
            sizes = i[1].tolist() if len(i) > 1 else a.get("split", [x.shape[a.get("axis", 0)] // outputs] * outputs)
            return torch.split(x, sizes, a.get("axis", 0))
        if op == "Slice":
            axes = i[3].tolist() if len(i) > 3 else list(range(len(i[1])))
            steps = i[4].tolist() if len(i) > 4 else [1] * len(axes)
            where = [slice(None)] * x.ndim
            for axis, s, e, t in zip(axes, i[1].tolist(), i[2].tolist(), steps):
                where[axis] = slice(s, e, t)
            return x[tuple(where)]
        if op == "Pad":
            pads, n = i[1].tolist(), x.ndim
            flat = [p for axis in reversed(range(n)) for p in (pads[axis], pads[n + axis])]
            return F.pad(x, flat)
        if op == "Resize":
            size = [int(np.floor(s * f)) for s, f in zip(x.shape[2:], i[2].tolist()[2:])] if len(i) < 4 or i[3] is None else i[3].tolist()[2:]
            mode = a.get("mode", b"nearest").decode()
            if mode == "nearest":
                return F.interpolate(x, size, mode="nearest")
            corners = a.get("coordinate_transformation_mode") == b"align_corners"
            return F.interpolate(x, size, mode="bilinear", align_corners=corners)
        if op in ("Reshape", "Flatten"):
            if op == "Flatten":
                return x.flatten(a.get("axis", 1))
            shape = [x.shape[k] if d == 0 else d for k, d in enumerate(i[1].tolist())]
            return x.reshape(shape)
        if op == "Transpose":
            return x.permute(a["perm"])
        if op == "Softmax":
            return torch.softmax(x, a.get("axis", -1))
        if op == "Gather":
            index = i[1]
            return torch.index_select(x, a["axis"], index.reshape(-1)) if index.ndim else torch.select(x, a["axis"], int(index))
        if op == "Shape":
            return torch.tensor(x.shape)
        if op == "Unsqueeze":
            axes = i[1].tolist() if len(i) > 1 else a["axes"]
            for axis in sorted(axes):
                x = x.unsqueeze(axis)
            return x
        if op == "Cast":
            return x
        raise SystemExit(f"no {op}")


def run(model, batch, rate, dtype, nudge=None):
    net = Net(model, dtype, nudge)
    shape = [d.dim_value for d in net.graph.input[0].type.tensor_type.shape.dim]
    shape[0] = batch
    x = torch.from_numpy(pattern(int(np.prod(shape))).astype(np.float32)).to(dtype).reshape(shape)
    losses, gradients = [], {}
    for step in range(3):
        loss = sum((y * y).mean() / 2 for y in net.forward(x))
        losses.append(float(loss.detach()))
        for p in net.parameters.values():
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for value, p in net.parameters.items():
                if p.grad is None:
                    continue
                if step == 0:
                    g = p.grad.double().numpy().reshape(-1)
                    gradients[net.kinds[value]] = [float(np.linalg.norm(g)), float(g @ signs(g.size))]
                p -= rate * p.grad
    return losses, gradients


def main(path, batch, rate, out, nudge):
    model = onnx.load(path)
    losses, gradients = run(model, batch, rate, torch.float64)
    losses32, gradients32 = run(model, batch, rate, torch.float32)
    floor = 1e-5 * max(norm for norm, _ in gradients.values())
    deviation = max(abs(a - b) / max(norm, floor) for k, (norm, product) in gradients.items() for a, b in zip(gradients32[k], (norm, product)))
    golden = {"torch": torch.__version__, "batch": batch, "rate": rate, "losses": losses, "losses_float32": losses32}
    golden |= {"deviation_float32": deviation, "floor": floor, "gradients": gradients}
    if nudge:
        other = run(model, batch, rate, torch.float64, nudge)[1]
        far = {k: max(abs(a - b) for a, b in zip(other[k], gradients[k])) / max(gradients[k][0], floor) for k in gradients}
        golden["ties"] = {k: other[k] for k, distance in far.items() if distance > 1e-3}
    with open(out, "w") as f:
        json.dump(golden, f, indent=0)
    print(path, losses, losses32, deviation, len(gradients))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5:])
