#!/usr/bin/env python3
"""Exports the networks of docs/results/engine.md that have random weights: speed does not depend on them.

    python3 bench/export.py FOLDER [NAME …]

Makes FOLDER/NAME.onnx (opset 13, one picture) and NAME.json, which says how pixels enter. It needs requirements-export.txt, in an environment of its own:
ultralytics, for the two YOLOv8, is AGPL-3.0 and no part of this project. BatchNormalization has the statistics of pictures of noise, so that values keep their size through the net.
"""
import argparse
import json
from pathlib import Path

import torch
from torch import nn


class Listed(nn.Module):
    """Outputs of a dict, in its order."""

    def __init__(self, net, keys=None):
        super().__init__()
        self.net, self.keys = net, keys

    def forward(self, x):
        made = self.net(x)
        return tuple(made[k] for k in self.keys or made)


class SsdLite(nn.Module):
    """Backbone and heads; boxes are not decoded."""

    def __init__(self):
        super().__init__()
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large

        whole = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
        self.backbone, self.head = whole.backbone, Listed(whole.head, ["cls_logits", "bbox_regression"])

    def forward(self, x):
        return self.head(list(self.backbone(x).values()))


def resnet(depth):
    import torchvision

    return getattr(torchvision.models, "resnet%d" % depth)(weights=None)


def pyramid():
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    return Listed(resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=nn.BatchNorm2d))


def yolov8n(activation=None):
    from ultralytics import YOLO

    net = YOLO("yolov8n.yaml").model.float()
    for m in net.modules():
        if activation and isinstance(getattr(m, "act", None), nn.SiLU):
            m.act = activation()
        if type(m).__name__ == "Detect":
            m.export, m.format = True, "onnx"
    return net


# Name: builder, side of the picture, classes of its first output.
NETWORKS = {
    "resnet18-224": (lambda: resnet(18), 224, 1000),
    "resnet50-224": (lambda: resnet(50), 224, 1000),
    "resnet50-fpn-512": (pyramid, 512, 256),
    "ssdlite-320": (SsdLite, 320, 91),
    "yolov8n-640": (yolov8n, 640, None),
    "yolov8n-relu-640": (lambda: yolov8n(nn.ReLU), 640, None),
}


def settle(net, side):
    """Gives BatchNormalization the statistics of its inputs."""
    layers = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in layers:
        nn.init.uniform_(m.weight, 0.5, 1.5)
        nn.init.normal_(m.bias, 1.0, 0.3)
        m.momentum = None
        m.reset_running_stats()
    net.eval()
    for m in layers:
        m.train()
    with torch.no_grad():
        for _ in range(4):
            # Noise of several sizes, as pictures have.
            net(sum(nn.functional.interpolate(torch.rand(4, 3, n, n), side) for n in (4, 16, 64)) / 3)
    return net.eval()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("names", nargs="*", default=list(NETWORKS), help="of: " + ", ".join(NETWORKS))
    a = p.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    for name in a.names:
        make, side, classes = NETWORKS[name]
        torch.manual_seed(0)
        net, x = settle(make(), side), torch.rand(1, 3, side, side)
        with torch.no_grad():
            made = net(x)
        outputs = ["out%d" % i for i in range(len(made) if isinstance(made, (tuple, list)) else 1)]
        torch.onnx.export(net, (x,), str(a.folder / (name + ".onnx")), opset_version=13, dynamo=False, input_names=["images"], output_names=outputs)
        if classes is not None:
            pixels = {"name": "images", "width": side, "height": side, "color": "RGB", "layout": "NCHW", "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "stretch"}
            head = {"name": name, "family": "classifier", "input": pixels, "output": "out0", "classes": ["class %d" % c for c in range(classes)]}
            (a.folder / (name + ".json")).write_text(json.dumps(head))
        print(name, "%d outputs" % len(outputs), flush=True)


if __name__ == "__main__":
    main()
