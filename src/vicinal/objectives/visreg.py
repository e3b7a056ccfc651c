"""VISReg: centre, scale and shape of the embeddings, apart (Wu et al., arXiv 2606.02572, 2026)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vicinal.objectives.terms import Criterion, Terms, exact, whole_batch


def visreg(
    z_a: Tensor,
    z_b: Tensor,
    directions: Tensor,
    *,
    weight: float = 0.6,
    epsilon: float = 1e-4,
    rows: int | None = None,
) -> Terms:
    r"""VISReg's loss of two views' embeddings (the paper's equations 1 to 8).

        total = (1 − λ)·invariance + λ·(centre + scale + shape)
        invariance = mean over 2·B·D entries of (z − mean of the two views)²
        centre = (1/D) Σ_j μ_j²,   scale = (1/D) Σ_j (σ_j − 1)², σ biased, 1/B
        shape  = mean over S slices a and B ranks i of ((ẑa)_(i) − Φ⁻¹(i/(B + 1)))²
        ẑ = (z − μ) / (σ + ε), with no gradient through μ and σ

    (·)_(i) is the i-th smallest; all but invariance is the mean of the two views'. λ is .6 for
    small sets and .9 for ImageNet in the paper; lightly's default is the latter, with 4,096
    slices. A view whose rows are all alike has a scale term of 1.

    ``directions`` (D, S) are slices of unit length, see `slices`; ``weight`` is λ, ``epsilon`` ε.
    The rest, and errors, are those of `vicreg`. Parts are ``invariance``, ``centre``, ``scale`` and
    ``shape``, unweighted.
    """
    with exact(z_a):
        z_a, z_b = whole_batch(z_a, z_b, rows)
        parts = {"invariance": (z_a - z_b).square().mean() / 4}
        names = ("centre", "scale", "shape")
        of_a, of_b = (_moments_and_shape(z, directions, epsilon) for z in (z_a, z_b))
        parts |= {n: (a + b) / 2 for n, a, b in zip(names, of_a, of_b, strict=True)}
        spread = parts["centre"] + parts["scale"] + parts["shape"]
        total = (1 - weight) * parts["invariance"] + weight * spread
    return Terms(total, {name: part.detach() for name, part in parts.items()})


class VISRegLoss(Criterion):
    """`visreg` as a module with ``slices`` new directions a call, see `Criterion`."""

    function = staticmethod(visreg)
    sliced = True


def _moments_and_shape(
    z: Tensor, directions: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    mean, std = z.mean(dim=0), z.std(dim=0, unbiased=False)
    standard = (z - mean.detach()) / (std.detach() + epsilon)
    projected = directions.to(z.dtype).T @ standard.T
    wanted = torch.empty_like(projected)
    quantiles = _quantiles(len(z), z)
    wanted.scatter_(1, _order(projected.detach()), quantiles.expand_as(projected))
    # Which quantile an entry is held against does not change with it, so no gradient is sorted.
    shape = (projected - wanted).square().mean()
    return mean.square().mean(), (std - 1).square().mean(), shape


def _quantiles(rows: int, like: Tensor) -> Tensor:
    """Φ⁻¹(i/(B + 1)) for i from 1 to B, (B,)."""
    places = torch.arange(1, rows + 1, device=like.device, dtype=like.dtype) / (rows + 1)
    quantiles: Tensor = torch.special.ndtri(places)
    return quantiles


def _order(projected: Tensor) -> Tensor:
    """The columns of each row (S, B), the smallest first."""
    if projected.device.type == "cpu":  # numpy's is the faster sort there
        return torch.from_numpy(np.argsort(projected.numpy(), axis=1))
    return projected.argsort(dim=1)
