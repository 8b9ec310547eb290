"""Assignments, losses and gradients by PyTorch's autograd, for crates/train/tests/vectors/losses.json.

    python tools/goldens/losses.py > crates/train/tests/vectors/losses.json      (torch 2.x, numpy)

Written from the papers, object by object in plain loops; gradients are autograd's, in f64.
"""

import json
import math

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
RNG = np.random.default_rng(20)
SIZE, CLASSES, BATCH = 64, 3, 2


def normal(*shape, scale=1.0):
    return torch.tensor((RNG.standard_normal(shape) * scale).astype(np.float32).astype(np.float64), requires_grad=True)


def boxes(n):
    out = []
    for _ in range(n):
        w, h = RNG.uniform(6, 40, 2)
        x, y = RNG.uniform(0, SIZE - w), RNG.uniform(0, SIZE - h)
        out.append({"class": int(RNG.integers(CLASSES)), "corners": [float(np.float32(v)) for v in (x, y, x + w, y + h)]})
    return out


def iou(a, b):
    w = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    h = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h + 1e-9)


def ciou_loss(p, t):
    t = torch.tensor(t)
    iw = torch.clamp(torch.minimum(p[2], t[2]) - torch.maximum(p[0], t[0]), min=0)
    ih = torch.clamp(torch.minimum(p[3], t[3]) - torch.maximum(p[1], t[1]), min=0)
    wp, hp, wt, ht = p[2] - p[0], p[3] - p[1], t[2] - t[0], t[3] - t[1]
    u = iw * ih / (wp * hp + wt * ht - iw * ih + 1e-9)
    rho = ((p[0] + p[2] - t[0] - t[2]) ** 2 + (p[1] + p[3] - t[1] - t[3]) ** 2) / 4
    cw = torch.maximum(p[2], t[2]) - torch.minimum(p[0], t[0])
    ch = torch.maximum(p[3], t[3]) - torch.minimum(p[1], t[1])
    v = 4 / math.pi**2 * (torch.atan(wt / ht) - torch.atan(wp / hp)) ** 2
    return 1 - u + rho / (cw * cw + ch * ch + 1e-9) + v * v / (1 - u + v + 1e-9)


def bce(x, t):
    return torch.nn.functional.binary_cross_entropy_with_logits(x, torch.tensor(float(t)))


def grads(total, leaves):
    total.backward()
    return [leaf.grad.flatten().tolist() for leaf in leaves]


