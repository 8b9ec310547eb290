#!/usr/bin/env python3
"""Runs the table of pruned ternary networks: resumable, a row of CSV as each run ends; then times them beside the dense ternary and the int8 network.

    python tools/results/pruned.py LOWBIT DATA FOLDER docs/results/pruned.csv [--seeds 3] [--threads N]
    python tools/results/pruned.py LOWBIT DATA FOLDER --time [--runs 400]

LOWBIT is the release binary, DATA the folder with models/ and cifar10/, FOLDER keeps the runs. Rows that the CSV holds are skipped, a run that was killed goes on from its
checkpoint, one that FOLDER holds complete is only measured, its file written again by this LOWBIT. The test list only reports: nothing is chosen by it.

columns: network, penalty (wpc or lasso), share of the groups to prune, seed, steps, batch, passes over the training list, float top-1 at the start, top-1 of the
packed model, of the rounded one before training, groups and those of zeros alone (pruned, or all their codes 0), share of zeros among kept weights, times smaller than f32:
everything counted (groups, scales, biases), and as papers count (weights and groups of pruned layers alone), bytes of all that, of the file, test pictures of which the engine
says another class than the f32 training forward, and their number, seconds, commit, model.

--time: one thread; each network by turns with the dense ternary one of its seed; time of the network and of the layers that are pruned, medians.
"""
import argparse
import csv
import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPE = os.path.join(HERE, "..", "..", "recipes", "cifar10-wpc.toml")
COLUMNS = ["network", "penalty", "share", "seed", "steps", "batch", "passes", "float_start", "score", "ptq", "groups", "empty", "kept_zeros",
           "compression", "compression_papers", "stored_bytes", "file_bytes", "differing", "pictures", "seconds", "commit", "model_sha256"]
PICTURES = 10000
NETWORKS = [
    ("ternary", "", 0.0, ["prune.groups=''"]),
    *[("%s%d" % (name, share * 100), name, share, ["prune.share=%g" % share, "prune.clip=%g" % clip])
      for share in [0.5, 0.3] for name, clip in [("wpc", 0.7), ("lasso", 0)]],
]


def call(words, log):
    with open(log, "a", encoding="utf-8") as err:
        done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=err, text=True)
    if done.returncode != 0:
        raise SystemExit("%s\nexit code %d, see %s" % (" ".join(map(str, words)), done.returncode, log))
    return done.stdout


