#!/usr/bin/env python3
"""Top-1 of ResNet-20 on CIFAR-10 after quantization: the low-bit files run in onnxruntime, as any runtime would.

    python tools/results/cifar.py LOWBIT DATA FOLDER [--grids int8,int4,…] [--pictures 256]        (onnxruntime, numpy, opencv-python-headless)

Calibrates on pictures of train.zip, spread evenly, judges on the 2,000 of test.zip. Prints CSV: grid, float and low-bit top-1, loss with its paired 95 %
bootstrap interval, share of the pictures that both give the same class, bits per weight. What stands in FOLDER is not done again.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import onnxruntime as ort


def unpacked(source, folder, count):
    """`count` pictures of a zip, spread evenly."""
    with zipfile.ZipFile(source) as z:
        names = sorted(n for n in z.namelist() if n.endswith(".jpg"))
        for name in (names[i * len(names) // count] for i in range(count)):
            path = folder / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(z.read(name))
    return sorted(folder.rglob("*.jpg"))


def classes(path, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.array([session.run(None, {name: one[None]})[0].argmax() for one in x])


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("lowbit")
    p.add_argument("data", type=pathlib.Path)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--grids", default="int8,int6,int4,pow2-4,pow2-4x2,lbw4,lbw4 --per tensor --scale power-of-two")
    p.add_argument("--pictures", type=int, default=256)
    a = p.parse_args()
    model = a.data / "models" / "cifar_resnet20.onnx"
    head = json.loads(model.with_suffix(".json").read_text())
    unpacked(a.data / "cifar10" / "train.zip", a.folder / "fit", a.pictures)
    test = unpacked(a.data / "cifar10" / "test.zip", a.folder / "judges", 2000)
    how = head["input"]
    x = [(cv2.imread(str(f))[:, :, ::-1] * np.float32(how["scale"]) - np.float32(how["mean"])) / np.float32(how["std"]) for f in test]
    x = np.ascontiguousarray(np.stack(x).transpose(0, 3, 1, 2), np.float32)
    truth = np.array([head["classes"].index(f.parent.name) for f in test])
    whole = classes(model, x)
    random = np.random.default_rng(0)
    draws = random.integers(0, len(x), (1000, len(x)))
    print("grid,float_top1,top1,loss,low,high,same_class,bits_per_weight")
    for grid in a.grids.split(","):
        low = a.folder / ("resnet20-%s.onnx" % "_".join(w.strip("-") for w in grid.split()))
        report = low.with_suffix(".json")
        if not report.exists():
            words = [a.lowbit, "quantize", model, *(["--grid"] if not grid.startswith("--") else []), *grid.split(), "--calib", a.folder / "fit",
                     "--force", "--json", "-o", low]
            done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, text=True, check=True)
            report.write_text(done.stdout)
        found = classes(low, x)
        lost = (whole == truth).astype(float) - (found == truth)
        interval = np.percentile(lost[draws].mean(1), [2.5, 97.5])
        print("%s,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.3f" % (
            grid, (whole == truth).mean(), (found == truth).mean(), lost.mean(), *interval, (whole == found).mean(),
            json.loads(report.read_text())["size"]["bits_per_weight"]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
