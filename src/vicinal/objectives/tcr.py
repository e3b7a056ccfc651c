"""Total coding rate, EMP-SSL's loss (Tong et al., arXiv 2304.03977, 2023), of two views."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from vicinal.objectives.terms import Criterion, Terms, exact, whole_batch


def tcr(
    z_a: Tensor,
    z_b: Tensor,
    *,
    rate: float = 1.0,
    alignment: float = 200.0,
    distortion: float = 0.2,
    rows: int | None = None,
) -> Terms:
    r"""EMP-SSL's loss of two views' embeddings (the paper's equations 2 and 3).

        total = r·rate + w·alignment
        rate      = −½ · mean over views of logdet(I + D/(ε²·B) · z̃ᵀz̃)
        alignment = −mean over views and rows of cos(z̃, mean of z̃ over the views)

    with rows z̃ of unit length. The paper prints a cosine distance and ε² as its code has them:
    ε² = .2, w = 200, r = 1. lightly's `emp_ssl_loss` adds ½·logdet, where this, the paper and its
    code subtract it.

    ``rate`` is r, where 0 leaves nothing against collapse, ``alignment`` w and ``distortion`` ε²,
    the squared error up to which the rate codes a row. The rest, and errors, are those of
    `vicreg`. Parts are ``rate`` and ``alignment``, unweighted; both fall as they improve.
    """
    with exact(z_a):
        z_a, z_b = whole_batch(z_a, z_b, rows)
        a, b = F.normalize(z_a, dim=1), F.normalize(z_b, dim=1)
        scale = z_a.shape[1] / (distortion * len(z_a))
        coded = -(_log_det(a, scale) + _log_det(b, scale)) / 4
        mean = (a + b) / 2
        near = -(F.cosine_similarity(a, mean) + F.cosine_similarity(b, mean)).mean() / 2
        total = rate * coded + alignment * near
    return Terms(total, {"rate": coded.detach(), "alignment": near.detach()})


class TCRLoss(Criterion):
    """`tcr` as a module; its arguments are those of `tcr`, see `Criterion`."""

    function = staticmethod(tcr)


def _log_det(unit: Tensor, scale: float) -> Tensor:
    value: Tensor = _LogDet.apply(unit, scale)
    return value


class _LogDet(torch.autograd.Function):
    """logdet(I + s·ZᵀZ) = logdet(I + s·ZZᵀ) (Sylvester's identity) of (B, D), by the smaller.

    The gradient is 2s·Z(I + s·ZᵀZ)⁻¹ = 2s·(I + s·ZZᵀ)⁻¹Z, by the factor that gave the value.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, scale: float) -> Tensor:
        rows, dimensions = z.shape
        ctx.scale, ctx.by_rows = scale, rows < dimensions
        product = (z @ z.T if ctx.by_rows else z.T @ z).mul_(scale)
        product.diagonal().add_(1)
        # Positive definite by its making, so nothing need be checked, which would wait for a GPU.
        factor, _ = torch.linalg.cholesky_ex(product)
        ctx.save_for_backward(z, factor)
        value: Tensor = 2 * factor.diagonal().log().sum()
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        z, factor = ctx.saved_tensors
        with exact(z):
            # By the inverse, not a solve: two to three times as fast on a CPU, and as close.
            inverse = torch.cholesky_inverse(factor)
            solved = inverse @ z if ctx.by_rows else z @ inverse
            return solved.mul_(2 * ctx.scale * upstream), None
