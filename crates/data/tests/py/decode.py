"""Pixels of shared pictures by OpenCV: DATA FOLDER COUNT. FOLDER/NAME.jpg.rgb as in pictures.py, COUNT of each list."""
import os
import struct
import sys

import cv2

data, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for d, split in (("voc", "test07"), ("voc", "val"), ("coco", "val"), ("bccd", "val")):
    names = open(os.path.join(data, "pictures", d, split + ".txt"), encoding="utf-8").read().split()
    for n in names[:count]:
        path = os.path.join(data, "pictures", d, "JPEGImages", n + ".jpg")
        bgr = cv2.imread(path, cv2.IMREAD_COLOR)
        with open(os.path.join(folder, d + "+" + n + ".jpg.rgb"), "wb") as f:
            f.write(struct.pack("<II", bgr.shape[1], bgr.shape[0]) + bgr[:, :, ::-1].tobytes())
