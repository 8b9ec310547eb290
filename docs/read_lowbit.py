"""Weights of a packed lowbit model, from FORMAT.md part 2 and numpy alone: python read_lowbit.py MODEL.onnx"""
import hashlib
import sys

import numpy as np


def fields(message):
    """(number, value) of each field of a protobuf message: int for varints, bytes for the rest."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        value = {1: 8, 5: 4}.get(key & 7) or varint()
        if key & 7:
            value, at = message[at : at + value], at + value
        yield key >> 3, value


def all_of(message, number):
    return [value for n, value in fields(message) if n == number]


def tensor(message):
    kind = {1: "<f4", 2: "u1", 6: "<i4"}[all_of(message, 2)[0]]
    return np.frombuffer(all_of(message, 9)[0], kind).reshape(all_of(message, 1))


def weights(data):
    """name → (grid, points, float32 array)."""
    digest = next(dict(fields(e))[2] for e in all_of(data, 14) if dict(fields(e))[1] == b"lowbit.digest")
    assert hashlib.sha256(data.replace(digest, b"0" * 64)).hexdigest() == digest.decode(), "damaged"
    (graph,) = all_of(data, 7)
    constants = {all_of(t, 8)[0]: t for t in all_of(graph, 5)}
    for node in all_of(graph, 1):
        if all_of(node, 7) != [b"ai.lowbit"]:
            continue
        attributes = {all_of(a, 1)[0]: a for a in all_of(node, 5)}
        assert all_of(attributes[b"version"], 3) == [1], "unknown version"
        bits, shape = all_of(attributes[b"bits"], 3)[0], all_of(attributes[b"shape"], 8)
        codes, levels, scale, zero_point = (tensor(constants[name]) for name in all_of(node, 1))
        digits = np.unpackbits(codes, axis=1, bitorder="little")[:, : np.prod(shape) * bits]
        codes = digits.reshape(len(codes), -1, bits) @ (1 << np.arange(bits))
        terms = (levels[codes].reshape(-1, *shape) - zero_point).astype(np.float32) * scale
        yield all_of(node, 2)[0].decode(), all_of(attributes[b"grid"], 4)[0].decode(), len(codes), sum(terms[1:], terms[0])


for name, grid, points, w in weights(open(sys.argv[1], "rb").read()):
    print(name, grid, "x".join(map(str, (*w.shape, points))), hashlib.sha256(w.tobytes()).hexdigest())
