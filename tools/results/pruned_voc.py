#!/usr/bin/env python3
"""Runs the rows of a pruned ternary detector, MobileNetV2-YOLOv3-Nano on VOC: resumable, a row of CSV as each run ends.

    python tools/results/pruned_voc.py LOWBIT DATA FOLDER docs/results/pruned_voc.csv [--steps 120] [--batch 8] [--seed 0] [--threads N]

LOWBIT is the release binary, DATA the folder with models/ and pictures/voc, FOLDER keeps the runs of recipes/voc-nano-wpc.toml with 0, 30 and 50 % of the groups of the
pointwise layers pruned. Rows that the CSV holds are skipped, a run that was killed goes on from its checkpoint. Both lists report alone.

columns: network, share of the groups to prune, seed, steps, batch; mAP at IoU 0.5 of the packed file by `lowbit eval` on voc/val (classes of at least 10 objects) and
voc/test07, each with the 95 % bootstrap interval; groups and empty ones; times smaller than f32: everything counted, and as papers count; bytes stored, of the file;
seconds, commit, model.
"""
import argparse
import csv
import json
import os

from pruned import append, call

RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "recipes", "voc-nano-wpc.toml")
COLUMNS = ["network", "share", "seed", "steps", "batch", "val", "val_interval", "test07", "test07_interval", "groups", "empty", "compression", "compression_papers",
           "stored_bytes", "file_bytes", "seconds", "commit", "model_sha256"]
NETWORKS = [("ternary", 0, ["prune.groups=''"]), ("wpc30", 0.3, ["prune.share=0.3"]), ("wpc50", 0.5, ["prune.share=0.5"])]


def judged(a, model, split, least, log):
    made = json.loads(call([a.lowbit, "eval", model, "--data", a.data + "/pictures/voc", "--split", split, "--min-objects", least, "--json", "--threads", a.threads], log))
    return "%.4f" % made["metrics"]["map50"], "%.4f-%.4f" % (made["interval"]["low"], made["interval"]["high"])


def row(a, name, share, settings):
    folder = os.path.join(a.folder, "%s_s%d" % (name, a.seed))
    log, model, finished = folder + ".log", os.path.join(folder, "model.onnx"), os.path.join(folder, "results.json")
    if not os.path.exists(finished):
        places = ["model=%s/models/mbv2_yolov3_nano_voc.onnx" % a.data, "data.path=%s/pictures/voc" % a.data, "eval.kind=''"]
        length = ["steps=%d" % a.steps, "batch=%d" % a.batch, "schedule.warmup=%d" % (a.steps // 12), "log.every=5", "checkpoint.every=20"]
        words = [a.lowbit, "train", RECIPE, "--resume", "--json", "--threads", a.threads]
        for setting in [*places, *length, *settings, "seed=%d" % a.seed, "threads=%d" % a.threads, "output=" + folder]:
            words += ["--set", setting]
        call(words, log)
    with open(finished, encoding="utf-8") as f:
        made = json.load(f)
    run, pruned = made["run"], made["run"].get("pruned") or {"groups": 0, "empty": 0}
    inspected = json.loads(call([a.lowbit, "inspect", model, "--json"], log))
    size = inspected["compression"]
    call([a.lowbit, "verify", model], log)
    (val, val_interval), (test07, test07_interval) = judged(a, model, "val", 10, log), judged(a, model, "test07", 1, log)
    return {
        "network": name, "share": share, "seed": a.seed, "steps": run["steps"], "batch": a.batch, "val": val, "val_interval": val_interval,
        "test07": test07, "test07_interval": test07_interval, "groups": pruned["groups"], "empty": pruned["empty"], "compression": "%.2f" % size["all"],
        "compression_papers": "%.2f" % size["pruned_layers"] if "pruned_layers" in size else "", "stored_bytes": size["bytes"],
        "file_bytes": os.path.getsize(model), "seconds": round(run["seconds"]), "commit": str(made["provenance"].get("git", ""))[:7],
        "model_sha256": inspected["model_sha256"][:12],
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["lowbit", "data", "folder"]:
        p.add_argument(name)
    p.add_argument("csv", nargs="?", default="docs/results/pruned_voc.csv")
    for name, default in [("steps", 120), ("batch", 8), ("seed", 0), ("threads", 1)]:
        p.add_argument("--" + name, type=int, default=default)
    a = p.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    done = set()
    if os.path.exists(a.csv):
        with open(a.csv, encoding="utf-8", newline="") as f:
            done = {(r["network"], r["seed"]) for r in csv.DictReader(f)}
    for network in NETWORKS:
        if (network[0], str(a.seed)) in done:
            continue
        made = row(a, *network)
        append(a.csv, COLUMNS, made)


if __name__ == "__main__":
    main()
