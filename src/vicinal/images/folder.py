"""A folder of image files; the folders in it, if all images lie in one, are the classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.images.classes import coded, labels_told, no_labels_told
from vicinal.images.formats import suffixes
from vicinal.images.names import as_text, excluded, left_behind, on_one_line
from vicinal.images.parts import chosen_test, part_of
from vicinal.images.skipped import Skipped
from vicinal.images.walk import Found, walked

_NAMED = 5  # of what lies beside parts


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
        skipped: Files within ``root`` that look like pictures and are not read, and folders that
            are not opened.
        notes: Lines for the user: where the labels are from, and what is not used.
    """

    name: str
    root: Path
    files: NDArray[np.str_]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

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


def load(path: str, exclude: Sequence[str] = ()) -> tuple[FolderImages, FolderImages | None]:
    """Lists the image files in a folder and in the folders in it; decodes none.

    Files are told by their suffix; hidden files and folders, and those that systems leave behind,
    are left out. Folders called as parts customarily are (`vicinal.images.parts`, in any case) are
    the parts, if the training part and another are there. If every image lies in a folder within
    its part, the outermost one is its class; otherwise there are no labels.

    Args:
        path: The folder.
        exclude: Patterns of files and folders that are left out,
            see `vicinal.images.names.excluded`.

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
    name = as_text(root.resolve().name or "folder")
    folders, loose = _in(root, exclude)
    parts = part_folders(folders, loose)
    if not parts:
        return _listed(root, name, exclude), None
    listed = {}
    for part, folder in parts.items():
        try:
            listed[part] = _listed(root / folder, name, exclude, f"{folder}/")
        except InputError:
            if part != "validation" or "test" not in parts:
                raise
    labelled = {part: images.labels is not None for part, images in listed.items()}
    test, notes = chosen_test(labelled, name)
    beside = [*(each for each in folders if each not in parts.values()), *loose]
    if beside:
        named = ", ".join(map(as_text, beside[:_NAMED])) + (", …" if len(beside) > _NAMED else "")
        notes += (f"{name}: not used, beside the parts {', '.join(parts.values())}: {named}",)
    train = listed["train"]
    train = replace(train, notes=(*train.notes, *notes))
    return train, None if test is None else listed[test]


def _in(root: Path, exclude: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the folders and of the pictures right in a folder, but for those left out."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return [], []
    kept = [n for n in names if not left_behind(n) and not excluded(n, exclude)]
    return (
        [name for name in kept if (root / name).is_dir()],
        [name for name in kept if name.lower().endswith(suffixes()) and (root / name).is_file()],
    )


def part_folders(folders: Sequence[str], loose: Sequence[str]) -> dict[str, str]:
    """Which folders are the parts of a set, by part; the training part must be one.

    Args:
        folders: Names of the folders in a folder.
        loose: Names of the pictures beside them: a training part has no such company alone.
    """
    parts: dict[str, str] = {}
    for folder in folders:
        if (part := part_of(folder)) is not None:
            parts.setdefault(part, folder)
    alone = len(parts) == 1 and (len(folders) > 1 or loose)
    return parts if "train" in parts and not alone else {}


def _listed(root: Path, name: str, exclude: Sequence[str], within: str = "") -> FolderImages:
    found = walked(root, exclude, within)
    if not found.files:
        raise InputError(_nothing_in(root, found))
    labels, class_names, note = _classes(found.files, name)
    return FolderImages(
        name=name,
        root=root,
        files=np.array([str(file) for file in found.files]),
        ids=np.array([as_text(file.as_posix()) for file in found.files]),
        labels=labels,
        class_names=class_names,
        skipped=found.skipped,
        notes=(note, *found.told(name)),
    )


def _classes(files: list[Path], name: str) -> tuple[NDArray[np.int64] | None, tuple[str, ...], str]:
    """The outermost folders as labels, if every file lies in one, and the line that says so."""
    stray = [file for file in files if len(file.parts) == 1]
    if not stray:
        codes, names = coded(np.array([as_text(file.parts[0]) for file in files]))
        return codes, names, labels_told(name, len(names), "the folders' names")
    if len(stray) == len(files):
        return None, (), no_labels_told(name, "the pictures lie in no folders")
    first = on_one_line(as_text(stray[0]))
    few = f"{first} lies" if len(stray) == 1 else f"{first} and {len(stray) - 1:,} more lie"
    why = f"{few} beside the folders, {len(files) - len(stray):,} pictures in them"
    return None, (), f"{no_labels_told(name, why)}; move or exclude such files for labels"


def _nothing_in(root: Path, found: Found) -> str:
    """Why a folder cannot be used, and what it seems to hold."""
    where = f"folder:{root}: no images in it"
    if (root / "dataset_info.json").is_file() or (root / "dataset_dict.json").is_file():
        return f"{where}, but a data set that save_to_disk wrote; write hub:{root}"
    if found.others[".parquet"]:
        return f"{where}, but parquet files; write parquet:{root}"
    seen = f" ({found.skipped[0].path}: {found.skipped[0].reason})" if found.skipped else ""
    return f"{where}{seen}; files must end in {' '.join(suffixes())}"
