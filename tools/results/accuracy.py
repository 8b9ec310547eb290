#!/usr/bin/env python3
"""Measures the accuracy table of the README: every model at every grid, step by step, resumable.

    python tools/results/accuracy.py LOWBIT DATA FOLDER [--models a,b] [--grids int8,lbw4] [--steps quantize,compare,bench] [--jobs N]
    python tools/results/accuracy.py --table FOLDER [docs/results/accuracy.csv] > NEW.csv    (rows of the old table that FOLDER does not have stay)
    python tools/results/accuracy.py --markdown docs/results/accuracy.csv

LOWBIT is the release binary, DATA the folder with models/ and pictures/. Calibration pictures are always voc/train; the
val and test lists only report. FOLDER keeps every low-bit file and the JSON of every step; what stands there already is
not done again, so that accuracy and time of a row come from one file, also where they were measured on different days.
`bench` wants a quiet machine: run it alone, with --jobs 1.

columns: model, grid, flags, list, float and low-bit mAP50 (area), drop with its paired 95 % interval, F1 of agreement
with the float model's boxes (confidence >= 0.25, IoU >= 0.5), bits per weight with scales, bytes of both files, share of
the MACs that run in integers, median ms per inference of the float and the low-bit model (one thread, by turns), the
first digits of the low-bit file's SHA-256.
"""
import argparse
import concurrent.futures
import csv
import hashlib
import json
import os
import subprocess
import sys

VOC = ["mbv2_yolov3_nano_voc", "yolo_fastest_xl_voc", "yolo_fastest_voc", "mbv2_yolo_fastest_v2_voc"]
COCO = ["yolov5n_640_f16", "yolo_fastest_1_1_coco", "yolox_nano_416", "yolov8n_320", "nanodet_m_416", "fastestdet_352"]
FACES = ["ultraface_rfb_320"]
GRIDS = ["int8", "int6", "int4", "pow2-4", "pow2-3", "lbw6", "lbw5", "lbw4", "lbw3", "lbw2"]
POINTS = ["pow2-4x2", "int5", "int4 --extra-rows 15", "pow2-4 --extra-rows 15", "lbw3 --extra-rows 15"]
ALLOCATED = ["--average-bits 5", "--average-bits 4"]
BUDGETS = ["--budget-size 600KiB", "--budget-bitops 60%"]
ROLES = ["pow2-4 --tensor-type depthwise=int8 --tensor-type first=int8 --tensor-type head=int8"]
PAPER = ["lbw4 --per tensor --scale power-of-two"]
BARE = ["lbw6 --per tensor --scale power-of-two --no-correction", "pow2-4 --no-correction"]
EVERY = GRIDS + POINTS + ALLOCATED + BUDGETS + ROLES + PAPER + BARE
COLUMNS = ["model", "grid", "flags", "list", "float_map50", "map50", "drop", "drop_low", "drop_high", "agreement_f1",
           "bits_per_weight", "float_bytes", "bytes", "integer_macs", "float_ms", "ms", "isa", "sha256"]


def lists(model):
    """(folder, list, least objects of a class) to report on; UltraFace has no labels."""
    if model in VOC:
        return [("voc", "val", 10), ("voc", "test07", 1)]
    return [("voc", "val", None)] if model in FACES else [("coco", "val", 1)]


def split(grid):
    """Name and flags; a budget has no name."""
    name, *flags = grid.split()
    return ("", [name, *flags]) if name.startswith("--") else (name, flags)


def stem(folder, model, name, flags):
    return os.path.join(folder, "_".join([model, *filter(None, [name]), *(f.strip("-") for f in flags)]))


