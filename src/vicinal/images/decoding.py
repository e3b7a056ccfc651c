"""From a picture of any kind to a square of pixels: decoding, ranges, alpha, colour, fitting."""

from __future__ import annotations

import errno
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from vicinal.errors import InputError
from vicinal.files import on_one_line
from vicinal.images.formats import MOST_PIXELS, opened, reason
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
    picture (`vicinal.images.decoding`), grey of more than 8 bits is scaled by ``span``, of an
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
    image, width, height = _decoded(picture, where, int(_REDUCING_GAP * size), most_pixels)
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


def decode_whole(
    picture: Picture,
    where: str,
    side: int,
    *,
    span: Span | None = None,
    most_pixels: int = MOST_PIXELS,
) -> Image.Image:
    """The whole picture in mode RGB, upright and opaque, reduced to at most ``side`` pixels a side.

    Args:
        picture: As in `square`.
        where: What an error message calls the picture.
        side: The longest side of the result, in pixels.
        span: As in `square`; None for the picture's own range.
        most_pixels: As in `square`.

    Raises:
        BadPictureError: If the picture cannot be decoded; an InputError.
    """
    image, _, _ = _decoded(picture, where, side, most_pixels)
    if image.mode == "F":
        values = np.asarray(image)
        image = Image.fromarray(eight_bits(values, span or span_of(values)))
    image = image.convert("RGB")
    image.thumbnail((side, side))
    return image


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
    picture: Picture, where: str, side: int, most_pixels: int
) -> tuple[Image.Image, int, int]:
    """The upright picture, in mode L, RGB or F, and the original's width and height.

    A large JPEG comes at a fraction of its size, its shorter side at least ``side`` pixels.
    """
    if isinstance(picture, np.ndarray):
        flat = picture.ndim == 3 and picture.shape[2] == 1
        image = _plain(Image.fromarray(picture[:, :, 0] if flat else picture))
        return image, *image.size
    try:
        if isinstance(picture, Image.Image):
            image = upright(picture)
            return image, *image.size
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


Span = tuple[float, float]
"""The values that become 0 and 255."""

