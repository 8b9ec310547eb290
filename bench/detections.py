"""From a detector's raw outputs to average precision, in numpy: the protocol of `lowbit eval`, for outputs of any engine.

Score above 0.005, suppression at IoU 0.45 within a class, 300 boxes a picture; area under the curve at IoU 0.5; difficult objects neither help nor hurt.
"""
import xml.etree.ElementTree as ET

import cv2
import numpy as np

CONF, NMS, TOP, IOU = 0.005, 0.45, 300, 0.5
# COCO's names of what VOC has, too.
ALIAS = {"airplane": "aeroplane", "motorcycle": "motorbike", "couch": "sofa", "dining table": "diningtable",
         "potted plant": "pottedplant", "tv": "tvmonitor"}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def corners(b):
    return np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], 1)


def cells(h, w):
    ys, xs = np.mgrid[0:h, 0:w]
    return np.stack([xs, ys], -1).reshape(-1, 2).astype(np.float32)


# Each takes the head description and {output: array of one picture}, and gives corners [n, 4] in pixels of the input and scores [n, classes].
def yolov3(m, out):
    boxes, scores = [], []
    for head in m["heads"]:
        t = out[head["output"]]
        h, w = t.shape[1:]
        t = t.reshape(len(head["anchors"]), 5 + len(m["classes"]), h * w).transpose(0, 2, 1)
        s = head["scale_xy"]
        for one, anchor in zip(t, head["anchors"]):
            xy = (sigmoid(one[:, :2]) * s - (s - 1) / 2 + cells(h, w)) * head["stride"]
            boxes.append(corners(np.concatenate([xy, np.exp(one[:, 2:4]) * np.float32(anchor)], 1)))
            scores.append(sigmoid(one[:, 4:5]) * sigmoid(one[:, 5:]))
    return np.concatenate(boxes), np.concatenate(scores)


def yolov5(m, out):
    if "heads" not in m:
        t = out[m["output"]]
        return corners(t[:, :4]), t[:, 4:5] * t[:, 5:]
    boxes, scores = [], []
    for head in m["heads"]:
        t = out[head["output"]]
        h, w = t.shape[1:]
        t = sigmoid(t.reshape(len(head["anchors"]), 5 + len(m["classes"]), h * w).transpose(0, 2, 1))
        for one, anchor in zip(t, head["anchors"]):
            xy = (one[:, :2] * 2 - 0.5 + cells(h, w)) * head["stride"]
            boxes.append(corners(np.concatenate([xy, (one[:, 2:4] * 2) ** 2 * np.float32(anchor)], 1)))
            scores.append(one[:, 4:5] * one[:, 5:])
    return np.concatenate(boxes), np.concatenate(scores)


def yolov8(m, out):
    t = out[m["output"]].T
    return corners(t[:, :4]), t[:, 4:]


def yolox(m, out):
    t, at = out[m["output"]].copy(), 0
    for s in m["strides"]:
        h, w = m["input"]["height"] // s, m["input"]["width"] // s
        part = t[at:at + h * w]
        part[:, :2] = (part[:, :2] + cells(h, w)) * s
        part[:, 2:4] = np.exp(part[:, 2:4]) * s
        at += h * w
    return corners(t[:, :4]), t[:, 4:5] * t[:, 5:]


DECODERS = {"yolov3": yolov3, "yolov5": yolov5, "yolov8": yolov8, "yolox": yolox}


def prepared(picture, how):
    """The input [1, 3, h, w] of a picture, and what takes boxes back: scale and offset of both axes, size of the picture."""
    image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    (h, w), (height, width) = image.shape[:2], (how["height"], how["width"])
    if how["resize"] == "stretch":
        image, scale, offset = cv2.resize(image, (width, height)), (width / w, height / h), (0, 0)
    else:
        s = min(width / w, height / h)
        nw, nh = max(1, round(w * s)), max(1, round(h * s))
        offset = ((width - nw) // 2, (height - nh) // 2) if how["resize"] == "letterbox" else (0, 0)
        padded = np.full((height, width, 3), how.get("pad_value", 114), np.uint8)
        padded[offset[1]:offset[1] + nh, offset[0]:offset[0] + nw] = cv2.resize(image, (nw, nh))
        image, scale = padded, (nw / w, nh / h)
    if how["color"] == "RGB":
        image = image[:, :, ::-1]
    x = (image.astype(np.float32) * np.float32(how["scale"]) - np.float32(how["mean"])) / np.float32(how["std"])
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32), (scale, offset, (w, h))


