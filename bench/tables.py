"""From times and outputs to tables."""
import statistics

import numpy as np

# Heads whose one output holds pixels and scores: the ratio is that of the scores, as pixels would drown them.
SCORES = {"yolov8": 4}


def times(wall, cpu):
    wall = sorted(wall)
    return {
        "ms": statistics.median(wall), "ms_min": wall[0], "ms_p25": wall[len(wall) // 4], "ms_p90": wall[int(len(wall) * 0.9)],
        "cpu_ms": statistics.median(cpu),
    }


def size_mb(file):
    parts = [file] + [file.with_suffix(s) for s in (".bin", ".param") if file.suffix in (".xml", ".bin")]
    return sum(f.stat().st_size for f in set(parts) if f.exists()) / 2**20


def sqnr(head, want, have):
    """Power of the float outputs around their mean over that of the error, in dB; None where it says nothing."""
    if want is None or have is None or want.size != have.size or not np.isfinite(have).all():
        return None
    skip = SCORES.get(head["family"], 0) if head else 0
    if skip:
        rows = skip + len(head["classes"])
        want, have = (v.reshape(rows, -1)[skip:] for v in (want, have))
    error = float(np.mean((want.astype(np.float64) - have) ** 2))
    return 10 * float(np.log10(want.astype(np.float64).var() / error)) if error else 200.0


def counts(row, least):
    """Whether a row is a peer: float, or close enough to it."""
    return row["sqnr_db"] is not None and row["sqnr_db"] >= least


def is_ours(row):
    return row["engine"].startswith("lowbit")


def heading(m):
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
    absent = [n for n, flag in (("AVX-VNNI", "avx_vnni"), ("AVX-512 VNNI", "avx512_vnni"), ("AMX", "amx_int8"))
              if flag not in m["simd"]]
    lacks = f"; it has no {', no '.join(absent)}" if absent else ""
    return (f"{m['cpu']} (family/model {m['family']}), {m['cores']} cores, {m['system']}, {m['date']}, load average "
            f"{m['load_average']:.1f}\nSIMD: {' '.join(m['simd'])}{lacks}\n{versions}; lowbit {m['lowbit']['tool_version']} "
            f"({m['lowbit']['git']}), {m['lowbit']['isa']}\n")


def model(name, rows, least):
    """All engines of one model, fastest first; those that do not count in brackets."""
    threads = sorted({r["threads"] for r in rows})
    best = {t: min((r["cpu_ms" if t == 1 else "ms_p25"] for r in rows if r["threads"] == t and counts(r, least)), default=None)
            for t in threads}
    head = [f"ms {t}T" for t in threads] + ["processor ms 1T", "× fastest"]
    out = [f"### {name}\n", "| engine | " + " | ".join(head) + " | load ms | first ms | RSS MB | file MB | SQNR dB |",
           "|---|" + "---:|" * (len(head) + 5)]
    by = {}
    for r in rows:
        by.setdefault(r["engine"], {})[r["threads"]] = r
    for engine, d in sorted(by.items(), key=lambda kv: next(iter(kv[1].values()))["cpu_ms"]):
        r = d.get(threads[0]) or next(iter(d.values()))
        ratio = r["cpu_ms"] / best[threads[0]] if best[threads[0]] else None
        cells = [f"{d[t]['ms']:.2f}" if t in d else "-" for t in threads]
        cells += [f"{r['cpu_ms']:.2f}", f"{ratio:.2f}" if ratio else "-"]
        cells += [f"{r[k]:.0f}" if r[k] is not None else "-" for k in ("load_ms", "first_ms", "rss_mb")]
        cells += [f"{r['file_mb']:.1f}", f"{r['sqnr_db']:.1f}" if r["sqnr_db"] is not None else "-"]
        out.append(f"| {engine if counts(r, least) else f'({engine})'} | " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def summary(rows, least):
    """Per model: the fastest peer that counts over each of ours; above 1 ours is faster."""
    names = [n for n in dict.fromkeys(r["engine"] for r in rows if is_ours(r)) if n != "lowbit-f32"]
    out = []
    for threads in sorted({r["threads"] for r in rows}):
        key = "cpu_ms" if threads == 1 else "ms_p25"
        out += [f"\n### Fastest peer / ours, {threads} thread{'s' * (threads > 1)} ({'processor time' if threads == 1 else 'wall time, lower quartile'})\n",
                "| model | fastest peer | ms | " + " | ".join(f"{n} (dB)" for n in names) + " |", "|---|---|---:|" + "---:|" * len(names)]
        for name in dict.fromkeys(r["model"] for r in rows):
            mine = [r for r in rows if r["model"] == name and r["threads"] == threads]
            peers = [r for r in mine if not is_ours(r) and counts(r, least)]
            if not peers:
                continue
            first = min(peers, key=lambda r: r[key])
            cells = []
            for n in names:
                r = next((r for r in mine if r["engine"] == n), None)
                db = "-" if r is None or r["sqnr_db"] is None else f"{r['sqnr_db']:.0f}"
                cells.append("-" if r is None else f"{first[key] / r[key]:.2f} ({db})")
            out.append(f"| {name} | {first['engine']} | {first[key]:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"
