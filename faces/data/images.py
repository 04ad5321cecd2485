"""Encoded image bytes to 8-bit RGB pixels, by stated rules and never by halves.

| input | what becomes of it |
|---|---|
| JPEG, PNG, WebP, BMP, GIF | decoded, whatever the file's name says; any other format is refused |
| grey | the same value in all three channels |
| 16 bits a channel | the high byte |
| palette | its colours |
| alpha or a transparent colour | composited on black, the value that alignment gives to what lies outside a picture |
| CMYK | converted without a colour profile; embedded profiles of any kind are not applied |
| EXIF orientation | applied; an unreadable EXIF block counts as none |
| animation, several pages | the first frame |
| bytes after the end of the picture | ignored |
| picture that ends early, damaged data, no bytes, text | refused |
| more than 64 million pixels declared | refused before anything is decoded |

What no decoder can see stays unseen: JPEG has no checksum, so a flipped bit may give wrong pixels without an error.

Not here: detection, alignment and cropping of faces.
"""

import io
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from faces.errors import ImageError

PIXEL_LIMIT = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif"})

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
    pixels, is_stored = decode_judged(data, name)
    return (data if is_stored else encode_png(pixels)), pixels


def decode_judged(data: bytes, name: str) -> tuple[np.ndarray, bool]:
    """What `decode_image` makes of an image, and whether `decode_stored` may take its bytes from now on.

    Raises:
        ImageError: as `decode_image`.
    """
    image, plain = _open(data, name)
    pixels = np.array(image)  # (height, width, 3)
    return pixels, plain and _opencv_agrees(data, pixels)


def decode_stored(data: bytes) -> np.ndarray:
    """Pixels of bytes that `stored_encoding` or `decode_judged` vouch for: as `decode_image`, in a fifth of the time.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        ImageError: OpenCV cannot decode the bytes, for which then nothing vouched.
    """
    # A transposing EXIF tag cannot occur; ignoring the block spares reading it.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)  # (height, width, 3), or None
    if pixels is None:
        raise ImageError("a stored image that OpenCV cannot decode; prepare the dataset again.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _opencv_agrees(data: bytes, pixels: np.ndarray) -> bool:
    try:
        return np.array_equal(decode_stored(data), pixels)
    except (ImageError, cv2.error):
        return False


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG bytes of uint8 (height, width, 3), RGB."""
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def _open(data: bytes, name: str) -> tuple[Image.Image, bool]:
    """Decoded RGB image, and whether the pixels are the file's own (nothing composited, turned or narrowed)."""
    if not data:
        raise ImageError(f"{name}: no bytes in it.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name}: more than {PIXEL_LIMIT:,} pixels declared.") from None
    except Exception:  # Pillow lets struct, zlib and index errors of its parsers escape
        raise ImageError(f"{name}: not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image.") from None
    width, height = image.size
    if width * height > PIXEL_LIMIT:
        raise ImageError(f"{name}: {width}x{height} pixels declared, the limit is {PIXEL_LIMIT:,}.")
    try:
        image.load()
        filled_up = image.format in ("JPEG", "MPO") and _is_filled_up(data, image)
        rgb, own_pixels = _to_rgb(image)
    except Exception as error:
        raise ImageError(f"{name}: {image.format} image that does not decode to its end ({error}).") from None
    if filled_up:
        raise ImageError(f"{name}: JPEG image whose data end before the picture does.")
    deep = image.format == "PNG" and data[24] > 8  # bit depth in the PNG header
    return rgb, own_pixels and image.format in ("JPEG", "MPO", "PNG", "WEBP") and not deep


def _is_filled_up(data: bytes, image: Image.Image) -> bool:
    """Whether the decoder had to invent the end of a JPEG whose end marker comes too early.

    It invents from what it finds, without an error, so a few other bytes in front of the marker change such a picture;
    of a complete picture they change nothing.
    """
    end = data.rfind(b"\xff\xd9")
    other = Image.open(io.BytesIO(data[:end] + b"\x5a" * 64 + data[end:]), formats=FORMATS)
    return other.tobytes() != image.tobytes()


def _to_rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    plain = image.mode in ("L", "RGB")
    if "exif" in image.info:
        try:
            turned = ImageOps.exif_transpose(image)
        except Exception:
            turned = image
        plain = plain and turned.size == image.size and turned.tobytes() == image.tobytes()
        image = turned
    if image.mode.startswith("I"):  # 16 bits, grey
        high_byte = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)  # (height, width)
        image = Image.fromarray(high_byte)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image, plain = Image.new("RGB", image.size), False
        image.paste(layer, mask=layer.getchannel("A"))
    return image.convert("RGB"), plain
