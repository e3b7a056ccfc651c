"""The arithmetic of the exact search: distances by products, by subtraction, and their error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Gallery = NDArray[np.float32] | Tensor
"""Rows (N, F) float32: an array, or a tensor on any device."""

BLOCK = 2**25
"""Entries of a block of distances: 128 MB in float32."""


def rough_float64(
    centred: NDArray[np.float64], gallery: NDArray[np.float32], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared distances (B, N) of centred queries (B, F), and the bound (B,) of their error."""
    rough = np.empty((len(centred), len(gallery)))
    reach = 0.0
    rows = max(1, BLOCK // (2 * gallery.shape[1]))
    for start in range(0, len(gallery), rows):
        part = gallery[start : start + rows] - centre
        squares = np.einsum("nf,nf->n", part, part)
        rough[:, start : start + rows] = squares - 2 * (centred @ part.T)
        reach = max(reach, float(squares.max()))
    length = np.einsum("nf,nf->n", centred, centred)
    rough += length[:, None]
    return rough, rounding(np.sqrt(length) + np.sqrt(reach), gallery.shape[1], np.float64)


def rounding(
    lengths: NDArray[np.floating], features: int, dtype: type[np.floating]
) -> NDArray[np.float64]:
    """Bound of the error of an expanded squared distance.

    Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1: a dot product of
    F terms errs by at most F·u·|a|·|b|, so ‖q‖² + ‖g‖² − 2q·g by F·u·(|q| + |g|)²; the 16 is for
    centring and adding up.

    Args:
        lengths: Array (B,), norm of the query plus the greatest norm in the gallery.
        features: F.
        dtype: The arithmetic's type.
    """
    unit, least = float(np.finfo(dtype).eps) / 2, float(np.finfo(dtype).tiny)
    bound: NDArray[np.float64] = (features + 16) * (unit * lengths.astype(np.float64) ** 2 + least)
    return bound


def squared_distances(
    queries: NDArray[np.float32], gallery: Gallery, index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared L2 (B, m) float64 from each query to its rows ``index`` (B, m), by subtraction.

    Computed where the gallery is: a tensor may lie on a GPU.
    """
    squared = np.empty(index.shape)
    # Pairs at a time: on a CPU so many that the cache holds them, which takes half the time.
    width = max(1, BLOCK // ((16 if isinstance(gallery, Tensor) else 64) * gallery.shape[1]))
    rows, columns = max(1, width // index.shape[1]), min(width, index.shape[1])
    for top in range(0, len(index), rows):
        for left in range(0, index.shape[1], columns):
            part = index[top : top + rows, left : left + columns]
            found = _rows(gallery, part)
            asked = torch.from_numpy(queries[top : top + rows].astype(np.float64))
            apart = found - asked.to(found.device)[:, None]
            summed = apart.square_().sum(dim=2)
            squared[top : top + rows, left : left + columns] = summed.cpu().numpy()
    return squared


def _rows(gallery: Gallery, index: NDArray[np.int64]) -> Tensor:
    """The rows (B, m, F) float32 of the gallery at ``index`` (B, m)."""
    if isinstance(gallery, Tensor):
        return gallery[torch.from_numpy(index).to(gallery.device)]
    if not (gallery.flags.writeable and gallery.flags.c_contiguous):  # as a memory map is not
        return torch.from_numpy(gallery[index])
    wanted = torch.from_numpy(index.ravel())  # torch gathers on all threads
    return torch.from_numpy(gallery).index_select(0, wanted).view(*index.shape, -1)


def seen_from(array: NDArray[np.float32], centre: NDArray[np.float64]) -> NDArray[np.float32]:
    """The rows (B, F) as seen from the centre (F,), without a float64 copy of them all."""
    seen = np.empty(array.shape, dtype=np.float32)
    return np.subtract(array, centre, out=seen, casting="same_kind")


@contextmanager
def full_float32() -> Iterator[None]:
    """Keeps products in float32, whose rounding `rounding` bounds, where TF32 was allowed."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
