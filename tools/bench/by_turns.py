#!/usr/bin/env python3
"""Time of engines on the same models, by turns.

    by_turns.py MODELS… --threads N --worker 'NAME=COMMAND {model} {threads} {input} {output}' …  [--json FILE]

A worker loads {model} (or a file of its own named after {stem}), reads the float32 input from the file {input}, writes its outputs to {output}, prints one line, and then, for
each number of runs that it reads from stdin, a line {"ms": [...]}. All workers of a model are loaded; each runs a short burst in
turn. Beside the wall time the processor time of a burst is taken (/proc/PID/task/*/schedstat, read while the worker waits): on a
machine that does other work, one thread's processor time per run is what it would take alone, give or take the caches.

Printed per model and worker: median processor time per run, lower quartile and minimum of the wall time, SQNR of the outputs against the
first worker's, and each worker's median time over the first one's.
"""
import argparse
import glob
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import picture


def cpu_ns(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total


class Worker:
    def __init__(self, name, command, model, threads, x, folder):
        self.name = name
        self.output = os.path.join(folder, name.replace("/", "_"))
        stem = os.path.splitext(os.path.basename(model))[0]
        words = [w.format(model=model, stem=stem, threads=threads, input=x, output=self.output) for w in shlex.split(command)]
        env = dict(os.environ, RTEN_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} does not start")
        self.about = json.loads(line)
        self.wall, self.cpu = [], []

    def burst(self, runs):
        before = cpu_ns(self.process.pid)
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        self.wall += json.loads(self.process.stdout.readline())["ms"]
        self.cpu.append((cpu_ns(self.process.pid) - before) / 1e6 / runs)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def sqnr(want, have):
    if want.size != have.size:
        return None
    error = float(np.mean((want - have) ** 2, dtype=np.float64))
    power = float(np.var(want, dtype=np.float64))
    return 999.0 if error == 0 else 10 * np.log10(power / error) if power else None


def main():
    p = argparse.ArgumentParser()
    p.add_argument("models", nargs="+")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--worker", action="append", required=True)
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--burst-ms", type=float, default=120)
    p.add_argument("--picture", help="instead of noise, as {stem}.json in --heads says")
    p.add_argument("--heads")
    p.add_argument("--json")
    a = p.parse_args()
    results = []
    for model in a.models:
        shape = [d.dim_value or 1 for d in onnx.load(model).graph.input[0].type.tensor_type.shape.dim]
        with tempfile.TemporaryDirectory() as folder:
            x = os.path.join(folder, "x.bin")
            if a.picture:
                stem = os.path.splitext(os.path.basename(model))[0]
                picture.tensor(a.picture, os.path.join(a.heads, stem + ".json")).tofile(x)
            else:
                np.random.default_rng(0).random(shape, np.float32).tofile(x)
            workers = []
            for w in a.worker:
                name, command = w.split("=", 1)
                try:
                    workers.append(Worker(name, command, model, a.threads, x, folder))
                except (RuntimeError, OSError, ValueError) as e:
                    print(f"{model}: {name} left out: {e}", file=sys.stderr)
            for w in workers:
                w.burst(2)
            runs = [max(1, int(a.burst_ms / w.cpu[0])) for w in workers]
            for w in workers:
                w.wall, w.cpu = [], []
            for _ in range(a.rounds):
                for w, n in zip(workers, runs):
                    w.burst(n)
            outputs = [np.fromfile(w.output, np.float32) for w in workers]
            first = statistics.median(workers[0].cpu)
            for w, y in zip(workers, outputs):
                wall = sorted(w.wall)
                row = {
                    "model": os.path.basename(model),
                    "threads": a.threads,
                    "engine": w.name,
                    "runs": len(wall),
                    "cpu_ms": round(statistics.median(w.cpu), 3),
                    "wall_quarter_ms": round(wall[len(wall) // 4], 3),
                    "wall_min_ms": round(wall[0], 3),
                    "ratio": round(statistics.median(w.cpu) / first, 3),
                    "wall_ratio": round(wall[0] / min(workers[0].wall), 3),
                    "sqnr_db": sqnr(outputs[0], y),
                }
                results.append(row)
                print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
            for w in workers:
                w.stop()
        if a.json:
            with open(a.json, "w") as f:
                json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
