"""Encoded image bytes to 8-bit RGB pixels, by stated rules, completely or not at all.

| input | what becomes of it |
|---|---|
| JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, JPEG 2000, PPM and its kin | decoded, whatever the file's name says |
| HEIF (HEIC) | decoded by pillow-heif, an extra; without it refused with the command that installs it |
| any other format, raw camera files in the form of a TIFF | refused |
| grey | the same value in all three channels |
| 16 bits a channel | the high byte |
| 32 bits a channel, 16 bits of grey with white as 0 | refused: nothing states which value is white |
| palette | its colours |
| alpha or a transparent colour | composited on black, the value that alignment gives to what lies outside an image |
| CMYK | converted without a colour profile; embedded profiles of any kind are not applied |
| orientation stored beside the pixels (EXIF, TIFF, HEIF) | applied; an unreadable EXIF block counts as none |
| animation, several pages | the first frame or page; of HEIF the one that the file calls the main one |
| bytes after the end of the image | ignored |
| image that ends early, damaged data, no bytes, text | refused |
| more than 64 million pixels declared, or more than a file of its size can hold | refused before anything is decoded |
| more scans, tags or tiles than a photograph has (`image_headers.py`) | likewise |

What no decoder can see stays unseen: JPEG has no checksum, so a flipped bit may give wrong pixels without an error.

Not here: which files of a folder are photographs (`photographs.py`), what bytes are by their beginning
(`file_kinds.py`), detection, alignment and cropping of faces.
"""

import functools
import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, features

from faces.data.chunks import Budget
from faces.data.file_kinds import described, format_of
from faces.data.image_headers import PIXEL_LIMIT, why_not_decoded, why_not_so_large, why_not_tags
from faces.errors import ImageError
from faces.opening import MIB, read_bytes

LARGEST_FILE = 6 * PIXEL_LIMIT + 16 * MIB
"""Bytes: so many pixels of 16 bits a channel, uncompressed, and what may stand beside them."""
_CODECS = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}
"""Formats that a build of Pillow may lack."""
_DECODING = Budget()
"""Threads decode no more pixels at the same time: a photograph takes a dozen bytes a pixel until it is an array."""
_STORED = ("JPEG", "PNG", "WEBP")
_BAND = 256
"""Rows compared at a time."""
_ORIENTATION = 0x0112
_NEW_SUBFILE_TYPE, _PHOTOMETRIC, _DNG_VERSION = 254, 262, 50706
"""Tags of TIFF: 1 for a reduced copy; 0 where 0 is white; what makes a TIFF a raw camera file."""

# PIXEL_LIMIT is below the size at which Pillow begins to warn, and its remarks on malformed EXIF are noise here.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decode one image by the rules of this module.

    Args:
        data: the whole file.
        name: what to call it in the message of an error.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        ImageError: the bytes are no complete image of a known format, or declare too many pixels.
    """
    return np.array(_open(data, name)[0])  # (height, width, 3)


def read_file(path: Path, name: str | None = None) -> bytes:
    """All bytes of an image file; what may never end is not read (`faces.opening`).

    Args:
        path: the file.
        name: what to call it in the message of an error; by default its path.

    Raises:
        ImageError: there is no such file, it is no file, or it cannot be read.
    """
    try:
        return read_bytes(path, LARGEST_FILE)
    except OSError as error:
        raise ImageError(f"{name or path}: cannot be read ({error.strerror}).") from None


def read_image(path: Path, name: str | None = None) -> np.ndarray:
    """The image in a file, uint8 (height, width, 3), RGB; arguments and errors as `read_file` and `decode_image`."""
    return decode_image(read_file(path, name), name or str(path))


def stored_encoding(data: bytes, name: str) -> tuple[bytes, np.ndarray]:
    """The bytes under which a prepared dataset keeps an image, and its pixels.

    A JPEG, PNG or WebP keeps its own bytes where they hold these very pixels: 8 bits, grey or RGB, opaque, not turned,
    and the same to `decode_stored`. Anything else is encoded again as PNG, which loses nothing, so that every stored
    image means the same to every decoder.

    Returns:
        Bytes, and what `decode_image` makes of `data`.

    Raises:
        ImageError: as `decode_image`.
    """
    pixels, is_stored = decode_checked(data, name)
    return (data if is_stored else encode_png(pixels)), pixels


def decode_checked(data: bytes, name: str) -> tuple[np.ndarray, bool]:
    """What `decode_image` makes of an image, and whether `decode_stored` may take its bytes from now on.

    Raises:
        ImageError: as `decode_image`.
    """
    image, plain = _open(data, name)
    pixels = np.array(image)  # (height, width, 3)
    return pixels, plain and _opencv_agrees(data, pixels)


def decode_stored(data: bytes) -> np.ndarray:
    """Pixels of bytes that `stored_encoding` or `decode_checked` vouch for: as `decode_image`, in a fifth of the time.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        ImageError: OpenCV cannot decode the bytes, for which then nothing vouched.
    """
    format_ = format_of(data)
    if format_ not in _STORED or why_not_decoded(data, format_):
        raise ImageError("a stored image that is none; prepare the dataset again.")
    # A transposing EXIF tag cannot occur; ignoring the block spares reading it.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)  # (height, width, 3), or None
    if pixels is None:
        raise ImageError("a stored image that OpenCV cannot decode; prepare the dataset again.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def declared_pixels(data: bytes) -> int:
    """How many pixels an image declares, without decoding it; 0 for what `decode_image` refuses at sight."""
    try:
        width, height = _opened(data, "").size
    except ImageError:
        return 0
    return width * height


def _opencv_agrees(data: bytes, pixels: np.ndarray) -> bool:
    try:
        return np.array_equal(decode_stored(data), pixels)
    except (ImageError, cv2.error):
        return False


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG bytes of uint8 (height, width, 3), RGB."""
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def encode_jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """JPEG bytes of uint8 (height, width, 3), RGB; quality 1 to 100."""
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _open(data: bytes, name: str) -> tuple[Image.Image, bool]:
    """Decoded RGB image, and whether the pixels are the file's own (nothing composited, turned or narrowed)."""
    image = _opened(data, name)
    width, height = image.size
    with _DECODING.of(width * height):
        try:
            tags = _tags_of(image)  # loading takes some away
            image.load()
            if _is_filled_up(data, image):
                raise ImageError(f"{name}: {image.format} image whose data end before the picture does.")
            if why := _guessed(image, tags):
                raise ImageError(f"{name}: {why}.")
            rgb, own_pixels = _to_rgb(image)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"{name}: {image.format} image that does not decode to its end ({error}).") from None
    deep = image.format == "PNG" and data[24] > 8  # bit depth in the PNG header
    return rgb, own_pixels and image.format in ("JPEG", "MPO", "PNG", "WEBP") and not deep


