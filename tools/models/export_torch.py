#!/usr/bin/env python3
"""Small detectors' parts, exported by both exporters of PyTorch.

    python tools/models/export_torch.py          (torch 2.14, onnxscript 0.7, onnxruntime 1.32)

Run once; the files are committed in crates/graph/tests/models. Weights are seeded, BatchNorm has statistics that do something.
"""
import io
import warnings

import onnx
import torch
from torch import nn

from golden import picture, save

warnings.filterwarnings("ignore")


class Block(nn.Module):
    def __init__(self, i, o, k=3, s=1, act=nn.SiLU):
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, s, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(o)
        self.act = act()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class ConvBnSilu(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Block(3, 8, s=2)
        self.b = Block(8, 8, act=lambda: nn.LeakyReLU(0.1))
        self.c = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.d = Block(8, 4, k=1, act=nn.Hardswish)

    def forward(self, x):
        a = self.a(x)
        return self.d(nn.functional.relu6(self.c(self.b(a) + a)))


class Focus(nn.Module):
    """YOLOv5's slices, pools of SPPF, Upsample and Concat of a neck."""

    def __init__(self):
        super().__init__()
        self.stem = Block(12, 8)
        self.down = Block(8, 8, s=2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.smooth = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.out = nn.Conv2d(40, 6, 1)

    def forward(self, x):
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        x = self.stem(x)
        y = self.down(x)
        p = self.pool(y)
        y = torch.cat([y, p, self.pool(p)], 1)
        y = torch.cat([self.up(y), x, self.smooth(p)], 1)
        left, right = torch.chunk(self.out(y), 2, 1)
        return torch.cat([left.sigmoid(), nn.functional.pad(right, (0, 0, 0, 0)).tanh()], 1).flatten(2).transpose(1, 2)


class Yolov5Raw(nn.Module):
    """Three strides, three raw maps [N, anchors, H, W, 5 + classes] as YOLOv5 exports them without decode."""

    def __init__(self, anchors=3, classes=2):
        super().__init__()
        self.shape = anchors, classes + 5
        self.s8 = nn.Sequential(Block(3, 4, s=2), Block(4, 4, s=2), Block(4, 8, s=2))
        self.s16, self.s32 = Block(8, 8, s=2), Block(8, 8, s=2)
        self.heads = nn.ModuleList(nn.Conv2d(8, anchors * (classes + 5), 1) for _ in range(3))

    def forward(self, x):
        out = []
        for head, stage in zip(self.heads, (self.s8, self.s16, self.s32)):
            x = stage(x)
            y = head(x)
            b, _, h, w = y.shape
            out.append(y.view(b, *self.shape, h, w).permute(0, 1, 3, 4, 2).contiguous())
        return tuple(out)


class Yolov8(nn.Module):
    """Anchor-free head with its decode in the graph: DFL as Softmax and 1x1 Conv, boxes in pixels, scores as sigmoid."""

    def __init__(self, classes=3, bins=8, size=64):
        super().__init__()
        self.bins, self.classes = bins, classes
        self.s8 = nn.Sequential(Block(3, 4, s=2), Block(4, 4, s=2), Block(4, 8, s=2))
        self.s16 = Block(8, 8, s=2)
        self.box = nn.ModuleList(nn.Conv2d(8, 4 * bins, 1) for _ in range(2))
        self.cls = nn.ModuleList(nn.Conv2d(8, classes, 1) for _ in range(2))
        self.dfl = nn.Conv2d(bins, 1, 1, bias=False)
        self.dfl.weight.data[:] = torch.arange(bins, dtype=torch.float32).view(1, bins, 1, 1)
        points, strides = [], []
        for s in (8, 16):
            n = size // s
            y, x = torch.meshgrid(torch.arange(n) + 0.5, torch.arange(n) + 0.5, indexing="ij")
            points.append(torch.stack((x.reshape(-1), y.reshape(-1))))
            strides.append(torch.full((1, n * n), float(s)))
        self.register_buffer("points", torch.cat(points, 1)[None])
        self.register_buffer("strides", torch.cat(strides, 1))

    def forward(self, x):
        maps = []
        for stage, box, cls in zip((self.s8, self.s16), self.box, self.cls):
            x = stage(x)
            maps.append(torch.cat((box(x), cls(x)), 1).flatten(2))
        y = torch.cat(maps, 2)
        box, cls = y.split((4 * self.bins, self.classes), 1)
        b, _, a = box.shape
        d = self.dfl(box.view(b, 4, self.bins, a).transpose(2, 1).softmax(1)).view(b, 4, a)
        lt, rb = d.chunk(2, 1)
        x1y1, x2y2 = self.points - lt, self.points + rb
        boxes = torch.cat(((x1y1 + x2y2) / 2, x2y2 - x1y1), 1) * self.strides
        return torch.cat((boxes, cls.sigmoid()), 1)


def ready(net, seed):
    """The net in inference form, with weights that keep signals alive and BatchNorm statistics that are not 0 and 1."""
    torch.manual_seed(seed)
    net = net()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.2, 2)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.3)
    return net.eval()


def torchscript(net, x, **options):
    out = io.BytesIO()
    torch.onnx.export(net, (x,), out, dynamo=False, input_names=["images"], **options)
    return onnx.ModelProto.FromString(out.getvalue())


def dynamo(net, x, **options):
    program = torch.onnx.export(net, (x,), dynamo=True, input_names=["images"], verbose=False, **options)
    return program.model_proto


def main():
    nets = {"conv_bn_silu": (ConvBnSilu, 32), "focus": (Focus, 32), "yolov5_raw": (Yolov5Raw, 64), "yolov8": (Yolov8, 64)}
    keep = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    for seed, (name, (net, size)) in enumerate(nets.items()):
        net = ready(net, seed)
        x = picture(1, 3, size, size, seed=seed)
        images = {"images": x}
        t = torch.from_numpy(x)
        save(f"torchscript_{name}", torchscript(net, t, opset_version=12, dynamic_axes={"images": {0: "batch"}}), images)
        save(f"dynamo_{name}", dynamo(net, t), images)
    net = ready(ConvBnSilu, 0)
    x = picture(2, 3, 32, 32, seed=9)
    t = torch.from_numpy(x)
    # BatchNorm stays a node; opset 11, IR 3, initializers listed as inputs.
    old = torchscript(net, t, opset_version=11, keep_initializers_as_inputs=True, **keep)
    old.ir_version = 3
    assert len(old.graph.input) > 1 and any(n.op_type == "BatchNormalization" for n in old.graph.node)
    save("torchscript_opset11_ir3", old, {"images": x})
    batch = {"x": {0: torch.export.Dim("batch")}}
    save("dynamo_dynamic_batch", dynamo(net, t, dynamic_shapes=batch, opset_version=20), {"images": x})


main()
