"""Why a picture is odd, or that it is not: one or two sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOTABLE = 0.05  # share of the set that is worth a sentence about its looks


def reasons(
    scores: NDArray[np.float32],
    p_values: NDArray[np.floating[Any]],
    words: Sequence[Sequence[str]],
    copies: NDArray[np.int64],
    shapes: Sequence[str] | None = None,
) -> list[str]:
    """A text for each picture: how far it lies from others, and what about its looks is unusual.

    Args:
        scores: Array (N,) float32, the pictures' anomaly scores.
        p_values: Array (N,), the share of the set that is at least as odd.
        words: What is unusual about each picture's looks, see `vicinal.explore.looks`.
        copies: Array (N,) int64, how many near-identical pictures each has.
        shapes: What is unusual about each original's size and shape, see
            `vicinal.explore.shapes`; said of every picture, for the encoder sees a square.
    """
    usual = float(np.median(scores))
    return [
        " ".join(filter(None, (*_sentences(float(score), float(p), usual, looks, count), shape)))
        for score, p, looks, count, shape in zip(
            scores,
            p_values,
            words,
            copies.tolist(),
            shapes or [""] * len(words),
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
