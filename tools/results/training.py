#!/usr/bin/env python3
"""Runs the training table: recipe after recipe, resumable, a row of CSV as each run ends.

    python tools/results/training.py LOWBIT DATA FOLDER docs/results/training.csv [--only PATTERN] [--threads N]

LOWBIT is the release binary, DATA the folder with models/ and cifar10/, FOLDER keeps the runs. Rows that the CSV holds are skipped, a run that was
killed goes on from its checkpoint, and one that FOLDER holds complete, from another machine perhaps, is only evaluated. The test list only reports:
nothing is chosen by it.

columns: recipe, model, method, grid, activation bits, whether first and last layers are quantized, kind of scale, seed, steps, batch, passes over the
training list, score of the float model at the start, of the packed model, of the quantized model before the first update (rounding after training at the same
bits, ptq), seconds of the run (with its evaluations, on a shared machine), commit of the program, first digits of the SHA-256 of the recipe
as it ran and of the packed model; of detectors, whose score is that of `lowbit eval` of the packed file (mAP50), the 95 % bootstrap interval over pictures,
and the same two of a second list, where there is one; where it was trained, the CPU if nothing is said.
"""
import argparse
import csv
import hashlib
import json
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = os.path.join(HERE, "..", "..", "recipes")
COLUMNS = ["recipe", "model", "method", "grid", "activation_bits", "first_last", "scale", "seed", "steps", "batch", "passes",
           "float_start", "score", "ptq", "seconds", "commit", "recipe_sha256", "model_sha256", "interval", "second_list", "second_score", "second_interval", "device"]
ENDS_FLOAT = 'method.rules=["first=float", "head=float"]'
ALL_LAYERS = "method.rules=[]"
PER_CHANNEL = ["method.granularity=channel", "method.scale=real"]

# (recipe, seed, settings), in the order in which they are run.
ROWS = [
    *[("cifar10-float", seed, []) for seed in range(3)],
    *[(recipe, seed, ["method.grid=" + grid, *ends]) for recipe, seed, grid, ends in [
        ("cifar10-bcgd", 0, "int4", []),
        ("cifar10-bcgd", 0, "ternary", []),
        *[("cifar10-bcgd", seed, "binary", []) for seed in range(3)],
        *[("cifar10-lbw", seed, "lbw2", []) for seed in range(3)],
        *[("cifar10-lbw", 0, "lbw%d" % bits, []) for bits in [4, 6, 3, 5]],
        *[("cifar10-bcgd", 0, grid, [ENDS_FLOAT]) for grid in ["int4", "ternary"]],
        *[("cifar10-bcgd", seed, "binary", [ENDS_FLOAT]) for seed in range(3)],
        *[("cifar10-lbw", seed, "lbw2", [ENDS_FLOAT]) for seed in range(3)],
        *[("cifar10-lbw", 0, "lbw%d" % bits, [ENDS_FLOAT]) for bits in [4, 6, 3, 5]],
    ]],
    *[row for seed in range(3) for row in [
        ("bccd-float", seed, []),
        ("bccd-lbw", seed, ["method.grid=lbw4"]),
        ("bccd-lbw", seed, ["method.grid=lbw2"]),
        ("bccd-lbw", seed, ["method.grid=lbw6"]),
    ]],
    *[("voc-nano-%s" % recipe, seed, settings) for recipe, seed, settings in [
        ("pow2", 0, ["method.grid=pow2-4"]),
        ("lbw", 0, ["method.grid=lbw4"]),
        ("lbw", 0, ["method.grid=lbw6", *PER_CHANNEL]),
        ("pow2", 0, ["method.grid=int6", ALL_LAYERS]),
        ("lbw", 0, ["method.grid=lbw3", *PER_CHANNEL]),
        ("lbw", 0, ["method.grid=lbw2", *PER_CHANNEL]),
        ("pow2", 1, ["method.grid=pow2-4"]),
        ("lbw", 1, ["method.grid=lbw4"]),
        ("pow2", 2, ["method.grid=pow2-4"]),
        ("lbw", 2, ["method.grid=lbw4"]),
        ("pow2", 0, ["method.grid=pow2-4", ALL_LAYERS]),
        ("lbw", 0, ["method.grid=lbw4", *PER_CHANNEL]),
    ]],
    ("voc-xl-pow2", 0, ["method.grid=pow2-4"]),
    *[("coco-yolov8n-lbw", 0, ["method.grid=lbw%d" % bits]) for bits in [6, 4, 2, 5, 3]],
]

