"""The .rec reader against an independent writer, a real file, and damage."""

import csv
import io
import pickle
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faces.data import record_index, recordio
from faces.data.images import decode_image, decode_stored
from faces.data.recordio import RecordFile, RecordSource
from faces.errors import DataError, ImageError
from tests.faces.data.makers import MAGIC, encoded, insightface_rec, packed, picture, write_rec

PAYLOADS = [b"abc", b"defg" * 5, b"hi", b"jklmn" * 7, b"o"]


@pytest.fixture
def rec(tmp_path):
    return insightface_rec(tmp_path / "train.rec", [PAYLOADS[:2], PAYLOADS[2:3], PAYLOADS[3:]])


def test_insightface_layout_gives_images_without_identity_records(rec):
    records = RecordFile(rec)
    expected = list(zip([1, 2, 3, 4, 5], [0, 0, 1, 2, 2], PAYLOADS, strict=True))
    assert [(r.key, r.identity, r.payload) for r in records] == expected
    assert records.identities.tolist() == [0, 0, 1, 2, 2]
    assert [r.key for r in records[1:3]] == [2, 3]
    assert records[-1].payload == PAYLOADS[-1]


def stated(path, first: float, last: float, spans=((1.0, 3.0), (3.0, 4.0), (4.0, 6.0)), labels=(0, 0, 1, 2, 2)):
    """Five images of three people, with what key 0 and the records of identities say."""
    records = {0: packed([first, last], b"")}
    records |= {key: packed(float(label), data) for key, label, data in zip(range(1, 6), labels, PAYLOADS, strict=True)}
    return write_rec(path, records | {6 + row: packed(list(span), b"") for row, span in enumerate(spans)})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((5.0, 9.0), "key 5 holds an image, but the record under key 0 says that the images are keys 1 to 4"),
        ((7.0, 9.0), "key 6 holds no image, but the record under key 0 says that the images are keys 1 to 6"),
        ((9.0, 9.0), "key 6 holds no image, but .* keys 1 to 8"),
        ((6.0, 10.0), ".* identities are keys 6 to 9, 3 are there"),
        ((6.0, 8.0), ".* identities are keys 6 to 7, 3 are there"),
        ((6.0, 9.0, ((2.0, 4.0), (4.0, 5.0), (5.0, 6.0))), "key 6 says that a person's images are keys 2 to 3, but"),
        ((6.0, 9.0, ((1.0, 3.0), (3.0, 4.0), (4.0, 5.0))), "key 8 says that .* keys 4 to 4, but .* the last image, 5"),
        ((6.0, 9.0, ((1.0, 2.0), (2.0, 4.0), (4.0, 6.0))), "key 7 says that keys 2 to 3 are one person, but the label"),
        ((6.0, 9.0, ((1.0, 3.0), (3.0, 4.0), (4.0, 6.0)), (0, 0, 1, 1, 2)), "key 8 says that keys 4 to 5 are one"),
    ],
)
def test_an_index_that_is_off_by_one_is_refused(tmp_path, given, words):
    assert len(RecordFile(stated(tmp_path / "good.rec", 6.0, 9.0))) == 5
    with pytest.raises(DataError, match=rf"x\.rec: {words}"):
        RecordFile(stated(tmp_path / "x.rec", *given))


def test_records_of_identities_without_the_one_that_says_where_they_begin(tmp_path):
    path = stated(tmp_path / "x.rec", 6.0, 9.0)
    lines = path.with_suffix(".idx").read_text().splitlines(keepends=True)
    path.with_suffix(".idx").write_text("".join(lines[1:]))
    with pytest.raises(DataError, match=r"x\.rec: key 6 holds two numbers and no image"):
        RecordFile(path)
    path.with_suffix(".idx").write_text("".join(lines[:6]))  # the images alone
    assert RecordFile(path).identities.tolist() == [0, 0, 1, 2, 2]


def test_numbers_that_their_type_cannot_hold_are_decided_by_the_records(monkeypatch):
    monkeypatch.setattr(record_index, "STORED", np.float16)  # exact up to 2,048 as float32 is up to 2^24
    for end in (2049, 2050, 2051):
        ranges = {0: (float(np.float16(end)), float(np.float16(end + 1))), end: (1.0, float(np.float16(end)))}
        assert record_index.image_keys(Path("x.rec"), range(end + 1), ranges) == list(range(1, end))


