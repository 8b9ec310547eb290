#!/usr/bin/env python3
"""Times lowbit and other engines on the same ONNX files, by turns.

    bench/run.py --models FOLDER --pictures FOLDER --lowbit target/release/lowbit [--work bench/work] [--only NAME,…]
                 [--engines ort-f32,…] [--grids int8,pow2-4,int4] [--threads 1,2] [--rounds 9] [--burst 0.2] [--json FILE]

Everything it makes lies in the work folder: a virtual environment with the engines of requirements.txt, each engine's own files of
each model, nothing else. See README.md for what the numbers mean.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", type=Path, required=True, help="folder of NAME.onnx, with NAME.json where a head is described")
    p.add_argument("--pictures", type=Path, required=True, help="calibration; the last one is the input that is timed")
    p.add_argument("--lowbit", type=Path, required=True)
    p.add_argument("--work", type=Path, default=HERE / "work")
    p.add_argument("--only", help="models by name")
    p.add_argument("--engines", help="default: all that install")
    p.add_argument("--grids", default="int8,pow2-4,int4", help="weights of lowbit's rows")
    p.add_argument("--flags", default="", help="more words for `lowbit quantize`")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--burst", type=float, default=0.2, help="seconds of an engine's turn")
    p.add_argument("--gap", type=float, default=0.1, help="seconds of rest after it: thread pools stop spinning")
    p.add_argument("--count", type=int, default=24, help="calibration pictures")
    p.add_argument("--min-sqnr", type=float, default=12, help="dB below which an engine does not count")
    p.add_argument("--json", type=Path)
    return p.parse_args()


def in_venv(work):
    """Goes on in the work folder's environment, which is made where it is missing."""
    venv = work / "venv"
    python = venv / "bin" / "python"
    if Path(sys.prefix).resolve() == venv.resolve():
        return
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        for more in (["-r", HERE / "requirements.txt"], ["--no-deps", "-r", HERE / "requirements-nodeps.txt"]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *more], check=True)
        (venv / "complete").touch()
    os.execv(python, [str(python), *sys.argv])


class Job:
    """A model, its pictures, and where its files go."""

    def __init__(self, a, model):
        import files
        import pictures
        self.model, self.name, self.work = model, model.stem, a.work
        self.lowbit, self.count, self.pictures_folder = a.lowbit.resolve(), a.count, a.work / "pictures"
        self.flags = a.flags.split()
        self.input, self.shape, self.outputs = files.signature(model)
        found = pictures.find(a.pictures, a.count + 1)
        self.pictures, self.held_out = found[:-1], found[-1]
        # lowbit takes a folder: one that holds the same pictures.
        self.pictures_folder.mkdir(parents=True, exist_ok=True)
        for picture in self.pictures:
            link = self.pictures_folder / picture.name
            if not link.exists():
                link.write_bytes(picture.read_bytes())
        self.named = files.named(model, self.file(".named.onnx"))

    def file(self, ending):
        return self.work / (self.name + ending)

    def calibration(self):
        import files
        return files.calibration(self.pictures, self.model, self.shape)

    def make(self, what):
        """Makes the files of an engine; what goes wrong leaves it out."""
        import files
        steps = {
            "ort-u8s8": lambda: files.ort_u8s8(self), "ov-int8": lambda: files.ov_int8(self),
            "mnn-f32": lambda: files.mnn(self, ".mnn-f32.mnn"),
            "mnn-w8": lambda: files.mnn(self, ".mnn-w8.mnn", "--weightQuantBits", "8"),
            "ncnn-f32": lambda: files.ncnn(self),
        }
        if what.startswith("lowbit-"):
            files.lowbit(self, what.removeprefix("lowbit-"))
        elif what in steps:
            steps[what]()


class Engine:
    def __init__(self, name, file, words, output):
        self.name, self.file, self.words, self.output = name, file, [str(w) for w in words], output
        self.wall, self.cpu, self.process = [], [], None

    def start(self, log):
        self.process = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.about = self.read()
        self.runs = 1
        for n in (1, 3):
            self.estimate = sorted(self.ask(n))[n // 2]

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, n):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        return self.read()["ms"]

    def processor_ms(self):
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            total += int(task.read_text().split()[0])
        return total / 1e6

    def burst(self, seconds):
        runs = max(1, min(400, round(seconds * 1e3 / max(self.estimate, 1e-3))))
        before = self.processor_ms()
        self.wall += self.ask(runs)
        self.cpu.append((self.processor_ms() - before) / runs)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def engines_of(a, job, wanted, threads, given, folder):
    import peers
    for name in wanted:
        output = folder / name
        if name.startswith("lowbit-"):
            file = job.model if name == "lowbit-f32" else job.file(f".{name}.onnx")
            words = [job.lowbit, "bench", "--worker", "--quiet", "--threads", threads, "--input", given, "--output", output, file]
        else:
            file = job.file(peers.PEERS[name][1])
            words = [sys.executable, HERE / "peers.py", name, file, threads, given, json.dumps(job.shape), output, *job.outputs]
        if file.exists():
            yield Engine(name, file, words, output)