# Where a recipe's data are, below DATA, and how many pictures an epoch has, by the first words of its name.
PLACES = {
    "cifar10": {"model": "models/cifar_resnet20.onnx", "data.path": "cifar10", "eval.path": "cifar10"},
    "bccd": {"data.path": "pictures/bccd", "eval.path": "pictures/bccd"},
    "voc-nano": {"model": "models/mbv2_yolov3_nano_voc.onnx", "data.path": "pictures/voc", "eval.path": "pictures/voc"},
    "voc-xl": {"model": "models/yolo_fastest_xl_voc.onnx", "data.path": "pictures/voc", "eval.path": "pictures/voc"},
    "coco-yolov8n": {"model": "models/yolov8n_320.onnx", "data.path": "pictures/voc", "eval.path": "pictures/coco"},
}
EPOCH = {"cifar10": 10000, "bccd": 205, "voc-nano": 1150, "voc-xl": 1150, "coco-yolov8n": 1150}
# Detectors that start from nothing. Low-bit runs start from the float run of their seed.
FROM_NOTHING = {"bccd": "zoo:small"}
# Lists that packed files of detectors are evaluated on: folder, name, least number of objects of a class that counts.
VOC = [("pictures/voc", "val", 10), ("pictures/voc", "test07", 1)]
LISTS = {"bccd": [("pictures/bccd", "val", 1)], "voc-nano": VOC, "voc-xl": VOC, "coco-yolov8n": [("pictures/coco", "val", 1)]}


def lowbit(a, folder, recipe, settings):
    """The JSON of a finished run."""
    finished = os.path.join(folder, "results.json")
    if os.path.exists(finished):
        with open(finished, encoding="utf-8") as f:
            made = json.load(f)
        return {**made["provenance"], **made["run"]}
    command = [a.lowbit, "train", os.path.join(RECIPES, recipe + ".toml"), "--resume", "--json", "--threads", str(a.threads)]
    for setting in [*settings, "threads=%d" % a.threads, "output=" + folder]:
        command += ["--set", setting]
    with open(folder + ".log", "a", encoding="utf-8") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True)
    if done.returncode != 0:
        raise SystemExit("%s\nexit code %d, see %s.log" % (" ".join(command), done.returncode, folder))
    return json.loads(done.stdout)


def judged(a, model, folder, split, least):
    """mAP50 of a packed file and its interval, as `low-high`."""
    command = [a.lowbit, "eval", model, "--data", os.path.join(a.data, folder), "--split", split, "--min-objects", str(least), "--json",
               "--threads", str(a.threads)]
    made = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    return made["metrics"]["map50"], "%.4f-%.4f" % (made["interval"]["low"], made["interval"]["high"])


def value(text, key):
    """Of a complete recipe, a key a line."""
    found = re.search("^%s = (.*)$" % re.escape(key), text, re.M)
    return found.group(1).strip('"') if found else ""


def base_of(a, recipe, seed, settings):
    """The folder of a run."""
    name = "_".join([recipe] + [re.sub(r"[^a-z0-9.-]+", "_", s.split("=", 1)[1]).strip("_") for s in settings] + ["s%d" % seed])
    return os.path.join(a.folder, name)


