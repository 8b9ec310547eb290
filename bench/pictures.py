"""Pictures as a detector's input, by the head description beside the model; stretched to the input's size."""
import json
from pathlib import Path

import numpy as np
from PIL import Image

PLAIN = {"color": "RGB", "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]}


def find(folder, count):
    """The first pictures of a folder, by name."""
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"))
    if len(found) < count:
        raise SystemExit(f"{folder}: {len(found)} pictures, {count} are needed")
    return found[:count]


def description(model):
    """The model's head description, or None."""
    path = Path(model).with_suffix(".json")
    return json.loads(path.read_text()) if path.exists() else None


def tensor(picture, model, shape):
    head = description(model)
    how = PLAIN | (head["input"] if head else {})
    if len(shape) != 4 or shape[:2] != [1, 3]:
        raise ValueError(f"the input has shape {shape}, not [1, 3, height, width]")
    image = Image.open(picture).convert("RGB").resize((shape[3], shape[2]))
    x = np.asarray(image, np.float32)
    if how["color"] == "BGR":
        x = x[:, :, ::-1]
    x = (x * np.float32(how["scale"]) - np.float32(how["mean"])) / np.float32(how["std"])
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)
