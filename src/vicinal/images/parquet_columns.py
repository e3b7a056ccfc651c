"""What the columns of a parquet file mean: encoded pictures or where they lie, and labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.images.classes import label_columns, plain_name
from vicinal.images.names import as_path
from vicinal.images.table import PATHS

_IMAGES = ("image", "img", "images", "picture", "photo", "pixels", "bytes", "data", "content")
_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def image_column(schema: Any, path: Path | str) -> str:
    """The column with the images: encoded (binary), structs of ``bytes`` and ``path``, or paths.

    A column that is called like images comes first, then one that the `datasets` library says
    holds them, then the only one of structs or binary, then one that is called like paths.

    Raises:
        InputError: If there is none.
    """
    plain = {plain_name(name): name for name in reversed(schema.names)}
    named = [plain[name] for name in _IMAGES if name in plain]
    declared = [name for name in _declared(schema, "Image") if name in schema.names]
    holding = [field.name for field in schema if _encoded(field.type)]
    only = holding if len(holding) == 1 else []
    for name in (*named, *declared, *only):
        if _encoded(schema.field(name).type) or _is(schema.field(name).type, _TEXT):
            return str(name)
    for name in PATHS:
        if name in plain and _is(schema.field(plain[name]).type, _TEXT):
            return str(plain[name])
    raise InputError(
        f"{path}: no column `image` with encoded images (bytes, or a struct with `bytes` or "
        "`path`) or paths; "
        f"found columns: {', '.join(f'{field.name} ({field.type})' for field in schema)}"
    )


def cells_of(column: Any, folder: str) -> Iterator[bytes | str | None]:
    """The images in a column: encoded bytes, the path of a file, or nothing.

    Args:
        column: An Arrow array of the column that `image_column` found.
        folder: Where the parquet file lies, to which its paths are relative.
    """
    kind = column.type
    if not pa.types.is_struct(kind):
        cells = column.cast(pa.large_binary()) if _is(kind, _BINARY) else column
        for cell in cells.to_pylist():
            yield cell if cell is None or isinstance(cell, bytes) else _placed(cell, folder)
        return
    for cell in column.to_pylist():
        held = cell or {}
        if held.get("bytes") is not None:
            yield held["bytes"]
        else:
            yield _placed(held["path"], folder) if held.get("path") else None


def label_column(schema: Any) -> str | None:
    """The likeliest column of labels, of a type that labels can have; None where there is none."""
    names = label_columns(schema.names, _declared(schema, "ClassLabel"))
    usable = [name for name in names if _labels(schema.field(name).type)]
    exact = [name for name in names if plain_name(name) == "label"]
    return next(iter(usable or exact), None)


def declared_names(schema: Any, column: str) -> tuple[str, ...]:
    """The class names that the `datasets` library wrote into the schema's metadata, if any."""
    try:
        return tuple(str(name) for name in _features(schema)[column]["names"])
    except (KeyError, TypeError):
        return ()


def row_classes(
    file: Any, column: str | None, names: tuple[str, ...], path: Path | str
) -> NDArray[np.str_] | None:
    """The class name of each row, or None without labels (no column; only nulls, or -1).

    Args:
        file: An open parquet file.
        column: Its column of labels.
        names: The names of numbered classes.
        path: What an error message calls it.

    Raises:
        InputError: If some rows have a label and others none, or labels are of another type.
    """
    if column is None:
        return None
    cells = file.read(columns=[column]).column(column)
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    if _is(cells.type, _TEXT):
        cells = cells.cast(pa.large_string())
        missing = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(cells), ""), True)
    else:
        cells = _whole(cells, path)
        missing = pc.fill_null(pc.less(cells, 0), True)
    if len(cells) == 0:
        return np.array([], np.str_)
    lacking = int(pc.sum(missing).as_py() or 0)
    if lacking == len(cells):
        return None
    if lacking:
        row = missing.index(pa.scalar(True)).as_py()
        raise InputError(
            f"{path}, row {row} (counted from 0): has no label; label every row or drop the column"
        )
    if _is(cells.type, _TEXT) or not names:
        return np.array([str(value) for value in cells.to_pylist()])
    codes = cells.to_numpy()
    if codes.max() >= len(names):
        raise InputError(f"{path}: label {codes.max()} but its metadata names {len(names)} classes")
    classes: NDArray[np.str_] = np.array(names)[codes]
    return classes


def _whole(cells: Any, path: Path | str) -> Any:
    """Labels as int64: integers, booleans, or floats that are whole, as data frames make them."""
    try:
        if _labels(cells.type) or pa.types.is_floating(cells.type):
            if pa.types.is_floating(cells.type):
                nan = pc.fill_null(pc.is_nan(cells), False)
                cells = pc.if_else(nan, pa.scalar(None, cells.type), cells)
            return cells.cast(pa.int64())
    except pa.ArrowInvalid:  # a fraction
        pass
    raise InputError(f"{path}: labels must be integers or strings, found {cells.type}")


def _labels(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        _is(kind, _TEXT)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
        or pa.types.is_floating(kind)
    )


def _encoded(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return _is(fields.get("bytes"), _BINARY) or _is(fields.get("path"), _TEXT)
    return _is(kind, _BINARY)


def _is(kind: Any, tests: tuple[Any, ...]) -> bool:
    return kind is not None and any(test(kind) for test in tests)


def _features(schema: Any) -> dict[str, Any]:
    """What the `datasets` library says of the columns."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return features if isinstance(features, dict) else {}
    except (KeyError, ValueError, TypeError):
        return {}


def _declared(schema: Any, kind: str) -> list[str]:
    """The columns that the `datasets` library says are of a kind."""
    features = _features(schema)
    return [
        n for n, said in features.items() if isinstance(said, dict) and said.get("_type") == kind
    ]


def _placed(path: str, folder: str) -> str:
    """A path or an address as one that leads there from anywhere."""
    if "://" in path or os.path.isabs(path):
        return path
    return os.path.join(folder, str(as_path(path)))