def overlaps(box, boxes):
    size = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    common = size.prod(1)
    return common / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common + 1e-9)


def detections(m, outputs, place):
    """[(score, class, corners in pixels of the picture)], best first."""
    named = {k: v[0] if v.ndim > 2 and len(v) == 1 else v for k, v in outputs.items()}
    boxes, scores = DECODERS[m["family"]](m, named)
    scale, offset, size = (np.float32(two * 2) for two in place)
    boxes = np.clip((boxes - offset) / scale, 0, size)
    found = []
    for c in np.flatnonzero(scores.max(0) > CONF):
        rows = np.flatnonzero(scores[:, c] > CONF)
        rows = rows[np.argsort(-scores[rows, c], kind="stable")]
        while rows.size:
            best, rows = rows[0], rows[1:]
            found.append((float(scores[best, c]), int(c), boxes[best]))
            rows = rows[overlaps(boxes[best], boxes[rows]) <= NMS]
    return sorted(found, key=lambda f: -f[0])[:TOP]


def truth(data, name):
    """[(class, corners, difficult)] of a VOC annotation."""
    objects = []
    for o in ET.parse(data / "Annotations" / (name + ".xml")).iter("object"):
        box = [float(o.find("bndbox").find(k).text) for k in ("xmin", "ymin", "xmax", "ymax")]
        hard = o.find("difficult")
        name = o.find("name").text.strip()
        objects.append((ALIAS.get(name, name), np.float32([box[0] - 1, box[1] - 1, *box[2:]]),
                        hard is not None and bool(int(hard.text))))
    return objects


class Judge:
    """Detections of all pictures, matched class by class once; any weighting of the pictures then gives an mAP."""

    def __init__(self, classes, truths, found, least):
        self.classes = []
        for c, name in enumerate(classes):
            objects = [[o for o in t if o[0] == ALIAS.get(name, name)] for t in truths]
            counted = np.array([sum(not o[2] for o in t) for t in objects])
            if counted.sum() < least:
                continue
            rows = []
            for p, (objects, boxes) in enumerate(zip(objects, found)):
                used = set()
                for score, _, box in (b for b in boxes if b[1] == c):
                    o = overlaps(box, np.stack([x[1] for x in objects])) if objects else np.zeros(1)
                    j = int(o.argmax())
                    hit = o[j] >= IOU
                    if not (hit and objects[j][2]):
                        rows.append((score, p, hit and j not in used))
                        used.update([j] if hit else [])
            rows.sort(key=lambda r: -r[0])
            self.classes.append((np.array([r[1] for r in rows], int), np.array([r[2] for r in rows], float), counted))

    def map50(self, weights):
        """`weights`: how often each picture counts."""
        values = []
        for pictures, hits, counted in self.classes:
            total, each = (weights * counted).sum(), weights[pictures]
            if not total:
                continue
            good = np.cumsum(each * hits)
            precision = good / np.maximum(np.cumsum(each), 1e-9)
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            values.append(float((np.diff(good, prepend=0) / total * envelope).sum()))
        return float(np.mean(values))


def loss(one, other, pictures, resamples=1000, seed=0):
    """mAP50 of both, the loss, and its paired 95 % bootstrap interval over pictures."""
    whole = np.ones(pictures)
    random = np.random.default_rng(seed)
    draws = [np.bincount(random.integers(0, pictures, pictures), minlength=pictures) for _ in range(resamples)]
    losses = [one.map50(w) - other.map50(w) for w in draws]
    a, b = one.map50(whole), other.map50(whole)
    return a, b, a - b, *np.percentile(losses, [2.5, 97.5])
