"""Pictures as people hold them in Python, to the squares of pixels that an encoder takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.images.containers import by_position, held_in, is_picture, opened_cell
from vicinal.images.depth import Span, eight_bits, joined, span_of
from vicinal.images.fit import Picture, square
from vicinal.images.imageset import ImageSet
from vicinal.images.skipped import BadPictureError
from vicinal.images.values import checked_pixels, stacked

Pixels = NDArray[np.uint8]


class Squares(NamedTuple):
    """Pictures fitted to squares.

    Attributes:
        pixels: Array (N, S, S, 1 or 3) uint8.
        span: The values of pictures of more than 8 bits that became 0 and 255; None without.
    """

    pixels: Pixels
    span: Span | None = None


@dataclass(frozen=True)
class _Fitting:
    """How one picture becomes a square, see `squares`."""

    size: int
    channels: int | None
    interpolation: str
    span: Span | None = None

    def __call__(self, picture: Picture, where: str) -> NDArray[Any]:
        """The pixels, float32 if they have more than 8 bits and there is no span."""
        return square(
            picture,
            where,
            size=self.size,
            channels=self.channels,
            pad=False,
            interpolation=self.interpolation,
            span=self.span,
        ).pixels


def squares(
    pictures: object,
    size: int,
    channels: int | None,
    *,
    interpolation: str = "bilinear",
    span: Span | None = None,
) -> Squares | None:
    """The pictures as squares; None if they are no pictures but rows of numbers.

    Args:
        pictures: An ImageSet, an array (N, H, W) or (N, H, W, C), or pictures one by one, of any
            sizes, in any container of `vicinal.images.containers`: Pillow's images or arrays
            (H, W) or (H, W, C). C is 1 or 3, or 4 with alpha.
        size: Height and width of the result; a picture of another size is scaled to it by its
            shorter side and keeps its centre.
        channels: 1 or 3; None for 1 if every picture is grey and 3 otherwise.
        interpolation: How they are scaled, one of `vicinal.images.fit.INTERPOLATIONS`.
        span: The values of pictures of more than 8 bits that become 0 and 255; None for the least
            and the greatest of them.

    Raises:
        InputError: If an array's values are not whole numbers from 0 to 255, or its last axis is
            no number of channels.
    """
    if isinstance(pictures, ImageSet):
        return Squares(_of_array(pictures.pixels, size, channels, interpolation), pictures.span)
    if isinstance(pictures, Image.Image):
        raise InputError("images must be several pictures, found one; give [image]")
    fitting = _Fitting(size, channels, interpolation, span)
    if not hasattr(pictures, "__array__"):
        if hasattr(pictures, "ndim"):  # sparse
            return None
        if not isinstance(pictures, Iterable) or isinstance(pictures, str | bytes):
            kind = type(pictures).__name__
            raise InputError(f"images must be an array or pictures, found {kind}")
        return _one_by_one(pictures, fitting)
    if hasattr(pictures, "columns"):  # a data frame, of pictures or of numbers
        return _one_by_one(pictures, fitting) if _holds_pictures(pictures) else None
    array = np.asarray(pictures)
    if array.ndim == 1 and array.dtype == object:
        return _one_by_one(array, fitting)
    if array.ndim not in (3, 4):
        return None
    return Squares(_of_array(stacked(array), size, channels, interpolation))


def shape_of_rows(features: int, size: int) -> tuple[int, int, int]:
    """Height, width and channels of pictures that lie flat in rows of so many numbers.

    Raises:
        InputError: If that is neither size² nor 3·size².
    """
    for channels in (1, 3):
        if features == channels * size * size:
            return size, size, channels
    hint = ""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            hint = f": settings=('views.size={side}',)"
    raise InputError(
        f"rows of {features} numbers are not {size}×{size} pictures, which have {size * size} "
        f"or {3 * size * size}; give (N, H, W, C), or a recipe of their size{hint}"
    )


def _holds_pictures(frame: Any) -> bool:
    """Whether a data frame has a column of pictures."""
    firsts = (next(by_position(frame[name]), None) for name in frame.columns)
    return any(is_picture(first) for first in firsts)


def _one_by_one(pictures: Any, fitting: _Fitting) -> Squares | None:
    """The pictures in a container; None if the first is none."""
    stream = by_position(held_in(pictures).images)
    first = next(stream, None)
    if isinstance(first, BadPictureError):
        raise first
    return _fitted(chain([first], stream), fitting) if is_picture(first) else None


def _of_array(array: NDArray[Any], size: int, channels: int | None, interpolation: str) -> Pixels:
    """Pictures (N, H, W, C) as `squares`, without a copy where they are that already."""
    pixels = checked_pixels(array)
    whole = channels or pixels.shape[3]
    if (whole in (1, 3) and pixels.shape[1:] == (size, size, whole)) or not len(pixels):
        return pixels
    asked = channels or (1 if pixels.shape[3] == 1 else 3)
    return _fitted(pixels, _Fitting(size, asked, interpolation)).pixels


def _fitted(pictures: Iterable[Any], fitting: _Fitting) -> Squares:
    """Each picture in turn as a square; only the squares are kept."""
    fitted: list[NDArray[Any]] = []
    found: Span | None = None
    for row, picture in enumerate(pictures):
        where = f"image {row}"
        if not is_picture(picture):
            raise InputError(f"{where}: not a picture but {type(picture).__name__}; take it out")
        held = opened_cell(picture, where)
        if isinstance(held, BadPictureError):
            raise held
        if isinstance(held, np.ndarray):
            held = checked_pixels(held)
        one = fitting(held, where)
        if one.dtype != np.uint8:
            found = joined(found, span_of(one))
        fitted.append(one)
    if found is not None:
        fitted = [one if one.dtype == np.uint8 else eight_bits(one, found) for one in fitted]
    colour = fitting.channels == 3 or any(one.shape[2] == 3 for one in fitted)
    if colour:  # grey ones among colour ones
        fitted = [np.broadcast_to(one, (fitting.size, fitting.size, 3)) for one in fitted]
    return Squares(np.stack(fitted), fitting.span or found)
