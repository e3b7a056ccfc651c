"""The three terms of VICReg as pure functions of embeddings (B, D), each with its denominators.

They want float32 or better and autocast off (`precise`): variances and covariances of
bfloat16 embeddings lose the digits they are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor


@dataclass(frozen=True)
class Terms:
    """What an objective returns.

    Attributes:
        total: Scalar to minimise.
        parts: The named terms, scalars, unweighted and detached, for the log.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


def invariance(z_a: Tensor, z_b: Tensor) -> Tensor:
    """Mean squared difference of two views' embeddings, over B·D entries.

    The paper's eq. 5 sums over D; its released code, and everyone since, takes this mean.

    Args:
        z_a: Embeddings (B, D) of the first views.
        z_b: Embeddings (B, D) of the second views, row by row the same images.
    """
    return F.mse_loss(z_a, z_b)


def regularisers(z: Tensor, target_std: float, epsilon: float) -> tuple[Tensor, Tensor]:
    """The variance and the covariance term of one view, which share all their statistics.

    `variance` and `covariance` of the same embeddings, with a gradient of their own
    that takes one matrix product where autograd would take two.

    Args:
        z: Embeddings (B, D), centred or not.
        target_std: γ, see `variance`.
        epsilon: ε, see `variance`.
    """
    spread, redundancy = _Regularisers.apply(z, target_std, epsilon)
    return spread, redundancy


def variance(variances: Tensor, target_std: float, epsilon: float) -> Tensor:
    """Hinge on each dimension's standard deviation, mean over D.

    (1/D) Σ_j max(0, γ − sqrt(Var_j + ε)), unbiased variance (VICReg, eqs. 1 and 2).

    Args:
        variances: Unbiased variance (D,) of each dimension of one view's embeddings.
        target_std: γ, the standard deviation from which there is no more pull.
        epsilon: ε, which keeps the gradient finite where a dimension is constant.
    """
    return torch.relu(target_std - torch.sqrt(variances + epsilon)).mean()


def covariance(centred: Tensor) -> Tensor:
    """Sum of the squared off-diagonal covariances: Σ_{i≠j} Cov_ij², Cov with 1/(B−1).

    VICReg's eqs. 3 and 4 before the division by D. Exact, in O(B·D·min(B, D)): the
    Frobenius norms of ZᵀZ (D×D) and ZZᵀ (B×B) are equal (Garrido et al., ICLR 2023,
    "On the duality between contrastive and non-contrastive SSL"), so the smaller of
    the two is formed and the diagonal's part subtracted.

    Args:
        centred: Embeddings (B, D) of one view, their mean subtracted.
    """
    return _covariance(*_products(centred), len(centred))


def precise(z: Tensor) -> Tensor:
    """Embeddings (B, D) in float32; float64 stays float64."""
    return z if z.dtype == torch.float64 else z.float()


def exact(z: Tensor) -> torch.autocast:
    """A context where products of such embeddings keep their dtype, whatever autocast says."""
    return torch.autocast(z.device.type, enabled=False)


def check_views(z_a: Tensor, z_b: Tensor, rows: int | None) -> None:
    """Refuses what no objective can be taken of.

    Raises:
        ValueError: If the shapes differ, are not (B, D), or B < 2.
    """
    if z_a.shape != z_b.shape or z_a.ndim != 2:
        raise ValueError(f"need two (B, D) tensors of one shape, found {z_a.shape} and {z_b.shape}")
    if (rows or len(z_a)) < 2:
        raise ValueError(f"an objective needs at least 2 rows, found a batch of {len(z_a)}")


def centre(z: Tensor) -> Tensor:
    """Embeddings (B, D) with each dimension's mean subtracted."""
    return z - z.mean(dim=0)


def _products(centred: Tensor) -> tuple[Tensor, Tensor]:
    """The smaller product of Z with itself, and the sum of squares (D,) of each dimension.

    For D ≤ B the product is ZᵀZ (D, D) without its diagonal, which is the sums; it is
    cut out and not subtracted, as the rest may be tiny beside it. Else it is ZZᵀ (B, B).
    """
    rows, dimensions = centred.shape
    if dimensions <= rows:
        product = centred.T @ centred
        squares = product.diagonal().clone()
        return product.fill_diagonal_(0), squares
    return centred @ centred.T, centred.square().sum(dim=0)


def _covariance(product: Tensor, squares: Tensor, rows: int) -> Tensor:
    """The covariance term from `_products`."""
    total = product.square().sum()
    if len(squares) > rows:
        # With B < D the rank is below D, so the off-diagonal part is at least (D/(B−1) − 1)
        # times the diagonal's for equal variances, and the difference keeps its digits.
        total = total - squares.square().sum()
    return total / (rows - 1) ** 2


class _Regularisers(torch.autograd.Function):
    """`regularisers` with its gradient written out.

    With s = 4/(B−1)² and h_j = −1/(D (B−1) std_j) where std_j < γ, else 0, the gradients
    are Z diag(h) of the variance term, and of the covariance term s Z offdiag(ZᵀZ) or
    s (ZZᵀ Z − Z diag(ZᵀZ)). The columns of Z sum to 0, so theirs do, and the centring's
    own gradient would change nothing.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, target_std: float, epsilon: float) -> tuple[Tensor, Tensor]:
        rows, _ = z.shape
        centred = centre(z)
        product, squares = _products(centred)
        variances = squares / (rows - 1)
        ctx.target_std, ctx.epsilon = target_std, epsilon
        ctx.save_for_backward(centred, product, squares)
        return variance(variances, target_std, epsilon), _covariance(product, squares, rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_variance: Tensor, of_covariance: Tensor) -> tuple[Tensor, None, None]:
        centred, product, squares = ctx.saved_tensors
        rows, dimensions = centred.shape
        std = torch.sqrt(squares / (rows - 1) + ctx.epsilon)
        hinge = (std < ctx.target_std) * of_variance / (-dimensions * (rows - 1) * std)
        with torch.autocast(centred.device.type, enabled=False):
            weights = product * (of_covariance * (4 / (rows - 1) ** 2))
            if dimensions <= rows:
                weights.diagonal().copy_(hinge)
                return centred @ weights, None, None
            scale = hinge - squares * (of_covariance * (4 / (rows - 1) ** 2))
            return (weights @ centred).addcmul_(centred, scale), None, None
