"""The files whose pictures a run has seen, and whether they are still the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vicinal.errors import InputError
from vicinal.explore.added import Held
from vicinal.files import replacing
from vicinal.images import Skipped
from vicinal.images.fitting import Listed
from vicinal.images.folder import FolderImages

FILES = "files.parquet"
"""In a run: a picture's id, what changes with its file, and the hash of its content."""


class Listing:
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

    def __call__(self, split: str | None, part: Listed) -> Listed:
        """Notes a part's files, and gives those that are new or have changed."""
        if not isinstance(part, FolderImages):
            return part
        labels = [""] * len(part.ids)
        if part.labels is not None:
            labels = [part.class_names[code] for code in part.labels.tolist()]
        ids = part.ids.tolist() if split is None else [f"{split}/{name}" for name in part.ids]
        _, *stamps = part.stamp()  # the first line is the folder, which may move
        paths = [str((part.root / file).absolute()) for file in part.files.tolist()]
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


def keep_files(run: Path, listing: Listing) -> None:
    """Writes `FILES`."""
    if not listing.rows:
        return  # its pictures are no files
    columns = {name: [row[name] for row in listing.rows] for name in ("id", "stamp")}
    columns["hash"] = [row.get("hash") or _content(row["path"]) for row in listing.rows]
    with replacing(run / FILES) as partial:
        pq.write_table(pa.table(columns), partial)


def known_files(held: Held) -> dict[str, tuple[str, str]]:
    """What the run noted of its files, by id: what changes with each, and its hash or none."""
    if (held.run / FILES).is_file():
        noted = pq.read_table(held.run / FILES).to_pydict()
        hashes = noted.get("hash", [""] * len(noted["id"]))  # an earlier version kept none
        return dict(zip(noted["id"], zip(noted["stamp"], hashes, strict=True), strict=True))
    if "joined" in held.explored.figures:
        raise InputError(f"{held.run}: holds pictures of two sources; update the run it is onto")
    why = "its pictures are no files, or an earlier version made it"
    raise InputError(f"{held.run}: no {FILES} in it ({why}); explore its pictures anew")