def test_file_without_index_record_holds_an_image_under_every_key(tmp_path):
    stored = {0: packed(7.0, b"zero"), 5: packed([3.0, 0.5, 0.25], b"five"), 2: packed(7.0, b"two")}
    records = RecordFile(write_rec(tmp_path / "x.rec", stored))
    assert [(r.key, r.identity, r.payload) for r in records] == [(0, 7, b"zero"), (5, 3, b"five"), (2, 7, b"two")]


def test_array_labels_under_key_0_with_an_image_are_no_index_record(tmp_path):
    records = RecordFile(write_rec(tmp_path / "x.rec", {0: packed([1.0, 2.0], b"picture"), 1: packed(0.0, b"other")}))
    assert records[0].payload == b"picture"
    assert len(records) == 2


@pytest.mark.parametrize(
    "payload",
    [
        MAGIC,
        b"1234" + MAGIC + b"5678",
        MAGIC + MAGIC + MAGIC,  # parts of no bytes
        b"1234" + MAGIC + b"5",
        b"1" + MAGIC + b"234",  # not on a multiple of four: stays whole
        b"1234" * 3 + MAGIC,
    ],
)
def test_records_split_at_the_magic_number_are_joined(tmp_path, payload):
    path = write_rec(tmp_path / "x.rec", {1: packed(4.0, payload), 2: packed(5.0, b"next")})
    assert [(r.identity, r.payload) for r in RecordFile(path)] == [(4, payload), (5, b"next")]


def test_magic_number_inside_the_header_is_joined(tmp_path):
    identifier = int.from_bytes(MAGIC, "little")  # falls on bytes 8 to 11 of the header
    path = write_rec(tmp_path / "x.rec", {1: packed(4.0, b"payload", identifier), 2: packed(5.0, b"")})
    assert RecordFile(path)[0].payload == b"payload"
    assert RecordFile(path).identities.tolist() == [4, 5]


def test_every_cut_is_refused_by_name_and_byte(rec):
    whole = rec.read_bytes()
    for length in range(1, len(whole)):
        rec.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"train\.(rec|idx).*byte \d+"):
            RecordFile(rec)


def test_cut_in_the_middle_says_so(rec):
    whole = rec.read_bytes()
    rec.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match=r"cut.*copy"):
        RecordFile(rec)


def test_wrong_magic_number(rec):
    data = bytearray(rec.read_bytes())
    data[0] ^= 1
    rec.write_bytes(data)
    with pytest.raises(DataError, match=r"train\.rec, byte 0 \(key 0\).*should start with 0xced7230a, found"):
        RecordFile(rec)


def test_declared_length_beyond_the_file(tmp_path):
    path = write_rec(tmp_path / "x.rec", {1: packed(4.0, b"payload")})
    data = bytearray(path.read_bytes())
    data[4:8] = (2**29 - 1).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"byte 0 \(key 1\): the record declares 536870911 bytes, but the file"):
        RecordFile(path)


def test_more_labels_declared_than_bytes(tmp_path):
    record = bytearray(packed([1.0, 2.0], b"x"))
    record[:4] = (2**32 - 1).to_bytes(4, "little")
    path = write_rec(tmp_path / "x.rec", {1: bytes(record)})
    with pytest.raises(DataError, match="shorter than its header"):
        RecordFile(path)[0]


@pytest.mark.parametrize(("byte", "kind"), [(7, 2), (7, 3), (43, 0), (43, 1)])  # the two parts' kinds stand there
def test_part_out_of_order(tmp_path, byte, kind):
    path = write_rec(tmp_path / "x.rec", {1: packed(4.0, b"1234" + MAGIC + b"5678")})
    data = bytearray(path.read_bytes())
    data[byte] = data[byte] & 0x1F | kind << 5
    path.write_bytes(data)
    with pytest.raises(DataError, match="out of order"):
        RecordFile(path)


@pytest.mark.parametrize("label", [0.5, -1.0, float("nan"), float("inf"), 2.0**24])
def test_label_that_is_no_identity(tmp_path, label):
    path = write_rec(tmp_path / "x.rec", {3: packed(label, b"payload")})
    with pytest.raises(DataError, match=r"key 3\): label .* is not the number of an identity"):
        RecordFile(path)


def test_index_outside_the_file(rec):
    lines = rec.with_suffix(".idx").read_text().splitlines()
    lines[2] = "2\t999999"
    rec.with_suffix(".idx").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"train\.idx: key 2 points to byte 999999, outside train\.rec"):
        RecordFile(rec)


