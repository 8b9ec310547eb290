"""Small scenes written by scipy and spectral, for the readers of crates/data/src/cube: python tools/goldens/cubes.py

Every file holds the same 3 × 4 × 5 integers, in another way of storing them; `expected.json` holds what scipy and spectral read back.
"""

import json
import pathlib
import shutil

import numpy as np
import scipy.io
import spectral.io.envi as envi

HERE = pathlib.Path(__file__).resolve().parents[2] / "crates/data/tests/cubes"
values = (np.arange(60).reshape(3, 4, 5) * 37 % 101).astype(np.int16)
labels = (np.arange(12).reshape(3, 4) % 4).astype(np.uint8)
expected = {}


def keep(name, array):
    expected[name] = {"shape": list(array.shape), "values": np.asarray(array, dtype=float).ravel().tolist()}


def mat(file, compressed, **arrays):
    scipy.io.savemat(HERE / file, arrays, do_compression=compressed)
    # The header's time changes with every run.
    data = bytearray((HERE / file).read_bytes())
    data[:116] = b"MATLAB 5.0 MAT-file, written by scipy".ljust(116)
    (HERE / file).write_bytes(bytes(data))
    read = scipy.io.loadmat(HERE / file)
    keep(file, read["cube"])


def scene(name, array, interleave, order):
    envi.save_image(str(HERE / name), array, interleave=interleave, byteorder=order, force=True)
    keep(name, envi.open(str(HERE / name)).load())


HERE.mkdir(parents=True, exist_ok=True)
mat("plain.mat", False, cube=values)
mat("compressed.mat", True, cube=values.astype(np.uint16))
mat("double.mat", True, cube=values.astype(np.float64))
mat("several.mat", True, gt=labels, cube=values.astype(np.float32), name="a text", cells=np.array([[1], ["x"]], dtype=object))
scene("bip.hdr", values, "bip", 0)
scene("bil_big.hdr", values, "bil", 1)
scene("bsq_f4.hdr", values.astype(np.float32), "bsq", 0)
scene("labels.hdr", labels, "bsq", 0)
(HERE / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")
shutil.rmtree(HERE / "__pycache__", ignore_errors=True)
