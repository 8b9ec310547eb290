#!/usr/bin/env python3
"""Prints the scalars of a TensorBoard event file, sorted: tag, step, value. By the package tensorboard where it is installed, else by the format's
description: TFRecord framing with masked CRC-32C, protobuf Event messages.

    python tools/goldens/events.py FILE
"""
import struct
import sys


def by_tensorboard(path):
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for event in LegacyEventFileLoader(path).Load():
        for value in event.summary.value:
            yield value.tag, event.step, value.simple_value


TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        head = data[at:at + 8]
        length, = struct.unpack("<Q", head)
        assert struct.unpack("<I", data[at + 8:at + 12])[0] == masked_crc(head), "checksum of a length"
        body = data[at + 12:at + 12 + length]
        assert struct.unpack("<I", data[at + 12 + length:at + 16 + length])[0] == masked_crc(body), "checksum of a record"
        at += 16 + length
        yield body


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = struct.unpack("<d", data[at:at + 8])[0], at + 8
        elif kind == 5:
            value, at = struct.unpack("<f", data[at:at + 4])[0], at + 4
        else:
            assert kind == 2, "wire type %d" % kind
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        yield key >> 3, value


def by_format(path):
    events = [dict(fields(r)) for r in records(open(path, "rb").read())]
    assert events[0].get(3) == b"brain.Event:2", "version of the file"
    for event in events[1:]:
        for number, value in fields(event[5]):
            assert number == 1
            value = dict(fields(value))
            yield value[1].decode(), event.get(2, 0), value[2]


try:
    scalars = list(by_tensorboard(sys.argv[1]))
    print("read by tensorboard", file=sys.stderr)
except ImportError:
    scalars = list(by_format(sys.argv[1]))
for tag, step, value in sorted(scalars):
    print(tag, step, value)
