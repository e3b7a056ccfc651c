"""Tables that people write of their pictures, however their program separates the columns."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vicinal.errors import InputError
from vicinal.files import plain_cell
from vicinal.images.classes import label_columns, plain_name

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
