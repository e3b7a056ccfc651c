"""Parquet files with a column of encoded images, as the `datasets` library lays them out."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.file_names import as_path, is_address, left_behind, literal_start
from vicinal.images.decoding import Given
from vicinal.images.labels_and_parts import (
    IMAGES,
    PATHS,
    TEST,
    TRAIN,
    VALIDATION,
    case_forms,
    columns_called,
    label_columns,
    labels_from,
    no_labels,
    parted_files,
    plain_name,
    split_column,
)
from vicinal.images.picture_list import (
    Parts,
    PictureList,
    Rows,
    in_parts,
    number_ids,
    train_and_test,
)
from vicinal.images.skipped import BadPictureError

_LISTERS = 16  # files looked into at a time, for each may be far away
_BATCH_ROWS = 64
_LARGE = pa.large_string()


def load(pattern: str) -> Parts:
    """Lists the images of parquet files; decodes none.

    Which columns hold images and labels: `image_column`, `label_column`; where the files' names say
    no parts, a column ``split`` of text does. The names of numbered
    classes come from the `datasets` metadata if it is there.
    """
    name = _short_name(pattern)
    parted = _parted(pattern)
    parts = {part: _listed(files, name) for part, files in parted.items()}
    if "all" not in parts:
        return train_and_test(parts, name)
    cells = _splits(parted["all"])
    return in_parts(parts["all"], cells, name) if any(cells) else (parts["all"], None)


def _parted(pattern: str) -> dict[str, list[str]]:
    """The files of each part, ``train``, ``test`` and ``validation``; or of all, ``all``."""
    if "{split}" in pattern:
        named = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
        parts = {}
        for part, names in named.items():
            found = (_files(pattern.replace("{split}", form)) for form in case_forms(names))
            if files := next(filter(None, found), None):
                parts[part] = files
        if not parts:
            raise InputError(
                f"parquet:{pattern}: no parquet file there, with neither train nor test for "
                "{split}"
            )
        return parts
    files = _files(pattern)
    if not files:
        raise InputError(f"parquet:{pattern}: no parquet file there; give a file or a pattern")
    start = os.path.commonprefix(files)  # noqa: RUF071 — then cut; the files may be addresses
    start = start[: max(start.rfind("/"), start.rfind(os.sep)) + 1]
    inside = {file[len(start) :].replace(os.sep, "/"): file for file in files}
    parts = {
        part: [inside[path] for path in paths] for part, paths in parted_files(list(inside)).items()
    }
    return parts or {"all": files}


def _files(pattern: str) -> list[str]:
    """The files that a file's, a folder's or a glob's name stands for, in order; perhaps none."""
    if is_address(pattern):
        return _far_files(pattern)
    path = Path(os.path.expanduser(pattern))  # which, unlike Path's, takes any name
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        inside = [p for p in path.rglob("*.parquet") if p.is_file()]
        found = [p for p in inside if not left_behind(p.relative_to(path).as_posix())]
    else:
        matches = glob.glob(literal_start(str(path)), recursive=True)
        found = [p for p in map(Path, matches) if p.is_file()]
    return [str(p) for p in sorted(found)]


def _far_files(pattern: str) -> list[str]:
    """As `_files`, at an address."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(pattern)
    if filesystem.isfile(path):
        found = [path]
    elif filesystem.isdir(path):
        inside = [file for file in filesystem.find(path) if file.endswith(".parquet")]
        found = [file for file in inside if not left_behind(file[len(path) :].lstrip("/"))]
    else:
        found = [file for file in filesystem.glob(path) if filesystem.isfile(file)]
    found.sort(key=lambda file: file.split("/"))
    return [filesystem.unstrip_protocol(file) for file in found]


def _short_name(pattern: str) -> str:
    """``a/cifar10-{split}.parquet`` -> ``cifar10``; the first part, from behind, with a name."""
    for part in reversed(Path(os.path.expanduser(pattern)).absolute().parts):
        bare = re.sub(r"\{split\}|\[.*?\]|[*?]", "", part.removesuffix(".parquet"))
        if name := bare.strip("-_. /\\"):
            return name
    return "parquet"


class _Listed(NamedTuple):
    """The columns of a file, and its labels if there are any."""

    rows: int
    columns: tuple[str, ...]
    label: str | None
    declared: tuple[str, ...]
    classes: NDArray[np.str_] | None


def _look(path: str) -> _Listed:
    with _opened(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
        image_column(schema, path)
        label = label_column(schema)
        declared = () if label is None else declared_names(schema, label)
        classes = row_classes(file, label, declared, path)
        return _Listed(count, tuple(schema.names), label, declared, classes)


def _listed(files: list[str], name: str) -> PictureList:
    with ThreadPoolExecutor(_LISTERS) as pool:
        seen = list(pool.map(_look, files))
    place = Rows.all(_pictures, tuple(files), [one.rows for one in seen])
    if not len(place.rows):
        raise InputError(f"{files[0]}: has no rows; give a file with images")
    column = " and ".join(dict.fromkeys(one.label for one in seen if one.label is not None))
    if column:
        given = [np.full(one.rows, "") if one.classes is None else one.classes for one in seen]
        declared = tuple(dict.fromkeys(chain.from_iterable(one.declared for one in seen)))
        labels = labels_from(name, f"the column {column}", np.concatenate(given), declared)
    else:
        labels = no_labels(name, f"no column label, found {', '.join(seen[-1].columns)}")
    return PictureList.labelled(name, place, number_ids(len(place.rows)), labels)


def _splits(files: list[str]) -> list[str]:
    """What each row's cell in a column of splits says; empty where it says nothing."""

    def cells(path: str) -> list[str]:
        with _opened(path) as file:
            column = split_column(file.schema_arrow.names)
            if not column or file.schema_arrow.field(column).type not in (pa.string(), _LARGE):
                return [""] * file.metadata.num_rows
            read = file.read(columns=[column]).column(0)
            return [cell or "" for cell in read.to_pylist()]

    with ThreadPoolExecutor(_LISTERS) as pool:
        return list(chain.from_iterable(pool.map(cells, files)))


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """The file, read as a stream; what goes wrong in it is the user's to mend."""
    try:
        with ExitStack() as held:
            source: Any = path
            if is_address(path):
                import fsspec

                source = held.enter_context(fsspec.open(path, "rb"))
            read = pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)
            yield held.enter_context(read)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as parquet ({reason}); replace it") from None


