"""PictureList: the pictures of a source, listed and not decoded; what every loader returns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import number_of
from vicinal.file_names import as_text
from vicinal.files import file_stamp
from vicinal.images.decoding import Given
from vicinal.images.labels_and_parts import Labels, chosen_test, part_of
from vicinal.images.skipped import Skipped

Index = NDArray[np.int64] | slice
"""Which pictures of a list: positions (K,), ascending, or a slice."""


class Place(Protocol):
    """Where the pictures of a list lie, in its order. It can be pickled."""

    def take(self, index: Index) -> Self:
        """The place of some of the pictures."""

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of pictures, does."""

    def pictures(self) -> Iterator[tuple[Given, str]]:
        """Each picture in turn, and what an error message calls it."""


@dataclass(frozen=True, eq=False)
class PictureList:
    """The pictures of a source, or of a part of it."""

    name: str  # what people call the set
    place: Place  # where the pictures lie
    ids: NDArray[np.str_]  # (N,) strings, unique within the list
    labels: NDArray[np.int64] | None = None  # (N,) int64 positions in ``class_names``, or None
    class_names: tuple[str, ...] = ()  # the names of the classes; empty without labels
    skipped: tuple[Skipped, ...] = ()  # what could not even be listed
    # lines for the user: where the labels are from, and what is not used
    notes: tuple[str, ...] = ()

    @classmethod
    def labelled(
        cls,
        name: str,
        place: Place,
        ids: NDArray[np.str_],
        labels: Labels,
        skipped: tuple[Skipped, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> PictureList:
        """A list with its labels, and the line that says where they are from."""
        codes, names, note = labels
        return cls(name, place, ids, codes, names, skipped, (note, *notes))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def throughout(self) -> bool:
        """Whether every picture has a label."""
        return self.labels is not None and bool((self.labels >= 0).all())

    def take(self, index: Index) -> PictureList:
        """The pictures at ``index``, positions (K,) int64 that ascend, or a slice."""
        labels = None if self.labels is None else self.labels[index]
        place = self.place.take(index)
        return replace(self, place=place, ids=self.ids[index], labels=labels)

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of pictures, does."""
        return self.place.stamp()

    def pictures(self) -> Iterator[tuple[Given, str]]:
        """Each picture in turn, and what an error message calls it."""
        return self.place.pictures()

    def ids_in(self, part: str | None) -> NDArray[np.str_]:
        """The ids that begin with the name of a part, if there is one."""
        if part is None:
            return self.ids
        return np.array([f"{part}/{one}" for one in self.ids.tolist()], np.str_)

    def paths(self) -> tuple[str, ...] | None:
        """Absolute paths (see `vicinal.file_names.as_text`) or addresses; None for no files."""
        found: list[str] = []
        for picture, _ in self.pictures():
            if isinstance(picture, Path):
                found.append(as_text(os.path.abspath(picture)))
            elif isinstance(picture, str):
                found.append(picture)
            else:
                return None
        return tuple(found) or None


def number_ids(count: int) -> NDArray[np.str_]:
    """The ids of pictures without names: ``000000``, ``000001``."""
    return np.array([f"{number:06d}" for number in range(count)], np.str_)


Reader = Callable[[str, NDArray[np.int64]], Iterator[tuple[Given, str]]]
"""(a file's path or address, which of its rows, ascending) -> these pictures and their names."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Pictures in files that hold many each: rows of parquet files, members of tar files."""

    read: Reader  # gives the pictures at some rows of a file; can be pickled
    files: tuple[str, ...]  # paths or addresses
    firsts: tuple[int, ...]  # the number of each file's first row, counted through all files
    rows: NDArray[np.int64]  # (N,) int64, ascending: which rows, counted likewise

    @classmethod
    def all(cls, read: Reader, files: tuple[str, ...], counts: list[int]) -> Rows:
        """All rows of files that have so many each."""
        firsts = tuple(int(end) for end in np.cumsum([0, *counts[:-1]]))
        return cls(read, files, firsts, np.arange(sum(counts), dtype=np.int64))

    def take(self, index: Index) -> Rows:
        """The rows at ``index``, and the files that hold any of them."""
        some = replace(self, rows=self.rows[index])
        kept = [(file, first) for file, first, rows in some._by_file() if len(rows)]
        files, firsts = zip(*kept, strict=True) if kept else ((), ())
        return replace(some, files=files, firsts=firsts)

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of rows, does."""
        yield from map(file_stamp, self.files)
        yield hashlib.sha256(self.rows.tobytes()).hexdigest()

    def pictures(self) -> Iterator[tuple[Given, str]]:
        """Each picture, and what an error message calls it."""
        for file, first, rows in self._by_file():
            if len(rows):
                yield from self.read(file, rows - first)

    def _by_file(self) -> Iterator[tuple[str, int, NDArray[np.int64]]]:
        starts = np.searchsorted(self.rows, self.firsts)
        ends = np.append(starts[1:], len(self.rows))
        for file, first, start, end in zip(self.files, self.firsts, starts, ends, strict=True):
            yield file, first, self.rows[start:end]


Parts = tuple[PictureList | None, PictureList | None]
"""Training and test part; a source that has only one part gives it as the first."""


def train_and_test(
    parts: Mapping[str, PictureList], name: str, notes: tuple[str, ...] = ()
) -> Parts:
    """Which lists are the training and the test part, see `chosen_test`."""
    test, more = chosen_test({part: one.throughout for part, one in parts.items()}, name)
    train = parts.get("train")
    if train is not None:
        train = replace(train, notes=(*train.notes, *more, *notes))
    return train, None if test is None else parts[test]


_SHOWN = 3  # values of a column, in a message


def in_parts(listed: PictureList, cells: Sequence[str], where: str) -> Parts:
    """The pictures by the part that each one's cell names; all of them, where none names one."""
    parts = [part_of(cell) for cell in cells]
    known = {part for part in parts if part is not None}
    others = sorted({cell.strip() for cell, part in zip(cells, parts, strict=True) if part is None})
    shown = ", ".join(map(repr, others[:_SHOWN])) + ", …" * (len(others) > _SHOWN)
    if not known:
        note = f"{where}: its column of splits is not used, which names no part, found {shown}"
        return replace(listed, notes=(*listed.notes, note)), None
    out, each = parts.count(None), np.array(parts, dtype=object)
    notes = (f"{where}: not used: {number_of(out, 'row')} of the split {shown}",) if out else ()
    by_part = {part: listed.take(np.flatnonzero(each == part)) for part in sorted(known)}
    return train_and_test(by_part, where, notes)
