"""Why a picture is odd, or that it is not: by its looks and its shape, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.runs.pictures import Pixels

_NOTABLE = 0.05  # share of the set that is worth a sentence about its looks


def reasons(
    scores: NDArray[np.float32],
    p_values: NDArray[np.floating[Any]],
    words: Sequence[Sequence[str]],
    copies: NDArray[np.int64],
    more: Sequence[str] | None = None,
) -> list[str]:
    """A text for each picture: how far it lies from others, and what about its looks is unusual.

    Args:
        scores: Array (N,) float32, the pictures' anomaly scores.
        p_values: Array (N,), the share of the set that is at least as odd.
        words: What is unusual about each picture's looks, see `unusual`.
        copies: Array (N,) int64, how many near-identical pictures each has.
        more: What else is unusual, see `odd_shapes` and `odd_places`; said of every picture, for
            the encoder sees a square, and as a whole.
    """
    usual = float(np.median(scores))
    return [
        " ".join(filter(None, (*_sentences(float(score), float(p), usual, looks, count), also)))
        for score, p, looks, count, also in zip(
            scores,
            p_values,
            words,
            copies.tolist(),
            more or [""] * len(words),
            strict=True,
        )
    ]


def _sentences(
    score: float, p: float, usual: float, looks: Sequence[str], copies: int
) -> list[str]:
    odd = p <= _NOTABLE and score > usual
    times = f"{score / usual:.1f} times as far away as" if usual > 0 else "farther away than"
    said = [
        f"Odder than {_share(1 - p)} of the set: its nearest pictures are {times} is usual here."
        if odd
        else "Not odd: pictures like it are near."
    ]
    if odd and looks:
        said.append(f"It is unusually {_listed(looks)}.")
    if copies:
        said.append(
            "Another picture is nearly the same."
            if copies == 1
            else f"{copies} other pictures are nearly the same."
        )
    return said


def _share(value: float) -> str:
    """A share in per cent that never rounds up to all."""
    return f"{min(np.floor(value * 1000) / 10, 99.9):.3g} %"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def odd_places(scores: NDArray[np.float32], places: NDArray[np.float32]) -> list[str]:
    """For each picture, a sentence if it has one of the oddest places of the set, or nothing.

    Args:
        scores: Array (N,) float32, as in `vicinal.evaluations.odd_places.OddPlaces`.
        places: Array (N, 2) float32, as there.
    """
    order = np.sort(scores)
    below = np.searchsorted(order, scores, side="left") / len(scores)
    return [
        f"The place at its {_where(x, y)} is odder than any place of {_share(share)} of the set."
        if share >= 1 - _NOTABLE
        else ""
        for share, (x, y) in zip(below.tolist(), places.tolist(), strict=True)
    ]


def _where(x: float, y: float) -> str:
    """Which ninth of a picture a point (shares of its sides) lies in."""
    down, across = ("upper", "", "lower"), ("left", "", "right")
    words = (names[min(2, int(3 * share))] for names, share in ((down, y), (across, x)))
    return " ".join(filter(None, words)) or "middle"


_BLOCK = 256  # pictures held as float32 at a time
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

APPEARANCE = ("brightness", "contrast", "colour", "detail")
"""Mean luminance; its standard deviation; mean of max − min over channels; mean absolute
Laplacian of the luminance. The first three from 0 to 1."""
WORDS = {
    "brightness": ("dark", "bright"),
    "contrast": ("flat", "rich in contrast"),
    "colour": ("grey", "colourful"),
    "detail": ("smooth or blurred", "full of fine detail"),
}
"""What a picture low and high in each is called."""


def appearance(pixels: Pixels) -> NDArray[np.float32]:
    """Each picture's brightness, contrast, colour and detail, (N, 4) float32.

    Args:
        pixels: (N, H, W, C) uint8, read block by block.
    """
    found = np.empty((len(pixels), len(APPEARANCE)), np.float32)
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
        found: What `appearance` gave, (N, 4).
        share: How large a tail may be, below one half.
    """
    words: list[list[str]] = [[] for _ in found]
    for column, name in zip(found.T, APPEARANCE, strict=True):
        if np.median(np.abs(column - np.median(column))) > 0:
            for rows, word in zip(_tails(column, 0.0, share), WORDS[name], strict=True):
                for row in np.flatnonzero(rows):
                    words[row].append(word)
    return words


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
    values: NDArray[np.floating[Any]], least: float, share: float = _SHARE
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows of (N,) values that are unusually low, and those unusually high."""
    middle = float(np.median(values))
    far = max(5 * float(np.median(np.abs(values - middle))), float(least))
    # At the quantile itself many pictures may be alike: all of them, or none, are unusual.
    low, high = np.quantile(values, [share, 1 - share])
    return values < min(low, middle - far), values > max(high, middle + far)
