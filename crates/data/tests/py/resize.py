"""Random pictures resized by OpenCV's INTER_LINEAR: FOLDER COUNT. One file: for each case w h W H as u32, source, result."""
import os
import struct
import sys

import cv2
import numpy as np

folder, count = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(11)
with open(os.path.join(folder, "resize"), "wb") as f:
    for k in range(count):
        w, h, W, H = (int(v) for v in np.exp(rng.uniform(0, np.log(200), 4)).round().clip(1))
        if k % 10 == 0:
            w, h = 2 * W, 2 * H               # OpenCV averages 2x2 pixels here
        elif k % 10 == 1:
            w = 2 * W
        elif k % 10 == 2:
            w, h = 4 * W, 4 * H
        elif k % 10 == 3:
            w, h = 3 * W, 3 * H
        elif k % 10 == 4:
            W, H = w + int(rng.integers(3)), h + int(rng.integers(3))
        elif k % 100 == 5:
            w = 65535 // 4
            h = 1
        img = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        if k % 7 == 0:
            img = (img > 127).astype(np.uint8) * 255   # extremes: sums at the ends of the range
        f.write(struct.pack("<IIII", w, h, W, H) + img.tobytes())
        f.write(cv2.resize(img, (W, H), interpolation=cv2.INTER_LINEAR).tobytes())
