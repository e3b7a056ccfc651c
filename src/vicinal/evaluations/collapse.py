"""Collapse: how many dimensions do the representations really use?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vicinal.evaluations.score import Score, checked
from vicinal.training.effective_rank import effective_rank

_BLOCK = 4096  # rows held in float64 at a time
_DEAD = 1e-3  # share of the greatest deviation at which a dimension says nothing


@dataclass(frozen=True, eq=False)
class CollapseResult:
    """How representations (N, F) spread over their dimensions.

    Attributes:
        rankme: RankMe of the array as it is, 0 (all zeros) to min(N, F).
        rankme_centred: RankMe after the mean is taken off, 0 (constant) to min(N, F): a mean
            far from the origin is a direction of its own to ``rankme``, but not to this one.
        top2_share: Share of the variance in the first two principal components, 0 to 1;
            1 where there is no variance at all.
        std_mean: Mean over dimensions of the standard deviation, in units of the array.
        std_min: The least standard deviation of a dimension.
        dead_dimensions: Dimensions whose standard deviation is at most a thousandth of the
            greatest; all of them where nothing varies.
        spectrum: Array (F,) float64, eigenvalues of the covariance (denominator N − 1),
            descending.
    """

    rankme: Score
    rankme_centred: Score
    top2_share: Score
    std_mean: Score
    std_min: Score
    dead_dimensions: Score
    spectrum: NDArray[np.float64]


def collapse(array: NDArray[np.float32]) -> CollapseResult:
    """Measures dimensional collapse from the F × F second moments, in float64.

    RankMe is `vicinal.training.effective_rank.effective_rank`, as in a training's log.

    Args:
        array: Representations (N, F) float32.

    Raises:
        InputError: If there are fewer than two representations or one is not finite.
    """
    checked(array, "collapse")
    count, dimensions = array.shape
    mean, scatter = _moments(array)
    eigenvalues = np.maximum(np.linalg.eigvalsh(scatter)[::-1], 0)
    uncentred = np.linalg.eigvalsh(scatter + count * np.outer(mean, mean))[::-1]
    deviations = np.sqrt(np.diag(scatter) / (count - 1))
    variance = eigenvalues.sum()
    top2 = eigenvalues[:2].sum() / variance if variance > 0 else 1.0
    dead = int((deviations <= _DEAD * deviations.max()).sum())
    most = min(count, dimensions)

    def score(
        name: str, value: float, high: float | None, better: Literal["higher", "lower", "neither"]
    ) -> Score:
        return Score(name, float(value), 0.0, high, better, chance=None, n=count)

    return CollapseResult(
        rankme=score("rankme", effective_rank(uncentred, most), most, "higher"),
        rankme_centred=score("rankme_centred", effective_rank(eigenvalues, most), most, "higher"),
        top2_share=score("top2_share", min(top2, 1.0), 1.0, "lower"),
        std_mean=score("std_mean", deviations.mean(), None, "neither"),
        std_min=score("std_min", deviations.min(), None, "neither"),
        dead_dimensions=score("dead_dimensions", dead, dimensions, "lower"),
        spectrum=eigenvalues / (count - 1),
    )


def alpha_req(spectrum: NDArray[np.float64]) -> float:
    """α-ReQ: the exponent α of the power law k^−α that the eigenvalues of a covariance follow.

    Agrawal et al., α-ReQ: Assessing representation quality in self-supervised learning, NeurIPS
    2022, where α near 1 is best. The slope of log λ_k over log k by least squares, over the
    eigenvalues that float32 can tell from 0 beside the first.

    Args:
        spectrum: `CollapseResult.spectrum` (F,).

    Returns:
        α, 0 where fewer than two eigenvalues are left.
    """
    kept = spectrum[spectrum > spectrum[0] * np.finfo(np.float32).eps]
    if len(kept) < 2:
        return 0.0
    slope, _ = np.polyfit(np.log(np.arange(1, len(kept) + 1)), np.log(kept), 1)
    return -float(slope)


def _moments(array: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (F,) and the centred scatter matrix (F, F), summed over blocks."""
    # Measured from the first row, so that a constant dimension is exactly 0, not a rounding.
    origin = array[0].astype(np.float64)
    blocks = range(0, len(array), _BLOCK)
    offset = np.zeros(array.shape[1])
    for start in blocks:
        offset += (array[start : start + _BLOCK] - origin).sum(axis=0)
    offset /= len(array)
    scatter = np.zeros((array.shape[1],) * 2)
    for start in blocks:
        centred = array[start : start + _BLOCK] - origin - offset
        scatter += centred.T @ centred
    return origin + offset, scatter
