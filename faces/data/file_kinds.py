"""What a file is, by its first bytes and by its name: an image that is read here, or what else, in plain words.

| by | what |
|---|---|
| first bytes | images that are read (`format_of`), and a name for much else (`described`): a web page, a video |
| extension | images, so that a million files need not be opened; raw camera files, most of which begin like a TIFF |

Not here: decoding (`images.py`), which files of a folder are taken (`photographs.py`).
"""

import re

EXTENSIONS = frozenset(
    [
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
        ".heic", ".heif", ".hif", ".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm",
        ".pbm", ".pnm",
    ]
)
"""Of the formats that are read here, in lower case."""
HEAD = 1024
"""First bytes that are enough to know a file by."""

RAW = "a raw camera file; export it as JPEG or TIFF"
VIDEO = "a video; save frames of it as pictures"
UNREAD = "a picture of a format that is not read here; save it as JPEG or PNG"

_BY_EXTENSION = {
    **dict.fromkeys(
        [
            ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef",
            ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw",
            ".x3f",
        ],
        RAW,
    ),
    **dict.fromkeys(
        [
            ".3g2", ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv",
            ".webm", ".wmv",
        ],
        VIDEO,
    ),
    **dict.fromkeys(
        [
            ".ai", ".cur", ".dds", ".djvu", ".emf", ".eps", ".exr", ".fits", ".hdr", ".icns", ".ico", ".jxl", ".jxr",
            ".pam", ".pcx", ".pfm", ".psb", ".psd", ".qoi", ".sgi", ".svg", ".tga", ".wdp", ".wmf", ".xbm", ".xcf",
            ".xpm",
        ],
        UNREAD,
    ),
}

_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the header that follows the file's own
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_PORTABLE = re.compile(rb"P[1-6]\s+[0-9#]")
_MARKUP = re.compile(rb"(\xef\xbb\xbf)?\s*<([!?a-zA-Z])")
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body|script|meta|title)\b", re.IGNORECASE)
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM", b"IIII\x88\x88")
_STARTS = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"8BPS", "a Photoshop file; save it as JPEG or PNG"),
    (b"gimp xcf", "a GIMP file; save it as JPEG or PNG"),
    (b"\xff\x0a", "a JPEG XL picture; save it as JPEG or PNG"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture; save it as JPEG or PNG"),
    (b"\0\0\1\0", "an icon"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"\x1aE\xdf\xa3", VIDEO),
    (b"\0\0\1\xba", VIDEO),
    (b"\0\5\x16\7", "macOS's notes on another file"),
)


def format_of(data: bytes) -> str | None:
    """Pillow's name of the image format that bytes begin as; None for all else, raw camera files included."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) and data[8:10] != b"CR":
        return "TIFF"
    if data.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")):
        return "JPEG2000"
    if _PORTABLE.match(data):
        return "PPM"
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def described(data: bytes) -> str:
    """What bytes that are no image seem to be, as the end of a sentence that begins with "is"."""
    if not data:
        return "empty, no picture"
    if is_web_page(data):
        return "a web page; download the file itself"
    if _MARKUP.match(data):
        return "XML, such as a vector drawing or notes on a picture"
    if data.startswith(_RAW_STARTS) or data[8:10] == b"CR" or b"crx " in _brands(data):
        return RAW
    known = next((what for start, what in _STARTS if data.startswith(start)), None)
    if known:
        return known
    if _brands(data) or (data[:4] == b"RIFF" and data[8:12] == b"AVI "):
        return VIDEO
    return "text, no picture" if _is_text(data[:HEAD]) else "no picture of a known format"


def is_web_page(data: bytes) -> bool:
    """Whether bytes are HTML, as a server sends it in place of a file; blank lines may come first."""
    data = data[:HEAD]
    return _MARKUP.match(data) is not None and _HTML.search(data) is not None


def why_no_picture(extension: str) -> str | None:
    """Why a file of this extension, in lower case with its dot, is most likely passed over; None where bytes must tell.

    Its first bytes may still be those of an image, except that many raw camera files begin as a TIFF does.
    """
    return _BY_EXTENSION.get(extension)


def _brands(data: bytes) -> set[bytes]:
    """Brands of an ISO media file, that is of HEIF, AVIF, MP4 and the like."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), HEAD)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a letter may be cut in two at the end
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter.isspace() for letter in text)
