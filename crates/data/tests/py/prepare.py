"""Input tensors of data/check/evaluate.py: DATA FOLDER. Writes FOLDER/cases.json and the raw pixels and tensors it names."""
import glob
import json
import os
import sys

import cv2
import numpy as np

data, folder = sys.argv[1:]
sys.path.insert(0, os.path.join(data, "check"))
import evaluate  # noqa: E402

rng = np.random.default_rng(5)
heads = [json.load(open(p, encoding="utf-8")) for p in sorted(glob.glob(os.path.join(data, "models", "*.json")))]
inputs = [h["input"] for h in heads if "width" in h.get("input", {})]
for k in range(40):
    w, h = (int(v) for v in rng.integers(1, 90, 2))
    inputs.append({"name": "x", "width": w, "height": h, "color": ["RGB", "BGR"][k % 2], "scale": [1 / 255, 1.0][k % 3 % 2],
                   "mean": [float(v) for v in rng.uniform(0, 1, 3)], "std": [float(v) for v in rng.uniform(0.1, 2, 3)],
                   "resize": ["stretch", "letterbox", "letterbox_topleft"][k % 3], "pad_value": int(rng.integers(256))})

pictures = []
for d, name in (("voc", "test07"), ("coco", "val"), ("bccd", "val")):
    names = open(os.path.join(data, "pictures", d, name + ".txt"), encoding="utf-8").read().split()
    for n in names[:2]:
        pictures.append(cv2.imread(os.path.join(data, "pictures", d, "JPEGImages", n + ".jpg"), cv2.IMREAD_COLOR))
for w, h in ((1, 1), (1, 700), (700, 1), (2, 3), (640, 480), (160, 160), (333, 57)):
    pictures.append(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))

cases = []
for p, bgr in enumerate(pictures):
    bgr[:, :, ::-1].tofile(os.path.join(folder, "p%d" % p))
    for i, spec in enumerate(inputs):
        if i < len(heads) and p > 3 and i % 3:
            continue                          # large tensors: a third of them is enough
        x, sx, sy, ox, oy = evaluate.preprocess(bgr, spec)
        tensor = "t%d_%d" % (p, i)
        x.tofile(os.path.join(folder, tensor))
        cases.append({"picture": "p%d" % p, "size": [bgr.shape[1], bgr.shape[0]], "input": spec, "tensor": tensor,
                      "scale": [float(np.float32(sx)), float(np.float32(sy))], "offset": [ox, oy]})
json.dump(cases, open(os.path.join(folder, "cases.json"), "w"))