def yolo_v3():
    heads = [
        {"stride": 8, "anchors": [[8, 10], [14, 12]], "scale_xy": 1.0},
        {"stride": 16, "anchors": [[24, 30], [40, 28]], "scale_xy": 1.05},
    ]
    raw = [normal(BATCH, len(h["anchors"]) * (5 + CLASSES), SIZE // h["stride"], SIZE // h["stride"]) for h in heads]
    targets = [boxes(3), boxes(2)]

    def decode(h, t, a, r, c):
        s = h["scale_xy"]
        cx = (torch.sigmoid(t[0]) * s - (s - 1) / 2 + c) * h["stride"]
        cy = (torch.sigmoid(t[1]) * s - (s - 1) / 2 + r) * h["stride"]
        w, hh = torch.exp(t[2]) * h["anchors"][a][0], torch.exp(t[3]) * h["anchors"][a][1]
        return torch.stack([cx - w / 2, cy - hh / 2, cx + w / 2, cy + hh / 2])

    holders = {}
    for n, objects in enumerate(targets):
        for k, o in enumerate(objects):
            x1, y1, x2, y2 = o["corners"]
            fits = {}
            for i, h in enumerate(heads):
                for a, (aw, ah) in enumerate(h["anchors"]):
                    inter = min(x2 - x1, aw) * min(y2 - y1, ah)
                    fits[i, a] = inter / ((x2 - x1) * (y2 - y1) + aw * ah - inter)
            best = max(fits.values())
            for (i, a), f in fits.items():
                if f == best or f > 0.213:
                    s = heads[i]["stride"]
                    key = (i, n, a, int((y1 + y2) / 2 / s), int((x1 + x2) / 2 / s))
                    if key not in holders or f > holders[key][1]:
                        holders[key] = (k, f)
    box, objectness, klass, roles = 0, 0, 0, []
    for i, (h, out) in enumerate(zip(heads, raw)):
        each = []
        view = out.reshape(BATCH, len(h["anchors"]), 5 + CLASSES, *out.shape[2:])
        for n in range(BATCH):
            for a in range(len(h["anchors"])):
                for r in range(out.shape[2]):
                    for c in range(out.shape[3]):
                        t = view[n, a, :, r, c]
                        held = holders.get((i, n, a, r, c))
                        b = decode(h, t, a, r, c)
                        if held is not None:
                            o = targets[n][held[0]]
                            each.append(held[0])
                            box = box + ciou_loss(b, o["corners"])
                            objectness = objectness + bce(t[4], 1)
                            for k in range(CLASSES):
                                klass = klass + bce(t[5 + k], k == o["class"])
                        elif any(iou(b.detach().tolist(), o["corners"]) > 0.7 for o in targets[n]):
                            each.append(-2)
                        else:
                            each.append(-1)
                            objectness = objectness + bce(t[4], 0)
        roles.append(each)
    count = len(holders)
    parts = [5 * box / count, objectness / count, klass / count]
    g = grads(sum(parts), raw)
    return {"heads": heads, "raw": [r.flatten().tolist() for r in raw], "targets": targets, "roles": roles,
            "parts": [float(p.detach()) for p in parts], "gradients": g}


def yolox():
    strides = [8, 16]
    cells = [(x * s, y * s, s) for s in strides for y in range(SIZE // s) for x in range(SIZE // s)]
    raw = normal(BATCH, len(cells), 5 + CLASSES, scale=0.7)
    targets = [boxes(3), boxes(1)]

    def decode(cell, t):
        x, y, s = cell
        cx, cy, w, h = t[0] * s + x, t[1] * s + y, torch.exp(t[2]) * s, torch.exp(t[3]) * s
        return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])

    roles, box, objectness, klass = [], 0, 0, 0
    for n in range(BATCH):
        infos = []
        for o in targets[n]:
            x1, y1, x2, y2 = o["corners"]
            mid = [(x + s / 2, y + s / 2, s) for x, y, s in cells]
            inside = [x1 < x < x2 and y1 < y < y2 for x, y, s in mid]
            near = [abs(x - (x1 + x2) / 2) < 2.5 * s and abs(y - (y1 + y2) / 2) < 2.5 * s for x, y, s in mid]
            infos.append((inside, near))
        candidates = [i for i in range(len(cells)) if any(a[i] or b[i] for a, b in infos)]
        cost = np.full((len(targets[n]), len(cells)), np.inf)
        overlap = np.zeros_like(cost)
        chosen = np.zeros_like(cost, dtype=bool)
        for k, o in enumerate(targets[n]):
            for i in candidates:
                t = raw[n, i].detach()
                overlap[k, i] = iou(decode(cells[i], t).tolist(), o["corners"])
                p = torch.sqrt(torch.sigmoid(t[5:]) * torch.sigmoid(t[4])).numpy()
                hot = np.arange(CLASSES) == o["class"]
                cost[k, i] = -np.log(np.where(hot, p, 1 - p)).sum() - 3 * math.log(overlap[k, i] + 1e-8)
                if not (infos[k][0][i] and infos[k][1][i]):
                    cost[k, i] += 1e5
            take = max(int(np.sort(overlap[k])[::-1][:10].sum()), 1)
            chosen[k, np.argsort(cost[k], kind="stable")[:take]] = True
        each = []
        for i in range(len(cells)):
            owners = [k for k in range(len(targets[n])) if chosen[k, i]]
            each.append(min(owners, key=lambda k: cost[k, i]) if owners else -1)
        roles.append(each)
        for i, k in enumerate(each):
            t = raw[n, i]
            objectness = objectness + bce(t[4], k >= 0)
            if k >= 0:
                o = targets[n][k]
                box = box + ciou_loss(decode(cells[i], t), o["corners"])
                for c in range(CLASSES):
                    klass = klass + bce(t[5 + c], overlap[k, i] if c == o["class"] else 0)
    count = sum(k >= 0 for each in roles for k in each)
    parts = [5 * box / count, objectness / count, klass / count]
    g = grads(sum(parts), [raw])
    return {"strides": strides, "raw": raw.flatten().tolist(), "targets": targets, "roles": roles,
            "parts": [float(p.detach()) for p in parts], "gradients": g}


def yolo_v8():
    strides, bins = [8, 16], 6
    raw = [normal(BATCH, 4 * bins + CLASSES, SIZE // s, SIZE // s, scale=1.5) for s in strides]
    targets = [boxes(3), boxes(2)]
    index = [(i, r, c) for i, s in enumerate(strides) for r in range(SIZE // s) for c in range(SIZE // s)]

    def decode(n, i, r, c):
        t = raw[i][n, : 4 * bins, r, c].reshape(4, bins)
        d = (torch.softmax(t, 1) * torch.arange(bins)).sum(1) * strides[i]
        x, y = (c + 0.5) * strides[i], (r + 0.5) * strides[i]
        return torch.stack([x - d[0], y - d[1], x + d[2], y + d[3]]), t, (x, y)

    roles, weights, terms = [], [], []
    for n in range(BATCH):
        count = len(targets[n])
        m, u = np.zeros((count, len(index))), np.zeros((count, len(index)))
        chosen = np.zeros((count, len(index)), dtype=bool)
        for k, o in enumerate(targets[n]):
            x1, y1, x2, y2 = o["corners"]
            offers = []
            for j, (i, r, c) in enumerate(index):
                b, _, (x, y) = decode(n, i, r, c)
                if x1 < x < x2 and y1 < y < y2:
                    u[k, j] = iou(b.detach().tolist(), o["corners"])
                    m[k, j] = float(torch.sigmoid(raw[i][n, 4 * bins + o["class"], r, c].detach())) ** 0.5 * u[k, j] ** 6
                    offers.append(j)
            offers.sort(key=lambda j: -m[k, j])
            chosen[k, offers[:10]] = True
        each = []
        for j in range(len(index)):
            owners = [k for k in range(count) if chosen[k, j]]
            each.append(max(owners, key=lambda k: u[k, j]) if owners else -1)
        roles.append(each)
        t = np.zeros(len(index))
        for k in range(count):
            own = [j for j in range(len(index)) if each[j] == k]
            if own:
                top = max(m[k, j] for j in own)
                for j in own:
                    t[j] = m[k, j] / (top + 1e-9) * max(u[k, i] for i in own)
        weights.append(t.tolist())
    total = max(sum(map(sum, weights)), 1.0)
    box, klass, dfl = 0, 0, 0
    for n in range(BATCH):
        for j, (i, r, c) in enumerate(index):
            k, w = roles[n][j], weights[n][j]
            for q in range(CLASSES):
                hot = k >= 0 and targets[n][k]["class"] == q
                klass = klass + bce(raw[i][n, 4 * bins + q, r, c], w if hot else 0)
            if k >= 0:
                b, t, (x, y) = decode(n, i, r, c)
                x1, y1, x2, y2 = targets[n][k]["corners"]
                box = box + w * ciou_loss(b, [x1, y1, x2, y2])
                log = torch.log_softmax(t, 1)
                for side, d in enumerate([x - x1, y - y1, x2 - x, y2 - y]):
                    d = min(max(d / strides[i], 0), bins - 1.01)
                    low = int(d)
                    dfl = dfl - w / 4 * ((low + 1 - d) * log[side, low] + (d - low) * log[side, low + 1])
    parts = [7.5 * box / total, 0.5 * klass / total, 1.5 * dfl / total]
    g = grads(sum(parts), raw)
    return {"strides": strides, "bins": bins, "raw": [r.flatten().tolist() for r in raw], "targets": targets,
            "roles": roles, "weights": weights, "parts": [float(p.detach()) for p in parts], "gradients": g}


def classify():
    z, teacher = normal(4, 5), normal(4, 5)
    classes = [0, 3, 1, 4]
    plain = torch.nn.functional.cross_entropy(z, torch.tensor(classes), label_smoothing=0.1)
    g = grads(plain, [z])[0]
    z2 = z.detach().clone().requires_grad_()
    q = torch.softmax(teacher.detach() / 3, 1)
    soft = -0.5 * 9 * (q * torch.log_softmax(z2 / 3, 1)).sum() / 4
    return {"z": z.flatten().tolist(), "teacher": teacher.flatten().tolist(), "classes": classes, "loss": float(plain.detach()),
            "gradient": g, "soft": float(soft.detach()), "soft_gradient": grads(soft, [z2])[0]}


def rounded(x):
    """Nine digits: f32 is compared."""
    if isinstance(x, float):
        return float(f"{x:.9g}")
    if isinstance(x, list):
        return [rounded(v) for v in x]
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return x


print(json.dumps(rounded({"size": SIZE, "classes": CLASSES, "batch": BATCH, "yolo_v3": yolo_v3(), "yolox": yolox(),
                          "yolo_v8": yolo_v8(), "classify": classify()})))
