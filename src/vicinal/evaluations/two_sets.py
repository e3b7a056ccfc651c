"""Are two sets alike? A permutation test, how well they are told apart, and what is new in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.anomalies import NEAREST, anomaly_scores, conformal_p_values, score_of
from vicinal.evaluations.groups import reduced
from vicinal.evaluations.label_probe import PENALTY, out_of_fold
from vicinal.evaluations.score import Score, checked
from vicinal.evaluations.softmax import Array32, Array64, standardisation
from vicinal.representations.neighbours import nearest
from vicinal.representations.pairing import check_one_encoder
from vicinal.representations.representations import Representations

MOST = 1_000
"""Images of each set that the test takes, a seeded draw: more find smaller differences."""
PERMUTATIONS = 999
_BLOCK = 64  # permutations at a time
COLUMNS = ("score", "times_usual", "p_value", "flagged", "nearest")


@dataclass(frozen=True, eq=False)
class TwoSample:
    """What a test of two sets says.

    Attributes:
        p_value: The share of random divisions of both sets together that lie at least as far
            apart, this one among them; from 1 / (permutations + 1). Where both sets are drawn
            alike, it is at most α in a share α of all cases.
        mmd: The maximum mean discrepancy, its square unbiased: 0 on average for equal sets.
        told_apart: The AUROC of a classifier that says of which set an image is, on images it was
            not fitted on: 0.5 where it cannot, 1 where it always can.
        taken: How many images of each set the test took.
        permutations: How many random divisions.
    """

    p_value: float
    mmd: float
    told_apart: Score
    taken: tuple[int, int]
    permutations: int


@dataclass(frozen=True, eq=False)
class New:
    """How unlike each image of a set is to all of another.

    Attributes:
        scores: Array (N,) float32, mean L2 distance to the 2 nearest images of the other set.
        times: Array (N,) float64, the same divided by the median of the other set's own images.
        p_values: Array (N,) float64, see `new_images`.
        nearest: Array (N,) int64, the row of the nearest image of the other set.
    """

    scores: NDArray[np.float32]
    times: Array64
    p_values: Array64
    nearest: NDArray[np.int64]


def two_sample(
    one: Array32, other: Array32, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> TwoSample:
    """Tests whether two sets of images may be drawn from one source.

    The statistic is the maximum mean discrepancy with a Gaussian kernel whose width is the median
    distance of all images taken (Gretton et al., A kernel two-sample test, JMLR 2012), in the 64
    directions in which both sets together differ most. Width and directions do not depend on which
    image is of which set, so the p-value is exact.

    Args:
        one: Representations (N, F) float32.
        other: Representations (M, F) float32.
        permutations: Random divisions that the p-value counts.
        seed: Seed of the draw, the divisions and the classifier's folds.

    Raises:
        InputError: If a set has fewer than 2 images, ``permutations`` is below 1, or a
            representation is not finite.
    """
    for array in (one, other):
        checked(array, "a comparison of two sets")
    if permutations < 1:
        raise InputError(f"{option('permutations', permutations)}: give 1 or more")
    rng = np.random.default_rng(seed)
    drawn = [array[np.sort(rng.permutation(len(array))[:MOST])] for array in (one, other)]
    both, count = np.concatenate(drawn), len(drawn[0])
    points = reduced(both, seed)
    kernel = _kernel(points)
    first = np.arange(len(both)) < count
    observed = float(_discrepancy(kernel, first[:, None])[0])
    at_least = 1
    for start in range(0, permutations, _BLOCK):
        block = min(_BLOCK, permutations - start)
        shuffled = np.stack([rng.permutation(first) for _ in range(block)], axis=1)
        at_least += int((_discrepancy(kernel, shuffled) >= observed - 1e-12).sum())
    return TwoSample(
        p_value=at_least / (permutations + 1),
        mmd=float(np.sqrt(max(observed, 0.0))),
        told_apart=_told_apart(points, first, seed),
        taken=(count, len(both) - count),
        permutations=permutations,
    )


def _kernel(points: Array32) -> Array64:
    """The Gaussian kernel (N, N) of points (N, D), 0 on the diagonal."""
    squares = cdist(points.astype(np.float64), points.astype(np.float64), "sqeuclidean")
    width = float(np.median(squares[np.triu_indices(len(points), 1)]))
    kernel: Array64 = np.exp(-squares / (width or 1.0))
    np.fill_diagonal(kernel, 0)
    return kernel


def _discrepancy(kernel: Array64, first: NDArray[np.bool_]) -> Array64:
    """The unbiased squared discrepancy (P,) of divisions (N, P) of the points, Gretton's (3).

    Args:
        kernel: Array (N, N), 0 on the diagonal.
        first: Which points are of the first set, as many in each column.
    """
    inside = first.astype(np.float64)
    n = int(first[:, 0].sum())
    m = len(first) - n
    total = float(kernel.sum())
    reached = kernel @ inside
    within = (inside * reached).sum(axis=0)
    across = ((1 - inside) * reached).sum(axis=0)
    beyond = total - within - 2 * across
    found: Array64 = within / (n * (n - 1)) + beyond / (m * (m - 1)) - 2 * across / (n * m)
    return found


def _told_apart(points: Array32, first: NDArray[np.bool_], seed: int) -> Score:
    """The AUROC of the out-of-fold classifier between the two sets."""
    classes = first.astype(np.int64)
    folds = min(5, int(np.bincount(classes).min()))
    shares = out_of_fold(
        standardisation(points), points, classes, (PENALTY,), folds=max(2, folds), seed=seed
    )[PENALTY][:, 1]
    auroc = float(roc_auc_score(first, shares))
    return Score("told_apart", auroc, 0.0, 1.0, "lower", 0.5, len(points), seed)


def new_images(images: Array32, known: Array32) -> New:
    """Scores images by their distance to known ones, with conformal p-values.

    A p-value is the share of the known images and this one whose distance to the other known
    images is at least as large. Where the image is drawn as they are, it is at most α with a
    probability of at most α: with the image among them, distances of known images could only
    be shorter, which is full conformal prediction (Vovk et al. 2005; Bates et al., Annals of
    Statistics 2023).

    Args:
        images: Representations (N, F) float32.
        known: Representations (M, F) float32, at least 3.

    Raises:
        InputError: If there are fewer known images, or dimensions differ.
    """
    if len(known) <= NEAREST:
        raise InputError(
            f"what is new needs at least {NEAREST + 1} known pictures, found {len(known)}"
        )
    found = nearest(images, known, NEAREST)
    usual = anomaly_scores(known, known, exclude_self=True).astype(np.float32)
    scores = score_of(found.distances).astype(np.float32)
    middle = float(np.median(usual))
    return New(
        scores,
        scores.astype(np.float64) / middle if middle > 0 else np.full(len(scores), np.nan),
        conformal_p_values(scores, usual),
        found.indices[:, 0],
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sets, A and B.

    Attributes:
        test: Whether they are alike.
        sets: A and B.
        names: What the user calls them.
        new: How unlike each picture of A is to all of B, and of B to all of A.
        false_alarms: The share of pictures that may be flagged where nothing is new.
    """

    test: TwoSample
    sets: tuple[Representations, Representations]
    names: tuple[str, str]
    new: tuple[New, New]
    false_alarms: float

    def flagged(self, which: int) -> NDArray[np.bool_]:
        """Which pictures of a set the other one has nothing like, (N,)."""
        return self.new[which].p_values <= self.false_alarms

    def order(self, which: int) -> NDArray[np.int64]:
        """The rows of a set, those that are least like the other set's pictures first."""
        return np.argsort(-self.new[which].scores, kind="stable")

    def header(self) -> list[str]:
        """Names of what `listed` says of a picture."""
        columns = [name for one in self.sets for name in one.columns()]
        return ["set", "rank", *dict.fromkeys(columns), *COLUMNS]

    def listed(self, which: int) -> list[dict[str, Any]]:
        """Each picture of A (0) or B (1) as plain data, what the other set has not first."""
        own, other, new = self.sets[which], self.sets[1 - which], self.new[which]
        flagged = self.flagged(which)
        return [
            {
                "set": "AB"[which],
                "rank": rank,
                **own.describe(row),
                "score": float(new.scores[row]),
                "times_usual": float(new.times[row]),
                "p_value": float(new.p_values[row]),
                "flagged": bool(flagged[row]),
                "nearest": str(other.ids[new.nearest[row]]),
            }
            for rank, row in enumerate(self.order(which).tolist(), 1)
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        test = self.test
        return {
            "p_value": test.p_value,
            "permutations": test.permutations,
            "taken": list(test.taken),
            "mmd": test.mmd,
            "told_apart": test.told_apart.to_json(),
            "false_alarms": self.false_alarms,
            **{
                letter: {
                    "name": self.names[which],
                    "pictures": len(self.sets[which]),
                    "flagged": int(self.flagged(which).sum()),
                    "listed": self.listed(which),
                }
                for which, letter in enumerate("AB")
            },
        }

    def summary(self) -> list[str]:
        """What was found, in a few lines."""
        test, rate = self.test, self.false_alarms
        low = test.p_value <= 0.05
        lines = [
            f"{'not alike' if low else 'no difference found'}: p = {test.p_value:.3g} "
            f"({test.permutations:,} permutations of {test.taken[0]:,} and {test.taken[1]:,} "
            f"pictures); a classifier tells them apart with AUROC {test.told_apart.value:.3f} "
            "(0.5: not at all, 1: always)"
        ]
        for which, letter in ((1, "B"), (0, "A")):
            other, count = "BA"[which], len(self.sets[which])
            fewest = 1 / (len(self.sets[1 - which]) + 1)
            lines.append(
                f"{int(self.flagged(which).sum()):,} of {count:,} pictures of {letter} are like "
                f"nothing in {other}; {rate * count:,.0f} would be by chance"
                if fewest <= rate
                else f"no picture of {letter} can be flagged at a rate of {rate:.2g}: {other} has "
                f"only {len(self.sets[1 - which])} pictures, enough for {fewest:.2g} or more"
            )
        return lines


@cores.shared()
def compare_sets(
    one: Representations,
    other: Representations,
    *,
    names: tuple[str, str] = ("A", "B"),
    false_alarms: float = 0.01,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Comparison:
    """Compares two sets of pictures that one encoder embedded.

    Args:
        one: A.
        other: B; pictures that are in A too are as like A as can be.
        names: What the user calls them, for messages.
        false_alarms: The share of pictures that may be flagged where nothing is new.
        permutations: Random divisions behind the p-value.
        seed: Seed of what is random in the test.

    Raises:
        InputError: If dimensions or encoders differ, a set has fewer than 3 pictures, or a number
            is out of range.
    """
    if not 0 < false_alarms < 1:
        raise InputError(f"{option('false_alarms', false_alarms)}: give a rate between 0 and 1")
    for name, each in zip(names, (one, other), strict=True):
        if len(each) < 3:
            raise InputError(f"{name}: {len(each)} pictures are too few to compare; give 3 or more")
    check_one_encoder(one, other, names)
    return Comparison(
        two_sample(one.array, other.array, permutations=permutations, seed=seed),
        (one, other),
        names,
        (new_images(one.array, other.array), new_images(other.array, one.array)),
        false_alarms,
    )