def append(path, columns, made):
    """A row more, with the head where the file is new."""
    new = not os.path.exists(path)
    with open(path, "a", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(made)
    print(made, flush=True)


def model_of(a, name, seed):
    return os.path.join(a.folder, "%s_s%d" % (name, seed), "model.onnx")


def row(a, name, penalty, share, settings, seed):
    folder = os.path.dirname(model_of(a, name, seed))
    log, finished, model = folder + ".log", os.path.join(folder, "results.json"), model_of(a, name, seed)
    places = ["model=%s/models/cifar_resnet20.onnx" % a.data, "data.path=%s/cifar10" % a.data, "eval.path=%s/cifar10" % a.data]
    if not os.path.exists(finished):
        words = [a.lowbit, "train", RECIPE, "--resume", "--json", "--threads", a.threads]
        for setting in [*places, *settings, "seed=%d" % seed, "threads=%d" % a.threads, "output=" + folder]:
            words += ["--set", setting]
        call(words, log)
    with open(finished, encoding="utf-8") as f:
        made = json.load(f)
    run, pruned = made["run"], made["run"].get("pruned") or {"groups": 0, "empty": 0}
    agreement = run.get("agreement") or {}
    call([a.lowbit, "export", model, "--as", "packed", "-o", model + ".new"], log)
    os.replace(model + ".new", model)
    inspected = json.loads(call([a.lowbit, "inspect", model, "--json"], log))
    call([a.lowbit, "verify", model], log)
    layers = [(l["parameters"], l["pruned"]) for l in inspected["layers"] if "pruned" in l]
    kept = [(n * (1 - p["share"]), p["zeros"]) for n, p in layers]
    total = sum(n for n, _ in kept)
    size, number = inspected["compression"], lambda x: "" if x is None else "%.4f" % x
    return {
        "network": name, "penalty": penalty, "share": share, "seed": seed, "steps": run["steps"], "batch": 64,
        "passes": round(run["steps"] * 64 / PICTURES, 2), "float_start": number(run["start_score"]), "score": number(run["score"]),
        "ptq": number(run["rounded_score"]), "groups": pruned["groups"], "empty": pruned["empty"],
        "kept_zeros": number(sum(n * z for n, z in kept) / total) if total else "", "compression": "%.2f" % size["all"],
        "compression_papers": "%.2f" % size["pruned_layers"] if "pruned_layers" in size else "", "stored_bytes": size["bytes"],
        "file_bytes": os.path.getsize(model), "differing": agreement.get("differing", ""), "pictures": agreement.get("compared", ""), "seconds": round(run["seconds"]), "commit": str(made["provenance"].get("git", ""))[:7],
        "model_sha256": inspected["model_sha256"][:12],
    }


def table(a):
    done = set()
    if os.path.exists(a.csv):
        with open(a.csv, encoding="utf-8", newline="") as f:
            done = {(r["network"], r["seed"]) for r in csv.DictReader(f)}
    for seed in range(a.seeds):
        for name, *rest in NETWORKS:
            if (name, str(seed)) in done:
                continue
            made = row(a, name, *rest, seed)
            append(a.csv, COLUMNS, made)


def time(a):
    log, dense = os.path.join(a.folder, "time.log"), model_of(a, "ternary", 0)
    int8 = os.path.join(a.folder, "int8.onnx")
    if not os.path.exists(int8):
        pictures = os.path.join(a.folder, "fit")
        from cifar import unpacked
        import pathlib
        unpacked(os.path.join(a.data, "cifar10", "train.zip"), pathlib.Path(pictures), 64)
        call([a.lowbit, "quantize", os.path.join(a.data, "models", "cifar_resnet20.onnx"), "--grid", "int8", "--effort", "fast", "--calib", pictures, "-o", int8], log)
    others = [("int8", int8)] + [(name, model_of(a, name, 0)) for name, *_ in NETWORKS[1:] if os.path.exists(model_of(a, name, 0))]
    print("network,ms,dense_ternary_ms,times_faster,pruned_layers_us,same_of_dense_us,times_faster")
    for name, model in others:
        words = [a.lowbit, "bench", dense, "--vs", model, "--runs", a.runs, "--threads", "1", "--json", "-q"]
        made = json.loads(call(words, log))
        inspected = json.loads(call([a.lowbit, "inspect", model, "--json"], log))
        names = {l["name"] for l in inspected["layers"] if "pruned" in l}
        layers = lambda side: sum(l["median_ms"] for l in made[side]["layers"] if l["name"] in names) * 1e3
        ms = lambda side: made[side]["stats"]["median_ms"]
        a_us, b_us = layers("a"), layers("b")
        print("%s,%.4f,%.4f,%.2f,%.1f,%.1f,%s" % (
            name, ms("b"), ms("a"), ms("a") / ms("b"), b_us, a_us, "%.2f" % (a_us / b_us) if b_us else ""), flush=True)
        if a.layers:
            for x, y in zip(made["a"]["layers"], made["b"]["layers"]):
                if x["name"] in names:
                    print("    %s,%.2f,%.2f,%.2f" % (x["name"], y["median_ms"] * 1e3, x["median_ms"] * 1e3, x["median_ms"] / y["median_ms"]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["lowbit", "data", "folder"]:
        p.add_argument(name)
    p.add_argument("csv", nargs="?", default="docs/results/pruned.csv")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--time", action="store_true")
    p.add_argument("--runs", type=int, default=400)
    p.add_argument("--layers", action="store_true", help="with --time: every pruned layer, microseconds")
    a = p.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    time(a) if a.time else table(a)


if __name__ == "__main__":
    main()
