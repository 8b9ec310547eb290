#!/usr/bin/env python3
"""How many calibration pictures are enough: quantizes one model with 8 … 512 of them and judges on pictures that nothing was fitted on.

    python tools/results/curve.py LOWBIT DATA FOLDER [--model mbv2_yolov3_nano_voc] [--grids int8,int4] [--counts 8,16,32,64,128,256,512] [--flags …]
    python tools/results/curve.py --plot docs/results/curve.csv docs/images/curve.svg

Every fourth picture of train_more judges; the others and those of train calibrate, spread evenly. What stands in FOLDER is not done again. Prints CSV:
grid, pictures, mAP50 of the float and the low-bit model on the judges with all classes, the loss with its paired 95 % interval, F1 of the boxes above
0.25 with the float model's.
"""
import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys

COLUMNS = ["grid", "pictures", "float_map50", "map50", "loss", "low", "high", "agreement_f1"]


def folders(data, folder):
    """A folder in VOC's form whose lists are `judges` and `fit`, of links."""
    voc = data / "pictures" / "voc"
    ours = folder / "voc"
    ours.mkdir(parents=True, exist_ok=True)
    for part in ("JPEGImages", "Annotations"):
        if not (ours / part).exists():
            (ours / part).symlink_to(voc / part)
    more, train = ((voc / (s + ".txt")).read_text().split() for s in ("train_more", "train"))
    fit = train + [n for i, n in enumerate(more) if i % 4 != 3]
    (ours / "judges.txt").write_text("\n".join(more[3::4]) + "\n")
    (ours / "fit.txt").write_text("\n".join(fit) + "\n")
    return ours, fit


def run(words, path):
    if not path.exists():
        done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            sys.exit(done.returncode)
        path.write_text(done.stdout)
    return json.loads(path.read_text())


def measure(a):
    a.folder.mkdir(parents=True, exist_ok=True)
    voc, fit = folders(a.data.resolve(), a.folder.resolve())
    model = a.data / "models" / (a.model + ".onnx")
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for grid in a.grids.split(","):
        for count in map(int, a.counts.split(",")):
            name = "fit%d" % count
            (voc / (name + ".txt")).write_text("\n".join(fit[i * len(fit) // count] for i in range(count)) + "\n")
            low = a.folder / f"{a.model}-{grid}-{count}.onnx"
            run([a.lowbit, "quantize", model, "--grid", grid, "--calib", voc, "--calib-split", name, "--subset-size", count, "--force",
                 "-o", low, "--threads", a.threads, "--json", *a.flags.split()], low.with_suffix(".quantize.json"))
            c = run([a.lowbit, "compare", model, low, "--data", voc, "--split", "judges", "--threads", a.threads, "--json"],
                    low.with_suffix(".compare.json"))
            acc = c["accuracy"]
            values = (grid, count, acc["a"], acc["b"], acc["drop"], acc["interval"]["low"], acc["interval"]["high"], c["agreement_f1"])
            writer.writerow(dict(zip(COLUMNS, (v if isinstance(v, (str, int)) else round(v, 4) for v in values))))
            sys.stdout.flush()


def plot(source, out):
    """Loss of mAP50 in points and F1 of agreement over the number of pictures, one panel each; readable on light and dark pages."""
    rows = list(csv.DictReader(open(source, encoding="utf-8")))
    grids = list(dict.fromkeys(r["grid"] for r in rows))
    counts = sorted({int(r["pictures"]) for r in rows})
    colours = ["#2f7ed8", "#d9822b", "#3a9e5c", "#b4519e"]
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 300" font-family="sans-serif" font-size="12">',
             '<style>text{fill:#666}.l{stroke:#8886;stroke-width:1}</style>']
    for panel, (title, key, factor) in enumerate([("loss of mAP50, points", "loss", 100), ("agreement with float, F1", "agreement_f1", 1)]):
        values = [factor * float(r[key]) for r in rows]
        low, high = min(values), max(values)
        pad = 0.08 * (high - low or 1)
        low, high = low - pad, high + pad
        left = 50 + 380 * panel

        def x(n):
            return left + 300 * counts.index(n) / max(len(counts) - 1, 1)

        def y(v):
            return 250 - 200 * (v - low) / (high - low)
        parts.append(f'<text x="{left}" y="30" font-size="14">{title}</text>')
        for k in range(5):
            v = low + (high - low) * k / 4
            parts.append(f'<line class="l" x1="{left}" x2="{left + 300}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>')
            parts.append(f'<text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.{1 if factor > 1 else 3}f}</text>')
        for n in counts:
            parts.append(f'<text x="{x(n):.1f}" y="268" text-anchor="middle">{n}</text>')
        parts.append(f'<text x="{left + 150}" y="288" text-anchor="middle">calibration pictures</text>')
        for k, grid in enumerate(grids):
            points = [(x(int(r["pictures"])), y(factor * float(r[key]))) for r in rows if r["grid"] == grid]
            parts.append('<polyline fill="none" stroke-width="2" stroke="%s" points="%s"/>' % (
                colours[k % 4], " ".join("%.1f,%.1f" % p for p in points)))
            parts += ['<circle r="3" fill="%s" cx="%.1f" cy="%.1f"/>' % (colours[k % 4], *p) for p in points]
            parts.append(f'<text x="{left + 220 + 42 * k}" y="30" style="fill:{colours[k % 4]}">{grid}</text>')
    out.write_text("\n".join(parts + ["</svg>", ""]), encoding="utf-8")


def main():
    if sys.argv[1:2] == ["--plot"]:
        return plot(sys.argv[2], pathlib.Path(sys.argv[3]))
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("lowbit", type=os.path.abspath)
    p.add_argument("data", type=pathlib.Path)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--model", default="mbv2_yolov3_nano_voc")
    p.add_argument("--grids", default="int8,int4")
    p.add_argument("--counts", default="8,16,32,64,128,256,512")
    p.add_argument("--flags", default="", help="more words for `lowbit quantize`")
    p.add_argument("--threads", default="0")
    measure(p.parse_args())


if __name__ == "__main__":
    main()
