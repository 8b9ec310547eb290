"""A picture as a detector's input, by the head description beside the model (stretched to the input's size)."""
import json

import numpy as np
from PIL import Image


def tensor(path, description):
    with open(description) as f:
        want = json.load(f)["input"]
    x = np.asarray(Image.open(path).convert("RGB").resize((want["width"], want["height"])), np.float32)
    if want["color"] == "BGR":
        x = x[:, :, ::-1]
    x = (x * want["scale"] - np.float32(want["mean"])) / np.float32(want["std"])
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)