def run(a, recipe, seed, settings):
    kind = next(kind for kind in EPOCH if recipe.startswith(kind))
    places = ["%s=%s" % (key, os.path.join(a.data, path)) for key, path in PLACES[kind].items()]
    if kind in FROM_NOTHING and not recipe.endswith("-float"):
        places.append("model=%s" % os.path.join(a.folder, "%s-float_s%d" % (kind, seed), "model.onnx"))
    base = base_of(a, recipe, seed, settings)
    made = lowbit(a, base, recipe, [*places, *settings, "seed=%d" % seed])
    text = made["recipe"]
    method = value(text, "method.name")
    steps, batch = int(value(text, "steps")), int(value(text, "batch"))
    # Where the data lie is no part of the recipe's identity.
    identity = re.sub("^(model|data.path|eval.(path|kind|split|count)) = .*\n", "", text, flags=re.M)
    scores = [judged(a, os.path.join(base, "model.onnx"), *where) for where in LISTS.get(kind, [])]
    (score, interval), second = (scores or [(made["score"], "")])[0], scores[1] if len(scores) > 1 else None
    return {
        "recipe": recipe, "model": FROM_NOTHING.get(kind) or os.path.basename(PLACES[kind]["model"]).rsplit(".", 1)[0], "method": method,
        "grid": "" if method == "float" else value(text, "method.grid"),
        "activation_bits": "" if method == "float" or value(text, "activation.bits") == "0" else value(text, "activation.bits"),
        "first_last": "" if method == "float" else ends_of(value(text, "method.rules")),
        "scale": "" if method == "float" else "%s %s" % (value(text, "method.granularity"), value(text, "method.scale")),
        "seed": seed, "steps": steps, "batch": batch, "passes": round(steps * batch / EPOCH[kind], 2),
        "float_start": "%.4f" % made["start_score"] if made.get("start_score") is not None else "", "score": "%.4f" % score,
        "ptq": "%.4f" % made["rounded_score"] if made.get("rounded_score") is not None else "", "seconds": round(made["seconds"]),
        "commit": str(made.get("git", ""))[:7], "recipe_sha256": hashlib.sha256(identity.encode()).hexdigest()[:12],
        "model_sha256": made["model_sha256"][:12], "interval": interval,
        "second_list": LISTS[kind][1][1] if second else "", "second_score": "%.4f" % second[0] if second else "",
        "second_interval": second[1] if second else "", "device": value(text, "device").replace("cpu", ""),
    }


def ends_of(rules):
    """What first layers and heads have: the grid of all, float, or a grid of their own."""
    return re.search("first=([a-z0-9-]+)", rules).group(1) if "first=" in rules else "quantized"


def key(recipe, seed, settings):
    """What makes a row, before its run: as the columns name it."""
    of = dict(s.split("=", 1) for s in settings)
    if "method.grid" not in of:
        return (recipe, str(seed), "", "", "")
    text = open(os.path.join(RECIPES, recipe + ".toml"), encoding="utf-8").read()
    rules = of.get("method.rules", value(text, "rules"))
    granularity = of.get("method.granularity", value(text, "granularity") or "channel")
    return (recipe, str(seed), of["method.grid"], ends_of(rules), granularity)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["lowbit", "data", "folder", "csv"]:
        p.add_argument(name)
    p.add_argument("--only", default="", help="rows whose recipe and settings contain this")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--evaluate", action="store_true", help="evaluates what FOLDER holds complete and trains nothing")
    a = p.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    done = set()
    if os.path.exists(a.csv):
        for row in csv.DictReader(open(a.csv, encoding="utf-8")):
            done.add((row["recipe"], row["seed"], row["grid"], row["first_last"], row["scale"].split(" ")[0]))
    for recipe, seed, settings in ROWS:
        if key(recipe, seed, settings) in done or a.only not in " ".join([recipe, *settings]):
            continue
        if a.evaluate and not os.path.exists(os.path.join(base_of(a, recipe, seed, settings), "results.json")):
            continue
        row = run(a, recipe, seed, settings)
        new = not os.path.exists(a.csv)
        with open(a.csv, "a", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(str(row[c]) for c in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
