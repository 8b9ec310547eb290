#!/usr/bin/env python3
"""Runs the table of affine-integer U-Nets: resumable, a row of CSV as each run ends; then times float and packed networks beside onnxruntime.

    python tools/results/segment.py LOWBIT SEEDS FOLDER docs/results/hippocampus.csv [--seeds 3 | --seed N] [--threads N]
    python tools/results/segment.py LOWBIT SEEDS FOLDER --time [--rounds 20]

LOWBIT is the release binary, SEEDS the folder with hippocampus_{train,test}.npz, FOLDER keeps the runs. Of each seed: the float network
(`hippocampus-unet-float`), the same trained on for as long as the low-bit ones (`float+`), then W8A8, W4A4, W2A2 from it. Rows that the CSV holds are
skipped, a run that was killed goes on from its checkpoint. The test list reports alone.

--time: one thread; the three engines by turns in bursts, each in a process that stays loaded (`bench/peers.py` has the same protocol); medians.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = os.path.join(HERE, "..", "..", "recipes")
COLUMNS = ["network", "seed", "steps", "dice", "anterior", "posterior", "before_training", "differing_voxels", "voxels", "bytes", "seconds", "commit", "model_sha256"]
TUNED = ["steps=80", "optimizer.rate=0.003"]
NETWORKS = [("float", "hippocampus-unet-float", []), ("float+", "hippocampus-unet-float", TUNED)] + [
    ("W%dA%d" % (bits, bits), "hippocampus-unet-w4a4", ["method.grid=affine%d" % bits, "activation.bits=%d" % bits, "method.level_bits=%d" % span])
    for bits, span in [(2, 15), (4, 15), (8, 8)]
]


def folder(a, network, seed):
    return os.path.join(a.folder, "%s_s%d" % (network.replace("+", "_more"), seed))


def train(a, network, recipe, settings, seed):
    at = folder(a, network, seed)
    places = ["%s.path=%s" % (section, os.path.join(a.seeds_folder, "hippocampus_%s.npz" % name)) for section, name in [("data", "train"), ("eval", "test")]]
    if network != "float":
        places.append("model=" + os.path.join(folder(a, "float", seed), "model.onnx"))
    command = [a.lowbit, "train", os.path.join(RECIPES, recipe + ".toml"), "--resume", "--json"]
    for setting in [*places, *settings, "seed=%d" % seed, "threads=%d" % a.threads, "output=" + at]:
        command += ["--set", setting]
    finished = os.path.join(at, "results.json")
    if not os.path.exists(finished):
        with open(at + ".log", "a", encoding="utf-8") as log:
            if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=log).returncode != 0:
                raise SystemExit("%s\nfailed, see %s.log" % (" ".join(command), at))
    with open(finished, encoding="utf-8") as f:
        made = json.load(f)
    run, dice = made["run"], dict(made["run"]["classes"])
    agreement = run.get("agreement") or {"differing": "", "compared": ""}
    before = run.get("rounded_score")
    return {
        "network": network, "seed": seed, "steps": run["steps"], "dice": "%.4f" % run["score"], "anterior": "%.4f" % dice["anterior"],
        "posterior": "%.4f" % dice["posterior"], "before_training": "%.4f" % before if before is not None else "",
        "differing_voxels": agreement["differing"], "voxels": agreement["compared"], "bytes": run["model_bytes"], "seconds": round(run["seconds"]),
        "commit": str(made["provenance"].get("git", ""))[:7], "model_sha256": run["model_sha256"][:12],
    }


def table(a):
    rows = []
    if os.path.exists(a.csv):
        with open(a.csv, encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f))
    have = {(r["network"], int(r["seed"])) for r in rows}
    for seed in range(a.seeds) if a.seed is None else [a.seed]:
        for network, recipe, settings in NETWORKS:
            if (network, seed) in have:
                continue
            rows.append(train(a, network, recipe, settings, seed))
            with open(a.csv + ".part", "w", encoding="utf-8", newline="") as f:
                out = csv.DictWriter(f, COLUMNS, lineterminator="\n")
                out.writeheader()
                out.writerows(rows)
            os.replace(a.csv + ".part", a.csv)
            print(rows[-1], flush=True)


class Worker:
    """`lowbit bench --worker`."""

    def __init__(self, lowbit, model, x):
        path = model + ".input"
        x.tofile(path)
        command = [lowbit, "bench", model, "--worker", "--input", path, "--threads", "1"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def run(self, n):
        self.process.stdin.write("%d\n" % n)
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["ms"]


class Onnxruntime:
    def __init__(self, model, x):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: x}
        self.session.run(None, self.feed)

    def run(self, n):
        out = []
        for _ in range(n):
            begin = time.perf_counter()
            self.session.run(None, self.feed)
            out.append((time.perf_counter() - begin) * 1e3)
        return out


def times(a):
    import numpy

    x = numpy.load(os.path.join(a.seeds_folder, "hippocampus_test.npz"))["image"][0][None, None].astype("f4") / 255
    float_model = os.path.join(folder(a, "float", 0), "model.onnx")
    engines = {"onnxruntime float": Onnxruntime(float_model, x), "lowbit float": Worker(a.lowbit, float_model, x)}
    # Of runs with method.level_bits=7, where FOLDER holds them, too.
    for network in ["W%dA%d%s" % (bits, bits, span) for bits in [8, 4, 2] for span in ["", "-7"]]:
        model = os.path.join(folder(a, network, 0), "model.onnx")
        if os.path.exists(model):
            engines["lowbit " + network] = Worker(a.lowbit, model, x)
    all_times = {name: [] for name in engines}
    for _ in range(a.rounds):
        for name, engine in engines.items():
            all_times[name] += engine.run(3)
    base = statistics.median(all_times["onnxruntime float"])
    for name, t in all_times.items():
        print("%-18s %8.1f ms  %5.2f x" % (name, statistics.median(t), base / statistics.median(t)))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("lowbit")
    p.add_argument("seeds_folder")
    p.add_argument("folder")
    p.add_argument("csv", nargs="?")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--seed", type=int, help="this one alone")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--time", action="store_true")
    p.add_argument("--rounds", type=int, default=20)
    a = p.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    times(a) if a.time else table(a)
