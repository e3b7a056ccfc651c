"""A folder of image files; the folders in it, if all images lie in one, are the classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import as_text, excluded, left_behind, on_one_line
from vicinal.images.formats import is_picture, suffixes, unread
from vicinal.images.skipped import Skipped
from vicinal.images.tables import chosen_test, coded, labels_told, no_labels_told, part_of

_NAMED = 5  # of what lies beside parts


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Image files under one folder.

    Attributes:
        name: What people call the set.
        root: The folder.
        files: (N,) strings, the files' paths within ``root``.
        ids: (N,) strings, the same paths as text (`vicinal.files.as_text`) with ``/``
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
    are left out. Folders called as parts customarily are (`vicinal.images.tables`, in any case) are
    the parts, if the training part and another are there. If every image lies in a folder within
    its part, the outermost one is its class; otherwise there are no labels.

    Args:
        path: The folder.
        exclude: Patterns of files and folders that are left out,
            see `vicinal.files.excluded`.

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


_ENDINGS_NAMED = 5  # endings that are named in a line; the rest is counted
_HEAD = 16


@dataclass
class Found:
    """What lies in a folder.

    Attributes:
        files: Pictures that are read, as paths within it, in order.
        unread: Files that look like pictures and are not read, with the reason.
        closed: Folders that were not opened, with the reason.
        others: How many other files there are, by their suffix.
        excluded: Files and folders that the user leaves out.
    """

    files: list[Path] = field(default_factory=list)
    unread: list[Skipped] = field(default_factory=list)
    closed: list[Skipped] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    excluded: int = 0

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All that is not used and should be listed."""
        return (*self.closed, *self.unread)

    def leaves_out(self, path: str, exclude: Sequence[str]) -> bool:
        """Whether a file or folder is the system's, or one that the user leaves out; counts it.

        Args:
            path: Within the source, with ``/`` between folders.
            exclude: The user's patterns.
        """
        if left_behind(path.rpartition("/")[2]):
            return True
        out = bool(exclude) and excluded(path, exclude)
        self.excluded += out
        return out

    def add(self, path: Path, place: Path) -> None:
        """Adds a file that is not left out.

        Args:
            path: Within the folder.
            place: Where it lies.
        """
        suffix = path.suffix.lower()
        if path.name.lower().endswith(suffixes()):
            self.files.append(path)
        elif (reason := unread(path.name)) is not None:
            self.unread.append(Skipped(as_text(place), f"is {reason}"))
        elif not suffix and is_picture(_head(place)):
            reason = "is a picture without an ending such as .jpg in its name: rename it"
            self.unread.append(Skipped(as_text(place), reason))
        else:
            self.others[suffix or "without an ending"] += 1

    def told(self, name: str) -> tuple[str, ...]:
        """A line for the user, if anything is there that is not used."""
        kinds = Counter((Path(one.path).suffix.lower(), one.reason) for one in self.unread)
        unused = [
            f"{count:,} {suffix or 'without an ending'} ({reason.removeprefix('is ')})"
            for (suffix, reason), count in kinds.most_common()
        ]
        if self.closed:
            first, count = self.closed[0], len(self.closed)
            folders = f"{count:,} folder{'s' if count > 1 else ''}"
            unused.append(f"{folders} ({first.path} {first.reason})")
        named = self.others.most_common(_ENDINGS_NAMED)
        unused += [f"{count:,} {suffix}" for suffix, count in named]
        if rest := self.others.total() - sum(count for _, count in named):
            unused.append(f"{rest:,} other files")
        unused += [f"{self.excluded:,} excluded"] if self.excluded else []
        return (f"{name}: not used: {', '.join(unused)}",) if unused else ()


def walked(root: Path, exclude: Sequence[str] = (), within: str = "") -> Found:
    """The files under a folder; links to folders are followed, each folder once.

    Folders are read before links to folders, so that what is there twice has the folder's name;
    a second way to a folder is listed as closed.

    Args:
        root: The folder.
        exclude: Patterns of what the user leaves out, see `vicinal.files.excluded`.
        within: The path of ``root`` within the source, with ``/`` behind it.
    """
    found = Found()
    seen = {os.path.realpath(root): root}
    around = {str(parent) for parent in Path(os.path.realpath(root)).parents}

    def left(path: Path) -> bool:
        return found.leaves_out(within + path.as_posix(), exclude)

    links = _read(root, root, found, seen, left)
    while links:
        link = links.pop(0)
        real = os.path.realpath(link)
        if real in seen:
            reason = f"is a link to {as_text(seen[real])}, which is read already"
            found.closed.append(Skipped(as_text(link), reason))
        elif real in around:
            found.closed.append(Skipped(as_text(link), "is a link to a folder around it"))
        else:
            seen[real] = link
            links += _read(link, root, found, seen, left)
    found.files.sort(key=lambda file: file.parts)
    return found


def _read(
    top: Path, root: Path, found: Found, seen: dict[str, Path], left: Callable[[Path], bool]
) -> list[Path]:
    """Adds the files under ``top``; returns the links to folders, in order."""

    def skip(error: OSError) -> None:
        where, reason = as_text(str(error.filename)), f"folder cannot be opened ({error.strerror})"
        found.closed.append(Skipped(where, reason))

    links: list[Path] = []
    for place, folders, files in os.walk(top, onerror=skip):
        here = Path(place)
        inside = here.relative_to(root)
        kept = []
        for folder in sorted(folders):
            if left(inside / folder):
                continue
            if os.path.islink(here / folder):
                links.append(here / folder)
                continue
            real = os.path.realpath(here / folder)
            if real in seen:  # by a link that led here
                reason = f"is {as_text(seen[real])}, which is read already"
                found.closed.append(Skipped(as_text(here / folder), reason))
                continue
            seen[real] = here / folder
            kept.append(folder)
        folders[:] = kept
        for file in sorted(files):
            if not left(inside / file):
                found.add(inside / file, here / file)
    return links


def _head(place: Path) -> bytes:
    try:
        if not place.is_file():
            return b""
        with place.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
