"""Pictures as people hold them in Python, to the squares of pixels that an encoder takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.images.fit import decode
from vicinal.images.imageset import ImageSet

Pixels = NDArray[np.uint8]


def squares(
    pictures: object, size: int, channels: int | None, interpolation: str = "bilinear"
) -> Pixels | None:
    """The pictures as an array (N, size, size, C) uint8; None if they are no pictures but rows.

    Args:
        pictures: An ImageSet, an array (N, H, W) or (N, H, W, C), or pictures one by one:
            Pillow's images or arrays (H, W) or (H, W, C), of any sizes.
        size: Height and width of the result; a picture of another size is scaled to it by its
            shorter side and keeps its centre.
        channels: 1 or 3; None for 1 if every picture is grey and 3 otherwise.
        interpolation: How they are scaled, one of `vicinal.images.fit.INTERPOLATIONS`.

    Raises:
        InputError: If an array's values are not whole numbers from 0 to 255, or its last axis is
            neither 1 nor 3.
    """
    if isinstance(pictures, ImageSet):
        pictures = pictures.pixels
    if hasattr(pictures, "__array__"):
        array = np.asarray(pictures)
        if array.ndim not in (3, 4):
            return None
        array = array if array.ndim == 4 else array[..., None]
        return _of_array(array, size, channels, interpolation)
    if hasattr(pictures, "ndim"):  # sparse
        return None
    if not isinstance(pictures, Iterable) or isinstance(pictures, str | bytes):
        raise InputError(f"images must be an array or pictures, found {type(pictures).__name__}")
    stream = iter(pictures)
    first = next(stream, None)
    if not _is_picture(first):
        return None
    return _fitted(chain([first], stream), size, channels, interpolation)


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


def checked_pixels(values: NDArray[Any]) -> Pixels:
    """An array of any type as uint8, if it holds whole numbers from 0 to 255.

    Raises:
        InputError: If it does not: guessing a range would train on the wrong pictures.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "biuf":
        raise InputError(f"images must hold numbers from 0 to 255, found type {values.dtype}")
    if values.size and not (values.min() >= 0 and values.max() <= 255):
        negative = "Negative values in data: " if values.min() < 0 else ""  # scikit-learn's words
        raise InputError(
            f"{negative}images must hold numbers from 0 to 255, "
            f"found {values.min():g} to {values.max():g}"
        )
    pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise InputError(
            "images must hold whole numbers from 0 to 255; scale yours to that and round"
        )
    return pixels


def _of_array(array: NDArray[Any], size: int, channels: int | None, interpolation: str) -> Pixels:
    """Pictures (N, H, W, C) as `squares`, without a copy where they are that already."""
    if array.shape[3] not in (1, 3):
        raise InputError(f"images must be (N, H, W) or (N, H, W, 1 or 3), found {array.shape}")
    pixels = checked_pixels(array)
    if pixels.shape[1:] == (size, size, channels or pixels.shape[3]) or not len(pixels):
        return pixels
    return _fitted(pixels, size, channels or pixels.shape[3], interpolation)


def _is_picture(one: object) -> bool:
    return isinstance(one, Image.Image) or (isinstance(one, np.ndarray) and one.ndim in (2, 3))


def _fitted(pictures: Iterable[Any], size: int, channels: int | None, interpolation: str) -> Pixels:
    """Each picture in turn as a square; only the squares are kept."""
    fitted = []
    for row, picture in enumerate(pictures):
        where = f"image {row}"
        if not _is_picture(picture):
            raise InputError(f"{where}: not a picture but {type(picture).__name__}; take it out")
        held = picture if isinstance(picture, Image.Image) else checked_pixels(picture)
        square = decode(
            held, where, size=size, channels=channels, pad=False, interpolation=interpolation
        )
        fitted.append(square)
    if len({square.shape[2] for square in fitted}) > 1:  # grey ones among colour ones
        fitted = [np.broadcast_to(square, (size, size, 3)) for square in fitted]
    return np.stack(fitted)
