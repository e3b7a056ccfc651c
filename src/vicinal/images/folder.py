"""A folder of image files; the folders in it, if all images lie in one, are the classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.images.names import as_text
from vicinal.images.skipped import Skipped

SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Image files under one folder.

    Attributes:
        name: What people call the set.
        root: The folder.
        files: (N,) strings, the files' paths within ``root``.
        ids: (N,) strings, the same paths as text (`vicinal.images.names.as_text`) with ``/``
            between folders.
        labels: (N,) int64 positions in ``class_names``, or None.
        class_names: The names of the classes; empty without labels.
        skipped: Folders within ``root`` that cannot be opened.
    """

    name: str
    root: Path
    files: NDArray[np.str_]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()

    def take(self, index: NDArray[np.int64]) -> FolderImages:
        """The files at ``index`` (K,) int64."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, files=self.files[index], ids=self.ids[index], labels=labels)

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of files, does."""
        yield str(self.root.resolve())
        for file in self.files.tolist():
            path = self.root / file
            try:
                found = path.stat()
                unread = "" if os.access(path, os.R_OK) else " unreadable"
                yield f"{file} {found.st_size} {found.st_mtime_ns}{unread}"
            except (OSError, ValueError) as error:  # a ValueError: NUL, which no name can have
                yield f"{file} {error}"

    def pictures(self) -> Iterator[tuple[Path, str]]:
        """Each file, and what an error message calls it."""
        for file in self.files.tolist():
            yield self.root / file, as_text(self.root / file)


def load(path: str) -> tuple[FolderImages, FolderImages | None]:
    """Lists the image files in a folder and in the folders in it; decodes none.

    Files are told by their suffix; hidden files and folders are left out. If the folder has both
    a folder ``train`` and a folder ``test``, these are the parts. If every image lies in a folder
    within its part, the outermost one is its class; otherwise there are no labels.

    Returns:
        Training and test part; without such folders all is the first and the second is None.

    Raises:
        InputError: If there is no such folder, or no image in it.
    """
    root = Path(os.path.expanduser(path))  # which, unlike Path's, takes any name
    if root.is_file():
        kind = "parquet" if root.suffix == ".parquet" else "folder"
        mend = f"parquet:{path}" if kind == "parquet" else f"folder:{root.parent}"
        raise InputError(f"folder:{path}: is a file, not a folder; write {mend}")
    if not root.is_dir():
        raise InputError(f"folder:{path}: no such folder; check the path")
    name = root.resolve().name or "folder"
    train, test = root / "train", root / "test"
    if train.is_dir() and test.is_dir():
        return _listed(train, name), _listed(test, name)
    return _listed(root, name), None


def _listed(root: Path, name: str) -> FolderImages:
    skipped: list[Skipped] = []
    files = sorted(_image_files(root, skipped), key=lambda file: file.parts)
    if not files:
        closed = f" ({skipped[0].path}: {skipped[0].reason})" if skipped else ""
        raise InputError(
            f"folder:{root}: no images in it{closed}; files must end in {' '.join(SUFFIXES)}"
        )
    labels = None
    class_names: tuple[str, ...] = ()
    if all(len(file.parts) > 1 for file in files):
        found, inverse = np.unique([file.parts[0] for file in files], return_inverse=True)
        labels, class_names = inverse.astype(np.int64), tuple(map(as_text, found.tolist()))
    return FolderImages(
        name=as_text(name),
        root=root,
        files=np.array([str(file) for file in files]),
        ids=np.array([as_text(file.as_posix()) for file in files]),
        labels=labels,
        class_names=class_names,
        skipped=tuple(skipped),
    )


def _image_files(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Paths within ``root``; links to folders are followed, but not round in circles."""

    def skip(error: OSError) -> None:
        where, reason = as_text(str(error.filename)), f"folder cannot be opened ({error.strerror})"
        skipped.append(Skipped(where, reason))

    seen = set()
    for place, folders, files in os.walk(root, followlinks=True, onerror=skip):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for file in files:
            if not file.startswith(".") and file.lower().endswith(SUFFIXES):
                yield Path(place, file).relative_to(root)
