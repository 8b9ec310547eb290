#!/usr/bin/env python3
"""What the independent script evaluate.py sees and finds, picture by picture, for tests to compare with.

    python tools/goldens/reference.py DATA MODEL FOLDER LIST OUT [--limit N] [--min M] [--inputs-only]

DATA is the folder that holds check/evaluate.py, models/ and pictures/; MODEL a name in models/, FOLDER one in
pictures/, LIST a list's name. Writes OUT/index.json and OUT/tensors.bin (little-endian f32, back to back).

index.json: pictures [{name, size [w, h], scale [x, y], offset [x, y], outputs [{name, shape, at}], detections [[score, class, x1, y1, x2, y2]], objects [[class name, x1, y1, x2, y2,
difficult]]}], ap {class name: [area, 11-point, mean over IoU 0.50:0.95]}, mean [the same three].
`at` is an offset in elements of tensors.bin. Shapes carry the batch of 1. With --inputs-only the network is not run:
pictures have {input: {shape, at}} instead of outputs and detections.
"""
import argparse
import importlib.util
import json
import os

import cv2
import numpy as np
import onnxruntime as ort


class Recorder:
    """An onnxruntime session that keeps what came out last."""

    def __init__(self, session):
        self.session = session

    def __getattr__(self, name):
        return getattr(self.session, name)

    def run(self, names, feeds):
        self.outputs = self.session.run(names, feeds)
        return self.outputs


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("data", "model", "folder", "list", "out"):
        p.add_argument(name)
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--min", type=int, default=1)
    p.add_argument("--conf", type=float, default=0.005)
    p.add_argument("--inputs-only", action="store_true")
    a = p.parse_args()
    spec = importlib.util.spec_from_file_location("evaluate", os.path.join(a.data, "check", "evaluate.py"))
    ev = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ev)

    stem = os.path.join(a.data, "models", a.model)
    model = json.load(open(stem + ".json", encoding="utf-8"))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = Recorder(ort.InferenceSession(stem + ".onnx", options, providers=["CPUExecutionProvider"]))
    folder = os.path.join(a.data, "pictures", a.folder)
    names = [n.strip() for n in open(os.path.join(folder, a.list + ".txt"), encoding="utf-8") if n.strip()]
    names = names[:a.limit] if a.limit else names

    os.makedirs(a.out, exist_ok=True)
    at, pictures, truth, dets = 0, [], {}, {}
    with open(os.path.join(a.out, "tensors.bin"), "wb") as tensors:

        def store(x):
            nonlocal at
            x = np.ascontiguousarray(x, dtype="<f4")
            tensors.write(x.tobytes())
            at += x.size
            return {"shape": list(x.shape), "at": at - x.size}

        for n in names:
            bgr = cv2.imread(os.path.join(folder, "JPEGImages", n + ".jpg"), cv2.IMREAD_COLOR)
            x, sx, sy, ox, oy = ev.preprocess(bgr, model["input"])
            found = [] if a.inputs_only else ev.detect(session, model, bgr, a.conf, 0.45, 300)
            objects = ev.read_voc(folder, n)
            picture = {
                "name": n, "size": [bgr.shape[1], bgr.shape[0]], "scale": [sx, sy], "offset": [ox, oy],
                "objects": [[ev.ALIAS.get(c, c), *box, hard] for c, *box, hard in objects],
            }
            if a.inputs_only:
                picture["input"] = store(x)
            else:
                outputs = zip(session.get_outputs(), session.outputs)
                picture["outputs"] = [dict(store(v), name=o.name) for o, v in outputs]
                picture["detections"] = [[s, c, *map(float, box)] for s, c, box in found]
            pictures.append(picture)
            per = {}
            for cls, *box, hard in objects:
                per.setdefault(ev.ALIAS.get(cls, cls), []).append((box, hard))
            for cls, rows in per.items():
                boxes, hard = np.float32([r[0] for r in rows]), np.array([r[1] for r in rows])
                truth.setdefault(cls, {})[n] = (boxes, hard)
            for score, c, box in found:
                cls = model["classes"][c]
                dets.setdefault(ev.ALIAS.get(cls, cls), []).append((score, n, box))

    known = {ev.ALIAS.get(c, c) for c in model["classes"]}
    ap = {}
    for cls in sorted(truth):
        count = sum(int((~d).sum()) for _, d in truth[cls].values())
        if cls in known and count >= max(a.min, 1):
            each = [ev.average_precision(dets.get(cls, []), truth[cls], t) for t in np.arange(0.5, 0.96, 0.05)]
            ap[cls] = [each[0][0], each[0][1], float(np.mean([x[2] for x in each]))]
    mean = [float(np.mean([v[k] for v in ap.values()])) for k in range(3)] if ap else []
    with open(os.path.join(a.out, "index.json"), "w", encoding="utf-8") as f:
        json.dump({"pictures": pictures, "ap": ap, "mean": mean}, f)


if __name__ == "__main__":
    main()
