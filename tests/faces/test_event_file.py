"""Events as TensorBoard reads them, parsed by the formats' definitions: RFC 3720's checksum, TFRecord, protobuf."""

import math
import struct

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from faces.event_file import Events, crc32c

POLYNOMIAL = 0x1EDC6F41
TYPES = descriptor_pb2.FieldDescriptorProto


def slow_crc32c(data):
    """By long division, a bit at a time, of the reflected bits."""
    rest = 0xFFFFFFFF
    for byte in data:
        for place in range(8):
            top = (rest >> 31) ^ (byte >> place & 1)
            rest = (rest << 1 & 0xFFFFFFFF) ^ (POLYNOMIAL if top else 0)
    return int(f"{rest ^ 0xFFFFFFFF:032b}"[::-1], 2)


def records(data):
    """The events of a file, each checksum compared."""
    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        content = data[12 : 12 + length]
        for part, stored in ((data[:8], data[8:12]), (content, data[12 + length : 16 + length])):
            crc = slow_crc32c(part)
            assert struct.unpack("<I", stored)[0] == (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) % 2**32
        found.append(event_type().FromString(content))
        data = data[16 + length :]
    return found


def event_type():
    """Google's reader of the four messages, as TensorFlow's definitions number their fields."""
    file = descriptor_pb2.FileDescriptorProto(name="events_of_test.proto", package="t", syntax="proto3")
    many, one = TYPES.LABEL_REPEATED, TYPES.LABEL_OPTIONAL
    for name, fields in {
        "Value": [("tag", 1, TYPES.TYPE_STRING, one, ""), ("simple_value", 2, TYPES.TYPE_FLOAT, one, "")],
        "Summary": [("value", 1, TYPES.TYPE_MESSAGE, many, ".t.Value")],
        "SessionLog": [("status", 1, TYPES.TYPE_INT32, one, "")],
        "Event": [
            ("wall_time", 1, TYPES.TYPE_DOUBLE, one, ""),
            ("step", 2, TYPES.TYPE_INT64, one, ""),
            ("file_version", 3, TYPES.TYPE_STRING, one, ""),
            ("summary", 5, TYPES.TYPE_MESSAGE, one, ".t.Summary"),
            ("session_log", 7, TYPES.TYPE_MESSAGE, one, ".t.SessionLog"),
        ],
    }.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            message.field.add(name=field, number=number, type=kind, label=label, type_name=of or None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def numbers_of(event):
    return event.step, {value.tag: value.simple_value for value in event.summary.value}


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_the_checksum_is_that_of_the_rfc(data, expected):
    assert crc32c(data) == expected == slow_crc32c(data)


def test_numbers_come_back_with_their_steps(tmp_path):
    events = Events(tmp_path / "a" / "tensorboard", 300)
    events.add(301, {"step": 301, "loss": 0.25, "pairs": 7, "note": "none"})
    events.add(2**40, {"ü/accuracy": math.nan, "far": -math.inf, "large": 1e300}, "evaluation/")
    (file,) = (tmp_path / "a" / "tensorboard").iterdir()
    assert "tfevents" in file.name and file.stat().st_mode & 0o077 == 0
    version, start, first, second = records(file.read_bytes())
    assert version.file_version == "brain.Event:2" and version.wall_time > 1e9
    assert (start.step, start.session_log.status) == (301, 1)
    assert numbers_of(first) == (301, {"loss": 0.25, "pairs": 7.0})
    step, numbers = numbers_of(second)
    assert step == 2**40 and numbers["evaluation/far"] == -math.inf and numbers["evaluation/large"] == math.inf
    assert np.isnan(numbers["evaluation/ü/accuracy"])


def test_a_resumed_run_begins_another_file(tmp_path):
    Events(tmp_path, 0).add(1, {"loss": 1.0})
    Events(tmp_path, 1).add(2, {"loss": 0.5})
    read = [records(file.read_bytes()) for file in sorted(tmp_path.iterdir())]
    assert [[event.step for event in events] for events in read] == [[0, 1, 1], [0, 2, 2]]


def test_where_nothing_is_to_be_written_nothing_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Events(None, 0).add(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())