def _between(ascending: NDArray[np.int64], first: int, count: int) -> NDArray[np.int64]:
    """The numbers from ``first`` to ``first + count - 1``."""
    low, high = np.searchsorted(ascending, [first, first + count])
    return ascending[low:high]


def _pictures(path: str, wanted: NDArray[np.int64]) -> Iterator[tuple[Given, str]]:
    """The images of one file's ``wanted`` rows, a few rows in memory at a time."""
    folder = os.path.dirname(path)
    with _opened(path) as file:
        column = image_column(file.schema_arrow, path)
        first = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if not len(_between(wanted, first, count)):
                first += count
                continue
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column]):
                rows = _between(wanted, first, len(batch))
                images = list(_cells(batch.column(0), folder)) if len(rows) else []
                for row in rows.tolist():
                    where, image = f"{path}, row {row} (counted from 0)", images[row - first]
                    yield BadPictureError(where, "has no image") if image is None else image, where
                first += len(batch)


_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def image_column(schema: Any, path: Path | str) -> str:
    """The column with the images: encoded (binary), structs of ``bytes`` and ``path``, or paths.

    A column that is called like images comes first, then one that the `datasets` library says
    holds them, then the only one of structs or binary, then one that is called like paths.
    """
    named = columns_called(IMAGES, schema.names)
    declared = [name for name in _declared(schema, "Image") if name in schema.names]
    holding = [field.name for field in schema if _encoded(field.type)]
    only = holding if len(holding) == 1 else []
    for name in (*named, *declared, *only):
        if _encoded(schema.field(name).type) or _is(schema.field(name).type, _TEXT):
            return str(name)
    for name in columns_called(PATHS, schema.names):
        if _is(schema.field(name).type, _TEXT):
            return str(name)
    raise InputError(
        f"{path}: no column `image` with encoded images (bytes, or a struct with `bytes` or "
        "`path`) or paths; "
        f"found columns: {', '.join(f'{field.name} ({field.type})' for field in schema)}"
    )


def _cells(column: Any, folder: str) -> Iterator[bytes | str | Path | None]:
    """The images in a column: encoded bytes, the path or address of a file, or nothing."""
    if pa.types.is_struct(column.type):
        structs = (cell or {} for cell in column.to_pylist())
        cells = [s.get("path") or None if s.get("bytes") is None else s["bytes"] for s in structs]
    elif _is(column.type, _BINARY):
        cells = column.cast(pa.large_binary()).to_pylist()
    else:
        cells = column.to_pylist()
    for cell in cells:
        yield _placed(cell, folder) if isinstance(cell, str) else cell


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
    """The class name of each row, empty for none (null, or -1); None where no row has one."""
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
    if pc.all(missing).as_py():
        return None
    if _is(cells.type, _TEXT) or not names:
        said = zip(cells.to_pylist(), missing.to_pylist(), strict=True)
        return np.array(["" if none else str(value) for value, none in said])
    codes = pc.if_else(missing, -1, cells).to_numpy()
    if codes.max() >= len(names):
        raise InputError(f"{path}: label {codes.max()} but its metadata names {len(names)} classes")
    classes: NDArray[np.str_] = np.array([*names, ""])[codes]
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
    """The columns' features in the `datasets` library's metadata."""
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


def _placed(path: str, folder: str) -> str | Path:
    """Where the file of a cell lies; its path may be relative to the parquet file's folder."""
    if not is_address(path) and not os.path.isabs(path):
        path = os.path.join(folder, str(as_path(path)))
    return path if is_address(path) else Path(path)
