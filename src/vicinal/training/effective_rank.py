"""The effective rank of representations (RankMe), in the log and in evaluations alike."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.objectives import OBJECTIVES
from vicinal.recipes.recipe import Objective

EPSILON = 1e-7
"""ε of the paper's equation 1, added to each singular value's share."""
SAMPLE = 256
"""Representations of which the log takes the rank, at most."""
_FALLEN = 2 / 3
"""Share of its best rank, above the least possible 1, at which a training is called collapsing.

Over five seeds the digits' study came to 0.40–0.54 without its variance term, and never below 0.80
with it; the share was chosen on the first of them, and on digits alone.
"""
_WORTH = 1.0
"""Rank above 1 that a training must have had for its fall to mean anything."""


def effective_rank(squares: NDArray[np.float64], most: int) -> float:
    """RankMe: exp(−Σ p_k log p_k) with p_k = σ_k / Σ σ + ε and ε = `EPSILON`.

    Garrido et al., RankMe: Assessing the downstream performance of pretrained self-supervised
    representations by their rank, ICML 2023, equation 1.
    """
    singular = np.sqrt(np.maximum(squares[:most], 0))
    if singular.sum() == 0:
        return 0.0
    share = singular / singular.sum() + EPSILON
    return min(float(np.exp(-(share * np.log(share)).sum())), float(most))


@torch.no_grad()
def sample_rank(representations: Tensor) -> float:
    """`effective_rank` of the first `SAMPLE` of (N, F) float; NaN if a number is not finite."""
    sample = representations[:SAMPLE].double().cpu().numpy()
    if not np.isfinite(sample).all():
        return math.nan
    # The smaller second moment has the same singular values, squared, and is quicker.
    tall = sample if len(sample) >= sample.shape[1] else sample.T
    return effective_rank(np.linalg.eigvalsh(tall.T @ tall)[::-1], min(sample.shape))


class CollapseWatch:
    """Says, once, that representations lose their dimensions."""

    def __init__(self, objective: Objective) -> None:
        own = "" if objective.name == "vicreg" else f"{objective.name}."
        self._spread = f"objective.{own}{OBJECTIVES[objective.name].spread}"
        self._best, self._said = 1.0, False

    def fell(self, rank: float) -> str | None:
        """The line to show if ``rank``, after one more epoch, is the first to have fallen far."""
        if math.isnan(rank):
            return None
        self._best = max(self._best, rank)
        height = self._best - 1
        if self._said or height < _WORTH or rank - 1 > _FALLEN * height:
            return None
        self._said = True
        return (
            "the representations are collapsing: their effective rank (RankMe) fell from "
            f"{self._best:.1f} to {rank:.1f}; raise {self._spread} or lower "
            "training.learning_rate"
        )