_TIFF_BITS, _TIFF_KIND, _UNSIGNED = 258, 339, 1


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has more than 8 bits of grey: 16 or 32 bits, or floating point."""
    return image.mode == "F" or image.mode.startswith("I")


def as_float(image: Image.Image) -> Image.Image:
    """A deep picture in Pillow's mode F.

    Raises:
        ValueError: If a number is NaN or infinite.
    """
    values = np.asarray(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and values.dtype == np.int32:
        tags = image.tag_v2
        if tags.get(_TIFF_BITS) == (32,) and tags.get(_TIFF_KIND, (_UNSIGNED,)) == (_UNSIGNED,):
            values = values.view(np.uint32)  # which Pillow reads as signed
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity")
    return Image.fromarray(values)


def span_of(values: NDArray[np.float32]) -> Span:
    """The least and the greatest of the values."""
    return float(values.min()), float(values.max())


def joined(one: Span | None, other: Span | None) -> Span | None:
    """The span that holds both."""
    if one is None or other is None:
        return other if one is None else one
    return min(one[0], other[0]), max(one[1], other[1])


def eight_bits(values: NDArray[np.float32], span: Span) -> NDArray[np.uint8]:
    """The values as uint8: the span's ends become 0 and 255, what lies beyond becomes its ends.

    A span of one value says nothing; whole numbers of 16 bits then keep their place among those.
    """
    low, high = span
    if high <= low:
        low, high = (0.0, 65535.0) if 0 <= low <= 65535 else (low - 1, low + 1)
    share = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def told(name: str, count: int, span: Span) -> str:
    """The line that says how deep pictures were made ones of 8 bits."""
    pictures = f"{count:,} picture{'s' if count > 1 else ''} of more than 8 bits"
    return (
        f"{name}: {pictures}, scaled by the range of the set: {span[0]:g} to {span[1]:g} "
        "became 0 to 255"
    )


_SEEN = 48.0
"""Mean difference from white, of 255, from which on a picture can be seen on it."""
_SAMPLED = 64  # pixels a side of the picture that the colour is chosen by, about


def opaque(image: Image.Image) -> Image.Image:
    """A picture with transparency as RGB: on white, or on black if it would vanish on white.

    What counts is how far its colours are from white on average, each pixel by its alpha. The
    same picture gets the same colour wherever it comes from.
    """
    colour = image.convert("RGBA")
    ground = Image.new("RGBA", colour.size, "white" if _seen_on_white(colour) else "black")
    return Image.alpha_composite(ground, colour).convert("RGB")


def _seen_on_white(colour: Image.Image) -> bool:
    weighted = colour.convert("RGBa")  # what a transparent pixel's colour is does not count
    small = weighted.reduce(max(1, max(colour.size) // _SAMPLED))
    values = np.asarray(small, dtype=np.float64)
    alpha = values[:, :, 3]
    if not alpha.any():
        return True
    away = np.abs(alpha[:, :, None] - values[:, :, :3]).mean(axis=2)
    return bool(away.sum() >= _SEEN / 255 * alpha.sum())


Pixels = NDArray[np.uint8]

_CHANNELS = (1, 3, 4)
_BLOCK = 1024  # pictures whose range is looked at before the next


def checked_pixels(values: NDArray[Any]) -> Pixels:
    """An array of any type as uint8, if it holds whole numbers from 0 to 255; True is white.

    Raises:
        InputError: If it does not: guessing a range would train on the wrong pictures.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "O":
        values = _numbers(values)
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise InputError(f"images must hold numbers from 0 to 255, found type {values.dtype}")
    if values.size and not (values.min() >= 0 and values.max() <= 255):
        negative = "Negative values in data: " if values.min() < 0 else ""  # scikit-learn's words
        raise InputError(
            f"{negative}images must hold numbers from 0 to 255, "
            f"found {values.min():g} to {values.max():g}; scale yours to that and round"
        )
    pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        if values.max() <= 1:
            raise InputError(_FRACTIONS)
        raise InputError(
            "images must hold whole numbers from 0 to 255; scale yours to that and round"
        )
    return pixels


_FRACTIONS = (
    "images must hold whole numbers from 0 to 255, found numbers from 0 to 1, which would be "
    "black; multiply by 255 and round, or give booleans, of which True is white"
)


def stacked(images: NDArray[Any]) -> NDArray[Any]:
    """An array of pictures as (N, H, W, C), C = 1, 3 or 4.

    Raises:
        InputError: If it is another; one (H, W, 3) too, which is a single picture.
    """
    wanted = "images must be (N, H, W) or (N, H, W, 1 or 3), or 4 with alpha"
    if images.ndim == 3 and images.shape[2] in _CHANNELS:
        raise InputError(
            f"{wanted}, found {images.shape}, which is a single picture; give it as "
            f"{(1, *images.shape)}, beside others"
        )
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4 and images.shape[3] in _CHANNELS:
        return images
    last = images.ndim == 4 and images.shape[1] in _CHANNELS
    raise InputError(f"{wanted}, found {images.shape}{'; put the channels last' if last else ''}")


def refuse_ones(pixels: Pixels) -> None:
    """Refuses a set whose brightest pixel is 1 of 255: it is meant to be white.

    Args:
        pixels: (N, …) uint8; all pictures, for a single one may well be so dark.

    Raises:
        InputError: As said.
    """
    greatest = 0
    for start in range(0, len(pixels), _BLOCK):
        greatest = max(greatest, int(pixels[start : start + _BLOCK].max(initial=0)))
        if greatest > 1:
            return
    if greatest == 1:
        raise InputError(_FRACTIONS)


def dim(name: str, brightest: int) -> str:
    """The line that says that all pictures look black."""
    return (
        f"{name}: the brightest pixel is {brightest} of 255, so that the pictures look black; "
        "scale them to 0 to 255 if they should not"
    )


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    """An array of Python's or NumPy's numbers as objects, as one of numbers."""
    try:
        return np.array(values.tolist())
    except ValueError:
        return values
