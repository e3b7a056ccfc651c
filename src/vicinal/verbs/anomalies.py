"""anomalies: the odd pictures of a set, with how rarely a normal one looks as odd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.anomaly import anomaly_scores
from vicinal.evaluations.conformal import conformal_p_values, conformal_threshold
from vicinal.evaluations.probe_result import wilson_interval
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.index import Index
from vicinal.representations.neighbours import Neighbours
from vicinal.verbs.pairing import check_one_encoder

_HELD_OUT = 0.4  # of a reference without parts: half calibrates, half measures
_SEED = 0


@dataclass(frozen=True, eq=False)
class Ranked:
    """Pictures by how odd they are.

    Attributes:
        scores: Array (N,) float32, mean distance to the k nearest normal pictures.
        p_values: Array (N,) float64, the share of normal pictures at least as odd.
        threshold: The score above which a picture is flagged.
        order: Array (N,) int64, rows from the oddest on.
        bank: How many normal pictures scores are distances to.
        calibration: How many others gave the p-values; 0 without a reference.
        measured: The share of further normal pictures that the threshold flags, with its 95 %
            interval and their number; None without a reference.
    """

    scores: NDArray[np.float32]
    p_values: NDArray[np.float64]
    threshold: float
    order: NDArray[np.int64]
    bank: int
    calibration: int
    measured: dict[str, Any] | None

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Every picture as plain data, the oddest first."""
        return [
            {
                "rank": rank,
                **embeddings.describe(row),
                "score": float(self.scores[row]),
                "p_value": float(self.p_values[row]),
                "flagged": bool(self.scores[row] > self.threshold),
            }
            for rank, row in enumerate(self.order.tolist(), 1)
        ]

    def to_json(self, embeddings: Embeddings) -> dict[str, Any]:
        """All of it as plain data."""
        listed = self.listed(embeddings)
        return {
            "threshold": self.threshold,
            "flagged": sum(picture["flagged"] for picture in listed),
            "bank": self.bank,
            "calibration": self.calibration,
            "measured": self.measured,
            "pictures": listed,
        }


@cores.shared()
def rank_anomalies(
    embeddings: Embeddings,
    reference: Embeddings | None = None,
    *,
    false_alarms: float = 0.01,
    k: int = 2,
    index: Index | None = None,
) -> Ranked:
    """Scores pictures by their distance to normal ones, and calibrates the score.

    The reference is parted: scores are distances to its bank, held-out pictures calibrate
    p-values and threshold, and further ones, which did neither, measure how many the threshold
    flags. Its own test part is held out if it has one, else a seeded 40 %. Without a reference
    each picture is held against all others of the set, left out by its row: the p-value is then
    its rank within the set, and the threshold flags that share of it, at most.

    Args:
        embeddings: The pictures to rank.
        reference: Normal pictures, none of them in the set.
        false_alarms: The share of normal pictures that may be flagged.
        k: Neighbours whose mean distance is the score.
        index: The index of the reference, or without one of the set, row for row; then the
            neighbours are nearly the nearest.

    Raises:
        InputError: If sets do not fit together or are too small for ``k`` or the rate.
    """
    if reference is None:
        return rank_within(_own_scores(embeddings, k, index), false_alarms=false_alarms)
    _check_apart(embeddings, reference)
    bank, calibration, further = _parted(reference)
    if index is None:
        everything = reference.representations()
        normal = everything.take(bank)
        held_out = anomaly_scores(normal, everything.take(calibration), k=k)
        judged = anomaly_scores(normal, everything.take(further), k=k)
        scores = anomaly_scores(normal, embeddings.representations(), k=k)
    else:
        among = np.zeros(len(index), dtype=np.bool_)
        among[bank] = True
        held_out = _means(index.nearest_of(calibration, k, among=among))
        judged = _means(index.nearest_of(further, k, among=among))
        scores = _means(index.nearest(embeddings.array, k, among=among))
    threshold = conformal_threshold(held_out, false_alarms)
    flagged = judged > threshold
    return Ranked(
        scores,
        conformal_p_values(scores, held_out),
        threshold,
        np.argsort(-scores, kind="stable"),
        len(bank),
        len(calibration),
        {
            "rate": float(flagged.mean()),
            "interval": wilson_interval(int(flagged.sum()), len(flagged)),
            "n": len(flagged),
        },
    )


