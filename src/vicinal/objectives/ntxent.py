"""NT-Xent, SimCLR's (Chen et al., ICML 2020), and its decoupled form (Yeh et al., ECCV 2022)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from vicinal.objectives.terms import Criterion, Terms, exact, whole_batch


def ntxent(
    z_a: Tensor,
    z_b: Tensor,
    *,
    temperature: float | None = None,
    uniformity: float = 1.0,
    decoupled: bool = False,
    rows: int | None = None,
) -> Terms:
    r"""NT-Xent of two views' embeddings (SimCLR's equation 1; decoupled: DCL's equation 6).

        total = alignment + u·uniformity
        alignment  = −(1/2B) Σ_i ⟨z̃_i, z̃_p(i)⟩ / τ
        uniformity = (1/2B) Σ_i log Σ_k exp(⟨z̃_i, z̃_k⟩ / τ)

    over all 2B rows z̃ of unit length; p(i) is the other view of i's picture, and k runs over
    every row but i, decoupled over every row but i and p(i). u is 1 in both papers. Where all
    rows are alike, a total with u = 1 is log(2B − 1), decoupled log(2B − 2).

    τ is .2, decoupled .1, as CIFAR-10 is trained in solo-learn and in DCL; SimCLR's own for
    CIFAR-10, lightly's and stable-pretraining's default is .5. lightly's `DCLLoss` is this.

    ``temperature`` is τ (None for .2, decoupled .1), ``uniformity`` u, where 0 leaves nothing
    against collapse; ``decoupled`` leaves the positive out of the denominator. The rest, and
    errors, are those of `vicreg`. Parts are ``alignment`` and ``uniformity``, unweighted.
    """
    if temperature is None:
        temperature = 0.1 if decoupled else 0.2
    with exact(z_a):
        z_a, z_b = whole_batch(z_a, z_b, rows)
        unit = F.normalize(torch.cat([z_a, z_b]), dim=1)
        a, b = unit.chunk(2)
        alignment = (a * b).sum(dim=1).mean() / -temperature
        similar: Tensor = _Similarities.apply(unit, temperature, decoupled)
        uniform = similar.logsumexp(dim=1).mean()
        total = alignment + uniformity * uniform
    return Terms(total, {"alignment": alignment.detach(), "uniformity": uniform.detach()})


class NTXentLoss(Criterion):
    """`ntxent` as a module; its arguments are those of `ntxent`, see `Criterion`."""

    function = staticmethod(ntxent)


class _Similarities(torch.autograd.Function):
    """z̃z̃ᵀ/τ (2B, 2B) with −∞ where a row is left out; one product backward, not two."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, temperature: float, decoupled: bool) -> Tensor:
        similar = (unit @ unit.T).div_(temperature).fill_diagonal_(-torch.inf)
        if decoupled:
            half = len(unit) // 2
            similar.diagonal(half).fill_(-torch.inf)
            similar.diagonal(-half).fill_(-torch.inf)
        ctx.temperature = temperature
        ctx.save_for_backward(unit)
        return similar

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (unit,) = ctx.saved_tensors
        with exact(unit):
            # Of an entry of −∞ the gradient is softmax's, 0.
            both = (upstream + upstream.T).div_(ctx.temperature)
            return both @ unit, None, None
