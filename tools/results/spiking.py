#!/usr/bin/env python3
"""Runs the table of spiking networks on hyperspectral scenes: resumable, a row of CSV as each network ends.

    python tools/results/spiking.py LOWBIT SEEDS FOLDER docs/results/spiking.csv [--seeds 3] [--threads N]

LOWBIT is the release binary, SEEDS the folder with the scenes, FOLDER keeps the runs. Of each scene, split and seed: the network of ReLUs in float
(recipe SCENE-cnn), then the spiking one of 5 steps and 6-bit weights from it (SCENE-snn). Each row is `lowbit eval` on the test pixels, which report
alone; rows that the CSV holds are skipped, a run that was killed goes on from its checkpoint.
"""
import argparse
import csv
import json
import os
import re
import subprocess

RECIPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "recipes")
SCENES = {"salinas-a": ("salinas_a", "salinas_a_b34.npy"), "indian-pines": ("indian_pines", "indian_pines_b40.npy")}
COLUMNS = [
    "scene", "split", "network", "seed", "dropout", "steps", "pixels", "oa", "aa", "kappa", "converted_oa", "training_forward_oa", "differing", "activity", "first_share",
    "ratio_float32", "ratio_int32", "ratio_6bit", "float32_to_6bit", "bytes", "seconds", "commit", "model_sha256",
]


def lowbit(a, arguments, log):
    with open(log, "a", encoding="utf-8") as f:
        made = subprocess.run([a.lowbit, *arguments, "--json", "--threads", str(a.threads)], stdout=subprocess.PIPE, stderr=f)
    if made.returncode != 0:
        raise SystemExit("%s failed, see %s" % (" ".join(arguments), log))
    return json.loads(made.stdout)


def dropout(recipe):
    """The rate of a recipe as it ran."""
    found = re.search(r"^dropout\.rate = ([0-9.]+)$", recipe, re.M)
    return "%g" % float(found.group(1)) if found else "0"


def row(a, scene, split, network, seed):
    short, cube = SCENES[scene]
    cube = os.path.join(a.seeds_folder, cube)
    folder = lambda of: os.path.join(a.folder, "%s_%s_%s_s%d" % (scene, split, of, seed))
    at, part = folder(network), "%s_split_%s.npy" % (short, split)
    settings = ["data.path=" + cube, "data.split=" + part, "seed=%d" % seed, "threads=%d" % a.threads, "output=" + at]
    if network == "snn":
        settings.append("model=" + os.path.join(folder("cnn"), "model.onnx"))
    finished = os.path.join(at, "results.json")
    if not os.path.exists(finished):
        command = ["train", os.path.join(RECIPES, "%s-%s.toml" % (scene, network)), "--resume"]
        lowbit(a, [*command, *[x for s in settings for x in ("--set", s)]], at + ".log")
    with open(finished, encoding="utf-8") as f:
        made = json.load(f)
    run, model = made["run"], os.path.join(at, "model.onnx")
    labels = os.path.join(a.seeds_folder, short + "_gt.npy")
    judged = lowbit(a, ["eval", model, "--data", cube, "--labels", labels, "--split", os.path.join(a.seeds_folder, part)], at + ".log")
    judged = judged.get("result", judged)
    energy, agreement = judged.get("energy") or {}, run.get("agreement") or {}
    number = lambda x, digits=4: "" if x is None else "%.*f" % (digits, x)
    return {
        "scene": scene, "split": split, "network": network, "seed": seed, "dropout": dropout(run["recipe"]), "steps": run["steps"], "pixels": judged["pixels"], "oa": number(judged["overall"]),
        "aa": number(judged["average"]), "kappa": number(judged["kappa"]), "converted_oa": number(run.get("rounded_score")),
        "training_forward_oa": number(agreement.get("trained_score")), "differing": agreement.get("differing", ""),
        "activity": " ".join("%.3f" % l["activity"] for l in energy.get("layers", []) if l["activity"] is not None),
        "first_share": number(energy.get("first_share"), 3), "ratio_float32": number(energy.get("ratio_float32"), 2),
        "ratio_int32": number(energy.get("ratio_int32"), 2), "ratio_6bit": number(energy.get("ratio_bits"), 2),
        "float32_to_6bit": number(energy.get("ratio_float32_to_bits"), 1), "bytes": run["model_bytes"], "seconds": round(run["seconds"]),
        "commit": str(made["provenance"].get("git", ""))[:7], "model_sha256": run["model_sha256"][:12],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ["lowbit", "seeds_folder", "folder", "csv"]:
        parser.add_argument(name)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    rows = []
    if os.path.exists(a.csv):
        with open(a.csv, encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f))
    # Rows of runs before there was dropout stay beside those of the recipes.
    have = {(r["scene"], r["split"], r["network"], int(r["seed"])) for r in rows if r["dropout"] != "0"}
    for scene in SCENES:
        for seed in range(a.seeds):
            for split in ["random", "region"]:
                for network in ["cnn", "snn"]:
                    if (scene, split, network, seed) in have:
                        continue
                    rows.append(row(a, scene, split, network, seed))
                    with open(a.csv + ".part", "w", encoding="utf-8", newline="") as f:
                        out = csv.DictWriter(f, COLUMNS, lineterminator="\n")
                        out.writeheader()
                        out.writerows(rows)
                    os.replace(a.csv + ".part", a.csv)
                    print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
