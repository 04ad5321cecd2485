"""Decoding rules, each against pixels made in the test; damage at every length; real odd files."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from faces.data import images
from faces.data.images import PIXEL_LIMIT, decode_image, decode_stored, encode_png, stored_encoding
from faces.errors import ImageError
from tests.faces.data.makers import picture

PIXELS = picture(0, height=24, width=18)


def saved(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(pixels: np.ndarray = PIXELS, **options) -> bytes:
    return saved(Image.fromarray(pixels), "JPEG", quality=95, **options)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """PNG bytes put together by hand, for what no encoder here writes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def check(data: bytes, expected: np.ndarray, kept: bool, tolerance: int = 0) -> None:
    pixels = decode_image(data, "x")
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance
    stored, same = stored_encoding(data, "x")
    np.testing.assert_array_equal(same, pixels)
    np.testing.assert_array_equal(decode_stored(stored), pixels)
    assert (stored == data) is kept


def test_rgb_of_every_format():
    image = Image.fromarray(PIXELS)
    check(saved(image, "PNG"), PIXELS, kept=True)
    check(saved(image, "WEBP", lossless=True), PIXELS, kept=True)
    check(saved(image, "BMP"), PIXELS, kept=False)
    check(jpeg(subsampling=0), PIXELS, kept=True, tolerance=12)
    check(jpeg(subsampling=0, progressive=True), PIXELS, kept=True, tolerance=12)
    gif = saved(image.quantize(256), "GIF")
    check(gif, np.array(image.quantize(256).convert("RGB")), kept=False)


def test_jpeg_agrees_with_opencv():
    data = jpeg()
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(decode_image(data, "x"), theirs)


def test_grey_is_repeated():
    grey = PIXELS[:, :, 0]
    check(saved(Image.fromarray(grey), "PNG"), np.repeat(grey[:, :, None], 3, axis=2), kept=True)
    check(jpeg(grey), np.repeat(grey[:, :, None], 3, axis=2), kept=True, tolerance=8)


def test_sixteen_bits_keep_the_high_byte():
    values = np.array([[0, 255, 256, 511], [512, 32767, 65280, 65535]])
    grey = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    expected = np.repeat((values // 256)[:, :, None], 3, axis=2)
    check(raw_png(4, 2, 16, 0, grey), expected, kept=False)
    colours = np.stack([values, values[::-1], values[:, ::-1]], axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    check(raw_png(4, 2, 16, 2, rows), colours // 256, kept=False)


def test_one_bit_is_black_and_white():
    check(raw_png(4, 1, 1, 0, b"\0\xa0"), np.repeat([[[255], [0], [255], [0]]], 3, axis=2), kept=False)


def test_palette_gives_its_colours():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([0, 1, 1])
    check(saved(image, "PNG"), np.array([[[10, 20, 30], [200, 100, 0], [200, 100, 0]]]), kept=False)


def test_alpha_is_composited_on_black():
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    expected = np.array([[[200, 100, 50], [0, 0, 0], [40, 20, 10]]])
    check(saved(Image.fromarray(rgba), "PNG"), expected, kept=False)
    check(saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True), expected, kept=False)
    grey_alpha = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 51)])
    check(saved(grey_alpha, "PNG"), np.full((1, 1, 3), 20), kept=False)


def test_transparent_palette_entry_is_black():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([0, 1])
    check(saved(image, "PNG", transparency=0), np.array([[[0, 0, 0], [200, 100, 0]]]), kept=False)


def test_cmyk():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    check(saved(image, "JPEG", quality=100), np.broadcast_to([255, 0, 0], (16, 16, 3)), kept=False, tolerance=3)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a picture with this EXIF orientation shows, by the standard's table of row 0 and column 0."""
    height, width = pixels.shape[:2]
    swapped = orientation >= 5
    out = np.zeros((width, height, 3) if swapped else (height, width, 3), np.uint8)
    for row in range(height):
        for column in range(width):
            bottom, right = height - 1 - row, width - 1 - column
            place = {
                1: (row, column),
                2: (row, right),
                3: (bottom, right),
                4: (bottom, column),
                5: (column, row),
                6: (column, bottom),
                7: (right, bottom),
                8: (right, row),
            }[orientation]
            out[place] = pixels[row, column]
    return out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = decode_image(jpeg(), "x")
    check(jpeg(exif=exif), turned(upright, orientation), kept=orientation == 1)
    check(saved(Image.fromarray(PIXELS), "PNG", exif=exif), turned(PIXELS, orientation), kept=orientation == 1)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow's remark, which pytest makes an error of
