"""The three terms of VICReg as pure functions of embeddings (B, D), each with its denominators.

They want float32 or better and autocast off (`precise`): variances and covariances of
bfloat16 embeddings lose the digits they are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
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
    return (z_a - z_b).square().mean()


def variance(centred: Tensor, target_std: float, epsilon: float) -> Tensor:
    """Hinge on each dimension's standard deviation, mean over D.

    (1/D) Σ_j max(0, γ − sqrt(Var_j + ε)), unbiased variance (VICReg, eqs. 1 and 2).

    Args:
        centred: Embeddings (B, D) of one view, their mean subtracted.
        target_std: γ, the standard deviation from which there is no more pull.
        epsilon: ε, which keeps the gradient finite where a dimension is constant.
    """
    std = torch.sqrt(_variances(centred) + epsilon)
    return torch.relu(target_std - std).mean()


def covariance(centred: Tensor) -> Tensor:
    """Sum of the squared off-diagonal covariances: Σ_{i≠j} Cov_ij², Cov with 1/(B−1).

    VICReg's eqs. 3 and 4 before the division by D. Exact, in O(B·D·min(B, D)): the
    Frobenius norms of ZᵀZ (D×D) and ZZᵀ (B×B) are equal (Garrido et al., ICLR 2023,
    "On the duality between contrastive and non-contrastive SSL"), so the smaller of
    the two is formed and the diagonal's part subtracted.

    Args:
        centred: Embeddings (B, D) of one view, their mean subtracted.
    """
    rows, dimensions = centred.shape
    if dimensions <= rows:
        gram = centred.T @ centred
        # No subtraction here: with D ≤ B the off-diagonal part may be tiny beside the rest.
        off_diagonal = gram - torch.diag(gram.diagonal())
        return off_diagonal.square().sum() / (rows - 1) ** 2
    # With B < D the rank is below D, so the off-diagonal part is at least (D/(B−1) − 1)
    # times the diagonal's for equal variances, and the difference keeps its digits.
    total = (centred @ centred.T).square().sum() / (rows - 1) ** 2
    return total - _variances(centred).square().sum()


def precise(z: Tensor) -> Tensor:
    """Embeddings (B, D) in float32; float64 stays float64."""
    return z if z.dtype == torch.float64 else z.float()


def centre(z: Tensor) -> Tensor:
    """Embeddings (B, D) with each dimension's mean subtracted."""
    return z - z.mean(dim=0)


def _variances(centred: Tensor) -> Tensor:
    """Unbiased variance (D,) of each dimension."""
    return centred.square().sum(dim=0) / (len(centred) - 1)
