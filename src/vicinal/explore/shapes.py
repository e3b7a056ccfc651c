"""How large and of what shape the original pictures are, in words for those that differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHARE = 0.02  # of the set that may be as small, as large or as long
_LARGER = np.log(1.5)  # the least difference in area that people would call another size
_LONGER = np.log(1.25)  # likewise in the ratio of the sides


def odd_shapes(sizes: NDArray[np.int32] | None, count: int) -> list[str]:
    """For each picture, a sentence if its size or its shape is unusual in this set, or nothing.

    Unusual is what at most a fiftieth of the set has as little or as much, and what lies five
    times as far from the median as the nearer half of all pictures does, or differs at all by half
    of the area or a quarter of the ratio where the others are alike.

    Args:
        sizes: (N, 2) int32, width and height of each original in pixels; None where nobody knows.
        count: N.
    """
    if sizes is None or not len(sizes):
        return [""] * count
    logs = np.log(np.maximum(sizes, 1).astype(np.float64))
    area, ratio = logs.sum(axis=1), logs[:, 0] - logs[:, 1]
    usual = _usual(sizes)
    small, large = _tails(area, _LARGER)
    tall, wide = _tails(ratio, _LONGER)
    longer = _tails(np.abs(ratio), _LONGER)[1]
    wide, tall = wide | (longer & (ratio > 0)), tall | (longer & (ratio < 0))
    said = []
    for row, (width, height) in enumerate(sizes.tolist()):
        words = [
            word
            for word, rows in (("small", small), ("large", large), ("wide", wide), ("tall", tall))
            if rows[row]
        ]
        here = f"{width:,} × {height:,} pixels"
        said.append(f"It is unusually {' and '.join(words)}: {here}, {usual}." if words else "")
    return said


def _usual(sizes: NDArray[np.int32]) -> str:
    width, height = (round(float(np.median(column))) for column in sizes.T)
    return f"usual here are {width:,} × {height:,}"


def _tails(
    values: NDArray[np.float64], least: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows of (N,) values that are unusually low, and those unusually high."""
    middle = float(np.median(values))
    far = max(5 * float(np.median(np.abs(values - middle))), float(least))
    low, high = np.quantile(values, [_SHARE, 1 - _SHARE])
    return values < min(low, middle - far), values > max(high, middle + far)
