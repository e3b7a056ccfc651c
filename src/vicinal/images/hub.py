"""Data sets of the Hugging Face hub, through its `datasets` library (the extra ``hub``)."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, said_by
from vicinal.images.skipped import BadPictureError, Skipped
from vicinal.images.tables import (
    chosen_test,
    coded,
    label_columns,
    labels_told,
    no_labels_told,
    part_of,
)

_SAVED = ("state.json", "dataset_dict.json")
"""One of these lies in a folder that `datasets` wrote by ``save_to_disk``."""


@dataclass(frozen=True, eq=False)
class HubImages:
    """Encoded images in a split of a data set.

    Attributes:
        name: What people call the set.
        rows: The split, its images left encoded: `datasets.Dataset`.
        column: Which column holds the images.
        index: (N,) int64, ascending: which rows.
        ids: (N,) strings, those row numbers.
        labels: (N,) int64 positions in ``class_names``, or None.
        class_names: The names of the classes; empty without labels.
        skipped: Nothing: what is bad shows when it is decoded.
        notes: Lines for the user: where the labels are from, and what is not used.
    """

    name: str
    rows: Any
    column: str
    index: NDArray[np.int64]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def take(self, index: NDArray[np.int64]) -> HubImages:
        """The rows at ``index`` (K,) int64."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, index=self.index[index], ids=self.ids[index], labels=labels)

    def stamp(self) -> Iterator[str]:
        """Lines that change when the data set, or the choice of rows, does."""
        # The library's own fingerprint follows the files that it holds the rows in.
        yield f"{self.name} {self.rows._fingerprint} {self.column}"
        yield from self.ids.tolist()

    def pictures(self) -> Iterator[tuple[bytes | Path | BadPictureError, str]]:
        """Each encoded image, and what an error message calls it."""
        for row in self.index.tolist():
            where = f"hub:{self.name}, {self.rows.split} row {row} (counted from 0)"
            cell = self.rows[row][self.column] or {}
            if cell.get("bytes") is not None:
                yield cell["bytes"], where
            elif cell.get("path"):
                yield Path(cell["path"]), where
            else:
                yield BadPictureError(where, "has no image"), where


def is_saved(place: Path) -> bool:
    """Whether a folder is a data set that the library wrote by ``save_to_disk``."""
    return any((place / name).is_file() for name in _SAVED)


def load(name: str, cache: Path) -> tuple[HubImages, HubImages | None]:
    """Lists the images of a data set, fetched into ``cache`` first; decodes none.

    Images are those of the first column of type image; labels those of the likeliest column
    (`vicinal.images.tables.label_columns`). Parts have customary names, in any case
    (`vicinal.images.tables`); where none is called so, the first split is all there is.

    Args:
        name: Its name on the hub, such as ``beans``, or a folder that the library takes, one of
            its ``save_to_disk`` too.
        cache: Where the library keeps what it fetches.

    Raises:
        InputError: If the extra is not installed, the set cannot be had, or it has no images.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"hub:{name}: needs the datasets library: pip install 'vicinal[hub]'"
        ) from None
    datasets.disable_progress_bars()
    found = _found(name, cache, datasets)
    parts: dict[str, Any] = {}
    for split in found:
        parts.setdefault(part_of(split) or "", split)
    parts.pop("", None)
    if "train" not in parts or len(found) == 1:
        first = next(iter(found))
        test = next((parts[p] for p in ("test", "validation") if p in parts), first)
        parts = {"train": first} if test == first else {"train": first, "test": test}
    listed = {part: _listed(found[split], name, datasets) for part, split in parts.items()}
    labelled = {part: rows.labels is not None for part, rows in listed.items()}
    test, notes = chosen_test(labelled, f"hub:{name}")
    beside = [split for split in found if split not in parts.values()]
    if beside:
        notes += (f"hub:{name}: not used: {', '.join(beside)}",)
    train = listed["train"]
    train = replace(train, notes=(*train.notes, *notes))
    return train, None if test is None else listed[test]


def _found(name: str, cache: Path, datasets: Any) -> Any:
    """The splits of a data set by name."""
    place = Path(name).expanduser()
    try:
        if is_saved(place):
            saved = datasets.load_from_disk(str(place))
            return saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}
        if place.is_dir():  # the library takes a path for a pattern
            name = glob.escape(str(place))
        # Since version 4 the library never runs code that comes with a data set.
        return datasets.load_dataset(name, cache_dir=str(cache))
    except Exception as error:  # network, names, files: the library has a hundred ways to say so
        raise InputError(
            f"hub:{name}: could not be loaded ({said_by(error)}); check the name and the connection"
        ) from None


def _listed(rows: Any, name: str, datasets: Any) -> HubImages:
    kinds = rows.features
    column = next((c for c, kind in kinds.items() if isinstance(kind, datasets.Image)), None)
    if column is None or not len(rows):
        found = ", ".join(f"{c} ({type(kind).__name__})" for c, kind in kinds.items())
        raise InputError(f"hub:{name}: no column of images with rows in it; found columns: {found}")
    labels, names, note = _labels(rows, name, datasets)
    return HubImages(
        name=name,
        rows=rows.select_columns([column]).cast_column(column, datasets.Image(decode=False)),
        column=column,
        index=np.arange(len(rows), dtype=np.int64),
        ids=np.array([f"{row:06d}" for row in range(len(rows))]),
        labels=labels,
        class_names=names,
        notes=(note,),
    )


def _labels(
    rows: Any, name: str, datasets: Any
) -> tuple[NDArray[np.int64] | None, tuple[str, ...], str]:
    """Each row's class, or None without labels (no column; only nulls, or -1), and the line."""
    kinds, title = rows.features, f"hub:{name}"
    classed = [c for c, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    usable = [
        column
        for column in label_columns(list(kinds), classed)
        if isinstance(kinds[column], datasets.ClassLabel | datasets.Value)
    ]
    if not usable:
        found = f"no column label, found {', '.join(kinds)}"
        return None, (), no_labels_told(title, found)
    column = usable[0]
    kind = kinds[column]
    values = [_value(value) for value in rows[column]]
    missing = [value is None or value == -1 or value == "" for value in values]
    if all(missing):
        return None, (), no_labels_told(title, f"the column {column} is empty, or all -1")
    if any(missing) or not all(isinstance(value, int | str) for value in values):
        raise InputError(f"hub:{name}: labels must be integers or strings, one in every row")
    if isinstance(kind, datasets.ClassLabel):
        codes, names = np.array(values, np.int64), tuple(str(one) for one in kind.names)
    else:
        codes, names = coded(np.array([str(value) for value in values]))
    return codes, names, labels_told(title, len(names), f"the column {column}")


def _value(value: Any) -> Any:
    """A label without blanks around it; a whole float, which data frames make, as an integer."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return None if value != value else int(value) if value.is_integer() else value
    return value
