"""Check sums of OpenCV's INTER_LINEAR for crates/data/tests/goldens/resize.json (opencv-python 5.0.0)."""
import json
import os
import zlib

import cv2
import numpy as np

SIZES = [(1, 1, 5, 3), (5, 3, 1, 1), (64, 48, 32, 24), (64, 48, 16, 12), (64, 48, 32, 25), (500, 375, 320, 320),
         (375, 500, 320, 320), (333, 500, 213, 320), (100, 80, 640, 512), (640, 480, 416, 312), (7, 1000, 3, 416),
         (1000, 7, 416, 3), (96, 96, 32, 32), (99, 50, 98, 51), (2, 2, 1, 1), (320, 240, 320, 240)]
rows = []
for w, h, W, H in SIZES:
    y, x, k = np.mgrid[0:h, 0:w, 0:3]
    img = ((x * 7 + y * 13 + k * 29 + x * y * 3) & 255).astype(np.uint8)
    rows.append([w, h, W, H, zlib.crc32(cv2.resize(img, (W, H), interpolation=cv2.INTER_LINEAR).tobytes())])
out = os.path.join(os.path.dirname(__file__), "../../crates/data/tests/goldens/resize.json")
with open(out, "w") as f:
    f.write("[" + ",\n ".join(json.dumps(r) for r in rows) + "]\n")
