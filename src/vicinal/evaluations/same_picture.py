"""Whether two pictures are the same by their pixels, whatever an encoder makes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 8
"""Height and width of a picture made small: what re-compression and another size leave alone."""
SAME = 0.35
"""Greatest difference of two copies, as a share of their contrast. Of CIFAR-10 images (JPEG copy)
resized to 50–200 % and saved at quality 50–90, 99.8 % differ by less from the original; of two
million pairs of others none differs by less than 0.42."""
OTHER = 0.7
"""Difference from which on two pictures are none of one another."""
FLAT = 2.5
"""Grey levels by which two copies may differ anyway: a clear sky has hardly any contrast."""


def made_small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures (N, H, W, C) as the means over 8 × 8 fields, (N, 8, 8, C) float32, 0 to 255.

    Of a side that is no multiple of 8 the fields differ by a pixel; one below 8 repeats pixels.
    """
    count, height, width, channels = pixels.shape
    found = np.empty((count, SIDE, SIDE, channels), np.float32)
    tops, lefts = (np.arange(SIDE + 1) * side // SIDE for side in (height, width))
    for i in range(SIDE):
        for j in range(SIDE):
            field = pixels[
                :,
                tops[i] : max(tops[i + 1], tops[i] + 1),
                lefts[j] : max(lefts[j + 1], lefts[j] + 1),
            ]
            found[:, i, j] = field.mean(axis=(1, 2), dtype=np.float32)
    return found


def contrast(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much the fields (N, 8, 8, C) of a picture vary within a channel, (N,), in grey levels.

    The standard deviation, so that a plain orange picture has none.
    """
    found: NDArray[np.float32] = np.sqrt(small.var(axis=(1, 2)).mean(axis=1))
    return found


def most_different(contrasts: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far a copy of each picture may be from it at most, in grey levels, (N,)."""
    return np.float32(SAME) * contrasts


def same(differences: NDArray[np.float32], contrasts: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether pairs are copies.

    Args:
        differences: Array (P,) float32, root mean square over the fields, in grey levels.
        contrasts: Array (P, 2) float32, of both.
    """
    found: NDArray[np.bool_] = differences <= most_different(_between(contrasts))
    return found


def others(small: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether pairs (P, 2) of rows of ``small`` (N, 8, 8, C) are surely of two pictures.

    A picture's mirror image is no other picture.
    """
    left, right = small[pairs[:, 0]], small[pairs[:, 1]]
    apart = np.minimum(_difference(left, right), _difference(left, right[:, :, ::-1]))
    limit = np.maximum(OTHER * _between(contrast(small)[pairs]), FLAT)
    found: NDArray[np.bool_] = apart > limit
    return found


def _difference(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.sqrt(np.square(left - right).mean(axis=(1, 2, 3)))
    return found


def _between(contrasts: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.sqrt(contrasts[:, 0] * contrasts[:, 1])
    return found
