"""Parquet files with a column of encoded images, as the `datasets` library lays them out."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import left_behind, literal_start
from vicinal.images.skipped import BadPictureError, Skipped
from vicinal.images.tables import (
    TEST,
    TRAIN,
    VALIDATION,
    case_forms,
    cells_of,
    chosen_test,
    coded,
    declared_names,
    image_column,
    label_column,
    labels_told,
    no_labels_told,
    parted_files,
    row_classes,
)

_BATCH_ROWS = 64


@dataclass(frozen=True, eq=False)
class ParquetImages:
    """Encoded images in rows of parquet files.

    Attributes:
        name: What people call the set.
        files: The parquet files, in order.
        counts: Rows of each file.
        rows: (N,) int64, ascending: which rows, counted through all files.
        ids: (N,) strings, those row numbers.
        labels: (N,) int64 positions in ``class_names``, or None.
        class_names: The names of the classes; empty without labels.
        skipped: Nothing: what is bad in a file shows when it is decoded.
        notes: Lines for the user: where the labels are from, and what is not used.
    """

    name: str
    files: tuple[Path, ...]
    counts: tuple[int, ...]
    rows: NDArray[np.int64]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def take(self, index: NDArray[np.int64]) -> ParquetImages:
        """The rows at ``index`` (K,) int64, which ascends."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, rows=self.rows[index], ids=self.ids[index], labels=labels)

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of rows, does."""
        for path in self.files:
            found = path.stat()
            yield f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
        yield hashlib.sha256(self.rows.tobytes()).hexdigest()

    def pictures(self) -> Iterator[tuple[bytes | Path | BadPictureError, str]]:
        """Each encoded image, and what an error message calls it."""
        first = 0
        for path, count in zip(self.files, self.counts, strict=True):
            yield from _pictures(path, self.rows[_between(self.rows, first, count)] - first)
            first += count


def load(pattern: str) -> tuple[ParquetImages | None, ParquetImages | None]:
    """Lists the images of parquet files; decodes none.

    Which columns hold images and labels: `vicinal.images.tables`. The names of numbered
    classes come from the `datasets` metadata if it is there.

    Args:
        pattern: A file, a folder of ``.parquet`` files or a glob; ``{split}`` in it stands for the
            customary names of parts, such as ``train`` and ``test`` (`vicinal.images.tables`).

    Returns:
        Training and test part. Without ``{split}``, these are what the files' names say, as in
        ``train-0.parquet``; where they say nothing, all is the first part and the second is None.
        With it a part is None for which there is no file.

    Raises:
        InputError: If nothing matches, or a file has no usable columns.
    """
    name = _short_name(pattern)
    parts = {
        part: _listed([Path(file) for file in files], name)
        for part, files in parted_pattern(pattern).items()
    }
    if "all" in parts:
        return parts["all"], None
    labelled = {part: images.labels is not None for part, images in parts.items()}
    test, notes = chosen_test(labelled, name)
    held = None if test is None else parts[test]
    if "train" not in parts:
        return None, held
    return replace(parts["train"], notes=(*parts["train"].notes, *notes)), held


def parted_pattern(
    pattern: str, find: Callable[[str], list[str]] | None = None
) -> dict[str, list[str]]:
    """The files of each part, ``train``, ``test`` and ``validation``; or of all, ``all``.

    Args:
        pattern: As for `load`.
        find: Gives the files of a pattern without ``{split}``; by default those on this machine.

    Raises:
        InputError: If nothing matches.
    """
    find = find or (lambda one: [str(path) for path in parquet_files(one)])
    if "{split}" in pattern:
        named = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
        parts = {}
        for part, names in named.items():
            found = (find(pattern.replace("{split}", form)) for form in case_forms(names))
            if files := next(filter(None, found), None):
                parts[part] = files
        if not parts:
            raise InputError(
                f"parquet:{pattern}: no parquet file there, with neither train nor test for "
                "{split}"
            )
        return parts
    files = find(pattern)
    if not files:
        raise InputError(f"parquet:{pattern}: no parquet file there; give a file or a pattern")
    start = os.path.commonprefix(files)  # noqa: RUF071 — then cut; addresses are no paths
    start = start[: max(start.rfind("/"), start.rfind(os.sep)) + 1]
    inside = {file[len(start) :].replace(os.sep, "/"): file for file in files}
    parts = {
        part: [inside[path] for path in paths] for part, paths in parted_files(list(inside)).items()
    }
    return parts or {"all": files}


def parquet_files(pattern: str) -> list[Path]:
    """The files that a file's, a folder's or a glob's name stands for, in order; perhaps none."""
    path = Path(os.path.expanduser(pattern))  # which, unlike Path's, takes any name
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.rglob("*.parquet") if p.is_file()]
        return sorted(p for p in found if not left_behind(p.relative_to(path).as_posix()))
    matches = glob.glob(literal_start(str(path)), recursive=True)
    return sorted(p for p in map(Path, matches) if p.is_file())


