"""From a picture of any kind to a square of uint8 pixels: decoding, grey or colour, fitting."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from vicinal.errors import InputError, said_by
from vicinal.images.names import on_one_line
from vicinal.images.skipped import BadPictureError

Picture = bytes | Path | NDArray[np.uint8] | Image.Image
"""An encoded file's bytes or path, pixels (H, W) or (H, W, 1 or 3), or Pillow's own."""

RULE = "fit 1"
"""Changes whenever the same picture would give other pixels, so that stored ones are made anew."""

FORMATS = ("BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""What Pillow may open, whatever a file is called; it would run another program for some others."""

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""How a picture can be scaled; all but nearest with antialiasing."""

_REDUCING_GAP = 3.0  # Pillow calls this "nearly indistinguishable" from not reducing first
_LARGE = 16 << 20
"""Pixels from which on pictures are decoded one at a time, lest every core hold a huge one."""
_ONE_AT_A_TIME = threading.Lock()
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # the machine's fault, not the file's
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's orientation


def decode(
    picture: Picture,
    where: str,
    *,
    size: int,
    channels: int | None,
    pad: bool,
    interpolation: str = "bilinear",
) -> NDArray[np.uint8]:
    """Decodes a picture and fits it to a square.

    The EXIF orientation is applied if it is one, transparency is laid over white, 16-bit grey is
    scaled to 8 bits, of an animation the first frame counts; every other mode becomes RGB.
    Pillow's limit on pixels (179 million, before a large JPEG is reduced) holds. Then the centre
    square is scaled to ``size`` (antialiased); a side that already is ``size``
    keeps its pixels untouched.

    Args:
        picture: An encoded file's bytes or path, pixels (H, W) or (H, W, 1 or 3) uint8, or
            Pillow's own.
        where: What an error message calls the picture.
        size: Height and width of the result, in pixels.
        channels: 1 or 3; None keeps grey pictures grey and makes all others RGB.
        pad: Whether a picture that fits into the square is centred on black instead of scaled.
        interpolation: How it is scaled, one of `INTERPOLATIONS`.

    Returns:
        Array (size, size, channels) uint8.

    Raises:
        BadPictureError: If the picture cannot be decoded; an InputError.
    """
    image = _decoded(picture, where, size)
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if pad and max(image.size) <= size:
        image = _padded(image, size)
    else:
        image = _cropped(image, size, INTERPOLATIONS[interpolation])
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _decoded(picture: Picture, where: str, size: int) -> Image.Image:
    """The upright picture, in mode L if it is grey and in RGB otherwise."""
    if isinstance(picture, np.ndarray):
        flat = picture.ndim == 3 and picture.shape[2] == 1
        return Image.fromarray(picture[:, :, 0] if flat else picture)
    try:
        if isinstance(picture, Image.Image):
            return _upright(picture)
        if isinstance(picture, Path) and not stat.S_ISREG(os.stat(picture).st_mode):
            raise ValueError("not a file")  # a pipe would wait for ever
        file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
        with Image.open(file, formats=FORMATS) as image:
            # A JPEG several times too large is decoded at a fraction of its size.
            image.draft(None, (int(_REDUCING_GAP * size), int(_REDUCING_GAP * size)))
            return _upright(image)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        if isinstance(error, OSError) and error.errno in _OURS:
            raise InputError(
                f"{on_one_line(where)}: {error.strerror}; free some and go on"
            ) from None
        raise BadPictureError(where, reason(error)) from None


def reason(error: Exception) -> str:
    """Why a picture cannot be decoded, in a few words without a path in them."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"has more pixels than Pillow's safety limit allows ({error})"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be read as an image ({said_by(error)})"


def _upright(image: Image.Image) -> Image.Image:
    """The decoded picture turned as its EXIF data say, in mode L or RGB."""
    large = image.width * image.height > _LARGE
    held: AbstractContextManager[object] = _ONE_AT_A_TIME if large else nullcontext()
    with held:
        image.load()
        try:
            turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        except Exception:  # EXIF data that are none say nothing, and the picture is whole
            turn = None
        return _plain(image if turn is None else image.transpose(turn))


def _plain(image: Image.Image) -> Image.Image:
    """Any mode to L or RGB."""
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers, whose range is unknown")
    if image.mode.startswith("I"):
        return _eight_bits(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        image = Image.alpha_composite(white, colour)
    return image.convert("L" if grey else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (which some formats open as 32) to 8 bits; Pillow itself would clip it."""
    values = np.asarray(image).astype(np.int64)
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise ValueError("it holds integers beyond 16 bits")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _padded(image: Image.Image, size: int) -> Image.Image:
    square = Image.new(image.mode, (size, size))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square


def _cropped(image: Image.Image, size: int, how: Image.Resampling) -> Image.Image:
    """The centre square, scaled; cropped first, so that a very long picture costs no more."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return image.crop(box)
    return image.resize((size, size), how, box=box, reducing_gap=_REDUCING_GAP)
