#!/usr/bin/env python3
"""Expected average precisions of 10,000 random data sets, by programs that are not ours.

    python tools/goldens/ap.py EVALUATE.PY OUT.bin [COUNT]

COCO's twelve numbers come from pycocotools, the three VOC numbers from `average_precision` of the independent
script EVALUATE.PY (data/check/evaluate.py). The data sets themselves are not stored: SplitMix64 makes them
from their index, here and in crates/tasks/tests/ap_goldens.rs, by the same steps.

OUT.bin, little endian, one record for each data set:
    u16  bit k set = number k is present (absent: pycocotools says -1, or no class has an object)
    f64  each present number, in the order
         AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl | VOC area@.5  VOC 11-point@.5  VOC 101-point@.5:.95
"""
import contextlib
import importlib.util
import io
import struct
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MASK = (1 << 64) - 1


class SplitMix64:
    """Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014)."""

    def __init__(self, seed):
        self.state = seed & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return self.next() % n

    def unit(self):
        return (self.next() >> 11) * 2.0 ** -53


def random_box(r, grid):
    w = 4.0 + 180.0 * r.unit() * r.unit()
    h = 4.0 + 180.0 * r.unit() * r.unit()
    x = 300.0 * r.unit()
    y = 300.0 * r.unit()
    return snap([x, y, w, h]) if grid else [x, y, w, h]


def snap(b):
    """On a grid of 8 pixels equal overlaps and exact thresholds occur."""
    return [float(int(b[0] / 8.0) * 8), float(int(b[1] / 8.0) * 8),
            float(int(b[2] / 8.0) * 8 + 8), float(int(b[3] / 8.0) * 8 + 8)]


def data_set(index):
    """(pictures, classes, first_id, truths, detections); truth: (picture, class, box xywh, crowd, area, id)."""
    r = SplitMix64(index)
    pictures = 1 + r.below(4)
    classes = 1 + r.below(3)
    ties = r.below(4) == 0
    first = 0 if r.below(4) == 0 else 1
    many = r.below(100) == 0
    grid = r.below(2) == 0
    truths, dets = [], []
    for p in range(pictures):
        mine = []
        for _ in range(r.below(7)):
            c = r.below(classes)
            crowd = r.below(8) == 0
            box = random_box(r, grid)
            area = box[2] * box[3]
            if r.below(4) == 0:
                area = area * r.unit()
            mine.append((p, c, box, crowd, area, first + len(truths) + len(mine)))
        truths += mine
        for _ in range(90 + r.below(70) if many else r.below(10)):
            if mine and r.below(4) != 0:
                t = mine[r.below(len(mine))]
                c = t[1] if r.below(8) != 0 else r.below(classes)
                b = t[2]
                box = [b[0] + (r.unit() - 0.5) * b[2] * 0.4, b[1] + (r.unit() - 0.5) * b[3] * 0.4,
                       b[2] * (0.7 + 0.6 * r.unit()), b[3] * (0.7 + 0.6 * r.unit())]
                if grid:
                    box = snap([abs(v) for v in box])
            else:
                c = r.below(classes)
                box = random_box(r, grid)
            score = r.unit()
            if ties:
                score = int(score * 8.0) / 8.0
            dets.append((p, c, box, score))
    return pictures, classes, first, truths, dets


def coco_numbers(pictures, classes, first, truths, dets):
    images = [{"id": first + p} for p in range(pictures)]
    cats = [{"id": first + c, "name": str(c)} for c in range(classes)]
    gt, dt = COCO(), COCO()
    gt.dataset = {"images": images, "categories": cats, "annotations": [
        {"id": i, "image_id": first + p, "category_id": first + c, "bbox": b, "area": a, "iscrowd": int(k)}
        for p, c, b, k, a, i in truths]}
    dt.dataset = {"images": images, "categories": cats, "annotations": [      # what COCO.loadRes makes of results
        {"id": n + 1, "image_id": first + p, "category_id": first + c, "bbox": b, "area": b[2] * b[3],
         "iscrowd": 0, "score": s} for n, (p, c, b, s) in enumerate(dets)]}
    gt.createIndex()
    dt.createIndex()
    e = COCOeval(gt, dt, "bbox")
    e.evaluate()
    e.accumulate()
    e.summarize()
    return [float(v) for v in e.stats]


def voc_numbers(average_precision, classes, truths, dets):
    rows = []
    for c in range(classes):
        truth = {}
        for p, k, b, hard, _, _ in truths:
            if k == c:
                t = truth.setdefault(p, ([], []))
                t[0].append([b[0], b[1], b[0] + b[2], b[1] + b[3]])
                t[1].append(hard)
        truth = {p: (np.array(b), np.array(d)) for p, (b, d) in truth.items()}
        if sum(int((~d).sum()) for _, d in truth.values()) == 0:
            continue
        mine = [(s, p, np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]])) for p, k, b, s in dets if k == c]
        aps = [average_precision(mine, truth, t) for t in np.arange(0.5, 0.96, 0.05)]
        rows.append((aps[0][0], aps[0][1], float(np.mean([a[2] for a in aps]))))
    return [float(np.mean([r[k] for r in rows])) if rows else -1.0 for k in range(3)]


def main():
    spec = importlib.util.spec_from_file_location("evaluate", sys.argv[1])
    evaluate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(evaluate)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
    with open(sys.argv[2], "wb") as out:
        for index in range(count):
            pictures, classes, first, truths, dets = data_set(index)
            with contextlib.redirect_stdout(io.StringIO()):
                numbers = coco_numbers(pictures, classes, first, truths, dets)
            numbers += voc_numbers(evaluate.average_precision, classes, truths, dets)
            mask = sum(1 << k for k, v in enumerate(numbers) if v > -1)
            out.write(struct.pack("<H", mask))
            out.write(b"".join(struct.pack("<d", v) for v in numbers if v > -1))


if __name__ == "__main__":
    main()
