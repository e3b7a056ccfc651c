"""Barlow Twins: redundancy reduction (Zbontar, Jing, Misra, LeCun, Deny, ICML 2021)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from vicinal.objectives.across import whole_batch
from vicinal.objectives.criterion import Criterion
from vicinal.objectives.terms import Terms, exact


def barlow(
    z_a: Tensor,
    z_b: Tensor,
    *,
    redundancy: float = 0.0051,
    epsilon: float = 1e-5,
    rows: int | None = None,
) -> Terms:
    r"""Barlow Twins' loss of two views' embeddings (the paper's equations 1 and 2).

        C = ẑ_aᵀ ẑ_b / B,   ẑ = (z − mean) / sqrt(Var + ε), Var biased, 1/B
        total = invariance + λ·redundancy
        invariance = Σ_i (1 − C_ii)²,   redundancy = Σ_{i≠j} C_ij²

    Sums over D and D(D − 1) entries, as the paper and its code have them. λ is the code's .0051,
    which the paper rounds to .005; ε is BatchNorm's, as in the code. lightly's loss is the same
    with .005; stable-pretraining divides by the unbiased deviation, so that C_ii of two equal
    views is 1 − 1/B.

    Args:
        z_a: Embeddings (B, D) of the first views, B ≥ 2.
        z_b: Embeddings (B, D) of the second views.
        redundancy: λ.
        epsilon: ε.
        rows: As in `vicreg`.

    Returns:
        The total and the unweighted parts ``invariance`` and ``redundancy``.

    Raises:
        ValueError: If the shapes differ, are not (B, D), or B < 2.
    """
    with exact(z_a):
        z_a, z_b = whole_batch(z_a, z_b, rows)
        a, b = (F.batch_norm(z, None, None, training=True, eps=epsilon) for z in (z_a, z_b))
        invariance = (1 - (a * b).mean(dim=0)).square().sum()
        off_diagonal: Tensor = _OffDiagonal.apply(a, b)
        total = invariance + redundancy * off_diagonal
    return Terms(total, {"invariance": invariance.detach(), "redundancy": off_diagonal.detach()})


class BarlowLoss(Criterion):
    """`barlow` as a module; its arguments are those of `barlow`, see `Criterion`."""

    function = staticmethod(barlow)


class _OffDiagonal(torch.autograd.Function):
    """Σ_{i≠j} C_ij² of standardised (B, D), by the smaller products, its gradient written out.

    ‖ẑ_aᵀẑ_b‖² = ⟨ẑ_aẑ_aᵀ, ẑ_bẑ_bᵀ⟩: two B×B products forward and two backward, where C itself
    takes one and two of D×D. With B < ¾D the rank is below D, so the diagonal's part is small
    beside the whole, and their difference keeps its digits.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        rows, dimensions = a.shape
        ctx.by_rows = 4 * rows < 3 * dimensions
        if ctx.by_rows:
            diagonal = (a * b).mean(dim=0)
            gram_a, gram_b = a @ a.T, b @ b.T
            ctx.save_for_backward(a, b, gram_a, gram_b, diagonal)
            return (gram_a * gram_b).sum() / rows**2 - diagonal.square().sum()
        correlation = (a.T @ b).div_(rows).fill_diagonal_(0)
        ctx.save_for_backward(a, b, correlation)
        return correlation.square().sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        a, b, *kept = ctx.saved_tensors
        scale = upstream * (2 / len(a))
        with exact(a):
            if not ctx.by_rows:
                return (b @ kept[0].T) * scale, (a @ kept[0]) * scale
            gram_a, gram_b, diagonal = kept
            of_a = (gram_b @ a).div_(len(a)).addcmul_(b, diagonal, value=-1)
            of_b = (gram_a @ b).div_(len(a)).addcmul_(a, diagonal, value=-1)
            return of_a.mul_(scale), of_b.mul_(scale)
