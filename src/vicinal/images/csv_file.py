"""A CSV file that lists image files, with a label each or none."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vicinal.errors import InputError
from vicinal.files import as_path, as_text, excluded, plain_cell
from vicinal.images.folder import Files
from vicinal.images.labels_and_parts import (
    PATHS,
    Labels,
    label_columns,
    labels_from,
    no_labels,
    plain_name,
)
from vicinal.images.picture_list import PictureList

_SEPARATORS = ",;\t|"


def load(path: str, exclude: Sequence[str] = ()) -> tuple[PictureList, None]:
    """Lists the image files that a CSV file names; decodes none.

    The first line names the columns: ``path`` (or another of `PATHS`),
    relative to the CSV file or absolute, and, if there are labels, ``label`` (or another of
    `label_columns`), in any case and with blanks around; other columns are
    left alone. A path is also the picture's id. What Vicinal wrote
    (`vicinal.files.as_text`, `vicinal.files.write_csv`) is read back as meant.

    Args:
        path: The file.
        exclude: Patterns of paths that are left out, see `vicinal.files.excluded`.

    Returns:
        All of them, and None: there is no test part.

    Raises:
        InputError: If there is no such file or it is no such table, a path is empty or repeats, or
            some rows have a label and others none.
    """
    where = f"csv:{path}"
    file = Path(os.path.expanduser(path))
    table = read_table(file, where)
    column = table.column(PATHS)
    if column is None:
        raise InputError(f"{where}: no column path, found {', '.join(table.columns)}")
    if not table.rows:
        raise InputError(f"{where}: has no rows below the first line; add a row a picture")
    paths = [_path(cell, file.parent) for cell in table.cells(column)]
    if "" in paths:
        raise InputError(f"{where}: row {paths.index('') + 1} has no path; remove the row")
    ids, counts = np.unique(paths, return_counts=True)
    if len(ids) < len(paths):
        raise InputError(
            f"{where}: the path {str(ids[counts > 1][0])!r} repeats; name a picture once"
        )
    name = as_text(file.stem)
    labels = _labels(table, name, where)
    kept = [at for at, text in enumerate(paths) if not excluded(text, exclude)]
    if not kept:
        raise InputError(f"{where}: all its rows are excluded; leave some")
    out = len(paths) - len(kept)
    files = Files(str(file.parent), np.array([str(as_path(path)) for path in paths]))
    notes = (f"{name}: not used: {out:,} excluded",) if out else ()
    listed = PictureList.labelled(name, files, np.array(paths), labels, notes=notes)
    return listed.take(np.array(kept)), None


def _path(cell: str, folder: Path) -> str:
    """The path in a cell; without blanks around it unless a file has such a name."""
    bare = cell.strip()
    if bare != cell and not os.path.lexists(folder / as_path(cell)):
        return bare
    return cell


def _labels(table: Table, name: str, where: str) -> Labels:
    column = table.label_column()
    if column is None:
        return no_labels(name, f"no column label, found {', '.join(table.columns)}")
    labels = [cell.strip() for cell in table.cells(column)]
    if not any(labels):
        return no_labels(name, f"the column {column} is empty")
    if "" in labels:
        row = labels.index("") + 1
        raise InputError(f"{where}: row {row} has no label; label every row or drop the column")
    return labels_from(name, f"the column {column}", np.array(labels))


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
