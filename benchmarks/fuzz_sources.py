"""Every reader of files from outside: how it is called on one file, and small sound files for it.

Not here: the fuzzing (`fuzz_readers.py`), the files of weights (`fuzz_weights.py`).
"""

import contextlib
import io
import json
import pickle  # to write with
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from benchmarks import fuzz_weights
from experiments.common import people_index
from facenet_jax.config import Config
from faces.cache import Cache
from faces.data import cfp, ijb, lfw, lists, pair_files, wider, ytf
from faces.data.images import decode_stored, heif_is_read, read_image
from faces.data.mat_file import read_mat
from faces.data.megaface import read_feature, read_list
from faces.data.pair_bin import read_pair_bin
from faces.data.record_index import read_index
from faces.data.recordio import RecordFile
from faces.data.tf_example import bytes_feature
from faces.errors import ConfigError, DataError, FacesError
from faces.evaluate.plain_text import plain
from faces.run_record import read_json, read_log
from faces.toml_config import load_config, read_toml
from faces.weights import (
    read_graphdef,
    read_onnx_graph,
    read_onnx_locations,
    read_onnx_outputs,
    read_symbol,
    read_weights,
)
from tests.faces.data import makers

IMAGES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF", "HEIF")
_LENGTH = struct.Struct("<H")

Read = Callable[[Path], object]


def readers() -> dict[str, tuple[Read, list[bytes]]]:
    """By name, how a reader is called, and sound files."""
    found = dict[str, tuple[Read, list[bytes]]]()
    for name in IMAGES if heif_is_read() else IMAGES[:-1]:
        found[name] = read_image, _images(name)
    found["stored image"] = lambda path: decode_stored(path.read_bytes()), [*_images("JPEG"), *_images("PNG")]
    found["record index"] = lambda path: read_index(path, 1000), [b"0\t0\n1\t36\n2\t96\n"]
    found["records"] = _records, _record_files()
    found["pairs .bin"] = read_pair_bin, _pair_bins()
    found["MATLAB"] = lambda path: read_mat(path, ("a", "b", "c")), _mat_files()
    found["tf.Example"] = _example, _examples()
    found["feature"] = read_feature, [struct.pack("<4i2f", 2, 1, 4, 5, 0.5, -1.0)]
    found["lists"] = _lists, _list_files()
    found["TOML"] = _toml, [b"base = 'x'\n[a]\nb = [1, 2.5, 'c']\nd.e = true\n", b"[model]\nname = 'small'\n[source]\n"]
    found["JSON"] = _json, [b'{"step": 3, "minutes": 0.5}\n{"step": 4, "minutes": 1}\n', b'[1, {"a": [null, "b"]}]']
    found["cache"] = Cache, [_npz(keys=np.zeros((2, 32), np.uint8), lengths=np.array([1, 2]), values=np.ones(3, "f4"))]
    found["gallery"] = people_index.read_index, [_gallery()]
    for name, sound in fuzz_weights.samples().items():
        if name == fuzz_weights.GRAPHS:
            continue  # whole networks, which are changed there
        found[f"weights {name}"] = _weights(_GRAPHS.get(name, ())) if name != "MXNet symbol" else read_symbol, sound
    found["names"] = _names, [b"Zo\xc3\xab_0001.jpg", b"\x1b[31m$x_{1}\xe2\x80\xae\xff\n"]
    return found


def _images(format_: str) -> list[bytes]:
    pixels = makers.picture(0, 12, 10)
    ways: dict[str, list[dict]] = {
        "JPEG": [{}, {"progressive": True}, {"exif": b"Exif\0\0" + _exif()}],
        "PNG": [{}, {"exif": _exif()}],
        "WEBP": [{}, {"lossless": True}],
        "TIFF": [{}, {"compression": "tiff_lzw"}],
    }
    written = []
    for settings in ways.get(format_, [{}]):
        for mode in ("RGB", "L"):
            stream = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(stream, format_, **settings)
            written.append(stream.getvalue())
    return written


def _exif() -> bytes:
    return b"II*\0" + struct.pack("<LHHHLHHL", 8, 1, 274, 3, 1, 6, 0, 0)


def _records(path: Path) -> None:
    """A file that is the index, preceded by its length, and the records."""
    data = path.read_bytes()
    length = _LENGTH.unpack_from(data)[0] if len(data) >= 2 else 0
    rec = path.with_suffix(".rec")
    rec.write_bytes(data[2 + length :])
    rec.with_suffix(".idx").write_bytes(data[2 : 2 + length])
    file = RecordFile(rec)
    for number in range(min(len(file), 100)):
        file[number]
        file.mark(number)


