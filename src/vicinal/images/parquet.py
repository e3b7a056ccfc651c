"""Parquet files with a column of encoded images, as the `datasets` library lays them out."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.images.classes import coded
from vicinal.images.skipped import BadPictureError, Skipped

_IMAGE_COLUMNS = ("image", "img")
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
    """

    name: str
    files: tuple[Path, ...]
    counts: tuple[int, ...]
    rows: NDArray[np.int64]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()

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

    def pictures(self) -> Iterator[tuple[bytes | BadPictureError, str]]:
        """Each encoded image, and what an error message calls it."""
        first = 0
        for path, count in zip(self.files, self.counts, strict=True):
            yield from _pictures(path, self.rows[_between(self.rows, first, count)] - first)
            first += count


def load(pattern: str) -> tuple[ParquetImages | None, ParquetImages | None]:
    """Lists the images of parquet files; decodes none.

    The column ``image`` (or ``img``) holds structs with a field ``bytes``, or plain binary. The
    optional column ``label`` holds integers, whose names come from the `datasets` metadata if it
    is there, or strings.

    Args:
        pattern: A file, a folder of ``.parquet`` files or a glob; ``{split}`` in it stands for
            ``train`` and ``test``.

    Returns:
        Training and test part; without ``{split}`` all is the first and the second is None, with
        it a part is None for which there is no file.

    Raises:
        InputError: If nothing matches, or a file has no usable columns.
    """
    name = _short_name(pattern)
    if "{split}" not in pattern:
        files = parquet_files(pattern)
        if not files:
            raise InputError(f"parquet:{pattern}: no parquet file there; give a file or a pattern")
        return _listed(files, name), None
    train, test = (parquet_files(pattern.replace("{split}", split)) for split in ("train", "test"))
    if not train and not test:
        raise InputError(
            f"parquet:{pattern}: no parquet file there, with neither train nor test for {{split}}"
        )
    return _listed(train, name) if train else None, _listed(test, name) if test else None


def parquet_files(pattern: str) -> list[Path]:
    """The files that a file's, a folder's or a glob's name stands for, in order; perhaps none."""
    path = Path(os.path.expanduser(pattern))  # which, unlike Path's, takes any name
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.rglob("*.parquet") if p.is_file()]
        hidden = {p for p in found if any(s.startswith(".") for s in p.relative_to(path).parts)}
        return sorted(set(found) - hidden)
    return sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())


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
    for path in files:
        with _opened(path) as file:
            image_column(file.schema_arrow, path)
            counts.append(file.metadata.num_rows)
            names = declared_names(file.schema_arrow)
            labels.append(row_classes(file, names, path))
            declared |= dict.fromkeys(names)
    given = [part for part in labels if part is not None]
    if given and len(given) < len(labels):
        lacking = files[next(i for i, part in enumerate(labels) if part is None)]
        raise InputError(f"{lacking}: has no labels but other files of {name} have; add them")
    rows = np.arange(sum(counts), dtype=np.int64)
    if len(rows) == 0:
        raise InputError(f"{files[0]}: has no rows; give a file with images")
    codes, classes = coded(np.concatenate(given), tuple(declared)) if given else (None, ())
    return ParquetImages(
        name=name,
        files=tuple(files),
        counts=tuple(counts),
        rows=rows,
        ids=np.array([f"{row:06d}" for row in rows.tolist()]),
        labels=codes,
        class_names=classes,
    )


def declared_names(schema: Any) -> tuple[str, ...]:
    """The class names that the `datasets` library wrote into the schema's metadata, if any."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features["label"]["names"])
    except (KeyError, ValueError, TypeError):
        return ()


def row_classes(file: Any, names: tuple[str, ...], path: Path | str) -> NDArray[np.str_] | None:
    """The class name of each row, or None without labels (no column; only nulls, or -1)."""
    if "label" not in file.schema_arrow.names:
        return None
    column = file.read(columns=["label"]).column("label")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not text and not pa.types.is_integer(column.type):
        raise InputError(f"{path}: labels must be integers or strings, found {column.type}")
    missing = column.is_null() if text else pc.fill_null(pc.less(column, 0), True)
    if len(column) == 0:
        return np.array([], np.str_)
    lacking = int(pc.sum(missing).as_py() or 0)
    if lacking == len(column):
        return None
    if lacking:
        row = missing.index(pa.scalar(True)).as_py()
        raise InputError(
            f"{path}, row {row} (counted from 0): has no label; label every row or drop the column"
        )
    if text or not names:
        return np.array([str(value) for value in column.to_pylist()])
    codes = column.to_numpy()
    if codes.max() >= len(names):
        raise InputError(f"{path}: label {codes.max()} but its metadata names {len(names)} classes")
    classes: NDArray[np.str_] = np.array(names)[codes]
    return classes


def image_column(schema: Any, path: Path | str) -> str:
    """The column with the images."""
    for name in _IMAGE_COLUMNS:
        kind = schema.field(name).type if name in schema.names else pa.null()
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return name
    raise InputError(
        f"{path}: no column `image` with encoded images (bytes, or a struct with `bytes`); "
        f"found columns: {', '.join(f'{field.name} ({field.type})' for field in schema)}"
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
) -> Iterator[tuple[bytes | BadPictureError, str]]:
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
                cells = batch.column(0).take(pa.array(rows - first))
                if pa.types.is_struct(cells.type):
                    cells = pc.struct_field(cells, "bytes")
                for row, encoded in zip(rows.tolist(), cells.to_pylist(), strict=True):
                    where = f"{path}, row {row} (counted from 0)"
                    yield (
                        BadPictureError(where, "has no image") if encoded is None else encoded,
                        where,
                    )
                first += len(batch)
