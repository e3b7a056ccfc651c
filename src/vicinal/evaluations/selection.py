"""Label these first: a few images that stand for a set, beside those that are labelled already."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from vicinal import cores
from vicinal.errors import InputError, number_of, option
from vicinal.evaluations.groups import reduced
from vicinal.evaluations.score import Answer, checked
from vicinal.representations.neighbours import nearest
from vicinal.representations.pairing import read_labels
from vicinal.representations.representations import Representations

_STEPS = 20  # of k-means
_MOST = 2_000  # groups made for the sake of what is labelled already: more take minutes

Rows = NDArray[np.int64]
Points = NDArray[np.float32]


OWN = "own"
"""Stands for the labels that the representations have themselves."""


@dataclass(frozen=True, eq=False)
class Selected(Answer):
    """Images to label first.

    Attributes:
        rows: Array (K,) int64, those that stand for most images first.
        stands_for: Array (K,) int64, for how many images without a label each is the nearest of
            all that are chosen or labelled, itself among them.
        labelled: How many images were labelled already.
        method: How they were chosen.
    """

    rows: Rows
    stands_for: NDArray[np.int64]
    labelled: int
    method: str

    def header(self, pictures: Representations) -> list[str]:
        """The names that `listed` gives; `vicinal probe` reads id and label of them."""
        known = [name for name in pictures.columns() if name != "label"]
        return ["rank", *known, "label", "stands_for"]

    def listed(self, pictures: Representations) -> list[dict[str, Any]]:
        """Each image as plain data, with an empty label to be filled in."""
        pairs = zip(self.rows.tolist(), self.stands_for.tolist(), strict=True)
        return [
            {"rank": rank} | pictures.describe(row) | {"label": "", "stands_for": number}
            for rank, (row, number) in enumerate(pairs, 1)
        ]

    def to_json(self, pictures: Representations) -> dict[str, Any]:
        """All of it as plain data."""
        listed = self.listed(pictures)
        return {"method": self.method, "labelled": self.labelled, "pictures": listed}


def select(
    array: NDArray[np.float32],
    count: int,
    *,
    labelled: Rows | None = None,
    method: str = "typical",
    seed: int = 0,
) -> Selected:
    """Chooses images to label first, in the 64 directions in which the images differ most.

    Args:
        array: Representations (N, F) float32.
        count: How many to choose.
        labelled: Array (L,) int64, rows that have a label: none of them is chosen, and what is
            chosen is not near them.
        method: One of `METHODS`.
        seed: Seed of the directions, of k-means and of the random draw.

    Raises:
        InputError: If there is no such method, fewer than ``count`` images have no label, or a
            representation is not finite.
    """
    checked(array, "a selection", least=1)
    held = np.unique(np.empty(0, np.int64) if labelled is None else labelled)
    free = len(array) - len(held)
    if seed < 0:
        raise InputError(f"{option('seed', seed)}: give 0 or more")
    if method not in METHODS:
        raise InputError(f"{option('method', method)}: give {', '.join(METHODS)}")
    if free == 0:
        raise InputError(f"all {len(held):,} pictures are labelled already; none is left to choose")
    if not 1 <= count <= free:
        others = f" not among the {len(held):,} labelled" if len(held) else ""
        raise InputError(
            f"{option('count', count)}: the set has {number_of(free, 'picture')}{others}; "
            f"ask for {'1' if free == 1 else f'1 to {free}'}"
        )
    points = reduced(array, seed)
    rows = METHODS[method](points, count, held, seed)
    anchors = np.concatenate([rows, held])
    unlabelled = np.setdiff1d(np.arange(len(array)), held)
    own = nearest(points[unlabelled], points[anchors], 1).indices[:, 0]
    stands_for = np.bincount(own, minlength=len(anchors))[:count]
    order = np.argsort(-stands_for, kind="stable")
    return Selected(rows[order], stands_for[order], len(held), method)


def _typical(points: Points, count: int, labelled: Rows, seed: int) -> Rows:
    """The image nearest to the mean of each of ``count`` k-means groups that have no label yet.

    Hacohen, Dekel, Weinshall: Active learning on a budget, ICML 2022 (TypiClust): as many groups
    as there will be labels; the largest of those with fewest labels are served. They take the
    densest place of a group, this the place nearest to its mean.
    """
    groups = min(len(points), max(count, min(count + len(labelled), _MOST)))
    with warnings.catch_warnings():  # of images that are alike there are fewer groups, see below
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans = KMeans(groups, n_init=1, max_iter=_STEPS, random_state=seed).fit(points)
    group = kmeans.labels_
    apart = np.square(points - kmeans.cluster_centers_[group]).sum(axis=1)
    apart[labelled] = np.inf
    first = np.lexsort((apart, group))  # of each group the images, the nearest to its mean first
    heads = first[np.flatnonzero(np.diff(group[first], prepend=-1))]
    heads = heads[np.isfinite(apart[heads])]
    taken = np.bincount(group[labelled], minlength=groups)[group[heads]]
    sizes = np.bincount(group, minlength=groups)[group[heads]]
    rows: Rows = heads[np.lexsort((-sizes, taken))][:count]
    missing = count - len(rows)
    if missing:
        rows = np.concatenate(
            [rows, _k_centre(points, missing, np.concatenate([rows, labelled]), seed)]
        )
    return rows


def _k_centre(points: Points, count: int, labelled: Rows, seed: int) -> Rows:
    """Each time the image farthest from all that are chosen or labelled; first, the middle one.

    Gonzalez: Clustering to minimize the maximum intercluster distance, Theoretical Computer
    Science 1985; as active learning Sener and Savarese, ICLR 2018.
    """
    apart = np.full(len(points), np.inf)
    for row in labelled.tolist():
        apart = np.minimum(apart, np.square(points - points[row]).sum(axis=1))
    apart[labelled] = -1  # an image that is taken is never the farthest, whatever the others are
    rows = []
    for _ in range(count):
        middle = np.isinf(apart).any()
        row = int(np.square(points).sum(axis=1).argmin() if middle else apart.argmax())
        apart = np.minimum(apart, np.square(points - points[row]).sum(axis=1))
        apart[row] = -1
        rows.append(row)
    return np.array(rows, np.int64)


def _random(points: Points, count: int, labelled: Rows, seed: int) -> Rows:
    """A draw."""
    free: Rows = np.setdiff1d(np.arange(len(points)), labelled)
    return np.random.default_rng(seed).permutation(free)[:count]


METHODS: dict[str, Callable[[Points, int, Rows, int], Rows]] = {
    "typical": _typical,
    "k-centre": _k_centre,
    "random": _random,
}
"""(points (N, D) around their mean, count, labelled rows, seed) → rows (count,)."""


@cores.shared()
def select_pictures(
    embeddings: Representations,
    count: int,
    *,
    labels: str | Path | None = None,
    method: str = "typical",
    seed: int = 0,
) -> Selected:
    """Chooses the pictures to label first.

    Args:
        embeddings: The pictures; labels in that file are not looked at unless asked for.
        count: How many.
        labels: What is labelled already: a CSV for `vicinal.representations.pairing.read_labels`,
            whose column ``label`` may be absent, or ``own`` for the labels in the embeddings.
        method: One of `vicinal.evaluations.selection.METHODS`.
        seed: Seed of what is random in it.

    Raises:
        InputError: If there are fewer pictures without a label, or the labels cannot be read.
    """
    if labels is None:
        held = np.empty(0, np.int64)
    elif str(labels) == OWN:
        if embeddings.labels is None:
            raise InputError(f"{option('labels', OWN)}: the embeddings have no labels")
        held = np.flatnonzero(embeddings.labels >= 0)
    else:
        named = read_labels(Path(labels), embeddings, needed=False)
        held = np.array(sorted(named), dtype=np.int64)
    return select(embeddings.as_compared().array, count, labelled=held, method=method, seed=seed)
