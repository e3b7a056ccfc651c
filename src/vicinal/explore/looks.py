"""What a picture looks like in four numbers, for saying in words what is unusual about it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vicinal.study.pictures import Pixels

_BLOCK = 256  # pictures held as float32 at a time
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

LOOKS = ("brightness", "contrast", "colour", "detail")
"""Mean luminance; its standard deviation; mean of max − min over channels; mean absolute
Laplacian of the luminance. The first three from 0 to 1."""
WORDS = {
    "brightness": ("dark", "bright"),
    "contrast": ("flat", "rich in contrast"),
    "colour": ("grey", "colourful"),
    "detail": ("smooth or blurred", "full of fine detail"),
}
"""What a picture low and high in each is called."""


def looks(pixels: Pixels) -> NDArray[np.float32]:
    """Each picture's brightness, contrast, colour and detail, (N, 4) float32.

    Args:
        pixels: (N, H, W, C) uint8, read block by block.
    """
    found = np.empty((len(pixels), len(LOOKS)), np.float32)
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK].astype(np.float32) / 255
        grey = block @ _LUMINANCE if block.shape[3] == 3 else block[:, :, :, 0]
        middle = grey[:, 1:-1, 1:-1]
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        found[start : start + len(block)] = np.stack(
            [
                grey.mean(axis=(1, 2)),
                grey.std(axis=(1, 2)),
                (block.max(axis=3) - block.min(axis=3)).mean(axis=(1, 2)),
                np.abs(4 * middle - around).mean(axis=(1, 2)),
            ],
            axis=1,
        )
    return found


def unusual(found: NDArray[np.float32], *, share: float = 0.02) -> list[list[str]]:
    """For each picture, the words for what at most ``share`` of the set has as little or as much.

    A look that hardly varies within the set says nothing and is left out: its tail must lie at
    least five times as far from the median as the nearer half of all pictures does.

    Args:
        found: What `looks` gave, (N, 4).
        share: How large a tail may be, below one half.
    """
    words: list[list[str]] = [[] for _ in found]
    for column, name in zip(found.T, LOOKS, strict=True):
        middle = float(np.median(column))
        spread = float(np.median(np.abs(column - middle)))
        low, high = np.quantile(column, [share, 1 - share])
        # At the limit itself many pictures may be alike: all of them, or none, are unusual.
        few = np.minimum(low, middle - 5 * spread), np.maximum(high, middle + 5 * spread)
        for row in np.flatnonzero(column < few[0]) if spread > 0 else ():
            words[row].append(WORDS[name][0])
        for row in np.flatnonzero(column > few[1]) if spread > 0 else ():
            words[row].append(WORDS[name][1])
    return words
