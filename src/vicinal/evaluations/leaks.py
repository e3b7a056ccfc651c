"""Leaks: which test pictures are copies of training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.evaluations.same_picture import first_equal, same_pictures


@dataclass(frozen=True, eq=False)
class Leaks:
    """Pairs of a training and a test picture that are the same.

    Attributes:
        pairs: Array (P, 2) int64 of rows, training and test, the least different first.
        differences: Array (P,) float32: 0 for equal pixels, see `same_picture.SAME` for the rest;
            of sets without pixels, the distance of the representations.
        tested: Number of test pictures.
        limit: The greatest difference of a pair.
        doubt: Why the limit is not sure, as the end of a sentence; None where it is.
    """

    pairs: NDArray[np.int64]
    differences: NDArray[np.float32]
    tested: int
    limit: float
    doubt: str | None = None

    @property
    def leaked(self) -> NDArray[np.int64]:
        """Array (L,), the test rows of which a copy is in training; rising."""
        return np.unique(self.pairs[:, 1])

    def told(self) -> str:
        """How many, in one line."""
        exact = len(np.unique(self.pairs[self.differences == 0, 1]))
        count = len(self.leaked)
        return (
            f"{count:,} of {self.tested:,} test pictures are copies of training pictures "
            f"({exact:,} exact, {count - exact:,} nearly)"
        )


def find_leaks(
    train: NDArray[np.uint8],
    test: NDArray[np.uint8],
    more: NDArray[np.int64] | None = None,
    *,
    cropped: bool = True,
) -> Leaks:
    """Finds copies of training pictures among test pictures by their pixels.

    A test picture that equals training pictures is paired with the first of these alone.

    Args:
        train: Array (N, 32, 32, C), as `same_picture.made_small` has them.
        test: Array (M, 32, 32, C).
        more: Candidates (P, 2) of rows besides those of `same_pictures`.
        cropped: As there.
    """
    first = first_equal(np.concatenate([train, test]))
    ours = np.flatnonzero(first[: len(train)] == np.arange(len(train)))
    equal = np.flatnonzero(first[len(train) :] < len(train))
    exact = np.stack([first[len(train) + equal], equal], axis=1)
    theirs = np.setdiff1d(np.arange(len(test)), equal)
    if not len(theirs):
        return Leaks(exact, np.zeros(len(exact), np.float32), len(test), 0.0)
    if more is not None:
        place = np.full(len(test), -1)
        place[theirs] = np.arange(len(theirs))
        row = np.searchsorted(ours, first[more[:, 0]])
        more = np.stack([row, place[more[:, 1]]], axis=1)[place[more[:, 1]] >= 0]
    near = same_pictures(train[ours], test[theirs], more, cropped=cropped)
    pairs = np.concatenate(
        [exact, np.stack([ours[near.pairs[:, 0]], theirs[near.pairs[:, 1]]], axis=1)]
    )
    apart = np.maximum(near.differences, np.float32(1e-6))  # 0 is for equal pixels alone
    lengths = np.concatenate([np.zeros(len(exact), np.float32), apart])
    order = np.lexsort((pairs[:, 1], pairs[:, 0], lengths))
    return Leaks(pairs[order], lengths[order], len(test), near.limit, near.doubt)