def _tags_of(image: Image.Image) -> dict[int, object]:
    """The tags of a TIFF that say what its values mean; of all others none."""
    tags = getattr(image, "tag_v2", {})
    return {tag: tags[tag] for tag in (_NEW_SUBFILE_TYPE, _PHOTOMETRIC, _DNG_VERSION) if tag in tags}


def _opened(data: bytes, name: str) -> Image.Image:
    """An image of whose pixels nothing is decoded yet."""
    if not data:
        raise ImageError(f"{name}: no bytes in it.")
    format_ = format_of(data)
    if format_ is None:
        raise ImageError(f"{name}: is {described(data)}.")
    if format_ == "HEIF" and not heif_is_read():
        raise ImageError(f'{name}: is a HEIF picture, which pillow-heif reads: pip install ".[heif]".')
    if not features.check(_CODECS.get(format_, "jpg")):
        raise ImageError(f"{name}: is a picture of format {format_}, which this build of Pillow cannot read.")
    if why := why_not_decoded(data, format_):
        raise ImageError(f"{name}: {why}.")
    try:
        image = Image.open(io.BytesIO(data), formats=(format_,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name}: more than {PIXEL_LIMIT:,} pixels declared.") from None
    except Exception:  # Pillow lets struct, zlib and index errors of its parsers escape
        raise ImageError(f"{name}: begins as {format_}, and is damaged or of a kind that is not read.") from None
    if why := why_not_so_large(*image.size, len(data)):
        raise ImageError(f"{name}: {why}.")
    return image


def _is_filled_up(data: bytes, image: Image.Image) -> bool:
    """Whether the decoder had to invent the end of a JPEG whose end marker comes too early, or of a JPEG 2000 without.

    That of JPEG invents from what it finds, without an error, so a few other bytes in front of the marker change such
    an image; of a complete image they change nothing.
    """
    if image.format == "JPEG2000":
        return b"\xff\xd9" not in data
    if image.format not in ("JPEG", "MPO"):
        return False
    end = data.rfind(b"\xff\xd9")
    other = Image.open(io.BytesIO(data[:end] + b"\x5a" * 64 + data[end:]), formats=("JPEG",))
    width, height = image.size
    bands = ((0, top, width, min(top + _BAND, height)) for top in range(0, height, _BAND))
    return any(other.crop(band).tobytes() != image.crop(band).tobytes() for band in bands)


@functools.cache
def heif_is_read() -> bool:
    """Whether pillow-heif is installed, which then reads HEIF for Pillow."""
    try:
        import pillow_heif  # an extra
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _guessed(image: Image.Image, tags: dict[int, object]) -> str:
    """Why the values of an image cannot be taken for shades; "" where they can.

    Args:
        image: as opened.
        tags: of a TIFF.
    """
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE) == 1:
        return "is a raw camera file, of which Pillow sees a small copy alone; export it as JPEG or TIFF"
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        return "has 32 bits a channel, and nothing states which value is white; save it with 8 or 16"
    if image.mode.startswith("I") and tags.get(_PHOTOMETRIC) == 0:
        return "has 16 bits of grey with white as 0; save it with black as 0"
    return ""


def _to_rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    plain = image.mode in ("L", "RGB")
    if "exif" in image.info:
        try:
            if why := why_not_tags(image.info["exif"].removeprefix(b"Exif\0\0")):
                raise ValueError(why)
            is_turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        except Exception:  # Pillow lets errors of its parser escape
            is_turned = False
        if is_turned:
            plain = False
            ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits, grey
        high_byte = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)  # (height, width)
        image = Image.fromarray(high_byte)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image, plain = Image.new("RGB", image.size), False
        image.paste(layer, mask=layer.getchannel("A"))
    return image.convert("RGB"), plain
