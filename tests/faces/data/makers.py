"""Makers of small data sets for the tests: pictures, image folders, and an independent writer of .rec files."""

import struct
from pathlib import Path

import cv2
import numpy as np

MAGIC = bytes.fromhex("0a23d7ce")


def picture(seed: int, height: int = 20, width: int = 16) -> np.ndarray:
    """A smooth random picture, uint8 (height, width, 3), RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def encoded(pixels: np.ndarray, extension: str = ".png") -> bytes:
    """Bytes of an RGB picture, by OpenCV."""
    return cv2.imencode(extension, pixels[:, :, ::-1])[1].tobytes()


def image_folder(root: Path, people: dict[str, list[bytes]], extension: str = ".png") -> Path:
    """`root/PERSON/PERSON_0001.png` and so on."""
    for person, files in people.items():
        (root / person).mkdir(parents=True)
        for number, data in enumerate(files, start=1):
            (root / person / f"{person}_{number:04d}{extension}").write_bytes(data)
    return root


def framed(data: bytes) -> bytes:
    """One record as its writers frame it: cut where the magic number stands on a multiple of four."""
    cuts = [i for i in range(0, len(data) - 3, 4) if data[i : i + 4] == MAGIC]
    pieces, start = [], 0
    for cut in [*cuts, len(data)]:
        pieces.append(data[start:cut])
        start = cut + 4
    out = b""
    for number, piece in enumerate(pieces):
        kind = 0 if len(pieces) == 1 else 1 if number == 0 else 3 if number == len(pieces) - 1 else 2
        out += MAGIC + struct.pack("<I", kind * 2**29 + len(piece)) + piece + bytes(-len(piece) % 4)
    return out


def packed(labels: float | list[float], payload: bytes, identifier: int = 0) -> bytes:
    """Header, labels and payload of a record."""
    if isinstance(labels, list):
        array = np.array(labels, "<f4").tobytes()
        return struct.pack("<IfQQ", len(labels), 0.0, identifier, 0) + array + payload
    return struct.pack("<IfQQ", 0, labels, identifier, 0) + payload


def write_rec(path: Path, records: dict[int, bytes]) -> Path:
    """A .rec file of packed records by key, and its .idx."""
    data, index = b"", ""
    for key, record in records.items():
        index += f"{key}\t{len(data)}\n"
        data += framed(record)
    path.write_bytes(data)
    path.with_suffix(".idx").write_text(index)
    return path


def insightface_rec(path: Path, people: list[list[bytes]]) -> Path:
    """A .rec file in InsightFace's layout: key 0 says where the images end, and a record an identity follows."""
    records: dict[int, bytes] = {}
    spans = []
    key = 1
    for label, files in enumerate(people):
        spans.append([float(key), float(key + len(files))])
        for data in files:
            records[key] = packed(float(label), data)
            key += 1
    first = key
    for span in spans:
        records[key] = packed(span, b"")
        key += 1
    return write_rec(path, {0: packed([float(first), float(key)], b""), **records})
