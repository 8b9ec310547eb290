#!/usr/bin/env python3
"""How much of a pruned ResNet-20's work the engine leaves out, for each shape of groups, and what time that saves.

    python tools/results/skipped.py LOWBIT DATA FOLDER [--runs 400] [--repeats 3]

LOWBIT is the release binary, DATA the folder with models/ and cifar10/. Networks have two updates of training, kept in FOLDER: their masks serve shares and times alone. Needs numpy.

columns: groups; of the multiply-accumulates of the pruned layers, in percent: those of groups of zeros, those whose lines of 16 output x 4 input channels of a tap are zeros (rows of AVX2 and AVX-VNNI
skip them), of 32 x 4 where the layer is so wide (AVX-512 VNNI); a layer counts for the last two from an eighth of its lines on, below which the engine skips nothing; times faster than the dense ternary
network by turns, one thread: the whole network and the pruned layers, least and most of the repeats.
"""
import argparse
import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPE = os.path.join(HERE, "..", "..", "recipes", "cifar10-wpc.toml")
READER = os.path.join(HERE, "..", "..", "docs", "read_lowbit.py")
GROUPS = {"lane": (1, 16, 1), "kernel": (1, 8, 9), "tile": (8, 16, 1), "panel": (16, 4, 1), "32x4x1": (32, 4, 1)}
SIDE = {16: 32, 32: 16, 64: 8}
WORTH = 0.125


def call(words):
    return subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, check=True, text=True).stdout


def model(a, name, settings):
    path = os.path.join(a.folder, name, "model.onnx")
    if not os.path.exists(path):
        words = [a.lowbit, "train", RECIPE, "-q"]
        for s in ["model=%s/models/cifar_resnet20.onnx" % a.data, "data.path=%s/cifar10" % a.data, "eval.kind=''", "steps=2", "batch=8", "threads=1",
                  "schedule.warmup=0", "batch_norm.reestimate=0", "prune.until=0.5", "output=" + os.path.dirname(path), *settings]:
            words += ["--set", s]
        call(words)
    return path


def decoded(path):
    """Weights of a packed file, by the reader that stands beside FORMAT.md."""
    spec = importlib.util.spec_from_file_location("read_lowbit", READER)
    reader, argv = importlib.util.module_from_spec(spec), sys.argv
    sys.argv = ["read_lowbit", path]
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(reader)
    sys.argv = argv
    with open(path, "rb") as f:
        return {name.decode(): w for name, (_, _, w) in reader.weights(f.read()).items()}


def zeros(w, extent):
    """Whether each group of an extent, the last ones short, is of zeros alone; and how many weights it has."""
    flat = w.reshape(*w.shape[:2], -1)
    ends = [range(0, n, g) for n, g in zip(flat.shape, extent)]
    for i in ends[0]:
        for j in ends[1]:
            for k in ends[2]:
                part = flat[i:i + extent[0], j:j + extent[1], k:k + extent[2]]
                yield not part.any(), part.size


def shares(path, group):
    total, gone = 0, [0, 0, 0]
    for w in decoded(path).values():
        if w.ndim != 4 or w.shape[1] == 3:  # the first layer and the last are not pruned
            continue
        pixels = SIDE[w.shape[0]] ** 2
        total += pixels * w.size
        for i, extent in enumerate([group, (16, 4, 1), (32, 4, 1)]):
            count = sum(size for empty, size in zeros(w, extent) if empty)
            if i == 0 or count >= WORTH * w.size:
                gone[i] += pixels * count
    return [100 * g / total for g in gone]


def ratios(a, dense, path, names):
    made = json.loads(call([a.lowbit, "bench", dense, "--vs", path, "--runs", a.runs, "--threads", "1", "--json", "-q"]))
    layers = lambda side: sum(l["median_ms"] for l in made[side]["layers"] if l["name"] in names)
    ms = lambda side: made[side]["stats"]["median_ms"]
    return ms("a") / ms("b"), layers("a") / layers("b")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["lowbit", "data", "folder"]:
        p.add_argument(name)
    p.add_argument("--runs", type=int, default=400)
    p.add_argument("--repeats", type=int, default=3)
    a = p.parse_args()
    dense = model(a, "ternary", ["prune.groups=''"])
    print("groups,pruned_macs,lines_16x4,lines_32x4,network_faster,layers_faster")
    for name, extent in GROUPS.items():
        path = model(a, name, ["prune.groups=" + name, "prune.share=0.5"])
        inspected = json.loads(call([a.lowbit, "inspect", path, "--json"]))
        names = {l["name"] for l in inspected["layers"] if l["op"] == "Conv"} - {inspected["layers"][0]["name"]}
        found = [ratios(a, dense, path, names) for _ in range(a.repeats)]
        span = lambda i: "%.2f to %.2f" % (min(f[i] for f in found), max(f[i] for f in found))
        print("%s,%.1f,%.1f,%.1f,%s,%s" % (name, *shares(path, extent), span(0), span(1)), flush=True)


if __name__ == "__main__":
    main()
