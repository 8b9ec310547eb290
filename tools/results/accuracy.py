#!/usr/bin/env python3
"""Measures the accuracy table of the README: every model at every grid, row by row, resumable.

    python tools/results/accuracy.py LOWBIT DATA [--models a,b] [--grids int8,lbw4] [--out docs/results/accuracy.csv]

LOWBIT is the release binary, DATA the folder with models/ and pictures/. Calibration pictures are always voc/train; the
val and test lists only report. A row is appended as soon as it is measured, rows that stand already are left out.
With --markdown nothing is measured: the file is printed as a table.

columns: model, grid, flags, list, float and low-bit mAP50 (area), drop with its paired 95 % interval, F1 of agreement
with the float model's boxes (confidence >= 0.25, IoU >= 0.5), bits per weight with scales, bytes of both files, share of
the MACs that run in integers, median ms per inference of the float and the low-bit model (one thread, by turns), the
first digits of the low-bit file's SHA-256. Accuracy and time of a row come from that one file.
"""
import argparse
import csv
import hashlib
import json
import os
import subprocess
import tempfile

VOC = ["mbv2_yolov3_nano_voc", "yolo_fastest_xl_voc", "yolo_fastest_voc", "mbv2_yolo_fastest_v2_voc"]
COCO = ["yolo_fastest_1_1_coco", "yolox_nano_416", "yolov8n_320"]
FACES = ["ultraface_rfb_320"]
GRIDS = ["int8", "int6", "int4", "pow2-4", "pow2-3", "lbw6", "lbw5", "lbw4", "lbw3", "lbw2"]
BARE = ["lbw6 --per tensor --scale power-of-two --no-correction", "pow2-4 --no-correction"]
COLUMNS = ["model", "grid", "flags", "list", "float_map50", "map50", "drop", "drop_low", "drop_high", "agreement_f1",
           "bits_per_weight", "float_bytes", "bytes", "integer_macs", "float_ms", "ms", "isa", "sha256"]


def call(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit("%s\nexit code %d\n%s" % (" ".join(command), done.returncode, done.stderr[-2000:]))
    return json.loads(done.stdout)


def lists(model):
    """(folder, list, least objects of a class) to report on; UltraFace has no labels."""
    if model in VOC:
        return [("voc", "val", 10), ("voc", "test07", 1)]
    return [("voc", "val", None)] if model in FACES else [("coco", "val", 1)]


def measure(a, model, grid, writer, done):
    name, *flags = grid.split()
    wanted = [x for x in lists(model) if (model, name, " ".join(flags), "/".join(x[:2])) not in done]
    if not wanted:
        return
    pictures = os.path.join(a.data, "pictures")
    source = os.path.join(a.data, "models", model + ".onnx")
    head = ["--head", os.path.join(a.data, "models", model + ".json")]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "low.onnx")
        report = call(a.lowbit, "quantize", source, *head, "--grid", name, *flags, "--calib",
                      os.path.join(pictures, "voc"), "--calib-split", "train", "-o", out, "--json")
        sha = hashlib.sha256(open(out, "rb").read()).hexdigest()[:12]
        bench = call(a.lowbit, "bench", out, "--vs", source, *head, "--threads", "1", "--json")
        for folder_name, split, least in wanted:
            protocol = ["--min-objects", str(least)] if least else []
            c = call(a.lowbit, "compare", source, out, *head, "--data", os.path.join(pictures, folder_name), "--split",
                     split, *protocol, "--json")
            acc = c.get("accuracy") if least else None
            row = {"model": model, "grid": name, "flags": " ".join(flags), "list": folder_name + "/" + split,
                   "agreement_f1": round(c["agreement_f1"], 4),
                   "bits_per_weight": round(report["size"]["bits_per_weight"], 3),
                   "float_bytes": os.path.getsize(source), "bytes": os.path.getsize(out), "sha256": sha}
            row.update(bench_columns(bench))
            if acc:
                interval = acc.get("interval") or {}
                row.update(float_map50=round(acc["a"], 4), map50=round(acc["b"], 4), drop=round(acc["drop"], 4),
                           drop_low=round(interval.get("low", float("nan")), 4),
                           drop_high=round(interval.get("high", float("nan")), 4))
            writer(row)


def bench_columns(bench):
    low, full = bench["a"], bench["b"]
    return {"integer_macs": round(low["integer_mac_share"], 4), "ms": round(low["stats"]["median_ms"], 3),
            "float_ms": round(full["stats"]["median_ms"], 3), "isa": bench["isa"]}


def markdown(path):
    rows = list(csv.DictReader(open(path, encoding="utf-8")))
    print("| model | grid | list | mAP50 float → low-bit | drop (95 %) | F1 | bits/weight | file | ms float → low-bit |")
    print("|---|---|---|---|---|---:|---:|---:|---|")
    for r in rows:
        if r["map50"]:
            points = "%s → %s" % (r["float_map50"], r["map50"])
            drop = "%+.1f (%+.1f … %+.1f)" % tuple(100 * float(r[k]) for k in ("drop", "drop_low", "drop_high"))
        else:
            points, drop = "no labels", ""
        grid = r["grid"] + (" " + r["flags"] if r["flags"] else "")
        print("| %s | %s | %s | %s | %s | %s | %s | %.0f → %.0f KB | %s → %s |" % (
            r["model"], grid, r["list"], points, drop, r["agreement_f1"], r["bits_per_weight"],
            int(r["float_bytes"]) / 1000, int(r["bytes"]) / 1000, r["float_ms"], r["ms"]))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("lowbit")
    p.add_argument("data")
    p.add_argument("--models", default=",".join(VOC[:2] + COCO + FACES))
    p.add_argument("--grids", default=",".join(GRIDS + BARE))
    p.add_argument("--out", default="docs/results/accuracy.csv")
    p.add_argument("--markdown", action="store_true")
    a = p.parse_args()
    if a.markdown:
        return markdown(a.out)
    done = set()
    if os.path.exists(a.out):
        done = {(r["model"], r["grid"], r["flags"], r["list"]) for r in csv.DictReader(open(a.out, encoding="utf-8"))}

    def write(row):
        new = not os.path.exists(a.out)
        with open(a.out, "a", newline="", encoding="utf-8") as f:
            w = csv.DictWriter(f, COLUMNS, lineterminator="\n")
            if new:
                w.writeheader()
            w.writerow(row)
        print(row["model"], row["grid"], row["flags"], row["list"], row.get("map50"), row.get("drop"), flush=True)

    for grid in a.grids.split(","):
        for model in a.models.split(","):
            measure(a, model, grid, write, done)


if __name__ == "__main__":
    main()
