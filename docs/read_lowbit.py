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
            value, shift, at = value | (message[at] & 127) << shift, shift + 7, at + 1
            if message[at - 1] < 128:
                return value

    while at < len(message):
        key = varint()
        value = {1: 8, 5: 4}.get(key & 7) or varint()  # or the number of bytes
        yield key >> 3, message[at : at + value] if key & 7 else value
        at += value if key & 7 else 0


def all_of(message, number):
    return [value for n, value in fields(message) if n == number]


def tensor(message, kinds={1: "<f4", 2: "u1", 6: "<i4", 7: "<i8", 10: "<f2"}):
    return np.frombuffer(all_of(message, 9)[0], kinds[all_of(message, 2)[0]]).reshape(all_of(message, 1))


def weights(data):
    """{name: (grid, points, float32 array)}."""
    digest = next(dict(fields(e))[2] for e in all_of(data, 14) if dict(fields(e))[1] == b"lowbit.digest")
    assert hashlib.sha256(data.replace(digest, b"0" * 64)).hexdigest() == digest.decode(), "damaged"
    (graph,) = all_of(data, 7)
    constants, made = {all_of(t, 8)[0]: tensor(t) for t in all_of(graph, 5)}, {}
    for node in all_of(graph, 1):
        attributes = {all_of(a, 1)[0]: a for a in all_of(node, 5)}
        number = lambda name: all_of(attributes[name], 3)[0]
        inputs, output = all_of(node, 1), all_of(node, 2)[0]
        if all_of(node, 4) == [b"Cast"] and inputs[0] in constants:  # numbers of 16 bits
            constants[output] = constants[inputs[0]].astype(np.float32)
        if all_of(node, 4) == [b"Split"] and inputs[0] in constants:
            ends = np.cumsum(constants[inputs[1]])[:-1]
            constants.update(zip(all_of(node, 2), np.split(constants[inputs[0]], ends, number(b"axis"))))
        if all_of(node, 7) != [b"ai.lowbit"]:
            continue
        assert number(b"version") == 1, "unknown version"
        if all_of(node, 4) == [b"AddRows"]:
            (grid, points, w), rows = made.pop(inputs[0]), made.pop(inputs[1])[2]
            np.moveaxis(w, number(b"axis"), 0)[constants[inputs[2]]] += np.moveaxis(rows, number(b"axis"), 0)
            made[output] = grid, points + 1, w
            continue
        grid, shape = all_of(attributes[b"grid"], 4)[0].decode(), all_of(attributes[b"shape"], 8)
        stream = lambda codes: np.unpackbits(codes, axis=-1, bitorder="little")
        if all_of(node, 4) == [b"DecodePlanes"]:
            mask, planes, scale = (constants[name] for name in inputs)
            extent, group = (*shape[:2], int(np.prod(shape[2:]))), all_of(attributes[b"group"], 8)
            count = [-(-n // size) for n, size in zip(extent, group)]
            kept = np.kron(stream(mask)[: np.prod(count)].reshape(count), np.ones(group, int))[tuple(map(slice, extent))] == 1
            w = np.zeros(extent, np.float32)
            w[kept] = np.subtract(*stream(planes)[:, : kept.sum()].astype(np.float32))
            made[output] = grid, 1, w.reshape(shape) * scale
            continue
        bits = number(b"bits")
        codes, levels, scale, zero_point = (constants[name] for name in inputs)
        digits = stream(codes)[:, : np.prod(shape) * bits].reshape(len(codes), -1, bits)
        terms = (levels[digits @ (1 << np.arange(bits))].reshape(-1, *shape) - zero_point).astype(np.float32) * scale
        made[output] = grid, len(codes), sum(terms[1:], terms[0])
    return made


for name, (grid, points, w) in weights(open(sys.argv[1], "rb").read()).items():
    print(name.decode(), grid, "x".join(map(str, (*w.shape, points))), hashlib.sha256(w.tobytes()).hexdigest())
