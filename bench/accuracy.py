#!/usr/bin/env python3
"""Accuracy of int8 after training beside other quantizers: the same calibration pictures, the same judged pictures, the same protocol.

    bench/accuracy.py --models FOLDER --data VOC --lowbit target/release/lowbit [--split val] [--calib-data FOLDER] [--calib-split train] [--only NAME,…]
                      [--work bench/work] [--engines ort-u8s8,ov-int8,quantize-rs-int8,quantize-rs-int4] [--grids int8,int4] [--min-objects 10] [--json FILE]

VOC has JPEGImages/, Annotations/ and NAME.txt for each list. The peers run in onnxruntime and OpenVINO; their outputs are decoded and scored by
detections.py, lowbit's by `lowbit compare`: the float column shows that the two agree.
"""
import argparse
import json
import subprocess
from pathlib import Path

from run import in_venv

HERE = Path(__file__).resolve().parent


class Job:
    """What files.py asks for: a model, its calibration pictures, and where its files go."""

    def __init__(self, a, model, pictures):
        import files
        self.model, self.work, self.pictures, self.count = model, a.work, pictures, len(pictures)
        self.head = json.loads(model.with_suffix(".json").read_text())
        self.input, self.shape, self.outputs = files.signature(model)
        self.named = files.named(model, self.file(".named.onnx"))

    def file(self, ending):
        return self.work / (self.model.stem + ending)

    def calibration(self):
        import detections
        for picture in self.pictures:
            yield detections.prepared(picture, self.head["input"])[0]


def ort(path):
    import onnxruntime as rt
    options = rt.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = rt.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda x: dict(zip(names, session.run(None, {session.get_inputs()[0].name: x})))


def openvino(path, names):
    import openvino as ov
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda x: dict(zip(names, (v.copy() for v in compiled(x).values())))


def engine(name, job):
    """A function from an input to named outputs; the engine's file is made where it is missing."""
    import files
    if name == "ort-f32":
        return ort(job.named)
    if name == "ort-u8s8":
        path = job.file(".ort-u8s8.onnx")
        if not path.exists():
            files.ort_u8s8(job)
        return ort(path)
    if name.startswith("quantize-rs-int"):
        path = job.file(f".{name}.onnx")
        if not path.exists():
            files.quantize_rs(job, int(name[-1]))
        return ort(path)
    path = job.file(".ov-int8.xml")
    if not path.exists():
        files.ov_int8(job)
    return openvino(path, job.outputs)


def lowbit(a, model, grid):
    """The row of `lowbit quantize` with its defaults."""
    out = a.work / f"{model.stem}.lowbit-{grid}.onnx"
    head = ["--head", model.with_suffix(".json"), "--threads", "1", "--quiet"]
    if not out.exists():
        words = ["quantize", model, "--grid", grid, "--calib", a.calib_data, "--calib-split", a.calib_split, "--force", "-o", out]
        subprocess.run([str(w) for w in [a.lowbit, *words, *head]], check=True, stdout=subprocess.DEVNULL)
    words = ["compare", model, out, "--data", a.data, "--split", a.split, "--min-objects", a.min_objects, "--json"]
    done = subprocess.run([str(w) for w in [a.lowbit, *words, *head]], stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)["accuracy"]
    return found["a"], found["b"], found["drop"], found["interval"]["low"], found["interval"]["high"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", type=Path, required=True)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--lowbit", type=Path)
    p.add_argument("--split", default="val")
    p.add_argument("--calib-data", type=Path, help="where the calibration pictures lie, if not in --data")
    p.add_argument("--calib-split", default="train")
    p.add_argument("--only")
    p.add_argument("--work", type=Path, default=HERE / "work")
    p.add_argument("--engines", default="ort-u8s8,ov-int8,quantize-rs-int8,quantize-rs-int4")
    p.add_argument("--grids", default="int8,int4", help="of lowbit; int4 stands beside weights of quantize-rs, whose activations stay float then")
    p.add_argument("--min-objects", type=int, default=10, help="objects that a class must have to count")
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    in_venv(a.work)
    import detections
    a.calib_data = a.calib_data or a.data

    def listed(data, split):
        names = [n.strip() for n in (data / (split + ".txt")).read_text().splitlines() if n.strip()]
        return names, [data / "JPEGImages" / (n + ".jpg") for n in names]
    names, pictures = listed(a.data, a.split)
    truths = [detections.truth(a.data, n) for n in names]
    _, calibration = listed(a.calib_data, a.calib_split)
    rows = []

    def row(model, name, found):
        rows.append(dict(zip(("model", "engine", "float", "map50", "loss", "low", "high"), (model, name, *map(float, found)))))
        print("%-24s %-12s %.4f -> %.4f  loss %+.1f (%+.1f … %+.1f)" % (
            model, name, found[0], found[1], *(100 * v for v in found[2:])), flush=True)

    for name in a.only.split(",") if a.only else sorted(f.stem for f in a.models.glob("*.onnx")):
        model = a.models / (name + ".onnx")
        job = Job(a, model, calibration)
        if job.head.get("family") not in detections.DECODERS:
            continue

        def judged(run):
            def one(picture):
                x, place = detections.prepared(picture, job.head["input"])
                return detections.detections(job.head, run(x), place)
            return detections.Judge(job.head["classes"], truths, [one(p) for p in pictures], a.min_objects)
        whole = judged(engine("ort-f32", job))
        for e in filter(None, a.engines.split(",")):
            try:
                run = engine(e, job)
            except Exception as fault:  # a converter of a peer
                print(f"{name} {e}: {type(fault).__name__}: {str(fault)[:300]}", flush=True)
                continue
            row(name, e, detections.loss(whole, judged(run), len(pictures)))
        for grid in filter(None, a.grids.split(",") if a.lowbit else []):
            row(name, "lowbit-" + grid, lowbit(a, model, grid))
        if a.json:
            a.json.write_text(json.dumps({"split": a.split, "calibration": a.calib_split, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
