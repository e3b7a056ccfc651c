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
from vicinal.file_names import is_address
from vicinal.images.decoding import Given
from vicinal.images.labels_and_parts import (
    Labels,
    label_columns,
    labels_from,
    no_labels,
    part_of,
)
from vicinal.images.picture_list import Index, Parts, PictureList, number_ids, train_and_test
from vicinal.images.skipped import BadPictureError

_SAVED = ("state.json", "dataset_dict.json")
"""One of these lies in a folder that `datasets` wrote by ``save_to_disk``."""


@dataclass(frozen=True, eq=False)
class HubRows:
    """Encoded images in a split of a data set."""

    name: str  # the data set's
    rows: Any  # the split, its images left encoded: `datasets.Dataset`
    column: str  # which column holds the images
    index: NDArray[np.int64]  # (N,) int64, ascending: which rows

    def take(self, index: Index) -> HubRows:
        """The rows at ``index``."""
        return replace(self, index=self.index[index])

    def stamp(self) -> Iterator[str]:
        """Lines that change when the data set, or the choice of rows, does."""
        # The library's own fingerprint follows the files that it holds the rows in.
        yield f"{self.name} {self.rows._fingerprint} {self.column}"
        yield from (f"{row:06d}" for row in self.index.tolist())

    def pictures(self) -> Iterator[tuple[Given, str]]:
        """Each encoded image, and what an error message calls it."""
        for row in self.index.tolist():
            where = f"hub:{self.name}, {self.rows.split} row {row} (counted from 0)"
            cell = self.rows[row][self.column] or {}
            if cell.get("bytes") is not None:
                yield cell["bytes"], where
            elif path := cell.get("path"):
                yield path if is_address(path) else Path(path), where
            else:
                yield BadPictureError(where, "has no image"), where


def is_saved(place: Path) -> bool:
    """Whether a folder is a data set that the library wrote by ``save_to_disk``."""
    return any((place / name).is_file() for name in _SAVED)


def load(name: str, cache: Path) -> Parts:
    """Lists the images of a data set, fetched into ``cache`` first; decodes none.

    Images are those of the first column of type image; labels those of the likeliest column
    (`vicinal.images.labels_and_parts.label_columns`). Parts have customary names, in any case
    (`vicinal.images.labels_and_parts`); where none is called so, the first split is all there is.
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
    beside = [split for split in found if split not in parts.values()]
    notes = (f"hub:{name}: not used: {', '.join(beside)}",) if beside else ()
    return train_and_test(listed, f"hub:{name}", notes)


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


def _listed(rows: Any, name: str, datasets: Any) -> PictureList:
    kinds = rows.features
    column = next((c for c, kind in kinds.items() if isinstance(kind, datasets.Image)), None)
    if column is None or not len(rows):
        found = ", ".join(f"{c} ({type(kind).__name__})" for c, kind in kinds.items())
        raise InputError(f"hub:{name}: no column of images with rows in it; found columns: {found}")
    encoded = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    place = HubRows(name, encoded, column, np.arange(len(rows), dtype=np.int64))
    return PictureList.labelled(name, place, number_ids(len(rows)), _labels(rows, name, datasets))


def _labels(rows: Any, name: str, datasets: Any) -> Labels:
    """Each row's class, or none (no column; only nulls, or -1)."""
    kinds, title = rows.features, f"hub:{name}"
    classed = [c for c, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    usable = [
        column
        for column in label_columns(list(kinds), classed)
        if isinstance(kinds[column], datasets.ClassLabel | datasets.Value)
    ]
    if not usable:
        return no_labels(title, f"no column label, found {', '.join(kinds)}")
    column = usable[0]
    kind = kinds[column]
    values = [_value(value) for value in rows[column]]
    missing = [value is None or value == -1 or value == "" for value in values]
    given = [value for value, none in zip(values, missing, strict=True) if not none]
    if not all(isinstance(value, int | str) for value in given):
        raise InputError(f"hub:{name}: labels must be integers or strings")
    named = isinstance(kind, datasets.ClassLabel)
    declared = tuple(str(one) for one in kind.names) if named else ()
    said = zip(values, missing, strict=True)
    classes = ["" if none else declared[v] if named else str(v) for v, none in said]
    return labels_from(title, f"the column {column}", np.array(classes), declared)


def _value(value: Any) -> Any:
    """A label without blanks around it; a whole float, which data frames make, as an integer."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return None if value != value else int(value) if value.is_integer() else value
    return value