@pytest.mark.parametrize("line", ["x\t40", "2", "2 40", "2\t40\t1", "2\t-4", "2\t" + "9" * 30])
def test_malformed_index_line(rec, line):
    lines = rec.with_suffix(".idx").read_text().splitlines()
    lines[2] = line
    rec.with_suffix(".idx").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"train\.idx, line 3: a key, a tab and a byte offset expected"):
        RecordFile(rec)


def test_index_with_a_key_twice(rec):
    index = rec.with_suffix(".idx")
    index.write_text(index.read_text() + "1\t40\n")
    with pytest.raises(DataError, match=r"line 10: key 1 stands there a second time"):
        RecordFile(rec)


def test_index_with_a_missing_image_key(rec):
    index = rec.with_suffix(".idx")
    index.write_text("".join(line for line in index.read_text().splitlines(True) if not line.startswith("4\t")))
    with pytest.raises(DataError, match=r"key 4 is missing"):
        RecordFile(rec)


def test_missing_and_empty_files(rec):
    index = rec.with_suffix(".idx")
    text = index.read_text()
    index.write_text("\n")
    with pytest.raises(DataError, match="no line in it"):
        RecordFile(rec)
    index.unlink()
    with pytest.raises(DataError, match=r"train\.idx: missing"):
        RecordFile(rec)
    index.write_text(text)
    rec.write_bytes(b"")
    with pytest.raises(DataError, match=r"train\.rec: cannot be read \(the file is empty\)"):
        RecordFile(rec)
    rec.unlink()
    with pytest.raises(DataError, match=r"train\.rec: cannot be read"):
        RecordFile(rec)


def test_pickles_and_reads_from_threads(rec):
    records = pickle.loads(pickle.dumps(RecordFile(rec)))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: records[i % 5].payload, range(200))) == PAYLOADS * 40


def test_source_numbers_identities_from_0(tmp_path):
    pictures = [picture(seed) for seed in range(3)]
    labels = [40.0, 7.0, 40.0]
    stored = {10 + i: packed(labels[i], encoded(pictures[i])) for i in range(3)}
    source = RecordSource(write_rec(tmp_path / "x.rec", stored))
    assert source.identities.tolist() == [1, 0, 1]
    assert source.identities.dtype == np.int32
    assert source.identity_names == ["7", "40"]
    assert [source.source_name(i) for i in range(len(source))] == ["10", "11", "12"]
    np.testing.assert_array_equal(source[2], pictures[2])


def test_an_image_is_the_same_each_time_and_the_quick_decoder_comes_only_after_the_strict_one(tmp_path, monkeypatch):
    """Turned, composited and damaged images are never left to the quick one."""
    upright = picture(1, 24, 18)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(upright).save(buffer, "JPEG", exif=exif)
    see_through = cv2.imencode(".png", np.dstack([upright, np.full((24, 18), 99, np.uint8)]))[1].tobytes()
    payloads = [encoded(upright, ".jpg"), encoded(upright), buffer.getvalue(), see_through]
    broken = [encoded(upright)[:60]]
    path = write_rec(tmp_path / "x.rec", {key: packed(0.0, data) for key, data in enumerate(payloads + broken, 1)})
    source = RecordSource(path)
    quick = []
    monkeypatch.setattr(recordio, "decode_stored", lambda data: quick.append(data) or decode_stored(data))
    for _ in range(3):
        for index, payload in enumerate(payloads):
            np.testing.assert_array_equal(source[index], decode_image(payload, "x"))
        with pytest.raises(ImageError, match="key 5"):
            source[4]
    assert quick == 2 * payloads[:2]


@pytest.mark.realdata
def test_real_file_agrees_with_the_table_beside_it(faces_data):
    records = RecordFile(faces_data / "train" / "train.rec")
    with (faces_data / "train" / "sources.csv").open() as file:
        rows = [(int(row["key"]), int(row["identity"])) for row in csv.DictReader(file)]
    assert list(zip(records.keys.tolist(), records.identities.tolist(), strict=True)) == rows
    assert len(rows) == 44868
    assert len(set(records.identities.tolist())) == 5054
    assert all(record.payload.startswith(b"\xff\xd8") for record in records)


def labelled_rec(path, labels, shapes=None):
    """One picture a label, 20x16 unless stated."""
    shapes = shapes or [(20, 16)] * len(labels)
    records = zip(labels, shapes, strict=True)
    stored = {10 + i: packed(label, encoded(picture(i, *shape))) for i, (label, shape) in enumerate(records)}
    return write_rec(path / "x.rec", stored)