@pytest.mark.parametrize("exif", [b"rubbish", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_unreadable_exif_is_none(exif):
    check(jpeg(exif=b"Exif\0\0" + exif), decode_image(jpeg(), "x"), kept=True)


def test_animations_give_the_first_frame():
    frames = [Image.new("RGB", (8, 6), colour) for colour in [(255, 0, 0), (0, 255, 0)]]
    for format, options in [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})]:
        data = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
        pixels = decode_image(data, "x")
        np.testing.assert_array_equal(pixels, np.broadcast_to(np.array([255, 0, 0], np.uint8), (6, 8, 3)))
        np.testing.assert_array_equal(decode_stored(stored_encoding(data, "x")[0]), pixels)


@pytest.mark.parametrize("tail", [b"\0", b"garbage" * 9, b"\xff\xd9", b"\xff\xd8\xff\xe0 and so on"])
def test_bytes_after_the_end_are_ignored(tail):
    check(jpeg() + tail, decode_image(jpeg(), "x"), kept=True)
    check(encode_png(PIXELS) + tail, PIXELS, kept=True)


def one_of_each() -> dict[str, bytes]:
    formats = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
    image = Image.fromarray(PIXELS)
    return {"progressive": jpeg(progressive=True), **{format: saved(image, format) for format in formats}}


@pytest.mark.parametrize("data", one_of_each().values(), ids=one_of_each())
def test_a_cut_image_is_refused_or_whole(data):
    whole = decode_image(data, "x")
    refused = 0
    for length in range(len(data)):
        try:
            np.testing.assert_array_equal(decode_image(data[:length], "x"), whole)
        except ImageError:
            refused += 1
    assert refused >= len(data) - 40  # what may be missing is an end marker, never pixels


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_with_an_end_marker_put_back_is_refused(progressive):
    data = jpeg(picture(3, 64, 64), progressive=progressive)
    start = data.rfind(b"\xff\xda") if progressive else data.find(b"\xff\xda")
    for length in range(start + 16, len(data) - 40, 7):
        with pytest.raises(ImageError, match=r"^a face\.jpg: "):
            decode_image(data[:length] + b"\xff\xd9", "a face.jpg")


def test_changed_bytes_never_escape_as_another_error():
    random = np.random.default_rng(0)
    for data in one_of_each().values():
        for _ in range(100):
            changed = bytearray(data)
            for position in random.integers(0, len(data), 3):
                changed[position] = random.integers(256)
            try:
                stored, pixels = stored_encoding(bytes(changed), "x")
            except ImageError:
                continue
            np.testing.assert_array_equal(decode_stored(stored), pixels)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", bytes(40)])
def test_what_is_no_image_is_refused_by_name(data):
    with pytest.raises(ImageError, match=r"^Zoë Ångström/no face\.jpg: "):
        decode_image(data, "Zoë Ångström/no face.jpg")


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (PIXEL_LIMIT + 1, 1), (9000, 10000), (20000, 8000)])
def test_declared_size_is_checked_before_decoding(width, height):
    with pytest.raises(ImageError, match=r"^bomb\.png: .*pixels declared"):
        decode_image(raw_png(width, height, 8, 2, b"\0" * 100), "bomb.png")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
def test_tiff_of_every_kind_and_the_first_of_its_pages(compression):
    image, other = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])
    data = saved(image, "TIFF", compression=compression, save_all=True, append_images=[other])
    check(data, PIXELS, kept=False)
    for orientation in range(1, 9):
        check(saved(image, "TIFF", tiffinfo={0x0112: orientation}), turned(PIXELS, orientation), kept=False)
    grey = np.array([[0, 255, 256, 65535]], np.uint16)
    check(saved(Image.fromarray(grey), "TIFF"), np.repeat((grey >> 8)[:, :, None], 3, axis=2), kept=False)
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 51]]], np.uint8)
    check(saved(Image.fromarray(rgba), "TIFF"), np.array([[[200, 100, 50], [40, 20, 10]]]), kept=False)


