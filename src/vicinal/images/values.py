"""Ranges of arrays of pixels: what is white, and what would look black."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError

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