def _own_scores(embeddings: Embeddings, k: int, index: Index | None) -> NDArray[np.float32]:
    """Scores (N,) of a set's pictures, each against all others."""
    if index is not None:
        return _means(index.nearest_of(np.arange(len(index)), k))
    own = embeddings.representations()
    return anomaly_scores(own, own, k=k, exclude_self=True)


def _means(found: Neighbours) -> NDArray[np.float32]:
    """The scores (Q,) of neighbours that an index found, as `anomaly_scores` has them."""
    means: NDArray[np.float64] = found.distances.mean(axis=1, dtype=np.float64)
    return means.astype(np.float32)


def rank_within(scores: NDArray[np.float32], *, false_alarms: float = 0.01) -> Ranked:
    """Ranks pictures by scores (N,) against all others; each score is among those that rank it.

    Raises:
        InputError: If the rate is not between 0 and 1.
    """
    n = len(scores)
    if not 0 < false_alarms < 1:
        raise InputError(f"{option('false_alarms', false_alarms)}: give a rate between 0 and 1")
    at_least = n - np.searchsorted(np.sort(scores), scores, side="left")
    most = min(n - 1, int(false_alarms * n + 1e-9))  # pictures that may be flagged
    threshold = float(np.sort(scores)[n - 1 - most])
    order = np.argsort(-scores, kind="stable")
    return Ranked(scores, at_least / n, threshold, order, n - 1, 0, None)


def rank_beside(
    scores: NDArray[np.float32], known: NDArray[np.bool_], *, false_alarms: float = 0.01
) -> Ranked:
    """Ranks known pictures among themselves as `rank_within`, and new ones against those.

    Args:
        scores: Array (N,) float32, distances to known pictures only.
        known: Array (N,) bool, which pictures are known, one at least.
        false_alarms: As in `rank_within`; the share of the known ones that may be flagged.
    """
    within = rank_within(scores[known], false_alarms=false_alarms)
    p_values = np.empty(len(scores))
    p_values[known] = within.p_values
    p_values[~known] = conformal_p_values(scores[~known], scores[known])
    order = np.argsort(-scores, kind="stable")
    return Ranked(scores, p_values, within.threshold, order, int(known.sum()), 0, None)


def _parted(
    reference: Embeddings,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the bank, of the calibration and of what measures."""
    shuffled = np.random.default_rng(_SEED).permutation(len(reference))
    if reference.splits is not None and {"train", "test"} <= set(reference.splits.tolist()):
        is_bank = reference.splits[shuffled] == "train"
        bank, held_out = shuffled[is_bank], shuffled[~is_bank]
    else:
        count = round(_HELD_OUT * len(shuffled))
        bank, held_out = shuffled[count:], shuffled[:count]
    half = len(held_out) // 2
    if half == 0:
        raise InputError(
            f"{option('reference')}: {len(reference)} normal pictures are too few to hold some "
            "out; "
            "give more, or leave the reference out"
        )
    return np.sort(bank), held_out[:half], held_out[half:]


def _check_apart(embeddings: Embeddings, reference: Embeddings) -> None:
    """Refuses pictures that are in both sets: a picture is no judge of itself."""
    check_one_encoder(embeddings, reference, ("the set", option("reference")))
    _, mine, theirs = np.intersect1d(
        embeddings.ids, reference.ids, assume_unique=True, return_indices=True
    )
    # Two folders may both have a 001.jpg; the same name with the same numbers is one picture.
    same = (embeddings.array[mine] == reference.array[theirs]).all(axis=1)
    if same.any():
        raise InputError(
            f"{option('reference')}: {int(same.sum())} pictures are in both sets, such as "
            f"{embeddings.ids[mine[same][0]]}; keep them in one, or leave the reference out"
        )
