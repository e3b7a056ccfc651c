"""The files of a run's pictures, so that an update knows which are new, changed or gone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from vicinal.errors import InputError
from vicinal.file_names import is_address
from vicinal.files import write_parquet
from vicinal.images import Skipped
from vicinal.images.folder import Files
from vicinal.images.labels_and_parts import class_of_each
from vicinal.images.picture_list import PictureList

FILES = "files.parquet"
"""In a run: a picture's id, what changes with its file, and the hash of its content."""


class FileListing:
    """The files of a source as they are now, and which of them a run has not seen as they are.

    A file whose time differs has not changed if its size and its content are the same: copies
    often lose their times.

    Args:
        known: What changes with each file and the hash of its content, by id, as both were when
            the run read it; a hash may be empty.
    """

    def __init__(self, known: dict[str, tuple[str, str]]) -> None:
        self.known = known
        self.rows: list[dict[str, str]] = []
        self.unseen: set[str] = set()
        self.skipped: list[Skipped] = []
        self.name = ""

    def __call__(self, split: str | None, part: PictureList) -> PictureList:
        """Notes a part's files, and gives those that are new or have changed."""
        if not isinstance(part.place, Files) or is_address(part.place.root):
            return part
        labels = [""] * len(part.ids)
        if part.labels is not None:
            labels = class_of_each(part.labels, part.class_names).tolist()
        ids = part.ids.tolist() if split is None else [f"{split}/{name}" for name in part.ids]
        _, *stamps = part.stamp()  # the first line is the folder, which may move
        paths = [os.path.abspath(path) for path, _ in part.place.pictures()]
        columns = zip(ids, stamps, labels, paths, strict=True)
        self.rows += [
            {"id": i, "stamp": s, "label": name, "path": path, "split": split or ""}
            for i, s, name, path in columns
        ]
        self.skipped += part.skipped
        self.name = part.name
        fresh = [row for row in self.rows[-len(ids) :] if self._new(row)] if ids else []
        self.unseen |= {row["id"] for row in fresh}
        return part.take(np.flatnonzero([name in self.unseen for name in ids]))

    def _new(self, row: dict[str, str]) -> bool:
        """Whether the run has not seen this file as it is now."""
        stamp, content = self.known.get(row["id"], ("", ""))
        if row["stamp"] != stamp:
            if row["stamp"].rpartition(" ")[0] != stamp.rpartition(" ")[0]:
                return True  # without the time: its name and its size
            row["hash"] = _content(row["path"])
            return not content or row["hash"] != content
        row["hash"] = content
        return False


def _content(path: str) -> str:
    """The hash of a file's content; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except (OSError, ValueError):
        return ""


def write_files(run: Path, listing: FileListing) -> None:
    """Writes `FILES`; nothing where the pictures are no files."""
    if not listing.rows:
        return
    columns = {name: [row[name] for row in listing.rows] for name in ("id", "stamp")}
    columns["hash"] = [row.get("hash") or _content(row["path"]) for row in listing.rows]
    write_parquet(run / FILES, columns)


def read_files(run: Path, *, onto: bool) -> dict[str, tuple[str, str]]:
    """What a run noted of its files, by id: what changes with each, and its hash or none.

    Args:
        run: The run folder.
        onto: Whether it is a run with ``onto``, of two sources.

    Raises:
        InputError: If it noted none.
    """
    if (run / FILES).is_file():
        noted = pq.read_table(run / FILES).to_pydict()
        hashes = noted.get("hash", [""] * len(noted["id"]))  # an earlier version kept none
        return dict(zip(noted["id"], zip(noted["stamp"], hashes, strict=True), strict=True))
    if onto:
        raise InputError(f"{run}: holds pictures of two sources; update the run it is onto")
    why = "its pictures are no files, or an earlier version made it"
    raise InputError(f"{run}: no {FILES} in it ({why}); explore its pictures anew")
