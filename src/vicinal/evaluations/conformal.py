"""Conformal p-values: how rarely a normal image scores as high, without any assumption on scores.

Bates, Candès, Lei, Romano, Sesia: Testing for outliers with conformal p-values, Annals of
Statistics 2023, arXiv 2104.08279. They hold where calibration images and new normal images are
drawn alike and none of them shaped the score: no image of theirs is in the bank of neighbours.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, option


def conformal_p_values(
    scores: NDArray[np.floating[Any]], calibration: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """(1 + #{calibration ≥ s}) / (n + 1) of each score s, between 1 / (n + 1) and 1.

    Args:
        scores: Array (Q,) of float, higher is stranger.
        calibration: Array (n,) of float, scores of held-out normal images.
    """
    below = np.searchsorted(np.sort(calibration), scores, side="left")
    p: NDArray[np.float64] = (1 + len(calibration) - below) / (len(calibration) + 1)
    return p


def conformal_threshold(calibration: NDArray[np.float32], rate: float) -> float:
    """The score above which p ≤ ``rate``: so many normal images, at most, are flagged by chance.

    Args:
        calibration: Array (n,) float32, scores of held-out normal images.
        rate: The false-alarm rate, between 0 and 1.

    Raises:
        InputError: If so few images cannot calibrate so low a rate.
    """
    n = len(calibration)
    if not 0 < rate < 1:
        raise InputError(
            f"{option('false_alarms', rate)}: give a rate between 0 and 1, such as 0.01"
        )
    rank = conformal_rank(n, rate)
    if rank > n:
        raise InputError(
            f"{option('false_alarms', rate)}: {n} calibration images cannot tell so low a rate; "
            "ask for "
            f"{1 / (n + 1):.2g} or more, or give more normal images"
        )
    return float(np.sort(calibration)[rank - 1])


def conformal_rank(n: int, rate: float) -> int:
    """⌈(1 − rate)(n + 1)⌉: which of n rising calibration scores is the threshold.

    Above n, so few scores cannot calibrate so low a rate.
    """
    return math.ceil((1 - rate) * (n + 1) - 1e-9)
