"""Collapse while it happens: the effective rank of a fixed sample of representations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vicinal.objectives import OBJECTIVES
from vicinal.recipes.recipe import Objective

SAMPLE = 256
"""Representations of which the rank is taken, at most."""
_FALLEN = 2 / 3
"""Share of its best rank, above the least possible 1, at which a training is called collapsing.

Over five seeds the digits' study came to 0.40–0.54 without its variance term, and never below 0.80
with it; the share was chosen on the first of them, and on digits alone.
"""
_WORTH = 1.0
"""Rank above 1 that a training must have had for its fall to mean anything."""


@torch.no_grad()
def effective_rank(representations: Tensor) -> float:
    """RankMe of the first ``SAMPLE`` of (N, F) float: 0 for zeros, 1 for a line, at most min(N, F).

    exp(−Σ p_k log p_k), p_k = σ_k / Σ σ over the singular values, uncentred (Garrido et al.,
    RankMe, ICML 2023, equation 1). NaN if a number is not finite.
    """
    sample = representations[:SAMPLE].float().cpu()
    if not sample.isfinite().all():
        return float("nan")
    # The smaller second moment has the same singular values, squared, and is quicker.
    tall = sample if len(sample) >= sample.shape[1] else sample.T
    squares = torch.linalg.eigvalsh((tall.T @ tall).double()).clamp(min=0)
    singular = squares.sqrt()
    total = singular.sum()
    if total == 0:
        return 0.0
    share = singular / total
    return float(torch.exp(torch.special.entr(share).sum()))


class CollapseWatch:
    """Says, once, that representations lose their dimensions."""

    def __init__(self, objective: Objective) -> None:
        spread = OBJECTIVES[objective.name].spread
        own = "" if objective.name == "vicreg" else f"{objective.name}."
        self._spread = f"objective.{own}{spread}"
        self._best = 1.0
        self._said = False

    def fell(self, rank: float) -> str | None:
        """The line to show if ``rank``, after one more epoch, is the first to have fallen far.

        NaN, which stands for no sample, is none.
        """
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
