"""The evaluations' heavy parts as a GPU wants them: few large operations, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vicinal.representations.neighbours import full_float32

Array32 = NDArray[np.float32]
Array64 = NDArray[np.float64]

_ROWS = 16_384  # standardised at a time
_ENTRIES = 2**26
"""Entries of a block of distances: 512 MB in float64."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """What k-means found.

    Attributes:
        assignment: Tensor (N,) int64.
        centres: Tensor (K, F) float32.
        inertia: Sum of the squared distances from the points to their centres.
    """

    assignment: Tensor
    centres: Tensor
    inertia: float


def lloyd(
    points: Tensor, centres: Tensor, *, tolerance: float = 1e-4, iterations: int = 300
) -> Clusters:
    """Lloyd's k-means (1982) from given centres, until it stands still.

    As scikit-learn's ``KMeans(algorithm="lloyd")``: it ends where no point changes its cluster or
    the centres' squared shift is at most ``tolerance`` times the points' mean variance, and a
    cluster without points takes the point that lies farthest from its centre.

    Args:
        points: Tensor (N, F) float32.
        centres: Tensor (K, F) float32, where to start, on the same device.
        tolerance: See above.
        iterations: At most so many.
    """
    middle = points.mean(dim=0, dtype=torch.float64).to(points.dtype)
    points, centres = points - middle, centres - middle  # smaller norms round less
    least = tolerance * float(points.var(dim=0, correction=0).mean())
    assignment, apart = _nearest_centre(points, centres)
    for _ in range(iterations):
        moved = _means(points, assignment, centres, apart)
        shift = float((moved - centres).square().sum())
        centres, before = moved, assignment
        assignment, apart = _nearest_centre(points, centres)
        if shift <= least or torch.equal(assignment, before):
            break
    return Clusters(assignment, centres + middle, float(apart.sum(dtype=torch.float64)))


def distance_sums(points: Tensor, sizes: NDArray[np.int64], drawn: NDArray[np.int64]) -> Tensor:
    """Sums (S, K) float64 of the distances from drawn points to the points of each cluster.

    Args:
        points: Tensor (N, F) float32, ordered by cluster.
        sizes: Array (K,) int64, the clusters' sizes.
        drawn: Array (S,) int64, positions of points.
    """
    counts = torch.from_numpy(sizes).to(points.device)
    members = torch.repeat_interleave(torch.arange(len(sizes), device=points.device), counts)
    members = functional.one_hot(members, len(sizes)).double()
    centred = (points - points.mean(dim=0, dtype=torch.float64)).double()
    squares = centred.square().sum(dim=1)
    rows = torch.from_numpy(drawn).to(points.device)
    sums = torch.empty(len(drawn), len(sizes), dtype=torch.float64, device=points.device)
    step = max(1, _ENTRIES // len(points))
    for start in range(0, len(drawn), step):
        chosen = rows[start : start + step]
        block = torch.addmm(squares, centred[chosen], centred.T, alpha=-2)
        block.add_(squares[chosen][:, None]).clamp_(min=0).sqrt_()
        block.scatter_(1, chosen[:, None], 0)  # rounding leaves a little to itself
        sums[start : start + step] = block @ members
    return sums


class SoftmaxLoss:
    """Mean cross-entropy + ½·penalty·‖W‖² of a linear classifier and its gradient.

    Args:
        points: Array (R, N) float32, one point a column.
        targets: Array (N,) int64 of classes.
        share: Array (N,) float64, the weight of each point; they add up to 1.
        penalty: Weight of ½‖W‖².
        device: Where to compute.
    """

    def __init__(
        self,
        points: Array32,
        targets: NDArray[np.int64],
        share: Array64,
        penalty: float,
        device: str,
    ) -> None:
        self.points = torch.from_numpy(points).to(device)
        self.targets = torch.from_numpy(targets).to(device)[None]
        self.share = torch.from_numpy(share).to(device)
        self.penalty = penalty

    def __call__(self, weights: Array64) -> tuple[float, Array64]:
        """The loss and its gradient (R + 1, C) at weights (R + 1, C), biases in the last row."""
        there = torch.from_numpy(weights).to(self.points.device)
        slopes, biases = there[:-1], there[-1]
        with full_float32():
            logits = (slopes.T.float() @ self.points).add_(biases.float()[:, None])
            logs = functional.log_softmax(logits, dim=0)
            own = logs.gather(0, self.targets)[0]
            loss = self.penalty / 2 * slopes.square().sum() - (self.share * own).sum()
            odds = logs.exp_().scatter_add_(0, self.targets, -torch.ones_like(own)[None])
            odds *= self.share.float()
            of_slopes = (self.points @ odds.T).double() + self.penalty * slopes
        of_biases = odds.sum(dim=1, dtype=torch.float64)
        both = torch.cat([loss[None], of_slopes.flatten(), of_biases]).cpu().numpy()
        return float(both[0]), both[1:].reshape(weights.shape)


def spectrum(
    array: Array32, mean: Array64, inverse: Array64, device: str
) -> tuple[Array64, Array64]:
    """Eigenvalues (F,), rising, and eigenvectors (F, F) of the standardised rows' second moment.

    Args:
        array: Array (N, F) float32.
        mean: Array (F,) float64, subtracted from each row.
        inverse: Array (F,) float64, what is left is multiplied by.
        device: Where to compute.
    """
    moment = torch.zeros(array.shape[1], array.shape[1], dtype=torch.float64, device=device)
    with full_float32():
        for block in _standardised(array, mean, inverse, device):
            moment += block.T @ block
    values, vectors = torch.linalg.eigh(moment / len(array))
    return values.cpu().numpy(), vectors.cpu().numpy()


def rotated(
    array: Array32, mean: Array64, inverse: Array64, basis: Array32, device: str
) -> Array32:
    """Coordinates (R, N) float32 of the standardised rows along a basis (F, R); see `spectrum`."""
    there = torch.tensor(basis, device=device).T
    with full_float32():
        parts = [there @ block.T for block in _standardised(array, mean, inverse, device)]
    coordinates: Array32 = torch.cat(parts, dim=1).cpu().numpy()
    return coordinates


def _standardised(array: Array32, mean: Array64, inverse: Array64, device: str) -> Iterator[Tensor]:
    centre, scale = (torch.tensor(numbers, device=device) for numbers in (mean, inverse))
    for start in range(0, len(array), _ROWS):
        rows = torch.tensor(array[start : start + _ROWS], device=device)
        yield ((rows - centre) * scale).float()


def _nearest_centre(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Each point's nearest centre (N,), the first of equal ones, and its squared distance."""
    with full_float32():
        squared = torch.addmm(centres.square().sum(dim=1), points, centres.T, alpha=-2)
    apart, assignment = squared.min(dim=1)
    return assignment, (apart + points.square().sum(dim=1)).clamp_(min=0)


def _means(points: Tensor, assignment: Tensor, centres: Tensor, apart: Tensor) -> Tensor:
    """The clusters' means (K, F)."""
    counts = torch.bincount(assignment, minlength=len(centres))
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        assignment = assignment.clone()
        assignment[apart.topk(len(empty)).indices] = empty
        counts = torch.bincount(assignment, minlength=len(centres))
    sums = torch.zeros_like(centres, dtype=torch.float64)
    sums.index_add_(0, assignment, points.double())
    # A lone point that was taken away may leave its own cluster empty: that one stays put.
    means = (sums / counts.clamp(min=1)[:, None]).to(centres.dtype)
    return torch.where((counts > 0)[:, None], means, centres)
