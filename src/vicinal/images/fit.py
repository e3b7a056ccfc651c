"""From a picture of any kind to a square of pixels: decoding, grey or colour, fitting."""

from __future__ import annotations

import errno
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from vicinal.errors import InputError
from vicinal.images.depth import Span, as_float, eight_bits, is_deep, span_of
from vicinal.images.names import on_one_line
from vicinal.images.opaque import opaque
from vicinal.images.opened import MOST_PIXELS, opened, reason
from vicinal.images.skipped import BadPictureError

Picture = bytes | Path | NDArray[np.uint8] | Image.Image
"""An encoded file's bytes or path, pixels (H, W) or (H, W, 1, 3 or 4), or Pillow's own."""

RULE = "fit 2"
"""Changes whenever the same picture would give other pixels, so that stored ones are made anew."""

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
_SWAP_SIDES = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))


class Square(NamedTuple):
    """A picture fitted to a square.

    Attributes:
        pixels: Array (S, S, 1 or 3) uint8; or (S, S, 1) float32, the values as they are, of a
            picture of more than 8 bits whose set's span is not known yet.
        width: Pixels of the original from left to right, upright.
        height: Pixels of the original from top to bottom.
    """

    pixels: NDArray[Any]
    width: int
    height: int


def decode(
    picture: Picture,
    where: str,
    *,
    size: int,
    channels: int | None,
    pad: bool,
    interpolation: str = "bilinear",
    span: Span | None = None,
    most_pixels: int = MOST_PIXELS,
    whole: bool = False,
) -> NDArray[np.uint8]:
    """The pixels of one picture by itself, see `square`; its own range is its span by default.

    Returns:
        Array (size, size, channels) uint8.
    """
    found = square(
        picture,
        where,
        size=size,
        channels=channels,
        pad=pad,
        interpolation=interpolation,
        span=span,
        most_pixels=most_pixels,
        whole=whole,
    ).pixels
    if found.dtype == np.uint8:
        return found
    pixels = eight_bits(found, span_of(found))
    return np.repeat(pixels, 3, axis=2) if channels == 3 else pixels


def square(
    picture: Picture,
    where: str,
    *,
    size: int,
    channels: int | None,
    pad: bool,
    interpolation: str = "bilinear",
    span: Span | None = None,
    most_pixels: int = MOST_PIXELS,
    whole: bool = False,
) -> Square:
    """Decodes a picture and fits it to a square.

    The EXIF orientation is applied if it is one, transparency is laid on a colour that shows the
    picture (`vicinal.images.opaque`), grey of more than 8 bits is scaled by ``span``, of an
    animation the first frame counts; every other mode becomes RGB. Then the centre square is
    scaled to ``size`` (antialiased); a side that already is ``size`` keeps its pixels untouched.

    Args:
        picture: An encoded file's bytes or path, pixels (H, W) or (H, W, C) uint8, where C is 1,
            3 or 4 (RGB and alpha), or Pillow's own.
        where: What an error message calls the picture.
        size: Height and width of the result, in pixels.
        channels: 1 or 3; None keeps grey pictures grey and makes all others RGB.
        pad: Whether a picture that fits into the square is centred on black instead of scaled.
        interpolation: How it is scaled, one of `INTERPOLATIONS`.
        span: The values of pictures of more than 8 bits that become 0 and 255; None leaves the
            pixels of such a picture as float32.
        most_pixels: Pixels that may be decoded; a large JPEG is decoded at a fraction.
        whole: Whether all of the picture is squeezed into the square, and nothing cut off.

    Raises:
        BadPictureError: If the picture cannot be decoded; an InputError.
    """
    image, width, height = _decoded(picture, where, size, most_pixels)
    deep = image.mode == "F"
    if channels is not None and not deep:
        image = image.convert("L" if channels == 1 else "RGB")
    if pad and max(image.size) <= size:
        image = _padded(image, size, span)
    elif whole:
        how = INTERPOLATIONS[interpolation]
        image = image.resize((size, size), how, reducing_gap=_REDUCING_GAP)
    else:
        image = _cropped(image, size, INTERPOLATIONS[interpolation])
    pixels = np.asarray(image)
    if deep and span is not None:
        pixels = eight_bits(pixels, span)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if deep and span is not None and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return Square(pixels, width, height)


def upright(image: Image.Image) -> Image.Image:
    """The decoded picture turned as its EXIF data say, in mode L or RGB, or F if it is deep."""
    large = image.width * image.height > _LARGE
    held: AbstractContextManager[object] = _ONE_AT_A_TIME if large else nullcontext()
    with held:
        image.load()
        turn = _turn(image)
        plain = _plain(image)
        return plain if turn is None else plain.transpose(turn)


def _decoded(
    picture: Picture, where: str, size: int, most_pixels: int
) -> tuple[Image.Image, int, int]:
    """The upright picture, in mode L, RGB or F, and the original's width and height."""
    if isinstance(picture, np.ndarray):
        flat = picture.ndim == 3 and picture.shape[2] == 1
        image = _plain(Image.fromarray(picture[:, :, 0] if flat else picture))
        return image, *image.size
    try:
        if isinstance(picture, Image.Image):
            image = upright(picture)
            return image, *image.size
        side = int(_REDUCING_GAP * size)
        with opened(picture, side, most_pixels) as (held, (width, height)):
            image = upright(held)
            lying = _turn(held) in _SWAP_SIDES
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        if isinstance(error, OSError) and error.errno in _OURS:
            raise InputError(
                f"{on_one_line(where)}: {error.strerror}; free some and go on"
            ) from None
        raise BadPictureError(where, reason(error, picture)) from None
    return image, *((height, width) if lying else (width, height))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the picture as its EXIF data say."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF data that are none say nothing, and the picture is whole
        return None


def _plain(image: Image.Image) -> Image.Image:
    """Any mode to L or RGB, or to F where there are more than 8 bits."""
    if is_deep(image):
        return as_float(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = opaque(image)
    return image.convert("L" if grey else "RGB")


def _padded(image: Image.Image, size: int, span: Span | None) -> Image.Image:
    """The picture on black, which of deep ones is the least value."""
    black = 0.0
    if image.mode == "F":
        black = span_of(np.asarray(image))[0] if span is None else span[0]
    square = Image.new(image.mode, (size, size), black if image.mode == "F" else 0)
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
