"""Maps: representations in two dimensions, and how much a map keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.score import Score, checked
from vicinal.files import write_parquet
from vicinal.representations.neighbours import Neighbours, nearest
from vicinal.representations.representations import Representations

FEWEST = 4
"""Points that t-SNE needs."""
_EXACT = 50_000  # images up to which exact neighbours cost less than openTSNE's index
_ONE_THREAD = 3_000  # images up to which a second thread saves seconds at most
_BARNES_HUT = 1_500  # images up to which Barnes-Hut beats transforms
# openTSNE interpolates forces by 3 nodes an interval; 2 take 0.45 of the time at 10,000 images,
# and trustworthiness and class agreement differ from those of 3 by less than those of draws do.
_NODES = 2
# openTSNE's own are 250 and 500. Started from PCA, these leave trustworthiness and class agreement
# where they were, too, and half the time (`docs/architecture.md` has the figures).
_EXAGGERATED, _PLAIN = 100, 300  # steps, with early exaggeration and without
_TOLD_EVERY = 25
NEIGHBOURS = 15
"""How many neighbours of each picture a map file keeps."""


@dataclass(frozen=True, eq=False)
class PcaMap:
    """A linear map.

    Attributes:
        points: Array (N, 2) float32, the first two principal components.
        explained: Array (2,) float64, each one's share of the variance; 0 where nothing varies.
    """

    points: NDArray[np.float32]
    explained: NDArray[np.float64]


def pca_map(array: NDArray[np.float32], *, seed: int = 0) -> PcaMap:
    """The first two principal components; scikit-learn fixes their signs.

    Args:
        array: Representations (N, F) float32, N ≥ 2.
        seed: Seed of the solver, where it draws at random.

    Raises:
        InputError: If there are too few representations or one is not finite.
    """
    checked(array, "a map")
    components = min(2, *array.shape)
    fitted = PCA(components, random_state=seed)
    points = np.zeros((len(array), 2), np.float32)
    with np.errstate(invalid="ignore"):  # shares of no variance at all; 0 stands for them below
        points[:, :components] = fitted.fit_transform(array.astype(np.float64))
    explained = np.zeros(2)
    explained[:components] = np.nan_to_num(fitted.explained_variance_ratio_)
    return PcaMap(points, explained)


def tsne_map(
    array: NDArray[np.float32],
    *,
    perplexity: float = 30.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """t-SNE by openTSNE (van der Maaten & Hinton 2008; Linderman et al. 2019), started from PCA.

    On a GPU TorchDR's exact t-SNE takes its place where that is installed (``vicinal[gpu]``).

    Args:
        array: Representations (N, F) float32, N ≥ 4.
        perplexity: Effective number of neighbours; at most (N − 1) / 3 is used.
        seed: Seed of the neighbour index and of the jitter that keeps equal points apart.
        progress: Called now and then with the share of the steps just done, 1 in all.
        device: ``cpu`` or ``cuda``; TorchDR tells no progress before the end.

    Returns:
        Array (N, 2) float32.

    Raises:
        InputError: If there are fewer than 4 representations or one is not finite.
    """
    checked(array, "a map")
    if len(array) < FEWEST:
        raise InputError(f"a t-SNE map needs at least {FEWEST} images, found {len(array)}")
    perplexity = min(perplexity, (len(array) - 1) / 3)
    if device != "cpu" and len(array) <= _EXACT and find_spec("torchdr") is not None:
        points = exact_tsne(array, perplexity, seed, device)
        if progress is not None:
            progress(1.0)
        return points
    # Slow to import, and only maps need it.
    from openTSNE import TSNE, affinity
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    jobs = 1 if len(array) <= _ONE_THREAD else cores.threads()
    tsne = TSNE(
        initialization=_start(array, seed),
        negative_gradient_method="bh" if len(array) <= _BARNES_HUT else "fft",
        n_interpolation_points=_NODES,
        early_exaggeration_iter=_EXAGGERATED,
        n_iter=_PLAIN,
        n_jobs=jobs,
        random_state=seed,
        callbacks=_telling(progress),
        callbacks_every_iters=_TOLD_EVERY,
    )
    if len(array) > _EXACT:
        index = {"data": array.astype(np.float64), "random_state": seed}
    else:
        found = nearest(array, array, int(3 * perplexity), exclude_self=True, device=device)
        lengths = found.distances.astype(np.float64)
        index = {"knn_index": PrecomputedNeighbors(found.indices, lengths)}
    near = affinity.PerplexityBasedNN(perplexity=perplexity, n_jobs=jobs, **index)
    return np.asarray(tsne.fit(affinities=near), dtype=np.float32)


def placed_by_tsne(
    points: NDArray[np.float32], found: Neighbours, *, seed: int = 0
) -> NDArray[np.float32]:
    """Where new images lie on a t-SNE map that stays as it is (openTSNE's ``transform``).

    Each is placed by itself, among its neighbours on the map: the others are not new ones.

    Args:
        points: The map (N, 2) float32.
        found: The k nearest images on the map of each of M new ones, in the representation.
        seed: Seed of openTSNE.

    Returns:
        Array (M, 2) float32.
    """
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import joint_probabilities_nn

    lengths = found.distances.astype(np.float64)
    jobs = 1 if len(found.indices) <= _ONE_THREAD else cores.threads()

    def to_new(_: object, perplexity: float, return_distances: bool) -> tuple[Any, ...]:
        assert return_distances
        fit = min(perplexity, (lengths.shape[1] - 1) / 3)
        near = joint_probabilities_nn(
            found.indices,
            lengths,
            [fit],
            symmetrize=False,
            normalization="point-wise",
            n_reference_samples=len(points),
            n_jobs=jobs,
        )
        return near, found.indices, lengths

    middle = (points.max(axis=0) + points.min(axis=0)).astype(np.float64) / 2
    held = TSNEEmbedding(
        points - middle,  # `transform` centres a map so, and leaves it there
        SimpleNamespace(to_new=to_new, P=points),
        negative_gradient_method="bh" if len(points) <= _BARNES_HUT else "fft",
        random_state=seed,
        n_jobs=jobs,
    )
    return np.asarray(held.transform(found.indices) + middle, dtype=np.float32)


def placed_by_pca(
    points: NDArray[np.float32], array: NDArray[np.float32], new: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Where new images (M, F) lie on a linear map (N, 2) of representations (N, F), (M, 2)."""
    middle = array.mean(axis=0, dtype=np.float64)
    centred = array - middle
    # The least-squares solution by its normal equations: exact for points that are linear in rows.
    axes = np.linalg.lstsq(centred.T @ centred, centred.T @ points.astype(np.float64), rcond=None)
    found: NDArray[np.float64] = (new - middle) @ axes[0] + points.mean(axis=0, dtype=np.float64)
    return found.astype(np.float32)


def _telling(progress: Callable[[float], None] | None) -> Callable[..., None] | None:
    """A callback for openTSNE of (iteration, error, embedding)."""
    if progress is None:
        return None

    def tell(*_: object) -> None:
        progress(_TOLD_EVERY / (_EXAGGERATED + _PLAIN))

    return tell


def exact_tsne(
    array: NDArray[np.float32], perplexity: float, seed: int, device: str
) -> NDArray[np.float32]:
    """t-SNE by TorchDR, all repulsions computed, from the start and over the steps of `tsne_map`.

    Args:
        array: Representations (N, F) float32.
        perplexity: Effective number of neighbours.
        seed: Seed of the start's jitter and of TorchDR.
        device: Where to compute.

    Returns:
        Array (N, 2) float32.
    """
    from torchdr import TSNE  # an extra, slow to import

    tsne = TSNE(
        perplexity=perplexity,
        init=_start(array, seed).astype(np.float32),
        early_exaggeration_iter=_EXAGGERATED,
        max_iter=_EXAGGERATED + _PLAIN,
        device=device,
        random_state=seed,
    )
    return np.asarray(tsne.fit_transform(array), dtype=np.float32)


def class_agreement(
    points: NDArray[np.float32], labels: NDArray[np.int64], *, k: int = 10
) -> Score:
    """Mean share of a point's k nearest others on the map that are of its class, 0 to 1.

    Chance is the share that a random other point would give, Σ_c n_c (n_c − 1) / (N (N − 1)).

    Args:
        points: Array (N, 2) float32.
        labels: Array (N,) int64.
        k: Neighbours, below N.

    Raises:
        InputError: If there are not more points than neighbours.
    """
    if k >= len(points):
        raise InputError(f"{k} neighbours on a map need more than {len(points)} points")
    _, found = cKDTree(points).query(points, k=k + 1)
    # A point is not always the first of its own neighbours: others may lie in its place.
    self_or_last = found == np.arange(len(points))[:, None]
    self_or_last[~self_or_last.any(axis=1), -1] = True
    others = found[~self_or_last].reshape(len(points), k)
    counts = np.bincount(labels).astype(np.float64)
    chance = float((counts * (counts - 1)).sum() / (len(points) * (len(points) - 1)))
    same = float((labels[others] == labels[:, None]).mean())
    return Score("class_agreement", same, 0.0, 1.0, "higher", chance, n=len(points))


def trustworthiness(
    array: NDArray[np.float32],
    points: NDArray[np.float32],
    *,
    k: int = 10,
    at_most: int = 2_000,
    seed: int = 0,
) -> Score:
    """Venna & Kaski (2001): whether neighbours on the map are neighbours in truth, 0 to 1.

    Needs all distances, so it is taken on a seeded sample of ``at_most`` points (``n``).

    Args:
        array: Representations (N, F) float32.
        points: Their map (N, 2) float32.
        k: Neighbours, below half of the sample.
        at_most: Size of the sample.
        seed: Seed of the draw.
    """
    kept = np.random.default_rng(seed).permutation(len(array))[:at_most]
    k = max(1, min(k, (len(kept) - 1) // 2))
    value = float(sklearn_trustworthiness(array[kept], points[kept], n_neighbors=k))
    return Score("trustworthiness", value, 0.0, 1.0, "higher", None, n=len(kept), seed=seed)


def centroids_on_map(
    points: NDArray[np.float32], assignment: NDArray[np.int64], *, k: int
) -> NDArray[np.float64]:
    """Where clusters lie on a map: (K, 2), the median of their points; NaN for one without any."""
    centres = np.full((k, 2), np.nan)
    for i in np.unique(assignment):
        centres[i] = np.median(points[assignment == i], axis=0)
    return centres


def _start(array: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """PCA scaled as t-SNE wants it, with a jitter that keeps equal points apart."""
    points = pca_map(array, seed=seed).points.astype(np.float64)
    jitter = np.random.default_rng(seed).normal(scale=1e-6, size=points.shape)
    start: NDArray[np.float64] = points / max(points[:, 0].std(), 1e-12) * 1e-4 + jitter
    return start


@dataclass(frozen=True, eq=False)
class Map:
    """Points of a plane.

    Attributes:
        points: Array (N, 2) float32.
        neighbours: The nearest other pictures by the full representation, not by the map.
        trustworthiness: How far neighbours on the map are neighbours in truth, 0 to 1.
    """

    points: NDArray[np.float32]
    neighbours: Neighbours
    trustworthiness: float

    def save(self, path: Path, pictures: Representations) -> None:
        """Writes parquet: id, path, label, split (those there are), x, y and neighbors.

        ``neighbors`` holds ``{"ids": [row, …], "distances": [L2, …]}``, rows counted from 0,
        nearest first: what embedding-atlas reads by ``--x x --y y --neighbors neighbors``.
        """
        near = [lists(self.neighbours.indices), lists(self.neighbours.distances)]
        places = {"x": pa.array(self.points[:, 0]), "y": pa.array(self.points[:, 1])}
        neighbours = {"neighbors": pa.StructArray.from_arrays(near, ["ids", "distances"])}
        write_parquet(path, pictures.text_columns() | places | neighbours)


@cores.shared()
def map_of(embeddings: Representations, method: str = "tsne") -> Map:
    """Lays pictures out by t-SNE or PCA, seed 0.

    Raises:
        InputError: If the method is another, or there are fewer than 4 pictures.
    """
    if method not in ("tsne", "pca"):
        raise InputError(f"{option('method', method)}: give tsne or pca")
    array = embeddings.as_compared().array
    if len(array) < 4:
        raise InputError(f"a map needs at least 4 pictures, found {len(array)}")
    points = tsne_map(array) if method == "tsne" else pca_map(array).points
    near = nearest(array, array, min(NEIGHBOURS, len(array) - 1), exclude_self=True)
    return Map(points, near, trustworthiness(array, points).value)


def lists(rows: NDArray[np.generic]) -> pa.ListArray:
    """An array (N, K) as a column of N lists."""
    ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(rows.ravel()))
