"""Small volumes written by nibabel and numpy, for the readers of crates/data/src/volume: python tools/goldens/volumes.py

Every file holds the same 3 × 4 × 5 integers, in another way of storing them; `expected.json` holds what nibabel and numpy read back, and `mask.*`
what they write for a mask. nibabel 5.4.2, numpy 2.
"""

import gzip
import json
import pathlib

import nibabel
import numpy as np

HERE = pathlib.Path(__file__).resolve().parents[2] / "crates/data/tests/volumes"
values = (np.arange(60).reshape(3, 4, 5) * 37 % 101).astype(np.int16)
mask = (np.arange(60).reshape(3, 4, 5) % 3).astype(np.uint8)
affine = np.diag([2.0, 1.5, 3.0, 1.0])
affine[:3, 3] = [-10, 20, 5]
expected = {}


def keep(name):
    path = HERE / name
    if name.endswith((".nii", ".nii.gz")):
        image = nibabel.load(path)
        array, spacing = image.get_fdata(), [float(z) for z in image.header.get_zooms()[:3]]
    else:
        array, spacing = np.load(path), [1.0] * 3
        array = array["image"] if name.endswith(".npz") else array
    expected[name] = {"shape": list(array.shape), "values": array.ravel().astype(float).tolist(), "spacing": spacing}


def nifti(name, array, slope=None, big=False):
    header = nibabel.Nifti1Header(endianness=">" if big else "<")
    header.set_data_dtype(array.dtype)
    image = nibabel.Nifti1Image(array, affine, header)
    if slope:
        image.header.set_slope_inter(*slope)
    path = HERE / name
    data = image.to_bytes()
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    keep(name)


nifti("int16.nii", values)
nifti("int16.nii.gz", values)
nifti("big.nii", values, big=True)
nifti("uint8.nii", values.astype(np.uint8))
nifti("float32.nii.gz", values.astype(np.float32) / 8)
nifti("float64.nii", values.astype(np.float64) / 8)
nifti("time.nii", values[..., None])
raw = bytearray((HERE / "int16.nii").read_bytes())
raw[112:120] = np.array([0.5, -3], "<f4").tobytes()  # slope and intercept
(HERE / "scaled.nii").write_bytes(raw)
keep("scaled.nii")

for name, array in {
    "u1.npy": values.astype("u1"),
    "i2.npy": values,
    "big_i4.npy": values.astype(">i4"),
    "f4.npy": values.astype("f4") / 8,
    "f8_fortran.npy": np.asfortranarray(values.astype("f8") / 8),
    "bool.npy": values > 50,
}.items():
    np.save(HERE / name, array)
    keep(name)
np.savez(HERE / "stored.npz", image=values, label=mask)
np.savez_compressed(HERE / "deflated.npz", image=values, label=mask)
keep("stored.npz")
keep("deflated.npz")

np.save(HERE / "mask.npy", mask)
header = nibabel.load(HERE / "big.nii").header.copy()
header.set_data_dtype(np.uint8)
(HERE / "mask_of_big.nii").write_bytes(nibabel.Nifti1Image(mask, affine, header).to_bytes())
(HERE / "mask.json").write_text(json.dumps(mask.ravel().tolist()))
(HERE / "expected.json").write_text(json.dumps(expected))
