"""Transparent pictures laid on a colour on which they can be seen."""

from __future__ import annotations

import numpy as np
from PIL import Image

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