def _record_files() -> list[bytes]:
    images = [makers.encoded(makers.picture(seed, 4, 4), ".jpg")[:80] for seed in range(2)]
    records = [
        {0: makers.packed([3.0, 5.0], b""), 1: makers.packed(0.0, images[0]), 2: makers.packed(1.0, images[1]),
         3: makers.packed([1.0, 2.0], b""), 4: makers.packed([2.0, 3.0], b"")},
        {7: makers.packed(0.0, b"ab" + makers.MAGIC * 3 + b"cd"), 9: makers.packed([4.0], images[0])},
    ]  # fmt: skip
    written = []
    for some in records:
        data, index = b"", b""
        for key, record in some.items():
            index += f"{key}\t{len(data)}\n".encode()
            data += makers.framed(record)
        written.append(_LENGTH.pack(len(index)) + index + data)
    return written


def _pair_bins() -> list[bytes]:
    images = [b"\xff\xd8one", b"\xff\xd8two"] * 20
    same = [number % 2 == 0 for number in range(20)]
    arrays = [np.frombuffer(image, np.uint8) for image in images]
    return [pickle.dumps((images, same), 2), pickle.dumps((arrays, same), 4)]


def _mat_files() -> list[bytes]:
    written = []
    cell = np.empty((2, 1), object)
    cell[0, 0], cell[1, 0] = "text", np.eye(2)
    for compress in (False, True):
        stream = io.BytesIO()
        savemat(stream, {"a": cell, "b": np.arange(6.0).reshape(2, 3), "c": "word"}, do_compression=compress)
        written.append(stream.getvalue())
    return written


def _examples() -> list[bytes]:
    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    values = {b"image": b"\xff\xd8", b"source": b"a/b.jpg"}
    entries = (field(1, key) + field(2, field(1, field(1, value))) for key, value in values.items())
    return [field(1, b"".join(field(1, entry) for entry in entries))]


def _example(path: Path) -> None:
    try:
        bytes_feature(path.read_bytes(), "source")
    except ValueError as error:  # which `faces/data/prepared.py` makes a DataError of
        raise DataError(str(error)) from None


_OF_LISTS: tuple[Read, ...] = (
    lists.read_lines,
    lfw.read_pairs,
    pair_files.read_pair_files,
    ytf.read_splits,
    wider.read_boxes,
    wider.read_points,
    lambda path: read_list(path, "megaface"),
    lambda path: ijb.read_template_pairs(path.parent, "ijbc"),
    lambda path: ijb.read_probes(path.parent, "ijbc"),
    lambda path: cfp._image_paths(path),
)
_NAMES = {7: "ijbc_template_pair_label.txt", 8: "ijbc_1N_probe_mixed.csv"}


def _lists(path: Path) -> None:
    """A file whose first byte says as which list the rest is read."""
    data = path.read_bytes()
    number = data[0] % len(_OF_LISTS) if data else 0
    file = path.with_name(_NAMES.get(number, "list.txt"))
    file.write_bytes(data[1:])
    _OF_LISTS[number](file)


def _list_files() -> list[bytes]:
    texts = (
        "a\tb\n",
        "1\t2\nA\t1\t2\nA\t2\t3\nA\t1\tB\t2\nB\t1\tC\t1\n",
        "".join(f"a{n}.jpg {n // 2 % 2}\n" for n in range(48)),
        "1, 1, A/0, A/1, 1\n1, 2, A/0, B/1, 0\n",
        "e/a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\ne/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n",
        "# e/a.jpg\n1 2 3 4 " + "5.0 6.0 0.0 " * 5 + "0.9\n1 2 3 4\n",
        "a/b/c.jpg\n",
        "1 2 0\n3 4 1\n",
        "TEMPLATE_ID,SUBJECT_ID\n1,2\n3,4\n",
        "1 ../Data/a.jpg\n2 ../Data/b.jpg\n",
    )
    return [bytes([number]) + text.encode() for number, text in enumerate(texts)]


def _toml(path: Path) -> None:
    read_toml(path)
    with contextlib.suppress(ConfigError):  # which a config of so few values always is
        load_config(str(path.rename(path.with_suffix(".toml"))), Config)


def _json(path: Path) -> None:
    refused = None
    for read in (read_json, read_log):
        try:
            read(path)
        except FacesError as error:
            refused = error
    if refused:
        raise refused


_GRAPHS: dict[str, tuple[Read, ...]] = {
    "GraphDef": (read_graphdef,),
    "ONNX": (read_onnx_graph, read_onnx_outputs, read_onnx_locations),
}


def _weights(more: tuple[Read, ...]) -> Read:
    """Reads the arrays of a file of weights, and what else its format has."""

    def read(path: Path) -> None:
        for one in more:
            one(path)
        read_weights(path)

    return read


def _names(path: Path) -> None:
    """Names of files are shown on one line, in figures and errors too."""
    from faces.data.photographs import printable

    name = path.read_bytes().decode("utf-8", "surrogateescape") or "a name is never empty"
    for shown in (printable(name), plain(name), str(DataError(name))):
        assert not {*range(9), *range(10, 32), 127} & set(shown.encode()), shown


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _gallery() -> bytes:
    text = json.dumps({"people": ["A"], "pictures": ["A/1.jpg"], "made_by": "m"}).encode()
    return _npz(
        embeddings=np.ones((1, 2), np.float32), person=np.zeros(1, np.int64), text=np.frombuffer(text, np.uint8)
    )


