"""Pictures of every form and what OpenCV's imread makes of them: FOLDER/NAME and FOLDER/NAME.rgb (width, height as
little-endian u32, then RGB bytes)."""
import os
import struct
import sys
import zlib

import cv2
import numpy as np

folder = sys.argv[1]
rng = np.random.default_rng(3)
y, x = np.mgrid[0:37, 0:53].astype(np.float64)
smooth = np.stack([127 + 120 * np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)], -1).astype(np.uint8)
noise = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
wide = rng.integers(0, 65536, (19, 23, 3), dtype=np.uint16)
alpha = rng.integers(0, 65536, (19, 23, 1), dtype=np.uint16)


def save(name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(bytes(data))
    bgr = cv2.imread(os.path.join(folder, name), cv2.IMREAD_COLOR)
    if bgr is None:
        print("OpenCV does not read", name)
        return
    with open(os.path.join(folder, name + ".rgb"), "wb") as f:
        f.write(struct.pack("<II", bgr.shape[1], bgr.shape[0]) + bgr[:, :, ::-1].tobytes())


def encode(ending, img, *params):
    ok, data = cv2.imencode(ending, img, list(params))
    assert ok
    return data.tobytes()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows, extra=b""):
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)) + extra
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) + chunk(b"IEND", b""))


def tiff(orientation, order):
    e = "<" if order == b"II" else ">"
    return order + struct.pack(e + "HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)


def with_exif(jpeg, orientation, order=b"MM"):
    body = b"Exif\0\0" + tiff(orientation, order)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


save("grey8.png", encode(".png", noise[:, :, 0]))
save("rgb8.png", encode(".png", noise))
save("rgba8.png", encode(".png", np.concatenate([noise, noise[:, :, :1]], 2)))
save("grey16.png", encode(".png", wide[:, :, 0]))
save("rgb16.png", encode(".png", wide))
save("rgba16.png", encode(".png", np.concatenate([wide, alpha], 2)))
save("bilevel.png", encode(".png", (noise[:, :, 0] > 127).astype(np.uint8) * 255, cv2.IMWRITE_PNG_BILEVEL, 1))
palette = chunk(b"PLTE", bytes(rng.integers(0, 256, 48, dtype=np.uint8)))
four = [bytes(rng.integers(0, 256, 27, dtype=np.uint8)) for _ in range(9)]
save("palette4.png", png(53, 9, 4, 3, four, palette))
save("palette4_trns.png", png(53, 9, 4, 3, four, palette + chunk(b"tRNS", bytes(range(16)))))
save("grey2.png", png(53, 9, 2, 0, [bytes(rng.integers(0, 256, 14, dtype=np.uint8)) for _ in range(9)]))
save("grey_alpha8.png", png(11, 9, 8, 4, [bytes(rng.integers(0, 256, 22, dtype=np.uint8)) for _ in range(9)]))
save("grey_alpha16.png", png(11, 9, 16, 4, [bytes(rng.integers(0, 256, 44, dtype=np.uint8)) for _ in range(9)]))
save("exif6.png", png(11, 9, 8, 2, [bytes(rng.integers(0, 256, 33, dtype=np.uint8)) for _ in range(9)],
                      chunk(b"eXIf", tiff(6, b"II"))))
save("one.png", encode(".png", noise[:1, :1]))
save("column.png", encode(".png", np.repeat(noise[:, :1], 1600, 0)))
save("rgb8.bmp", encode(".bmp", noise))
save("grey8.bmp", encode(".bmp", noise[:, :, 0]))
save("rgba8.bmp", encode(".bmp", np.concatenate([noise, noise[:, :, :1]], 2)))
save("lossless.webp", encode(".webp", noise, cv2.IMWRITE_WEBP_QUALITY, 101))
save("lossless_alpha.webp", encode(".webp", np.concatenate([noise, noise[:, :, :1]], 2), cv2.IMWRITE_WEBP_QUALITY, 101))
save("lossy.webp", encode(".webp", smooth, cv2.IMWRITE_WEBP_QUALITY, 80))

S = cv2.IMWRITE_JPEG_SAMPLING_FACTOR
for name, img in (("smooth", smooth), ("noise", noise)):
    save(name + "_444.jpg", encode(".jpg", img, S, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444))
    save(name + "_422.jpg", encode(".jpg", img, S, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422))
    save(name + "_440.jpg", encode(".jpg", img, S, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440))
    save(name + "_420.jpg", encode(".jpg", img, S, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420))
    save(name + "_411.jpg", encode(".jpg", img, S, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411))
    save(name + "_progressive.jpg", encode(".jpg", img, cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    save(name + "_restart.jpg", encode(".jpg", img, cv2.IMWRITE_JPEG_RST_INTERVAL, 2))
save("grey.jpg", encode(".jpg", smooth[:, :, 0]))
plain = encode(".jpg", smooth, S, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
for o in range(0, 10):
    save("exif%d.jpg" % o, with_exif(plain, o, b"II" if o % 2 else b"MM"))


def flat_jpeg(components, adobe):
    """One 8x8 block of one colour: component values 0..255, optional Adobe transform."""
    n = len(components)
    out = b"\xff\xd8"
    if adobe is not None:
        out += b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, adobe)
    out += b"\xff\xdb" + struct.pack(">H", 67) + b"\0" + b"\x01" * 64
    out += b"\xff\xc0" + struct.pack(">HBHHB", 8 + 3 * n, 8, 8, 8, n) + b"".join(bytes([k + 1, 0x11, 0]) for k in range(n))
    # DC: categories 0..11, each with 4 bits; AC: end of block only, 1 bit
    out += b"\xff\xc4" + struct.pack(">H", 19 + 12) + b"\0" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12))
    out += b"\xff\xc4" + struct.pack(">H", 19 + 1) + b"\x10" + bytes([1] + [0] * 15) + b"\0"
    out += b"\xff\xda" + struct.pack(">HB", 6 + 2 * n, n) + b"".join(bytes([k + 1, 0]) for k in range(n)) + b"\0\x3f\0"
    bits = ""
    for v in components:
        d = (v - 128) * 8
        size = abs(d).bit_length()
        bits += format(size, "04b")
        if size:
            bits += format(d if d > 0 else d + (1 << size) - 1, "0%db" % size)
        bits += "0"
    bits += "1" * (-len(bits) % 8)
    for k in range(0, len(bits), 8):
        b = int(bits[k:k + 8], 2)
        out += bytes([b]) + (b"\0" if b == 255 else b"")
    return out + b"\xff\xd9"


for k, c in enumerate([(200, 30, 90, 220), (10, 250, 128, 100), (0, 0, 0, 255), (255, 255, 255, 0), (128, 64, 32, 200)]):
    save("cmyk_adobe%d.jpg" % k, flat_jpeg(c, 0))
    save("ycck_adobe%d.jpg" % k, flat_jpeg(c, 2))
    save("cmyk_plain%d.jpg" % k, flat_jpeg(c, None))
    save("rgb_adobe%d.jpg" % k, flat_jpeg(c[:3], 0))
    save("ycc%d.jpg" % k, flat_jpeg(c[:3], None))
