"""Small files that would take a decoder's memory or time without end are refused before it sees them."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from faces.data import image_headers
from faces.data.image_headers import why_not_decoded, why_not_so_large, why_not_tags
from faces.data.images import decode_image, decode_stored, encode_png
from faces.errors import ImageError
from tests.faces.data.makers import encoded, picture

LONG = b"\xff\xff\xff\xff"


def jpeg(side: int, **settings) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (side, side), 120).save(stream, "JPEG", **settings)
    return stream.getvalue()


def with_scans(data: bytes, times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    scan = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + scan * times + b"\xff\xd9"


def tags(count: int, size: int) -> bytes:
    """A block of EXIF or a TIFF whose tags all name the same bytes."""
    start = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHLL", 1000 + number, 7, size, start) for number in range(count))
    return b"II*\0" + struct.pack("<LH", 8, count) + entries + bytes(4 + size)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def refused(data: bytes) -> str:
    start = time.process_time()
    with pytest.raises(ImageError) as caught:
        decode_image(data, "x")
    assert time.process_time() - start < 1.0
    return str(caught.value)


def test_progressive_pictures_of_a_thousand_scans(monkeypatch: pytest.MonkeyPatch):
    data = jpeg(1000, progressive=True)
    assert decode_image(with_scans(data, 10), "x").shape == (1000, 1000, 3)
    assert "more than 100 scans" in refused(with_scans(data, 1000))
    assert "more than 100 scans" in refused(with_scans(jpeg(8, progressive=True), 5000))
    monkeypatch.setattr(image_headers, "_MOST_PASSES", 20_000_000)
    assert "26 scans of 1,000,000 pixels" in refused(with_scans(data, 20))


def test_scans_of_what_is_not_this_picture_do_not_count():
    """A thumbnail, the video behind a moving photograph."""
    data = jpeg(64, progressive=True)
    inner = segment(0xE7, b"\xff\xda\0\x08" * 200)
    whole = data[:2] + inner + data[2:] + b"\xff\xda\0\x08" * 500
    np.testing.assert_array_equal(decode_image(whole, "x"), decode_image(data, "x"))


def test_webp_of_few_bytes_and_many_pixels():
    stream = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(stream, "WEBP", lossless=True, method=0)
    assert len(stream.getvalue()) < 9_000 and "3000x3000 pixels declared in" in refused(stream.getvalue())
    stream = io.BytesIO()
    Image.fromarray(picture(0)).save(stream, "WEBP")
    lossy = bytearray(stream.getvalue())
    lossy[26:30] = b"\xff\x3f\xff\x3f"
    assert "16383x16383 pixels declared, the limit" in refused(bytes(lossy))
    large = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\x3f" * 2
    assert "4194304x4194304 pixels declared, the limit is 64,000,000" in refused(large)


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "AVIF"])
def test_other_formats_of_few_bytes_and_many_pixels(format_: str):
    stream = io.BytesIO()
    settings = {"TIFF": {"compression": "group4"}, "AVIF": {"speed": 10}}.get(format_, {})
    Image.new("1" if format_ != "AVIF" else "RGB", (2500, 2500)).save(stream, format_, **settings)
    assert "2500x2500 pixels declared in" in refused(stream.getvalue())


def test_how_many_pixels_a_byte_is_said_of_sizes_alone():
    assert why_not_so_large(8000, 8000, 200_000) is None  # a PNG of one colour
    assert why_not_so_large(2000, 2000, 100) is None
    assert why_not_so_large(8001, 8000, 10**9) is not None
    assert why_not_so_large(8000, 8000, 60_000) is not None


@pytest.mark.parametrize("marker", [b"Exif\0\0", b"MPF\0"])
def test_tags_that_all_name_the_same_bytes(marker: bytes):
    data = encoded(picture(0), ".jpg")
    number = 0xE1 if marker[0] == 69 else 0xE2
    assert "tags that declare 60,000,000 bytes" in refused(
        data[:2] + segment(number, marker + tags(2000, 30_000)) + data[2:]
    )
    assert "tags that declare" in refused(tags(3000, 100_000))
    assert why_not_tags(tags(1, 1000)) is None and why_not_tags(b"") is None and why_not_tags(b"II*\0" + LONG) is None
    assert why_not_tags(b"II+\0\x08\0\0\0" + 2 * LONG + bytes(40)) is None


def test_an_unreadable_block_beside_the_pixels_counts_as_none():
    stream = io.BytesIO()
    Image.fromarray(picture(0)).save(stream, "PNG", exif=b"Exif\0\0" + tags(3000, 100_000))
    np.testing.assert_array_equal(decode_image(stream.getvalue(), "x"), picture(0))


def test_tiles_and_strips_without_end():
    stream = io.BytesIO()
    Image.fromarray(picture(0)).save(stream, "JPEG2000")
    data = bytearray(stream.getvalue())
    at = data.find(b"\xff\x4f\xff\x51") + 8
    struct.pack_into(">8I", data, at, 1000, 1000, 0, 0, 2, 2, 0, 0)
    assert "250,000 tiles, the limit is 4,096" in refused(bytes(data))
    struct.pack_into(">8I", data, at, 1000, 1000, 0, 0, 0, 2, 0, 0)
    assert "tiles without a size" in refused(bytes(data))
    struct.pack_into(">8I", data, at, 16, 20, 0, 0, 16, 20, 0, 0)
    sound = bytes(data)
    coded = sound.rfind(b"jp2c") - 4  # a box that is skipped may hold what looks like another picture's head
    skipped = struct.pack(">I4s", 8 + 60, b"free") + b"\xff\x4f\xff\x51" + b"\xff" * 56
    inside = sound[:coded] + skipped + sound[coded:] + b"\xff\x4f\xff\x51" + b"\xff" * 56
    np.testing.assert_array_equal(decode_image(inside, "x"), decode_image(sound, "x"))
    many = b"II*\0" + struct.pack("<LHHHLL", 8, 1, 273, 3, 400_000, 22) + bytes(4 + 800_000)
    assert "400,000 strips or tiles, the limit is 300,000" in refused(many)
    scans = b"II*\0" + struct.pack("<LHHHLL", 8, 1, 259, 3, 1, 7) + bytes(4) + b"\xff\xda" * 1000
    assert "1,000 scans in 0 strips or tiles" in refused(scans)


def test_stored_images_are_of_few_formats_and_bounded():
    stream = io.BytesIO()
    Image.fromarray(picture(0)).save(stream, "TIFF")
    for data in (stream.getvalue(), with_scans(jpeg(64, progressive=True), 500), b"", b"#?RADIANCE\n"):
        with pytest.raises(ImageError, match="prepare the dataset again"):
            decode_stored(data)
    np.testing.assert_array_equal(decode_stored(encode_png(picture(0))), picture(0))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "JPEG2000", "GIF"])
def test_any_cut_or_change_is_a_word_or_nothing(format_: str):
    stream = io.BytesIO()
    Image.fromarray(picture(0)).save(stream, format_)
    data, rng = stream.getvalue(), np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(data[: rng.integers(len(data) + 1)])
        for _ in range(min(len(changed), 3)):
            changed[rng.integers(len(changed))] = rng.choice([0, 1, 0x7F, 0xFF, 0xDA, 0xC0])
        assert why_not_decoded(bytes(changed), format_) is None or why_not_decoded(bytes(changed), format_)
