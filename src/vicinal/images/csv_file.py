"""A CSV file that lists image files, with a label each or none."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from vicinal.errors import InputError
from vicinal.file_names import as_path, as_text, excluded
from vicinal.files import plain_cell
from vicinal.images.folder import Files
from vicinal.images.labels_and_parts import (
    PATHS,
    Labels,
    columns_called,
    label_columns,
    labels_from,
    no_labels,
    plain_name,
    split_column,
)
from vicinal.images.picture_list import Parts, PictureList, in_parts

_SEPARATORS = ",;\t|"


def load(path: str, exclude: Sequence[str] = ()) -> Parts:
    """Lists the image files that a CSV file names, all or by the part they are in; decodes none.

    The first line names the columns: ``path`` (or another of `PATHS`),
    relative to the CSV file or absolute, and, if there are labels, ``label`` (or another of
    `label_columns`), in any case and with blanks around; a column ``split``
    (`split_column`) says which part a row is in, ``train``, ``test`` or ``validation``; other
    columns are left alone. A path is also the picture's id. What Vicinal wrote
    (`vicinal.file_names.as_text`, `vicinal.files.write_csv`) is read back as meant.
    """
    where = f"csv:{path}"
    file = Path(os.path.expanduser(path))
    columns = _columns(file, where)
    column = next(iter(columns_called(PATHS, columns)), None)
    if column is None:
        raise InputError(f"{where}: no column path, found {', '.join(columns)}")
    if not columns[column]:
        raise InputError(f"{where}: has no rows below the first line; add a row a picture")
    paths = [_path(cell, file.parent) for cell in columns[column]]
    if "" in paths:
        raise InputError(f"{where}: row {paths.index('') + 1} has no path; remove the row")
    ids, counts = np.unique(paths, return_counts=True)
    if len(ids) < len(paths):
        raise InputError(
            f"{where}: the path {str(ids[counts > 1][0])!r} repeats; name a picture once"
        )
    name = as_text(file.stem)
    labels = _labels(columns, name)
    kept = [at for at, text in enumerate(paths) if not excluded(text, exclude)]
    if not kept:
        raise InputError(f"{where}: all its rows are excluded; leave some")
    out = len(paths) - len(kept)
    files = Files(str(file.parent), np.array([str(as_path(path)) for path in paths]))
    notes = (f"{name}: not used: {out:,} excluded",) if out else ()
    listed = PictureList.labelled(name, files, np.array(paths), labels, notes=notes)
    whole, cells = listed.take(np.array(kept)), columns.get(split_column(columns))
    return (whole, None) if cells is None else in_parts(whole, [cells[at] for at in kept], where)


def _path(cell: str, folder: Path) -> str:
    """The path in a cell; without blanks around it unless a file has such a name."""
    bare = cell.strip()
    if bare != cell and not os.path.lexists(folder / as_path(cell)):
        return bare
    return cell


def _labels(columns: dict[str, list[str]], name: str) -> Labels:
    column = next(iter(label_columns(list(columns))), None)
    if column is None:
        return no_labels(name, f"no column label, found {', '.join(columns)}")
    cells = [cell.strip() for cell in columns[column]]
    there = set(cells) - {""}
    # Of whole numbers -1 is no label, as in a parquet file; but not beside 1 alone.
    if there != {"-1", "1"} and all(cell.removeprefix("-").isdecimal() for cell in there):
        cells = ["" if cell == "-1" else cell for cell in cells]
    return labels_from(name, f"the column {column}", np.array(cells))


def _columns(path: Path, where: str) -> dict[str, list[str]]:
    """The cells of each column by name."""
    try:
        text = table_text(path)
        lines = io.StringIO(text, newline="")
        rows = [row for row in csv.reader(lines, delimiter=separator_of(text, PATHS)) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{where}: cannot be read ({said}); give a CSV file in UTF-8") from None
    if not rows:
        raise InputError(f"{where}: has no rows; give a line with `path,label` and a row a picture")
    names = [name.strip().strip("\"'\ufeff").strip() for name in rows[0]]
    used = (*columns_called(PATHS, names)[:1], *label_columns(names)[:1], split_column(names))
    refuse_repeated(names, used, where)
    columns: dict[str, list[str]] = {}
    for at, name in enumerate(names):  # of two columns with one name, neither used, the first
        cells = [plain_cell(row[at]) if at < len(row) else "" for row in rows[1:]]
        columns.setdefault(name, cells)
    return columns


def refuse_repeated(names: Sequence[str], used: Collection[str], where: str) -> None:
    """Raises InputError if one of the used columns is not the only one of its name."""
    plain = [plain_name(name) for name in names]
    for name in filter(None, used):
        if plain.count(plain_name(name)) > 1:
            raise InputError(f"{where}: two columns are called {name}; rename or remove one")


def table_text(path: Path) -> str:
    """The text of a CSV file: UTF-8, or UTF-16 with a mark, as spreadsheets write it."""
    raw = path.read_bytes()
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return raw.decode("utf-16" if wide else "utf-8-sig")


def separator_of(text: str, known: Collection[str]) -> str:
    """The separator by which a table's first line has a known column, and the most columns."""
    first = text.lstrip("\r\n").splitlines()[:1]

    def fits(separator: str) -> tuple[bool, int]:
        names = next(csv.reader(first, delimiter=separator), [])
        return any(plain_name(name) in known for name in names), len(names)

    return max(_SEPARATORS, key=fits)
