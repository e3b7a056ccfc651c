"""Barlow Twins: redundancy reduction (Zbontar, Jing, Misra, LeCun, Deny, ICML 2021)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from vicinal.objectives.terms import Criterion, Terms, exact, whole_batch


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

    ``redundancy`` is λ, ``epsilon`` ε; the rest, and errors, are those of `vicreg`. Parts are
    ``invariance`` and ``redundancy``, unweighted.
    """
    with exact(z_a):
        z_a, z_b = whole_batch(z_a, z_b, rows)
        a, b = (F.batch_norm(z, None, None, training=True, eps=epsilon) for z in (z_a, z_b))
        off_diagonal, diagonal = _Correlation.apply(a, b)
        invariance = (1 - diagonal).square().sum()
        total = invariance + redundancy * off_diagonal
    return Terms(total, {"invariance": invariance.detach(), "redundancy": off_diagonal.detach()})


class BarlowLoss(Criterion):
    """`barlow` as a module; its arguments are those of `barlow`, see `Criterion`."""

    function = staticmethod(barlow)


class _Correlation(torch.autograd.Function):
    """Σ_{i≠j} C_ij² and C_ii (D,) of standardised (B, D), by the smaller products.

    ‖ẑ_aᵀẑ_b‖² = ⟨ẑ_aẑ_aᵀ, ẑ_bẑ_bᵀ⟩: two B×B products forward and two backward, where C itself
    takes one and two of D×D. With B < ¾D the rank is below D, so the diagonal's part is small
    beside the whole, and their difference keeps its digits. The gradient is written out.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        rows, dimensions = a.shape
        ctx.by_rows = 4 * rows < 3 * dimensions
        if ctx.by_rows:
            diagonal = (a * b).mean(dim=0)
            gram_a, gram_b = a @ a.T, b @ b.T
            ctx.save_for_backward(a, b, diagonal, gram_a, gram_b)
            return (gram_a * gram_b).sum() / rows**2 - diagonal.square().sum(), diagonal.clone()
        correlation = (a.T @ b).div_(rows)
        diagonal = correlation.diagonal().clone()
        correlation.fill_diagonal_(0)
        ctx.save_for_backward(a, b, correlation)
        return correlation.square().sum(), diagonal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, off_diagonal: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
        a, b, kept, *grams = ctx.saved_tensors
        rows = len(a)
        scale = off_diagonal * (2 / rows)
        with exact(a):
            if not ctx.by_rows:
                # A copy, so that a graph that is kept can be gone through again.
                of_c = kept * scale
                of_c.diagonal().copy_(diagonal / rows)
                return b @ of_c.T, a @ of_c
            gram_a, gram_b = grams
            own = diagonal / rows - kept * scale
            of_a = (gram_b @ a).mul_(scale / rows).addcmul_(b, own)
            of_b = (gram_a @ b).mul_(scale / rows).addcmul_(a, own)
            return of_a, of_b
