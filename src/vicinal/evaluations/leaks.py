"""Leaks: which pictures of one set, or part, are copies of another's; and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.duplicates import find_duplicates
from vicinal.evaluations.probe import converged_probe
from vicinal.evaluations.same_picture import field_levels, first_equal, made_small, same_pictures
from vicinal.file_names import as_path
from vicinal.files import read_json
from vicinal.images import MOST_PIXELS, SOURCES, decoding, load_parts, named
from vicinal.images.skipped import BadPictureError
from vicinal.progress import counted
from vicinal.representations.embed import from_parts
from vicinal.representations.neighbours import nearest
from vicinal.representations.representations import PLAN, Representations, is_explored

SIZE = 64
"""Height and width to which pictures are decoded."""
_NEAR = 4


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

    def summary(self) -> list[str]:
        """How many, in one line."""
        exact = len(np.unique(self.pairs[self.differences == 0, 1]))
        count = len(self.leaked)
        return [
            f"{count:,} of {self.tested:,} test pictures are copies of training pictures "
            f"({exact:,} exact, {count - exact:,} nearly)"
        ]


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


@dataclass(frozen=True, eq=False)
class Pictures:
    """A set of pictures as duplicates and leaks are looked for in it.

    Attributes:
        embeddings: The pictures; without an encoder, a representation is 8 × 8 means of pixels.
        small: Array (N, 32, 32, 3) uint8, see `made_small`; None where pixels cannot be had.
        encoded: Whether an encoder made the representations.
        why: Why there are no pixels, for the user; None where there are.
    """

    embeddings: Representations
    small: NDArray[np.uint8] | None
    encoded: bool
    why: str | None = None

    def take(self, rows: NDArray[np.int64]) -> Pictures:
        """The pictures at ``rows`` (K,)."""
        small = None if self.small is None else self.small[rows]
        return replace(self, embeddings=self.embeddings.take(rows), small=small)


@dataclass(frozen=True, eq=False)
class Leaked:
    """Copies between two sets.

    Attributes:
        train: The set of which copies are looked for.
        test: The set in which they are looked for.
        leaks: The copies.
        accuracy: Of a linear probe fitted to ``train``, on all of ``test`` (``all``), on what is no
            copy (``without``) and on the copies (``copies``); None where it cannot be had.
    """

    train: Pictures
    test: Pictures
    leaks: Leaks
    accuracy: dict[str, float] | None

    def listed(self) -> list[dict[str, Any]]:
        """Each pair as plain data."""
        return [
            {
                "difference": float(difference),
                **{f"{name}_a": text for name, text in self.train.embeddings.describe(a).items()},
                **{f"{name}_b": text for name, text in self.test.embeddings.describe(b).items()},
            }
            for (a, b), difference in zip(
                self.leaks.pairs.tolist(), self.leaks.differences.tolist(), strict=True
            )
        ]

    def header(self) -> list[str]:
        """The names that `listed` gives."""
        ends = (("a", self.train), ("b", self.test))
        return ["difference"] + [f"{n}_{end}" for end, s in ends for n in s.embeddings.columns()]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "limit": self.leaks.limit,
            "warning": self.warning(),
            "tested": self.leaks.tested,
            "leaked": self.test.embeddings.ids[self.leaks.leaked].tolist(),
            "probe_accuracy": self.accuracy,
            "pairs": self.listed(),
        }

    def warning(self) -> str | None:
        """One line where what counts as a copy is not sure."""
        why = [*([self.leaks.doubt] if self.leaks.doubt else [])]
        why += [one.why for one in (self.train, self.test) if one.why]
        return f"not sure: {why[0]}; look at the pairs" if why else None

    def summary(self) -> list[str]:
        """What was found, in a line or two."""
        lines = self.leaks.summary()
        if self.accuracy is not None and len(self.leaks.leaked):
            what = "representations" if self.train.encoded else "pixels"
            shown = self.accuracy
            lines.append(
                f"a linear probe on the {what}: {shown['all']:.1%} of all test pictures, "
                f"{shown['without']:.1%} without the copies, {shown['copies']:.1%} of the copies"
            )
        return lines


def read_pictures(
    source: str,
    *,
    data_dir: Path | None = None,
    exclude: Sequence[str] = (),
    max_pixels: int = MOST_PIXELS,
) -> Pictures:
    """Reads embeddings, with the pixels of their pictures where these can be had, or pictures.

    Args:
        source: A file or folder of embeddings, or what `vicinal.images.load` takes.
        data_dir: Where downloads and decoded images are kept.
        exclude: Patterns of files that are left out.
        max_pixels: Pixels of a picture that may be decoded.

    Raises:
        InputError: If it is neither, or cannot be read.
    """
    if holds_embeddings(Path(source)):
        whole = Representations.load(source)
        small, why = _pixels_behind(whole)
        return Pictures(whole, small, True, why)
    # Whole, as a copy may lack a part of any side.
    how = decoding.Decoding(SIZE, 3, max_pixels=max_pixels)
    parts = load_parts(source, how, data_dir=data_dir, exclude=exclude)
    small = np.concatenate([made_small(part.images.pixels) for part in parts])
    array = (field_levels(small) / np.float32(255)).reshape(len(small), -1)
    return Pictures(from_parts(parts, array, {"source": named(source)}), small, False)


def holds_embeddings(path: Path) -> bool:
    """Whether a path leads to embeddings rather than pictures."""
    if is_explored(path):
        return True
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        if not files:
            return False
        if (path / PLAN).is_file() and read_json(path / PLAN):
            return True
        path = files[0]
    if path.suffix != ".parquet" or not path.is_file():
        return False
    try:
        return "representation" in pq.read_schema(path).names
    except Exception:  # an unreadable file is refused, with its reason, by who reads it
        return True


def holds_pictures(source: str) -> bool:
    """Whether it is a source of pictures that is there, and no file or folder of embeddings."""
    full = named(source)
    there = Path(source).exists() or full != source or ":" in full or source in SOURCES
    return there and not source.endswith(".parquet") and not holds_embeddings(Path(source))


def _pixels_behind(whole: Representations) -> tuple[NDArray[np.uint8] | None, str | None]:
    """The pictures of embeddings made small, or why they cannot be had."""
    if whole.paths is not None:
        found = []
        try:
            with counted("pictures", len(whole)) as advance:
                for path in whole.paths.tolist():
                    square = decoding.decode(as_path(path), path, size=SIZE, channels=3)
                    found.append(made_small(square[None])[0])
                    advance(1)
        except (BadPictureError, OSError, InputError):
            return None, f"{path} cannot be read, so the representations alone were compared"
        return np.stack(found), None
    return None, "the file names no pictures, so the representations alone were compared"


@cores.shared()
def leaks_between(train: Pictures, test: Pictures, *, seed: int = 0) -> Leaked:
    """Finds which pictures of ``test`` are copies of pictures of ``train``.

    Pixels decide where both have them, else distances as in `find_duplicates`.

    Raises:
        InputError: If there are neither pixels nor representations of one encoder.
    """
    one, other = train.embeddings.as_compared(), test.embeddings.as_compared()
    comparable = train.encoded == test.encoded and one.array.shape[1] == other.array.shape[1]
    if train.small is not None and test.small is not None:
        more = None
        if comparable:
            near = nearest(other.array, one.array, min(_NEAR, len(one))).indices
            rows = np.repeat(np.arange(len(other)), near.shape[1])
            more = np.stack([near.ravel(), rows], axis=1)
        leaks = find_leaks(train.small, test.small, more)
    elif comparable:
        leaks = _by_vectors(one, other)
    else:
        raise InputError(
            f"{option('against')}: neither pixels nor representations of one encoder; give "
            "pictures, or embed both with one encoder"
        )
    return Leaked(train, test, leaks, _accuracy(one, other, leaks.leaked, seed, comparable))


def leaks_within(pictures: Pictures) -> Leaked | None:
    """The copies between the parts of a set: training, then all others; None without parts."""
    splits = pictures.embeddings.splits
    if splits is None or len(set(splits.tolist())) < 2:
        return None
    teaches = splits == ("train" if "train" in splits else splits[0])
    return leaks_between(*(pictures.take(np.flatnonzero(rows)) for rows in (teaches, ~teaches)))


def _by_vectors(one: Representations, other: Representations) -> Leaks:
    array = np.concatenate([one.array, other.array])
    found = find_duplicates(Representations(array, np.arange(len(array)).astype(np.str_)))
    ends, lengths = [], []
    for rows in found.groups:  # equal rows are paired with the first of them alone
        ours, theirs = rows[rows < len(one)], rows[rows >= len(one)]
        if len(ours):
            near = nearest(array[theirs], array[ours], 1) if len(theirs) else None
            if near is not None:
                ends.append(np.stack([ours[near.indices[:, 0]], theirs - len(one)], axis=1))
                lengths.append(near.distances[:, 0])
    pairs = np.concatenate([np.empty((0, 2), np.int64), *ends])
    apart = np.concatenate([np.empty(0, np.float32), *lengths])
    order = np.argsort(apart, kind="stable")
    return Leaks(pairs[order], apart[order], len(other), found.threshold, found.doubt)


def _accuracy(
    one: Representations,
    other: Representations,
    leaked: NDArray[np.int64],
    seed: int,
    comparable: bool,
) -> dict[str, float] | None:
    """What a probe is right in, with and without copies; None without labels on both sides."""
    given, wanted = one.label_names, other.label_names
    if not comparable or not len(leaked) or given is None or wanted is None:
        return None
    ours, theirs = np.flatnonzero(given != ""), np.flatnonzero(wanted != "")
    theirs = theirs[np.isin(wanted[theirs], given[ours])]
    names, labels = np.unique(given[ours], return_inverse=True)
    copy = np.isin(theirs, leaked)
    if len(names) < 2 or len(ours) < 10 or copy.all() or not copy.any():
        return None
    answers = np.searchsorted(names, wanted[theirs])
    known = [
        Representations(set_.array[rows], set_.ids[rows], codes, tuple(names.tolist()))
        for set_, rows, codes in ((one, ours, labels), (other, theirs, answers))
    ]
    right = converged_probe(known[0], known[1], seed=seed).predictions == answers
    return {
        "all": float(right.mean()),
        "without": float(right[~copy].mean()),
        "copies": float(right[copy].mean()),
    }
