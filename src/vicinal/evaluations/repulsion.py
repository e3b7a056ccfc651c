"""The gradient of t-SNE for many points: the repulsion as a potential on a grid, by FFT.

openTSNE takes a function such as `gradient` here and does the rest (affinities, momentum, gains).
Its own interpolation transforms four charges with freshly made kernels every step; one suffices:

    φ(y) = Σ_j 1 / (1 + ‖y − y_j‖²),  Z = Σ_i φ(y_i) − N,  Σ_j q_ij² (y_i − y_j) = −∇φ(y_i) / 2

Points are spread onto the grid and read off it by cubic B-splines, whose smoothing the kernel makes
up for, as in Essmann et al., A smooth particle mesh Ewald method (J. Chem. Phys. 1995). The kernel
depends on the grid alone and is kept while the map stays within it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SPACING = 0.5  # of the grid, in the map's units, where the kernel's half width is 1
_MOST_CELLS = 1024  # a side; a wider map gets a coarser grid
_MARGIN = 4  # nodes beyond the outermost point that its spline reaches


def gradient(
    embedding: Array,
    P: sp.csr_matrix,  # noqa: N803 (openTSNE's name)
    *,
    dof: float,
    n_jobs: int,
    should_eval_error: bool,
    **_: Any,
) -> tuple[float, Array]:
    """Kullback-Leibler divergence (0 unless asked for) and gradient (N, 2), for openTSNE.

    Args:
        embedding: Array (N, 2), the map.
        P: Joint probabilities (N, N), sparse.
        dof: Degrees of freedom; only 1 is known here.
        n_jobs: Threads.
        should_eval_error: Whether the divergence is wanted.
    """
    from openTSNE import _tsne  # slow to import, and only maps need it

    assert dof == 1, "the potential is that of one degree of freedom"
    points = np.ascontiguousarray(embedding, dtype=np.float64).view(np.ndarray)
    forces, normalisation = repulsion(points, workers=n_jobs)
    forces = np.ascontiguousarray(forces / normalisation)
    sum_p, divergence = _tsne.estimate_positive_gradient_nn(
        P.indices,
        P.indptr,
        P.data,
        points,
        points,
        forces,
        dof,
        num_threads=n_jobs,
        should_eval_error=should_eval_error,
    )
    if should_eval_error:
        divergence += sum_p * np.log(normalisation)
    return divergence, forces


def repulsion(points: Array, *, workers: int = 1) -> tuple[Array, float]:
    """−Σ_j q_ij² (y_i − y_j) for each point, (N, 2), and Z = Σ_{i≠j} q_ij, q = 1 / (1 + d²).

    Args:
        points: Array (N, 2) float64.
        workers: Threads of the transforms.
    """
    low = points.min(axis=0)
    extent = float((points.max(axis=0) - low).max())
    spacing, cells = _grid(extent)
    place = (points - low) / spacing + _MARGIN
    first = np.floor(place).astype(np.int64)
    values, slopes = _splines(place - first)  # (N, 2, 4) each
    first -= 1
    rows, columns = (first[:, axis, None] + np.arange(4) for axis in (0, 1))
    nodes = rows[:, :, None] * cells + columns[:, None, :]  # (N, 4, 4)
    spread = values[:, 0, :, None] * values[:, 1, None, :]
    charge = np.bincount(nodes.ravel(), spread.ravel(), minlength=cells * cells)
    shape = (2 * cells, 2 * cells)  # twice as wide, so that nothing comes around the edges
    spectrum = scipy.fft.rfft2(charge.reshape(cells, cells), shape, workers=workers)
    spectrum *= _kernel(cells, spacing)
    potential = scipy.fft.irfft2(spectrum, shape, workers=workers)[:cells, :cells]
    near = np.ascontiguousarray(potential).ravel()[nodes]
    across = np.einsum("nab,nb->na", near, values[:, 1])
    along = np.einsum("nab,na->nb", near, values[:, 0])
    forces = np.empty_like(points)
    forces[:, 0] = np.einsum("na,na->n", across, slopes[:, 0])
    forces[:, 1] = np.einsum("nb,nb->n", along, slopes[:, 1])
    forces /= 2 * spacing
    forces -= forces.mean(axis=0)  # what two points do to each other adds up to nothing
    normalisation = float(np.einsum("na,na->", across, values[:, 0])) - len(points)
    return forces, max(normalisation, np.finfo(np.float64).tiny)


def _grid(extent: float) -> tuple[float, int]:
    """Spacing and cells a side, in steps, so that the kernel seldom has to be made again."""
    finer = np.clip(np.floor(np.log2(64 / max(extent, 1e-9))), 0, 3)  # a small map, a fine grid
    spacing = max(_SPACING / 2**finer, extent / _MOST_CELLS)
    needed = extent / spacing + 2 * _MARGIN
    steps = max(0, np.ceil(np.log(needed / 96) / np.log(1.15)))
    cells: int = scipy.fft.next_fast_len(int(96 * 1.15**steps) + 1, real=True)
    return float(spacing), cells


def _splines(part: Array) -> tuple[Array, Array]:
    """Values and slopes (N, 2, 4) of the cubic B-splines around places ``part`` (N, 2)."""
    rest = 1 - part
    square, cube = part * part, part * part * part
    values = np.stack(
        [rest**3, 3 * cube - 6 * square + 4, 3 * (square - cube + part) + 1, cube], axis=2
    )
    slopes = np.stack(
        [-(rest**2), 3 * square - 4 * part, -3 * square + 2 * part + 1, square], axis=2
    )
    return values / 6, slopes / 2


@lru_cache(maxsize=2)
def _kernel(cells: int, spacing: float) -> Array:
    """Transform (2C, C + 1) of 1 / (1 + d²) on a grid of 2C × 2C nodes, the smoothing undone."""
    size = 2 * cells
    squares = (np.minimum(np.arange(size), size - np.arange(size)) * spacing) ** 2
    transformed = scipy.fft.rfft2(1 / (1 + squares[:, None] + squares)).real
    smoothing = ((2 + np.cos(2 * np.pi * np.arange(size) / size)) / 3) ** 2
    unsmoothed: Array = transformed / (smoothing[:, None] * smoothing[: cells + 1])
    return unsmoothed
