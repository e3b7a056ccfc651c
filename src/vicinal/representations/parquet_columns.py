"""The columns of a table of representations: what `vicinal embed` writes, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError, option

TEXTS = {"id": "ids", "path": "paths", "label": "label_names", "split": "splits"}
"""Columns of text, and what `Representations` has them under."""
SIZES = ("width", "height")


def text_columns(known: Mapping[str, NDArray[np.str_] | None]) -> dict[str, Any]:
    """Arrow columns of text (N,), those that there are; null for empty."""
    return {
        name: pa.array([text or None for text in column.tolist()], pa.string())
        for name, column in known.items()
        if column is not None
    }


def size_columns(sizes: NDArray[np.int32] | None) -> dict[str, Any]:
    """Arrow columns ``width`` and ``height``, int32 pixels, and ``aspect_ratio``, float32.

    That is the width divided by the height; none of them without sizes (N, 2).
    """
    if sizes is None:
        return {}
    width, height = (np.ascontiguousarray(column) for column in sizes.T)
    columns = {"width": width, "height": height, "aspect_ratio": np.float32(width / height)}
    return {name: pa.array(column) for name, column in columns.items()}


def representation_column(array: NDArray[np.float32]) -> Any:
    """An Arrow column of representations (N, F): fixed-size lists of float32."""
    flat = pa.array(np.ascontiguousarray(array, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])


def read_columns(file: Path, vectors: bool) -> Any:
    """The columns that are needed of one file."""
    known = [*TEXTS, *SIZES, *(["representation"] if vectors else [])]
    names = [name for name in checked_names(file) if name in known]
    try:
        return pq.read_table(file, columns=names, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None


def checked_names(file: Path) -> list[str]:
    """The names of a file's columns, those that are needed among them."""
    try:
        names: list[str] = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None
    if "representation" not in names or not set(names) & {"id", "path"}:
        raise InputError(
            f"{file}: needs columns representation and id (or path), found "
            f"{', '.join(names)}; `vicinal embed` makes such a file"
        )
    return names


def matrix(column: Any, path: Path) -> NDArray[np.float32]:
    """A column of equally long lists of numbers as an array (N, F) float32."""
    kind = column.type
    lists = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    if not any(is_kind(kind) for is_kind in lists):
        raise InputError(f"{path}: representation must hold lists of numbers, found {kind}")
    widths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(widths) != 1 or not widths[0]:
        raise InputError(
            f"{path}: representations must be equally long and there must be some, "
            f"found lengths {sorted(str(width) for width in widths)[:5]}"
        )
    try:
        flat = pc.cast(pc.list_flatten(column), pa.float32(), safe=False)
    except pa.ArrowException:
        raise InputError(f"{path}: representation must hold numbers, found {kind}") from None
    # A copy, for arrow's own memory is read-only and torch wants arrays it could write to.
    array: NDArray[np.float32] = flat.to_numpy().reshape(-1, widths[0]).copy()
    if not np.isfinite(array).all():
        raise InputError(f"{path}: a representation holds NaN or infinity; leave that row out")
    return array


def sizes_in(table: Any) -> NDArray[np.int32] | None:
    """Width and height of every picture, (N, 2), if the table has whole columns of them."""
    if not set(SIZES) <= set(table.column_names):
        return None
    columns = [table.column(name) for name in SIZES]
    if any(column.null_count or not pa.types.is_integer(column.type) for column in columns):
        return None
    return np.stack([column.to_numpy() for column in columns], axis=1).astype(np.int32)


def texts_in(table: Any, name: str, classes: Sequence[str] = ()) -> NDArray[np.str_]:
    """A column as strings, empty for null; an earlier version's class numbers become names."""
    values = table.column(name).to_pylist()
    if name == "label" and classes and all(v is None or isinstance(v, int) for v in values):
        values = [None if value is None else classes[value] for value in values]
    return np.array(["" if value is None else str(value) for value in values], dtype=np.str_)


def _unreadable(file: Path, error: Exception) -> InputError:
    """The error of a file that is no parquet, to be raised."""
    how = "give embeddings, which `vicinal embed` makes"
    if (file.parent / "run.json").is_file():
        how = f"remove it, and the same command with {option('resume', True)} makes it again"
    why = " ".join(str(error).split())
    return InputError(f"{file}: cannot be read as parquet ({why}); {how}")
