"""A CSV file that lists image files, with a label each or none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import as_path, as_text, excluded
from vicinal.images.folder import FolderImages
from vicinal.images.tables import PATHS, Table, coded, labels_told, no_labels_told, read_table


def load(path: str, exclude: Sequence[str] = ()) -> tuple[FolderImages, None]:
    """Lists the image files that a CSV file names; decodes none.

    The first line names the columns: ``path`` (or another of `vicinal.images.tables.PATHS`),
    relative to the CSV file or absolute, and, if there are labels, ``label`` (or another of
    `vicinal.images.tables.label_columns`), in any case and with blanks around; other columns are
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
    codes, names, note = _labels(table, name, where)
    kept = [at for at, text in enumerate(paths) if not excluded(text, exclude)]
    if not kept:
        raise InputError(f"{where}: all its rows are excluded; leave some")
    out = len(paths) - len(kept)
    return FolderImages(
        name=name,
        root=file.parent,
        files=np.array([str(as_path(paths[at])) for at in kept]),
        ids=np.array([paths[at] for at in kept]),
        labels=None if codes is None else codes[kept],
        class_names=names,
        notes=(note, *([f"{name}: not used: {out:,} excluded"] if out else [])),
    ), None


def _path(cell: str, folder: Path) -> str:
    """The path in a cell; without blanks around it unless a file has such a name."""
    bare = cell.strip()
    if bare != cell and not os.path.lexists(folder / as_path(cell)):
        return bare
    return cell


def _labels(
    table: Table, name: str, where: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...], str]:
    """Labels and class names, if there are any, and the line that says where they are from."""
    column = table.label_column()
    if column is None:
        why = f"no column label, found {', '.join(table.columns)}"
        return None, (), no_labels_told(name, why)
    labels = [cell.strip() for cell in table.cells(column)]
    if not any(labels):
        return None, (), no_labels_told(name, f"the column {column} is empty")
    if "" in labels:
        row = labels.index("") + 1
        raise InputError(f"{where}: row {row} has no label; label every row or drop the column")
    codes, names = coded(np.array(labels))
    return codes, names, labels_told(name, len(names), f"the column {column}")
