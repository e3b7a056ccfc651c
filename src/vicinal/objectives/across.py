"""The terms of VICReg over the rows of all ranks: exact, by the cheaper of two exchanges.

Let n be the rows of the global batch, D its width and W the ranks, each with n/W rows. The
variance and the covariance term need Z's squared Frobenius norms, of ZᵀZ or of ZZᵀ alike:

    gather   every rank gets all rows, n·D numbers, and forms its own n/W rows of ZZᵀ
    reduce   every rank forms ZᵀZ of its own rows, and their D×D sums are added up

Gradients are written out as in `vicinal.objectives.terms`: nothing is exchanged for them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vicinal.distributed import all_rows, share, summed, total, world_size
from vicinal.objectives.terms import centre, check_views, precise, variance

EXCHANGE = 1000
"""Multiplications that a rank does while it exchanges one number: 25 GMAC/s beside 25 M numbers/s
over 1 Gbit/s Ethernet, 25 TMAC/s beside 25 G numbers/s over a GPU's own links."""


def gathers(rows: int, dimensions: int, world: int) -> bool:
    """Whether to gather rows, or else to add up D×D sums: whichever costs a rank less.

        gather   EXCHANGE·n·D·(W−1)/W + 2·n²·D/W                if n < D
        reduce   EXCHANGE·2·D²·(W−1)/W + 2·n·D²/W

    counted in multiplications, forward and backward; a ring's all-reduce moves every number
    twice. For n ≥ D it is never gathered: ZZᵀ would be the larger product, and its norm less the
    diagonal's would lose digits.

    Args:
        rows: n, rows of the global batch.
        dimensions: D.
        world: W.
    """
    moved = EXCHANGE * dimensions * (world - 1) / world
    gather = moved * rows + 2 * rows**2 * dimensions / world
    reduce = moved * 2 * dimensions + 2 * rows * dimensions**2 / world
    return rows < dimensions and gather <= reduce


def whole_batch(z_a: Tensor, z_b: Tensor, rows: int | None) -> tuple[Tensor, Tensor]:
    """Both views' embeddings of the whole batch in float32, of which statistics are exact.

    For objectives that no sum of each rank's own would give: every rank gets all rows and takes
    the whole loss, and its gradient is that of its own rows, for which nothing is exchanged.

    Args:
        z_a: Embeddings (B, D) of the first views, on several ranks those of this rank's `share`.
        z_b: Embeddings (B, D) of the second views.
        rows: Rows of the global batch; None for these rows alone.

    Returns:
        Two tensors (B, D), or (rows, D) on every rank.

    Raises:
        ValueError: As `check_views`.
    """
    check_views(z_a, z_b, rows)
    z_a, z_b = precise(z_a), precise(z_b)
    if rows is None:
        return z_a, z_b
    return _AllRows.apply(z_a, rows), _AllRows.apply(z_b, rows)


def invariance_across(z_a: Tensor, z_b: Tensor, rows: int) -> Tensor:
    """`terms.invariance` of the global batch; each rank gives its own rows (n/W, D)."""
    return summed((z_a - z_b).square().sum() / (rows * z_a.shape[1]))


def regularisers_across(
    z: Tensor, rows: int, target_std: float, epsilon: float
) -> tuple[Tensor, Tensor]:
    """`terms.regularisers` of the global batch; each rank gives its own rows (n/W, D).

    Args:
        z: Embeddings (n/W, D) of this rank's `vicinal.distributed.share`.
        rows: n, rows of the global batch.
        target_std: γ, see `terms.variance`.
        epsilon: ε, see `terms.variance`.
    """
    if gathers(rows, z.shape[1], world_size()):
        spread, redundancy = _Gathered.apply(z, rows, target_std, epsilon)
    else:
        spread, redundancy = _Reduced.apply(z, rows, target_std, epsilon)
    return spread, redundancy


def _hinge(squares: Tensor, rows: int, target_std: float, epsilon: float) -> Tensor:
    """What the variance term's gradient multiplies each dimension (D,) of centred Z by."""
    std = torch.sqrt(squares / (rows - 1) + epsilon)
    return (std < target_std) / (-len(squares) * (rows - 1) * std)


class _AllRows(torch.autograd.Function):
    """`all_rows` with the gradient of this rank's own."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, rows: int) -> Tensor:
        ctx.rows = rows
        return all_rows(z.contiguous(), rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[share(ctx.rows)] * world_size(), None


class _Gathered(torch.autograd.Function):
    """This rank's rows of ZZᵀ, (n/W, n)."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, rows: int, target_std: float, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        centred = centre(all_rows(z.contiguous(), rows))
        product = centred[share(rows)] @ centred.T
        squares = centred.square().sum(dim=0)
        norm = total(product.square().sum()) - squares.square().sum()
        ctx.rows, ctx.target_std, ctx.epsilon = rows, target_std, epsilon
        ctx.save_for_backward(centred, product, squares)
        return variance(squares / (rows - 1), target_std, epsilon), norm / (rows - 1) ** 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, of_variance: Tensor, of_covariance: Tensor
    ) -> tuple[Tensor, None, None, None]:
        centred, product, squares = ctx.saved_tensors
        scale = world_size() * of_covariance * (4 / (ctx.rows - 1) ** 2)
        hinge = _hinge(squares, ctx.rows, ctx.target_std, ctx.epsilon)
        hinge = hinge * (world_size() * of_variance)
        with torch.autocast(centred.device.type, enabled=False):
            mine = centred[share(ctx.rows)] * (hinge - squares * scale)
            return torch.addmm(mine, product * scale, centred), None, None, None


class _Reduced(torch.autograd.Function):
    """ZᵀZ of all rows, (D, D)."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, rows: int, target_std: float, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        centred = z - total(z.sum(dim=0)) / rows
        product = total(centred.T @ centred)
        squares = product.diagonal().clone()
        product.fill_diagonal_(0)
        ctx.rows, ctx.target_std, ctx.epsilon = rows, target_std, epsilon
        ctx.save_for_backward(centred, product, squares)
        redundancy = product.square().sum() / (rows - 1) ** 2
        return variance(squares / (rows - 1), target_std, epsilon), redundancy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, of_variance: Tensor, of_covariance: Tensor
    ) -> tuple[Tensor, None, None, None]:
        centred, product, squares = ctx.saved_tensors
        scale = world_size() * of_covariance * (4 / (ctx.rows - 1) ** 2)
        hinge = _hinge(squares, ctx.rows, ctx.target_std, ctx.epsilon)
        with torch.autocast(centred.device.type, enabled=False):
            weights = product * scale
            weights.diagonal().copy_(hinge * (world_size() * of_variance))
            return centred @ weights, None, None, None