class Row:
    """One model at one grid: its files in the folder."""

    def __init__(self, a, model, grid):
        self.a, self.model, self.grid = a, model, grid
        self.name, self.flags = split(grid)
        self.base = stem(a.folder, model, self.name, self.flags)
        self.low = self.base + ".onnx"
        self.source = os.path.join(a.data, "models", model + ".onnx")
        self.head = ["--head", os.path.join(a.data, "models", model + ".json")]

    def step(self, name, *command):
        """Runs a command unless its JSON stands already; the JSON appears whole or not at all."""
        path = "%s.%s.json" % (self.base, name)
        if os.path.exists(path):
            return
        command = [self.a.lowbit, *command, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit("%s\nexit code %d\n%s" % (" ".join(command), done.returncode, done.stderr[-2000:]))
        with open(path + ".part", "w", encoding="utf-8") as f:
            f.write(done.stdout)
        os.replace(path + ".part", path)
        print(os.path.basename(path), flush=True)

    def run(self):
        pictures, threads = os.path.join(self.a.data, "pictures"), ["--threads", str(self.a.threads)]
        if "quantize" in self.a.steps:
            grid = ["--grid", self.name] if self.name else []
            self.step("quantize", "quantize", self.source, *self.head, *grid, *self.flags, *threads, "--calib",
                      os.path.join(pictures, "voc"), "--calib-split", "train", "--force", "-o", self.low)
        if "compare" in self.a.steps:
            for folder, split, least in lists(self.model):
                protocol = ["--min-objects", str(least)] if least else []
                self.step("compare-%s-%s" % (folder, split), "compare", self.source, self.low, *self.head, *threads, "--data",
                          os.path.join(pictures, folder), "--split", split, *protocol)
        if "bench" in self.a.steps:
            self.step("bench", "bench", self.low, "--vs", self.source, *self.head, "--threads", "1")


def table(folder, old, out):
    """All rows that are whole, as CSV, and those of an older table that the folder does not have."""
    kept = list(csv.DictReader(open(old, encoding="utf-8"))) if old else []
    key = ("model", "grid", "flags", "list")
    rows = {tuple(r[k] for k in key): r for r in kept}

    def read(base, step):
        path = "%s.%s.json" % (base, step)
        return json.load(open(path, encoding="utf-8")) if os.path.exists(path) else None

    for model in VOC + COCO + FACES:
        for grid in EVERY:
            name, flags = split(grid)
            base = stem(folder, model, name, flags)
            report, bench = read(base, "quantize"), read(base, "bench")
            for place, part, least in lists(model):
                c = read(base, "compare-%s-%s" % (place, part))
                if not (report and c):
                    continue
                file = open(base + ".onnx", "rb").read()
                row = {"model": model, "grid": name, "flags": " ".join(flags), "list": place + "/" + part,
                       "agreement_f1": round(c["agreement_f1"], 4), "bytes": len(file),
                       "bits_per_weight": round(report["size"]["bits_per_weight"], 3),
                       "float_bytes": report["size"]["float_file_bytes"], "sha256": hashlib.sha256(file).hexdigest()[:12]}
                if bench:
                    low, full = bench["a"], bench["b"]
                    row.update(integer_macs=round(low["integer_mac_share"], 4), isa=bench["isa"],
                               ms=round(low["stats"]["median_ms"], 3), float_ms=round(full["stats"]["median_ms"], 3))
                acc = c.get("accuracy") if least else None
                if acc:
                    interval = acc.get("interval") or {}
                    row.update(float_map50=round(acc["a"], 4), map50=round(acc["b"], 4), drop=round(acc["drop"], 4),
                               drop_low=round(interval.get("low", float("nan")), 4),
                               drop_high=round(interval.get("high", float("nan")), 4))
                rows[tuple(row[k] for k in key)] = row
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    order = {m: i for i, m in enumerate(VOC + COCO + FACES)}
    writer.writerows(sorted(rows.values(), key=lambda r: order[r["model"]]))


def markdown(path):
    rows = list(csv.DictReader(open(path, encoding="utf-8")))
    print("| model | grid | list | mAP50 float → low-bit | drop, points (95 %) | F1 | bits/weight | file, KB | ms float → low-bit |")
    print("|---|---|---|---|---|---:|---:|---|---|")
    for r in rows:
        points, drop = "no labels", ""
        if r["map50"]:
            points = "%s → %s" % (r["float_map50"], r["map50"])
            drop = "%+.1f (%+.1f … %+.1f)" % tuple(100 * float(r[k]) for k in ("drop", "drop_low", "drop_high"))
        grid = r["grid"] + (" " + r["flags"] if r["flags"] else "")
        print("| %s | %s | %s | %s | %s | %s | %s | %.0f → %.0f | %s → %s |" % (
            r["model"], grid, r["list"], points, drop, r["agreement_f1"], r["bits_per_weight"],
            int(r["float_bytes"]) / 1000, int(r["bytes"]) / 1000, r["float_ms"], r["ms"]))


def main():
    if sys.argv[1:2] == ["--table"]:
        return table(sys.argv[2], sys.argv[3] if sys.argv[3:] else None, sys.stdout)
    if sys.argv[1:2] == ["--markdown"]:
        return markdown(sys.argv[2])
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("lowbit")
    p.add_argument("data")
    p.add_argument("folder")
    p.add_argument("--models", default=",".join(VOC + COCO + FACES))
    p.add_argument("--grids", default=",".join(EVERY))
    p.add_argument("--steps", default="quantize,compare,bench")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--threads", type=int, default=0)
    a = p.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    rows = [Row(a, m, g) for g in a.grids.split(",") for m in a.models.split(",")]
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for done in [pool.submit(row.run) for row in rows]:
            done.result()


if __name__ == "__main__":
    main()
