"""What the columns of a table hold: pictures or where they lie, labels, parts of a data set."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import as_path, plain_cell

TRAIN = ("train", "training", "trn")
TEST = ("test", "testing", "tst")
VALIDATION = ("validation", "valid", "val", "dev", "development", "eval", "evaluation")
"""Customary names, in lower case; any case counts."""


def part_of(name: str) -> str | None:
    """``train``, ``test`` or ``validation`` for a customary name of it; None for any other."""
    plain = name.strip().lower()
    parts = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
    return next((part for part, names in parts.items() if plain in names), None)


def parted_files(paths: Sequence[str]) -> dict[str, list[str]]:
    """Files by the part that a word of their paths names; nothing where that says no parts.

    Every file must name exactly one part, and some the training part and some another.

    Args:
        paths: Within their folder, with ``/`` between folders.
    """
    parts: dict[str, list[str]] = {}
    for path in paths:
        words = {part_of(word) for word in re.split(r"[^A-Za-z]+", path)} - {None}
        if len(words) != 1:
            return {}
        parts.setdefault(str(words.pop()), []).append(path)
    return parts if "train" in parts and len(parts) > 1 else {}


def chosen_test(labelled: Mapping[str, bool], name: str) -> tuple[str | None, tuple[str, ...]]:
    """Which part is the test part beside the training part, and lines about the choice.

    ``test`` comes before ``validation``; but where the training part has labels, one with labels
    before one without.

    Args:
        labelled: Of ``train``, ``test`` and ``validation`` those there are; whether each has
            labels.
        name: What people call the set.
    """
    others = [part for part in ("test", "validation") if part in labelled]
    if not others:
        return None, ()
    chosen = others[0]
    if labelled.get("train"):
        chosen = next((part for part in others if labelled[part]), chosen)
    unused = [part for part in others if part != chosen]
    if not unused:
        return chosen, ()
    why = "" if chosen == others[0] else ", whose pictures have labels, unlike those of test"
    return chosen, (f"{name}: the test part is {chosen}{why}; {unused[0]} is not used",)


def case_forms(names: Iterable[str]) -> list[str]:
    """Each name in lower case, with a capital, and in capitals."""
    return [form for name in names for form in (name, name.capitalize(), name.upper())]


_COLUMNS = (
    *("label", "labels", "class", "classes", "target", "targets", "category", "categories"),
    *("fine_label", "fine_labels", "label_name", "class_name", "class_label", "label_id"),
    *("class_id", "category_id", "category_name", "coarse_label", "coarse_labels", "y"),
)
"""What a column of labels is called, the likeliest first."""


def coded(
    classes: NDArray[np.str_], declared: tuple[str, ...] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class names of pictures (N,) as positions (N,) int64 in the list of names, and that list.

    Args:
        classes: The class name of each picture; blanks around a name do not count.
        declared: Names that come first, in their order; others follow sorted, numbers as numbers.
    """
    declared = tuple(name.strip() for name in declared)
    found, inverse = np.unique(np.char.strip(classes), return_inverse=True)
    names = (*declared, *in_order(set(found.tolist()) - set(declared)))
    position = {name: number for number, name in enumerate(names)}
    return np.array([position[name] for name in found.tolist()], dtype=np.int64)[inverse], names


def in_order(names: Iterable[str]) -> list[str]:
    """Class names sorted, numbers as numbers, so that class 10 comes after class 9."""
    return sorted(names, key=_numbers_first)


def label_columns(names: Sequence[str], declared: Collection[str] = ()) -> list[str]:
    """The columns that may hold labels, the likeliest first: by their names, then declared ones.

    Args:
        names: All columns.
        declared: Those that a data set itself calls labels.
    """
    by_name = {plain_name(name): name for name in reversed(names)}
    known = [by_name[name] for name in _COLUMNS if name in by_name]
    return list(dict.fromkeys((*known, *(name for name in names if name in declared))))


def plain_name(column: str) -> str:
    """A column's name as names are compared: ``" Fine-Label"`` is ``fine_label``."""
    return column.strip().strip("\ufeff\"' ").lower().replace(" ", "_").replace("-", "_")


def labels_told(name: str, count: int, origin: str) -> str:
    """The line that says where labels are from.

    Args:
        name: What people call the set.
        count: How many classes there are.
        origin: Where they are from, such as ``the column label``.
    """
    return f"{name}: labels from {origin}, {count:,} class{'' if count == 1 else 'es'}"


def no_labels_told(name: str, why: str) -> str:
    """The line that says that there are no labels, and why not."""
    return f"{name}: no labels ({why})"


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


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


PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image"),
    *("img_path", "img", "image_name", "picture", "photo", "paths", "files", "images"),
)
"""What a column of files is called."""
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """The rows of a CSV file.

    Attributes:
        columns: The names in its first line, without blanks and quotes around them.
        rows: The cells below, as many as there are columns; empty where a row is short.
        lines: The number of each row's last line in the file, from 1.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, names: Sequence[str]) -> str | None:
        """The first of the columns that has one of these names, compared as `plain_name` does."""
        plain = {plain_name(column): column for column in reversed(self.columns)}
        return next((plain[name] for name in names if name in plain), None)

    def label_column(self) -> str | None:
        """The likeliest column of labels."""
        return next(iter(label_columns(self.columns)), None)

    def cells(self, column: str) -> list[str]:
        """The cells of a column, as `vicinal.files.write_csv` was given them."""
        at = self.columns.index(column)
        return [plain_cell(row[at]) for row in self.rows]


def read_table(path: Path, where: str, known: Sequence[str] = PATHS) -> Table:
    """Reads a table whose first line names its columns, separated by ``,``, ``;``, tab or ``|``.

    Args:
        path: The file: UTF-8, with a mark of it or not, or UTF-16 with one, as spreadsheets write.
        where: What an error message calls it.
        known: Names of columns one of which is there: by it the separator is told.

    Raises:
        InputError: If it cannot be read or has no first line.
    """
    try:
        raw = Path(os.path.expanduser(path)).read_bytes()
        wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = raw.decode("utf-16" if wide else "utf-8-sig")
        read = _rows(text, _separator(text, known))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{where}: cannot be read ({said}); give a CSV file in UTF-8") from None
    if not read:
        raise InputError(f"{where}: has no rows; give a line with `path,label` and a row a picture")
    (_, head), *rows = read
    columns = tuple(name.strip().strip("\"'\ufeff").strip() for name in head)
    width = len(columns)
    return Table(
        columns,
        tuple(tuple((cells + [""] * width)[:width]) for _, cells in rows),
        tuple(line for line, _ in rows),
    )


def _rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [(reader.line_num, cells) for cells in reader if cells]


def _separator(text: str, known: Sequence[str]) -> str:
    """The separator by which the first line has a known column, and the most columns."""
    first = text.lstrip("\r\n").splitlines()[:1]

    def fits(separator: str) -> tuple[bool, int]:
        names = next(csv.reader(first, delimiter=separator), [])
        return any(plain_name(name) in known for name in names), len(names)

    return max(_SEPARATORS, key=fits)