def _short_name(pattern: str) -> str:
    """``a/cifar10-{split}.parquet`` -> ``cifar10``; the first part, from behind, with a name."""
    for part in reversed(Path(os.path.expanduser(pattern)).absolute().parts):
        bare = re.sub(r"\{split\}|\[.*?\]|[*?]", "", part.removesuffix(".parquet"))
        if name := bare.strip("-_. /\\"):
            return name
    return "parquet"


def _listed(files: list[Path], name: str) -> ParquetImages:
    counts = []
    labels: list[NDArray[np.str_] | None] = []
    declared: dict[str, None] = {}  # a set that keeps its order
    columns: dict[str, None] = {}
    for path in files:
        with _opened(path) as file:
            image_column(file.schema_arrow, path)
            counts.append(file.metadata.num_rows)
            column = label_column(file.schema_arrow)
            names = () if column is None else declared_names(file.schema_arrow, column)
            labels.append(row_classes(file, column, names, path))
            declared |= dict.fromkeys(names)
            columns |= {} if column is None else {column: None}
            found = file.schema_arrow.names
    given = [part for part in labels if part is not None]
    if given and len(given) < len(labels):
        lacking = files[next(i for i, part in enumerate(labels) if part is None)]
        raise InputError(f"{lacking}: has no labels but other files of {name} have; add them")
    rows = np.arange(sum(counts), dtype=np.int64)
    if len(rows) == 0:
        raise InputError(f"{files[0]}: has no rows; give a file with images")
    codes, classes = coded(np.concatenate(given), tuple(declared)) if given else (None, ())
    if given:
        note = labels_told(name, len(classes), f"the column {' and '.join(columns)}")
    elif columns:
        note = no_labels_told(name, f"the column {' and '.join(columns)} is empty, or all -1")
    else:
        note = no_labels_told(name, f"no column label, found {', '.join(found)}")
    return ParquetImages(
        name=name,
        files=tuple(files),
        counts=tuple(counts),
        rows=rows,
        ids=np.array([f"{row:06d}" for row in rows.tolist()]),
        labels=codes,
        class_names=classes,
        notes=(note,),
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, read as a stream; what goes wrong in it is the user's to mend."""
    try:
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as parquet ({reason}); replace it") from None


def _between(ascending: NDArray[np.int64], first: int, count: int) -> slice:
    """Where in ``ascending`` the numbers from ``first`` to ``first + count - 1`` stand."""
    low, high = np.searchsorted(ascending, [first, first + count])
    return slice(int(low), int(high))


def _pictures(
    path: Path, wanted: NDArray[np.int64]
) -> Iterator[tuple[bytes | Path | BadPictureError, str]]:
    """The images of one file's ``wanted`` rows, a few rows in memory at a time."""
    with _opened(path) as file:
        column = image_column(file.schema_arrow, path)
        first = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if len(wanted[_between(wanted, first, count)]) == 0:
                first += count
                continue
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column]):
                rows = wanted[_between(wanted, first, len(batch))]
                cells = batch.column(0)
                if not len(rows):
                    first += len(batch)
                    continue
                images = list(cells_of(cells, str(path.parent)))
                for row in rows.tolist():
                    encoded = images[row - first]
                    where = f"{path}, row {row} (counted from 0)"
                    if encoded is None:
                        yield BadPictureError(where, "has no image"), where
                    else:
                        yield Path(encoded) if isinstance(encoded, str) else encoded, where
                first += len(batch)
