"""Pictures of more than 8 bits: numbers whose range only the whole set shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

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
