"""Laplacian Eigenmaps: a scikit-learn transformer with an out-of-sample extension."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from vicinal import cores
from vicinal.errors import InputError, number_of
from vicinal.representations.index import Search, neighbours_by
from vicinal.representations.neighbours import Neighbours, nearest

# An edge never weighs less, so that the heat kernel cannot round a far point's ties to nothing.
_LEAST_WEIGHT = 1e-6
# Residual of an eigenvector. 50,000 CIFAR-10 images × 128: 760 products with the graph at 1e-3,
# 833 at 1e-6; precision costs nothing here.
_TOLERANCE = 1e-6


class LaplacianEigenmaps(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]  # sklearn is untyped
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Spectral embedding of a kNN graph (Belkin & Niyogi, Neural Computation 2003).

    The graph W joins i and j if either is among the other's nearest neighbours. The embedding's
    columns are the solutions of L y = (1 − λ) D y (section 2, step 3, with L = D − W) for the
    largest λ, found as eigenvectors u of the normalised adjacency D^-1/2 W D^-1/2 by sparse
    products alone: y = D^-1/2 u. The trivial constant solution is taken out before the search.

    Scale: each column has Σ d_i y_i² = Σ d_i, so that its second moment, weighted by the
    degrees, is 1 and its weighted mean 0, whatever N is. (scikit-learn's `SpectralEmbedding`
    returns the same columns with ‖D^1/2 y‖ = 1, about 1/√N in size.) The entry that is largest
    in absolute value is positive in each column, as there.

    Disconnected graphs: λ = 1 then has as many solutions as there are components, which would
    spend columns on naming components. Instead each component is joined to the rest by the
    shortest edge out of it until the graph is connected (Borůvka's minimum spanning tree), so
    components lie apart and every one keeps its inner structure.

    New points: Nyström's extension (Bengio et al., NIPS 2003), y_j(x) =
    (1/λ_j) Σ_i p(x, i) y_j(i), where i runs over x's nearest training points and p are its edge
    weights divided by their sum. A training point is a new point like any other: its nearest is
    then itself, so `transform` agrees with `embedding_` closely, not exactly.

    Args:
        n_components: Columns of the embedding.
        n_neighbors: Nearest other points that each point is joined to.
        weights: Weight of an edge of length d: ``connectivity`` is 1, ``heat`` is
            exp(−d² / (2 bandwidth²)), so the paper's t is 2 bandwidth², and at least 1e-6.
        bandwidth: Of the heat kernel, in units of distance; None for the mean distance to the
            ``n_neighbors``-th neighbour.
        random_state: Seed of the eigensolver's first vector.
        neighbors: How `fit` searches the graph's neighbours: ``exact``, O(N²), or ``hnsw``, by
            `vicinal.representations.index.nearest_approximate`. `transform` is exact.

    Attributes:
        embedding_: Array (N, n_components) float32, the training points'.
        eigenvalues_: Array (n_components,) float64, λ in falling order, from −1 to 1.
        n_components_graph_: Connected components of the kNN graph before they were joined.
        bandwidth_: The bandwidth used; None with connectivity weights.
        recall_: Share of the true neighbours that the search found, measured on a sample;
            1 where it is exact.
        n_features_in_: F.
    """

    def __init__(
        self,
        n_components: int = 128,
        n_neighbors: int = 15,
        weights: Literal["connectivity", "heat"] = "connectivity",
        bandwidth: float | None = None,
        random_state: int = 0,
        neighbors: Search = "exact",
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.bandwidth = bandwidth
        self.random_state = random_state
        self.neighbors = neighbors

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803 (scikit-learn's name)
        """Embeds the points X (N, F); ``y`` is ignored.

        Raises:
            InputError: If a number is not finite, or there are too few points for the
                neighbours or the components asked for.
        """
        points = checked_points(self, X, fitting=True)
        self._check(points)
        neighbours, self.recall_ = neighbours_by(
            self.neighbors, points, points, self.n_neighbors, exclude_self=True
        )
        self.bandwidth_ = self._bandwidth(neighbours)
        graph = _symmetric(neighbours, self._edge_weights(neighbours.distances))
        self.n_components_graph_ = int(connected_components(graph, directed=False)[0])
        graph = self._joined(points, graph)
        self.eigenvalues_, embedding = _leading(graph, self.n_components, self.random_state)
        self.embedding_ = embedding.astype(np.float32)
        self._train = points
        return self

    @property
    def n_extending_(self) -> int:
        """How many components extend to new points: those of a positive eigenvalue."""
        return int((self.eigenvalues_ > 1e-6).sum())

    @property
    def _n_features_out(self) -> int:  # scikit-learn names the columns by it
        return int(self.embedding_.shape[1])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit_transform(  # scikit-learn's own would call transform, which is the extension
        self,
        X: ArrayLike,  # noqa: N803
        y: object = None,
        **fit_params: Any,
    ) -> NDArray[np.float32]:
        """Fits, and returns ``embedding_`` (N, n_components) float32."""
        embedding: NDArray[np.float32] = self.fit(X).embedding_
        return embedding

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:  # noqa: N803
        """Places new points X (Q, F) in the embedding, (Q, n_components) float32.

        Raises:
            InputError: If X does not have the fitted features, a number is not finite, or so
                many components were asked for that an eigenvalue is not positive.
        """
        check_is_fitted(self)
        points = checked_points(self, X, fitting=False)
        usable = self.n_extending_
        if usable < self.n_components:
            mend = "lower n_components" if usable else "the fitted points hardly differ: add others"
            raise InputError(
                f"Laplacian Eigenmaps: only {usable} of n_components={self.n_components} extend "
                f"to new points; {mend}"
            )
        neighbours = nearest(points, self._train, self.n_neighbors)
        weights = self._edge_weights(neighbours.distances)
        weights /= weights.sum(axis=1, keepdims=True)
        shape = (len(points), len(self._train))
        starts = np.arange(len(points) + 1) * self.n_neighbors
        step = sp.csr_array((weights.ravel(), neighbours.indices.ravel(), starts), shape=shape)
        placed: NDArray[np.float32] = step @ self.embedding_ / self.eigenvalues_
        return placed.astype(np.float32)

    def _check(self, points: NDArray[np.float32]) -> None:
        if self.weights not in ("connectivity", "heat"):
            raise InputError(f"weights={self.weights!r}: valid are 'connectivity' and 'heat'")
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise InputError(f"bandwidth={self.bandwidth} must be above 0, or None")
        if not 1 <= self.n_neighbors < len(points):
            raise InputError(
                f"n_neighbors={self.n_neighbors} must be at least 1 and below the "
                f"{len(points)} points there are"
            )
        if not 1 <= self.n_components < len(points) - 1:
            raise InputError(
                f"n_components={self.n_components} must be at least 1 and below "
                f"{len(points) - 1}, the number of points less one"
            )

    def _bandwidth(self, neighbours: Neighbours) -> float | None:
        """The heat kernel's width; among nothing but duplicates any width gives the same."""
        if self.weights == "connectivity":
            return None
        return self.bandwidth or float(neighbours.distances[:, -1].mean(dtype=np.float64)) or 1.0

    def _edge_weights(self, distances: NDArray[np.float32]) -> NDArray[np.float64]:
        """Weights of edges of these lengths, in the same shape."""
        if self.bandwidth_ is None:
            return np.ones(distances.shape)
        heat = np.exp(-((distances.astype(np.float64) / self.bandwidth_) ** 2) / 2)
        return np.maximum(heat, _LEAST_WEIGHT)

    def _joined(self, points: NDArray[np.float32], graph: sp.csr_array) -> sp.csr_array:
        """The graph with its components joined by the shortest edges between them."""
        while True:
            count, component = connected_components(graph, directed=False)
            if count == 1:
                return graph
            largest = np.bincount(component).argmax()
            edges = [
                _shortest_exit(points, component == other)
                for other in range(count)
                if other != largest  # the others' edges reach it
            ]
            start, stop, length = (np.array(column) for column in zip(*edges, strict=True))
            weights = self._edge_weights(length.astype(np.float32))
            added = sp.csr_array((weights, (start, stop)), shape=graph.shape)
            graph = graph.maximum(added).maximum(added.T).tocsr()


def _symmetric(neighbours: Neighbours, weights: NDArray[np.float64]) -> sp.csr_array:
    """The graph W = max(W, Wᵀ) of directed edges i -> neighbours (N, k) with weights (N, k)."""
    count, k = weights.shape
    starts = np.arange(count + 1) * k
    directed = sp.csr_array(
        (weights.ravel(), neighbours.indices.ravel(), starts), shape=(count, count)
    )
    return directed.maximum(directed.T).tocsr()


def _shortest_exit(
    points: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[int, int, float]:
    """The shortest edge out of the set ``inside`` (N,): its two ends and its length."""
    own, others = np.flatnonzero(inside), np.flatnonzero(~inside)
    exits = nearest(points[own], points[others], 1)
    first = int(exits.distances[:, 0].argmin())
    return int(own[first]), int(others[exits.indices[first, 0]]), float(exits.distances[first, 0])


def _leading(
    graph: sp.csr_array, count: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ``count`` largest nontrivial eigenvalues, falling, and their y (N, count), scaled."""
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = 1 / np.sqrt(degree)
    adjacency = (sp.diags_array(scale) @ graph @ sp.diags_array(scale)).tocsr()
    trivial = np.sqrt(degree / degree.sum())
    size = len(degree)

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        # 2 off the trivial eigenvalue 1 makes it the least there can be, never mixed with those
        # near 1 that loosely joined components have.
        flat = vector.ravel()
        return np.asarray(adjacency @ flat - 2 * trivial * (trivial @ flat))

    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    first = np.random.default_rng(seed).standard_normal(size)
    # ARPACK's own products are too small to share: with several threads they wait for each other,
    # on a busy machine for most of the time (16,000 images, 32 columns: 12.8 s, with one 0.2 s).
    with cores.one_blas_thread():
        values, vectors = eigsh(operator, k=count, which="LA", v0=first, tol=_TOLERANCE)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    embedding = vectors * (scale * np.sqrt(degree.sum()))[:, None]
    largest = np.abs(embedding).argmax(axis=0)
    return values, embedding * np.sign(embedding[largest, np.arange(count)])


def checked_points(
    estimator: BaseEstimator,
    X: ArrayLike,  # noqa: N803 (scikit-learn's name)
    *,
    fitting: bool,
    dtype: Any = np.float32,
) -> NDArray[Any]:
    """Points (N, F), finite, without a copy where they are of that type already."""
    least = 2 if fitting else 1
    _check_shape(X, type(estimator).__name__, least)
    try:
        points: NDArray[Any] = validate_data(
            estimator,
            X,
            reset=fitting,
            dtype=dtype,
            order="C",
            ensure_min_samples=least,
        )
    except ValueError as error:
        said = " ".join(str(error).split())
        if said.startswith("Input X contains"):  # goes on with classifiers that do not mind
            said = f"{said.partition('. ')[0].removesuffix('.')}; leave such rows out"
        raise InputError(said) from None
    return points


def _check_shape(X: ArrayLike, name: str, least: int) -> None:  # noqa: N803
    """Refuses what are not rows, or too few, before scikit-learn does in its inner words."""
    try:
        shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
    except ValueError:  # rows of several lengths
        return
    if shape and shape[0] < (least if len(shape) == 2 else 1):
        samples = number_of(shape[0], "sample")
        raise InputError(f"X: has {samples}, and {name} needs at least {least}")
    if len(shape) != 2:
        found = type(X).__name__ if shape == () else f"shape {tuple(shape)}"
        raise InputError(f"X: must be rows (N, F) of numbers, found {found}. Reshape your data")
    if shape[1] == 0:
        raise InputError(
            f"X: 0 feature(s) (shape={tuple(shape)}) while a minimum of 1 is required; give rows "
            "of numbers"
        )
