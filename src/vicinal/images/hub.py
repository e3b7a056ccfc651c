"""Data sets of the Hugging Face hub, through its `datasets` library (the extra ``hub``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, said_by
from vicinal.images.classes import coded
from vicinal.images.skipped import BadPictureError, Skipped

_TEST = ("test", "validation", "valid", "val")
_LABELS = ("label", "labels", "class")


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
    """

    name: str
    rows: Any
    column: str
    index: NDArray[np.int64]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()

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


def load(name: str, cache: Path) -> tuple[HubImages, HubImages | None]:
    """Lists the images of a data set, fetched into ``cache`` first; decodes none.

    Images are those of the column of type image, labels those of a column ``label``, ``labels`` or
    ``class``, or else the first of type class label. ``test``, or else ``validation``, is the test
    part; where there is neither, the first split is all there is.

    Args:
        name: Its name on the hub, such as ``beans``, or a folder that the library takes.
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
    try:
        # Since version 4 the library never runs code that comes with a data set.
        found = datasets.load_dataset(name, cache_dir=str(cache))
    except Exception as error:  # network, names, files: the library has a hundred ways to say so
        raise InputError(
            f"hub:{name}: could not be loaded ({said_by(error)}); check the name and the connection"
        ) from None
    train = found["train"] if "train" in found else found[next(iter(found))]
    test = next((found[split] for split in _TEST if split in found), None)
    if test is None or test is train:
        return _listed(train, name, datasets), None
    return _listed(train, name, datasets), _listed(test, name, datasets)


def _listed(rows: Any, name: str, datasets: Any) -> HubImages:
    kinds = rows.features
    column = next((c for c, kind in kinds.items() if isinstance(kind, datasets.Image)), None)
    if column is None or not len(rows):
        found = ", ".join(f"{c} ({type(kind).__name__})" for c, kind in kinds.items())
        raise InputError(f"hub:{name}: no column of images with rows in it; found columns: {found}")
    labels, names = _labels(rows, name, datasets)
    return HubImages(
        name=name,
        rows=rows.select_columns([column]).cast_column(column, datasets.Image(decode=False)),
        column=column,
        index=np.arange(len(rows), dtype=np.int64),
        ids=np.array([f"{row:06d}" for row in range(len(rows))]),
        labels=labels,
        class_names=names,
    )


def _labels(
    rows: Any, name: str, datasets: Any
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Each row's class, or None without labels (no column; only nulls, or -1)."""
    kinds = rows.features
    classed = [c for c, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    column = next((c for c in (*_LABELS, *classed) if c in kinds), None)
    values = [] if column is None else list(rows[column])
    missing = [value is None or value == -1 for value in values]
    if all(missing):
        return None, ()
    if any(missing) or not all(isinstance(value, int | str) for value in values):
        raise InputError(f"hub:{name}: labels must be integers or strings, one in every row")
    kind = kinds[column]
    if isinstance(kind, datasets.ClassLabel):
        return np.array(values, np.int64), tuple(str(one) for one in kind.names)
    return coded(np.array([str(value) for value in values]))
