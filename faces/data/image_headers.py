"""What an image file says of itself, looked at before any decoder is: the few bytes that make decoders take memory and
time without end.

| where | what is refused | what it would take |
|---|---|---|
| all | more pixels than `PIXEL_LIMIT` | 10 to 19 bytes each |
| all | more than 4 million pixels of fewer bytes than one for 1,000 pixels | 600 to 1,200 MB, of some 1,000 bytes |
| JPEG | more than 100 scans, or more than 25 of the largest image | 2 s for each 1,000 million pixels and scans |
| EXIF, multi-picture index, TIFF | tags that together declare more than the block has | a copy of the block for each |
| TIFF | more than 300,000 strips or tiles | 300 bytes each |
| JPEG 2000 | more than 4,096 tiles | 6,000 bytes each |

Not here: which format bytes begin as (`file_kinds.py`), decoding (`images.py`).
"""

import re
import struct
from collections.abc import Iterator

PIXEL_LIMIT = 64_000_000
_PIXELS_PER_BYTE, _SMALL = 1_000, 4_000_000
"""A photograph has 1 to 50 pixels a byte, one of a single colour 350 as PNG; small ones may be what they like."""
_MOST_SCANS = 100
_MOST_PASSES = 25 * PIXEL_LIMIT
"""Pixels times scans; progressive JPEGs have 6 to 20 scans."""
_BY_CHANCE = 16_384  # bytes of anything else in which the two of a scan's marker stand less than once by chance
_MOST_STRIPS = 300_000
_MOST_TILES = 4096
_TAG_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_STRIPS, _TILES, _COMPRESSION = 273, 324, 259
_JPEG_IN_TIFF = (6, 7)
_SOS, _EOI = 0xDA, 0xD9
_SIZES_OF_JPEG = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a segment
_AFTER_COMPRESSED = re.compile(rb"\xff[^\x00\x01\xd0-\xd8]")
_SIZ = b"\xff\x4f\xff\x51"


def why_not_decoded(data: bytes, format_: str) -> str | None:
    """Why an image of this format is not given to a decoder, as the end of a sentence; None where it is."""
    match format_:
        case "JPEG":
            return _of_jpeg(data)
        case "PNG" if len(data) >= 24:
            return why_not_so_large(*struct.unpack_from(">II", data, 16), len(data))
        case "WEBP":
            size = _size_of_webp(data)
            return why_not_so_large(*size, len(data)) if size else None
        case "TIFF":
            return _of_tiff(data)
        case "JPEG2000":
            return _of_jpeg2000(data)
        case _:
            return None


def why_not_so_large(width: int, height: int, size: int) -> str | None:
    """Why an image of so many pixels in so many bytes is not decoded; None where it is."""
    pixels = width * height
    if pixels > PIXEL_LIMIT:
        return f"{width}x{height} pixels declared, the limit is {PIXEL_LIMIT:,}"
    if pixels > max(_SMALL, _PIXELS_PER_BYTE * size):
        return f"{width}x{height} pixels declared in {size:,} bytes, as no photograph is; save it smaller"
    return None


def why_not_tags(block: bytes) -> str | None:
    """Why a block of tags, as EXIF and TIFF have them, is not read; None where it is, or is none."""
    tags = _tags(block)
    if tags is None:
        return None
    declared = sum(size * count for _, size, count, _ in tags)
    if declared > 2 * len(block):
        return f"tags that declare {declared:,} bytes in a block of {len(block):,}"
    return None