@pytest.mark.parametrize(
    ("labels", "shapes", "stated", "message"),
    [
        ([1.0, 2.0, 3.0], None, "3,20,16", r"x\.rec, key 12: label 3, but .*property promises 3 identities, 0 to 2, "
         "and the labels run from 1 to 3; correct whichever is wrong"),
        ([0.0, 7.0, 1.0], None, "3,20,16\n", "x.rec, key 11: label 7, but .* from 0 to 7"),
        ([0.0, 1.0], [(20, 16), (20, 12)], "2,20,16", r"x\.rec, key 11: 20x12 pixels .* promises 20x16; correct"),
        ([0.0, 1.0], None, "2,16,20", r"x\.rec, key 10: 20x16 pixels .* promises 16x20"),
        ([0.0, 1.0], None, "2,20", 'property: "identities,height,width" expected'),
        ([0.0, 1.0], None, "2,20,-16", 'property: "identities,height,width" expected'),
    ],
)  # fmt: skip
def test_property_that_disagrees(tmp_path, labels, shapes, stated, message):
    path = labelled_rec(tmp_path, labels, shapes)
    (tmp_path / "property").write_text(stated)
    with pytest.raises(DataError, match=message):
        RecordSource(path)


def test_property_that_agrees(tmp_path):
    path = labelled_rec(tmp_path, [2.0, 0.0, 2.0])
    (tmp_path / "property").write_text("3, 20,16\r\n")
    assert RecordSource(path).identities.tolist() == [1, 0, 1]
    records = {1: packed(0.0, b"no image"), 2: packed(1.0, encoded(picture(0)))}
    assert len(RecordSource(write_rec(path, records))) == 2  # the broken image is left to whoever asks for it


@pytest.mark.realdata
def test_real_property_is_true(faces_data):
    assert (faces_data / "train" / "property").read_text().strip() == "5054,112,112"
    source = RecordSource(faces_data / "train" / "train.rec")
    assert np.bincount(source.identities).size == 5054


def frame(kind: int, content: bytes) -> bytes:
    return MAGIC + struct.pack("<I", kind << 29 | len(content)) + content + bytes(-len(content) % 4)


def test_a_record_in_many_parts_is_refused_and_its_label_is_read_from_the_first(tmp_path):
    head = packed(0.0, b"")
    for parts, sound in ((4094, True), (4095, False)):
        data = frame(1, head) + frame(2, b"") * parts + frame(3, b"")
        path = tmp_path / "a.rec"
        path.write_bytes(data)
        path.with_suffix(".idx").write_text("1\t0\n")
        if sound:
            assert RecordFile(path)[0].payload == MAGIC * (parts + 1)
        else:
            with pytest.raises(DataError, match=r"byte 0 \(key 1\): more than 4,096 parts"):
                RecordFile(path)


def test_records_do_not_reach_into_each_other(tmp_path):
    """Else as many large records as the index has lines lie in one small file."""
    whole = frame(1, packed(0.0, b"ab")) + frame(2, b"cdef") * 10 + frame(3, b"gh")
    path = tmp_path / "a.rec"
    path.write_bytes(whole)
    inner = frame(1, packed(0.0, b"ab"))
    path.with_suffix(".idx").write_text(f"1\t0\n2\t{len(inner)}\n")
    with pytest.raises(DataError, match=rf"\(key 1\): the record reaches into .* begins at byte {len(inner)};"):
        RecordFile(path)
    path.with_suffix(".idx").write_text("1\t0\n2\t0\n")
    with pytest.raises(DataError, match="keys 1 and 2 both point to byte 0"):
        RecordFile(path)


def test_an_index_is_no_longer_than_its_records(rec):
    index = rec.with_suffix(".idx")
    index.write_text("".join(f"{key}\t0\n" for key in range(100)))
    with pytest.raises(DataError, match=r"train\.idx, line \d+: a record more, at byte 0, than the \d+ that the \.rec"):
        RecordFile(rec)
    index.write_bytes(b"1\t0\n" * 2_000_000)
    with pytest.raises(DataError, match=r"train\.idx: cannot be read \(7\.6 MiB, more than"):
        RecordFile(rec)


def test_labels_beyond_the_first_are_not_unpacked(tmp_path):
    """A record of 40 MB whose flag says that all of it is labels."""
    labels = 10_000_000
    path = tmp_path / "a.rec"
    path.write_bytes(frame(0, struct.pack("<IfQQ", labels, 0, 0, 0) + bytes(4 * labels) + b"x"))
    path.with_suffix(".idx").write_text("1\t0\n")
    tracemalloc.start()
    file = RecordFile(path)
    assert file.identities.tolist() == [0] and tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