def test_formats_without_loss_and_with():
    image = Image.fromarray(PIXELS)
    for format in ("PPM", "JPEG2000"):
        check(saved(image, format), PIXELS, kept=False)
    check(saved(image.convert("L"), "PPM"), np.repeat(np.array(image.convert("L"))[:, :, None], 3, axis=2), kept=False)
    exif = Image.Exif()
    for orientation in (1, 6):
        exif[0x0112] = orientation
        check(saved(image, "AVIF", quality=95, exif=exif), turned(PIXELS, orientation), kept=False, tolerance=40)


def test_heif_with_pillow_heif_and_without(monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(np.tile(PIXELS, (4, 4, 1)))).save(buffer, quality=95, exif=exif.tobytes())
    upright = turned(np.tile(PIXELS, (4, 4, 1)), 6)
    found = decode_image(buffer.getvalue(), "x.heic")
    assert found.shape == upright.shape and np.abs(found.astype(int) - upright).mean() < 8
    with pytest.raises(ImageError, match=r"x\.heic: HEIF image that does not decode|begins as HEIF, and is damaged"):
        decode_image(buffer.getvalue()[: len(buffer.getvalue()) // 2], "x.heic")
    images.heif_is_read.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r'x\.heic: is a HEIF picture, .*: pip install "\.\[heif\]"\.'):
        decode_image(buffer.getvalue(), "x.heic")
    images.heif_is_read.cache_clear()


def test_shades_that_would_be_guessed_are_refused():
    image = Image.fromarray(PIXELS)
    deep = Image.fromarray(np.arange(12, dtype=np.int32).reshape(3, 4) * 2**20)
    for data, words in (
        (saved(deep, "TIFF"), "32 bits a channel"),
        (saved(Image.fromarray(np.ones((3, 4), np.float32)), "TIFF"), "32 bits a channel"),
        (saved(image, "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "raw camera file"),
        (saved(image, "TIFF", tiffinfo={254: 1}), "raw camera file"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "raw camera file"),
    ):
        with pytest.raises(ImageError, match=f"^x: .*{words}"):
            decode_image(data, "x")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\n\n  <!DOCTYPE html><html><body>404", "is a web page; download the file itself"),
        (b"\xef\xbb\xbf<HTML lang='en'>", "is a web page; download the file itself"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is XML"),
        (b"%PDF-1.7", "is a PDF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "is a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "is a raw camera file"),
        (b"\xff\x0a\x00", "is a JPEG XL picture"),
        ("Grüße".encode(), "is text, no picture"),
        (b"\0\1\2\3" * 20, "is no picture of a known format"),
        (b"", "no bytes in it"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(data, what):
    with pytest.raises(ImageError, match=f"^x: {what}"):
        decode_image(data, "x")


def test_stored_bytes_that_opencv_cannot_decode():
    with pytest.raises(ImageError, match="prepare the dataset again"):
        decode_stored(b"no image")


@pytest.mark.realdata
def test_real_odd_files(faces_data):
    refused = set()
    for file in sorted((faces_data / "odd").iterdir()):
        data = file.read_bytes()
        try:
            stored, pixels = stored_encoding(data, file.name)
        except ImageError as error:
            assert str(error).startswith(file.name)
            refused.add(file.name)
            continue
        assert pixels.ndim == 3
        np.testing.assert_array_equal(decode_stored(stored), pixels)
    assert refused == {"bomb_60000x60000.png", "text_named.jpg", "truncated.jpg", "zero_bytes.jpg"}


@pytest.mark.realdata
def test_real_odd_versions_of_one_picture_agree(faces_data):
    odd = faces_data / "odd"
    plain = decode_image((odd / "picture.bmp").read_bytes(), "x").astype(int)
    for name in ["rgb16.png", "cmyk.jpg", "exif_rotated.jpg", "lossy.webp", "palette.png", "animated.gif", "alpha.png"]:
        difference = np.abs(decode_image((odd / name).read_bytes(), name).astype(int) - plain).mean()
        assert difference < (15 if name == "palette.png" else 8), name  # that one is dithered


def test_a_sound_tiff_of_a_kind_that_is_not_read_is_not_called_none():
    floats = cv2.imencode(".tiff", np.full((8, 8, 3), 0.5, np.float32))[1].tobytes()
    with pytest.raises(ImageError, match=r"x\.tiff: begins as TIFF, and is damaged or of a kind that is not read\."):
        decode_image(floats, "x.tiff")