def _of_jpeg(data: bytes) -> str | None:
    pixels, scans, exif, index = 0, 0, [], []
    for marker, at, end in _segments(data):
        if marker == _SOS:
            scans += 1
            if scans > _MOST_SCANS:
                return f"more than {_MOST_SCANS} scans, as no photograph has; save it again"
        elif marker in _SIZES_OF_JPEG and at + 5 <= min(end, len(data)):
            height, width = struct.unpack_from(">HH", data, at + 1)
            if why := why_not_so_large(width, height, len(data)):
                return why
            pixels = max(pixels, width * height)
        elif marker == 0xE1 and data[at : at + 4] == b"Exif":
            exif.append(data[at + 6 : end])
        elif marker == 0xE2 and data[at : at + 4] == b"MPF\0":
            index.append(data[at + 4 : end])
    if pixels * scans > _MOST_PASSES:
        return f"{scans} scans of {pixels:,} pixels, as no photograph has; save it again"
    return next((why for block in (b"".join(exif), *index) if (why := why_not_tags(block))), None)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment of a JPEG up to its end; compressed data between them are passed over."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 3 < len(data):
        marker = data[at + 1]
        if marker == _EOI:
            return
        if marker in (0x00, 0xFF) or marker in _ALONE:  # compressed, or filling
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        yield marker, at + 4, end
        at = end
        if marker == _SOS:
            following = _AFTER_COMPRESSED.search(data, at)
            at = following.start() if following else len(data)


def _size_of_webp(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X" if len(data) >= 30:
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L" if len(data) >= 25:
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if len(data) >= 30:
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


def _of_tiff(data: bytes) -> str | None:
    if why := why_not_tags(data):
        return why
    tags = _tags(data) or []
    pieces = max((count for tag, _, count, _ in tags if tag in (_STRIPS, _TILES)), default=0)
    if pieces > _MOST_STRIPS:
        return f"{pieces:,} strips or tiles, the limit is {_MOST_STRIPS:,}"
    if any(tag == _COMPRESSION and value in _JPEG_IN_TIFF for tag, _, _, value in tags):
        scans = data.count(b"\xff\xda")
        if scans > 2 * pieces + _MOST_SCANS + len(data) // _BY_CHANCE:
            return f"{scans:,} scans in {pieces:,} strips or tiles, as no photograph has; save it again"
    return None


def _tags(block: bytes) -> list[tuple[int, int, int, int]] | None:
    """Number, bytes a value, count and first value of each tag in the first directory of a block; None where it has
    none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    big = int.from_bytes(block[2:4], "little" if order == "<" else "big") == 43
    entry, head, first = (f"{order}{form}" for form in (("HHQQ", "Q", "Q") if big else ("HHLL", "H", "L")))
    try:
        start = struct.unpack_from(first, block, 8 if big else 4)[0]
        count = min(struct.unpack_from(head, block, start)[0], len(block) // struct.calcsize(entry))
        start += struct.calcsize(head)
        return [
            (tag, _TAG_SIZES.get(kind, 0), values, _short(value, order, kind, big))
            for tag, kind, values, value in struct.iter_unpack(
                entry, block[start : start + count * struct.calcsize(entry)]
            )
        ]
    except (struct.error, OverflowError):  # a directory that is cut: the decoder has no more of it either
        return None


def _short(value: int, order: str, kind: int, big: bool) -> int:
    """The first value of a tag of two bytes, which stand at the beginning of the four or eight."""
    if kind != 3:
        return value
    return value & 0xFFFF if order == "<" else value >> (48 if big else 16)


def _of_jpeg2000(data: bytes) -> str | None:
    at = 0 if data.startswith(_SIZ) else _codestream(data)
    if at is None or not data.startswith(_SIZ, at) or at + 40 > len(data):
        return None  # nothing that the decoder would decode
    right, low, left, top, wide, high, x, y = struct.unpack_from(">8I", data, at + 8)
    if not wide or not high:
        return "tiles without a size"
    tiles = max(0, -(-(right - x) // wide)) * max(0, -(-(low - y) // high))
    if tiles > _MOST_TILES:
        return f"{tiles:,} tiles, the limit is {_MOST_TILES:,}"
    return why_not_so_large(max(0, right - left), max(0, low - top), len(data))


def _codestream(data: bytes) -> int | None:
    """Where the first box of coded data begins, among the boxes that a JP2 file is a row of."""
    at = 0
    while at + 16 <= len(data):
        length, head = int.from_bytes(data[at : at + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if data[at + 4 : at + 8] == b"jp2c":
            return at + head
        if length < head:  # to the end of the file, or none
            return None
        at += length
    return None
