"""Trajectories of PyTorch's optimizers, for crates/train/tests/vectors/optimizers.json.

    python tools/goldens/optimizers.py > crates/train/tests/vectors/optimizers.json      (torch 2.x)
"""

import json

import torch


def gradients(step, n):
    """The same in the Rust test: no random numbers to share."""
    return torch.tensor([((7 * step + 3 * i) % 11 - 5) * 0.125 for i in range(n)], dtype=torch.float32)


def run(make, steps=8, n=5):
    w = torch.nn.Parameter(torch.tensor([0.5 - 0.25 * i for i in range(n)], dtype=torch.float32))
    optimizer = make([w])
    rows = []
    for step in range(steps):
        w.grad = gradients(step, n)
        optimizer.step()
        rows.append([float(x) for x in w.detach()])
    return rows


CASES = {
    "sgd": dict(lr=0.05),
    "sgd-decay": dict(lr=0.05, weight_decay=0.1),
    "momentum": dict(lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": dict(lr=0.02, weight_decay=0.0),
    "adamw": dict(lr=0.02, weight_decay=0.1, betas=(0.8, 0.99), eps=1e-6),
}


def clip():
    a, b = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    a.grad, b.grad = torch.tensor([3.0, 0.0, -1.0]), torch.tensor([2.0, -5.0, 0.5])
    norm = torch.nn.utils.clip_grad_norm_([a, b], 2.0)
    return {"norm": float(norm), "a": a.grad.tolist(), "b": b.grad.tolist()}


def main():
    out = {"torch": torch.__version__, "clip": clip()}
    for name, options in CASES.items():
        kind = torch.optim.AdamW if name.startswith("adam") else torch.optim.SGD
        out[name] = {"options": options, "values": run(lambda p: kind(p, **options))}
    w = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([w], lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.001)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    out["cosine"] = rates
    print(json.dumps(out, indent=1))


main()