def measure(a, job, wanted, threads):
    """Rows of one model with so many threads."""
    import numpy as np
    import pictures
    import tables
    rows = []
    with tempfile.TemporaryDirectory() as folder, open(a.work / "stderr.log", "a") as log:
        folder = Path(folder)
        given = folder / "input"
        pictures.tensor(job.held_out, job.model, job.shape).tofile(given)
        live = []
        for engine in engines_of(a, job, wanted, threads, given, folder):
            try:
                engine.start(log)
                live.append(engine)
            except (RuntimeError, ValueError, OSError) as e:
                print(f"{job.name}: {engine.name} left out: {e}", file=sys.stderr)
        for _ in range(a.rounds):
            for engine in live:
                engine.burst(a.burst)
                time.sleep(a.gap)
        for engine in live:
            engine.stop()
        outputs = {e.name: np.fromfile(e.output, np.float32) for e in live if e.output.exists()}
    want = outputs.get("ort-f32")
    head = pictures.description(job.model)
    for e in live:
        rows.append({
            "model": job.name, "engine": e.name, "threads": threads, "runs": len(e.wall),
            **tables.times(e.wall, e.cpu),
            "load_ms": e.about["load_ms"], "first_ms": e.about["first_ms"], "rss_mb": e.about["rss_mb"],
            "file_mb": tables.size_mb(e.file), "sqnr_db": tables.sqnr(head, want, outputs.get(e.name)),
            "instructions": e.about.get("instructions") or e.about.get("isa"),
        })
    return rows


def machine(a):
    """What the figures were measured on."""
    from importlib.metadata import version
    cpu = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    cpu = {k.strip(): v.strip() for k, v in cpu.items()}
    simd = [f for f in cpu["flags"].split() if f.startswith(("avx", "amx", "fma", "sse4"))]
    names = ("onnxruntime", "openvino", "nncf", "mnn", "ncnn", "pnnx", "numpy")
    lowbit = subprocess.run([a.lowbit.resolve(), "doctor", "--json"], capture_output=True, text=True, check=True)
    doctor = json.loads(lowbit.stdout)
    return {
        "cpu": cpu["model name"], "family": f"{cpu['cpu family']}/{cpu['model']}", "cores": os.cpu_count(), "simd": simd,
        "system": f"{platform.system()} {platform.release()}", "load_average": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d"), "python": platform.python_version(),
        "versions": {n: version(n) for n in names},
        "lowbit": {k: doctor[k] for k in ("tool_version", "git", "isa")} | {"flags": a.flags},
    }


def main():
    a = arguments()
    a.work = a.work.resolve()
    a.work.mkdir(parents=True, exist_ok=True)
    in_venv(a.work)
    sys.path.insert(0, str(HERE))
    import peers
    import tables
    grids = [g for g in a.grids.split(",") if g]
    wanted = a.engines.split(",") if a.engines else [*peers.PEERS, "lowbit-f32", *(f"lowbit-{g}" for g in grids)]
    models = sorted(p for p in a.models.glob("*.onnx") if not a.only or p.stem in a.only.split(","))
    about = machine(a)
    print(tables.heading(about))
    rows = []
    for model in models:
        try:
            job = Job(a, model)
        except ValueError as e:
            print(f"{model.stem} left out: {e}", file=sys.stderr)
            continue
        for engine in wanted:
            ending = peers.PEERS[engine][1] if engine in peers.PEERS else f".{engine}.onnx"
            if engine != "lowbit-f32" and not job.file(ending).exists():
                try:
                    job.make(engine)
                except Exception as e:  # a converter's fault is the engine's
                    print(f"{model.stem}: {engine} left out: {type(e).__name__}: {str(e)[:200]}", file=sys.stderr)
        for threads in map(int, a.threads.split(",")):
            rows += measure(a, job, wanted, threads)
        print(tables.model(job.name, [r for r in rows if r["model"] == job.name], a.min_sqnr), flush=True)
        if a.json:
            about["load_average_end"] = os.getloadavg()[0]
            a.json.write_text(json.dumps({"machine": about, "min_sqnr_db": a.min_sqnr, "rows": rows}, indent=1) + "\n")
    print(tables.summary(rows, a.min_sqnr))


if __name__ == "__main__":
    main()
