"""A CSV file that lists image files, with a label each or none."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from vicinal.errors import InputError
from vicinal.files import plain_cell, read_rows
from vicinal.images.classes import coded
from vicinal.images.folder import FolderImages
from vicinal.images.names import as_path, as_text


def load(path: str) -> tuple[FolderImages, None]:
    """Lists the image files that a CSV file names; decodes none.

    The first line names the columns: ``path``, relative to the CSV file or absolute, and, if there
    are labels, ``label``; other columns are left alone. A path is also the picture's id. What
    Vicinal wrote (`vicinal.images.names.as_text`, `vicinal.files.write_csv`) is read back as meant.

    Returns:
        All of them, and None: there is no test part.

    Raises:
        InputError: If there is no such file or it is no such table, a path is empty or repeats, or
            some rows have a label and others none.
    """
    where = f"csv:{path}"
    file = Path(os.path.expanduser(path))
    try:
        rows = read_rows(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{where}: cannot be read ({said}); give a CSV file in UTF-8") from None
    if not rows:
        raise InputError(f"{where}: has no rows; give a line with `path,label` and a row a picture")
    columns = {name.lstrip("\ufeff"): name for name in rows[0] if name}  # Excel's mark of UTF-8
    if "path" not in columns:
        raise InputError(f"{where}: no column path, found {', '.join(columns)}")
    paths, labels = (
        [plain_cell(row.get(columns.get(name, name)) or "") for row in rows]
        for name in ("path", "label")
    )
    if "" in paths:
        raise InputError(f"{where}: row {paths.index('') + 1} has no path; remove the row")
    ids, counts = np.unique(paths, return_counts=True)
    if len(ids) < len(paths):
        raise InputError(
            f"{where}: the path {str(ids[counts > 1][0])!r} repeats; name a picture once"
        )
    if any(labels) and "" in labels:
        row = labels.index("") + 1
        raise InputError(f"{where}: row {row} has no label; label every row or drop the column")
    codes, names = coded(np.array(labels)) if any(labels) else (None, ())
    return FolderImages(
        name=as_text(file.stem),
        root=file.parent,
        files=np.array([str(as_path(text)) for text in paths]),
        ids=np.array(paths),
        labels=codes,
        class_names=names,
    ), None
